// floor_request_bare_ring/N: what a program would do without conpool, to show what the pool adds.
//
// Each of N connections sends 64 bytes, waits for their echo and sends the next. The ring is set up
// as runtime/detail/ring.cpp does it, and a turn is the same: it handles all completions, entering
// the kernel for deferred ones as long as the kernel says that there are some; then one enter
// submits and waits. A request takes two entries: a send, and a receive that was posted in advance
// and picks one of the ring's buffers. Everything else is missing: coroutines, deadlines, a pool.

#include <liburing.h>
#include <netinet/in.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include <bench/micro/bare_uring.h>
#include <bench/micro/echo_peer.h>
#include <bench/micro/measured_run.h>
#include <bench/micro/micro.h>
#include <bench/micro/ping_pong.h>

namespace conpool::micro {
namespace {

constexpr unsigned buffer_count = 256;
constexpr std::size_t buffer_bytes = 4096;

// The low bit of user_data tells a send from a receive.
struct alignas(8) client {
  int fd = -1;
  std::uint64_t sequence = 0;
  std::uint32_t sent = 0;
  std::uint32_t received = 0;
  bool send_done = true;
  bool receive_posted = false;
  message out{};
  message in{};
};

class bare_ring {
 public:
  bare_ring(const sockaddr_in& to, std::size_t connections);
  ~bare_ring();
  bare_ring(const bare_ring&) = delete;
  bare_ring& operator=(const bare_ring&) = delete;

  // Runs `requests` requests, spread over the connections as they become free.
  void run(std::int64_t requests);
  bool failed() const noexcept { return failed_; }
  std::uint64_t enters() const noexcept { return enters_; }
  std::uint64_t submissions() const noexcept { return ring_.submissions(); }

 private:
  void add_buffers();
  void recycle(std::uint16_t id) noexcept;
  void prepare_send(client& one) noexcept;
  void prepare_receive(client& one) noexcept;
  void begin_request(client& one) noexcept;
  void turn() noexcept;
  void handle(const io_uring_cqe& entry) noexcept;
  void on_received(client& one, const io_uring_cqe& entry) noexcept;
  void end_request(client& one) noexcept;

  bare_uring ring_;
  io_uring& uring_ = *ring_.get();
  io_uring_buf_ring* buffer_ring_ = nullptr;
  char* buffers_ = nullptr;
  std::vector<client> clients_;
  std::int64_t to_begin_ = 0;
  std::int64_t under_way_ = 0;
  std::uint64_t enters_ = 0;
  bool failed_ = false;
};

bare_ring::bare_ring(const sockaddr_in& to, std::size_t connections) : clients_(connections) {
  add_buffers();
  for (client& one : clients_) one.fd = connect_blocking(to);
}

bare_ring::~bare_ring() {
  for (const client& one : clients_) shutdown(one.fd, SHUT_RDWR);
  // The posted receives complete with the end of the stream, and only then may the memory be freed.
  to_begin_ = 0;
  for (;;) {
    bool waiting = false;
    for (const client& one : clients_) waiting = waiting || one.receive_posted;
    if (!waiting) break;
    turn();
  }
  for (const client& one : clients_) close(one.fd);
  io_uring_unregister_buf_ring(&uring_, 0);
  munmap(buffer_ring_, sizeof(io_uring_buf) * buffer_count);
  munmap(buffers_, buffer_bytes * buffer_count);
}

void bare_ring::add_buffers() {
  const int access = PROT_READ | PROT_WRITE;
  const int kind = MAP_PRIVATE | MAP_ANONYMOUS;
  void* const queue = mmap(nullptr, sizeof(io_uring_buf) * buffer_count, access, kind, -1, 0);
  void* const memory = mmap(nullptr, buffer_bytes * buffer_count, access, kind, -1, 0);
  check_system_call(queue == MAP_FAILED || memory == MAP_FAILED, "mmap");
  buffer_ring_ = static_cast<io_uring_buf_ring*>(queue);
  buffers_ = static_cast<char*>(memory);
  io_uring_buf_reg registration{};
  registration.ring_addr = reinterpret_cast<std::uint64_t>(buffer_ring_);
  registration.ring_entries = buffer_count;
  check_ring_call(io_uring_register_buf_ring(&uring_, &registration, 0),
                  "io_uring_register_buf_ring");
  for (unsigned id = 0; id < buffer_count; ++id) recycle(static_cast<std::uint16_t>(id));
}

void bare_ring::recycle(std::uint16_t id) noexcept {
  io_uring_buf_ring_add(buffer_ring_, buffers_ + std::size_t{id} * buffer_bytes, buffer_bytes, id,
                        io_uring_buf_ring_mask(buffer_count), 0);
  io_uring_buf_ring_advance(buffer_ring_, 1);
}

void bare_ring::prepare_send(client& one) noexcept {
  // This is never null: 1,024 entries are more than a turn needs.
  io_uring_sqe* const entry = io_uring_get_sqe(&uring_);
  io_uring_prep_send(entry, one.fd, one.out.data() + one.sent, one.out.size() - one.sent,
                     MSG_NOSIGNAL | MSG_WAITALL);
  io_uring_sqe_set_data64(entry, reinterpret_cast<std::uint64_t>(&one) | 1U);
}

void bare_ring::prepare_receive(client& one) noexcept {
  io_uring_sqe* const entry = io_uring_get_sqe(&uring_);
  io_uring_prep_recv(entry, one.fd, nullptr, 0, 0);
  entry->flags = IOSQE_BUFFER_SELECT;
  entry->ioprio = IORING_RECVSEND_POLL_FIRST;
  io_uring_sqe_set_data64(entry, reinterpret_cast<std::uint64_t>(&one));
  one.receive_posted = true;
}

void bare_ring::begin_request(client& one) noexcept {
  --to_begin_;
  ++under_way_;
  fill(one.out, ++one.sequence);
  one.sent = 0;
  one.received = 0;
  one.send_done = false;
  prepare_send(one);
}

void bare_ring::end_request(client& one) noexcept {
  --under_way_;
  if (one.in != one.out) failed_ = true;
  if (to_begin_ > 0) begin_request(one);
}

void bare_ring::on_received(client& one, const io_uring_cqe& entry) noexcept {
  one.receive_posted = false;
  if (entry.res <= 0) {
    failed_ = failed_ || under_way_ > 0;
    return;
  }
  const auto id = static_cast<std::uint16_t>(entry.flags >> IORING_CQE_BUFFER_SHIFT);
  const std::size_t count = static_cast<std::size_t>(entry.res);
  if (count > one.in.size() - one.received) {
    failed_ = true;
  } else {
    std::memcpy(one.in.data() + one.received, buffers_ + std::size_t{id} * buffer_bytes, count);
    one.received += static_cast<std::uint32_t>(count);
  }
  recycle(id);
  prepare_receive(one);
}

void bare_ring::handle(const io_uring_cqe& entry) noexcept {
  client& one = *reinterpret_cast<client*>(entry.user_data & ~std::uint64_t{1});
  if ((entry.user_data & 1U) == 0) {
    on_received(one, entry);
    if (!one.receive_posted) return;
  } else if (entry.res <= 0) {
    failed_ = true;
    return;
  } else {
    one.sent += static_cast<std::uint32_t>(entry.res);
    if (one.sent < one.out.size()) {
      prepare_send(one);
      return;
    }
    one.send_done = true;
  }
  if (one.send_done && one.received == one.in.size()) end_request(one);
}

void bare_ring::turn() noexcept {
  enters_ += ring_.turn([this](const io_uring_cqe& entry) { handle(entry); });
}

void bare_ring::run(std::int64_t requests) {
  to_begin_ = requests;
  for (client& one : clients_) {
    if (!one.receive_posted) prepare_receive(one);
    if (to_begin_ > 0) begin_request(one);
  }
  while (under_way_ > 0 && !failed_) turn();
}

}  // namespace

void floor_request_bare_ring(benchmark::State& state) {
  const auto connections = static_cast<std::size_t>(state.range(0));
  echo_peer peer;
  bare_ring floor(peer.address(), connections);
  measured_run run(state);
  floor.run(warm_up_requests(connections));
  const std::uint64_t enters = floor.enters();
  const std::uint64_t submissions = floor.submissions();
  run.begin();
  floor.run(run.iterations());
  run.end();
  if (floor.failed()) return run.fail("an exchange failed");
  const double requests = static_cast<double>(run.iterations());
  state.counters["enters_per_request"] = static_cast<double>(floor.enters() - enters) / requests;
  state.counters["sqes_per_request"] =
      static_cast<double>(floor.submissions() - submissions) / requests;
}

}  // namespace conpool::micro
