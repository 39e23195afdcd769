#include <tests/sim/kernel/uring.h>

#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include <tests/sim/kernel/network.h>

namespace conpool::sim {
namespace {

constexpr std::size_t task_work_max = 20;
constexpr auto late_cancel_most = std::chrono::milliseconds(2);
constexpr auto ends_by_itself_within = std::chrono::milliseconds(20);

const char* name_of(opcode what) noexcept {
  switch (what) {
    case opcode::nop:
      return "nop";
    case opcode::connect:
      return "connect";
    case opcode::accept:
      return "accept";
    case opcode::receive:
      return "receive";
    case opcode::receive_posted:
      return "posted receive";
    case opcode::send:
      return "send";
    case opcode::poll:
      return "poll";
    case opcode::read:
      return "read";
    case opcode::peek:
      return "peek";
    case opcode::cancel:
      return "cancel";
    case opcode::wake:
      return "wake";
    case opcode::woken:
      return "woken";
  }
  return "?";
}

bool takes_bytes(opcode what) noexcept {
  return what == opcode::receive || what == opcode::receive_posted;
}

}  // namespace

uring::uring(network& net, const sizes& wanted)
    : net_(net),
      sizes_(wanted),
      ring_number_(net.add_ring(*this)),
      fd_(net.sockets().open_ring()),
      memory_(wanted.buffers * wanted.buffer_bytes),
      buffer_is_free_(wanted.buffers, true) {
  for (unsigned id = 0; id < wanted.buffers; ++id) {
    free_buffers_.push_back(static_cast<std::uint16_t>(id));
  }
}

uring::~uring() {
  for (const auto& [number, one] : requests_) {
    if (one.what.what == opcode::wake || one.what.what == opcode::woken) continue;
    misuse(std::string("a ring was freed with a ") + name_of(one.what.what) +
           " in flight on descriptor " + std::to_string(one.what.fd));
  }
  if (free_buffers_.size() != sizes_.buffers) {
    misuse("a ring was freed while " + std::to_string(sizes_.buffers - free_buffers_.size()) +
           " of its receive buffers were in use");
  }
  net_.remove_ring(ring_number_);
}

void uring::set_flags() noexcept {
  flags = (marked_.empty() ? 0 : flag_task_work) | (overflow_.empty() ? 0 : flag_overflow);
}

bool uring::is_on_descriptor(const entry& one) const noexcept {
  return one.what != opcode::nop && one.what != opcode::cancel && one.what != opcode::wake &&
         one.what != opcode::woken;
}

// --- submissions

bool uring::prepare(const entry& wanted) {
  if (prepared_.size() == sizes_.sq_entries) return false;
  if (is_on_descriptor(wanted)) {
    net_.sockets().use(wanted.fd, name_of(wanted.what));
    for (const auto& [number, other] : requests_) {
      if (other.what.fd != wanted.fd) continue;
      const bool both = (takes_bytes(wanted.what) && takes_bytes(other.what.what)) ||
                        (wanted.what == opcode::send && other.what.what == opcode::send);
      // Linux would answer them in either order, with the bytes in the wrong one.
      if (both) {
        misuse(std::string("a ") + name_of(wanted.what) + " beside a " + name_of(other.what.what) +
               " on descriptor " + std::to_string(wanted.fd));
      }
    }
  }
  const std::uint64_t number = ++last_number_;
  net_.say([&] {
    return std::to_string(wanted.fd) + " " + name_of(wanted.what) + " #" + std::to_string(number) +
           " of " + std::to_string(wanted.length);
  });
  request& made = requests_[number];
  made.what = wanted;
  made.what.number = number;
  prepared_.push_back(number);
  return true;
}

unsigned uring::submit(std::size_t most) {
  unsigned count = 0;
  while (!prepared_.empty() && count < most) {
    const std::uint64_t number = prepared_.front();
    prepared_.pop_front();
    ++count;
    start(number);
  }
  return count;
}

void uring::start(std::uint64_t number) {
  request& one = requests_.at(number);
  one.submitted = true;
  const entry& wanted = one.what;
  if (wanted.what == opcode::cancel) return start_cancel(wanted);
  if (wanted.what == opcode::wake) {
    uring* const other = net_.ring_of(wanted.fd);
    if (other == nullptr) return finish(number, {-EBADFD});
    other->wake();
    return finish(number, {0});
  }
  if (wanted.what == opcode::connect) {
    const int code = net_.sockets().begin_connect(wanted.fd, wanted.address, wanted.address_length);
    if (code != -EAGAIN) return finish(number, {code});
  }
  may_end_by_itself(number);
  if (!ready(one)) return;
  // A posted receive polls first: what is there already is task work.
  const bool never_waits = wanted.what == opcode::peek || wanted.what == opcode::nop;
  const bool later =
      wanted.what == opcode::receive_posted || (!never_waits && net_.chance(net_.faults().punted));
  if (later) return mark(number);
  if (const auto how = attempt(one)) finish(number, *how);
}

void uring::may_end_by_itself(std::uint64_t number) {
  const entry& one = requests_.at(number).what;
  const bool network = one.what == opcode::connect || one.what == opcode::send ||
                       takes_bytes(one.what) || one.what == opcode::accept;
  if (!network) return;
  int result = 0;
  if (net_.chance(net_.faults().ended_by_itself)) result = -ECANCELED;
  if (net_.chance(net_.faults().interrupted)) result = -EINTR;
  if (result == 0) return;
  net_.after(net_.up_to(ends_by_itself_within), [&net = net_, ring = ring_number_, number, result] {
    uring* const owner = net.ring(ring);
    if (owner != nullptr) owner->decide(number, result);
  });
}

// --- cancelling

void uring::start_cancel(const entry& cancel) {
  const auto found = std::ranges::find_if(
      requests_, [&](const auto& one) { return one.second.what.user_data == cancel.target; });
  int answer = -ENOENT;  // it has been completed
  bool first = net_.chance(0.5);
  if (found != requests_.end()) {
    const std::uint64_t number = found->first;
    request& one = found->second;
    if (!one.submitted) misuse("a cancel was submitted before its target");
    std::optional<outcome> done;
    if (!one.decided && net_.chance(net_.faults().cancel_loses)) {
      if (is_on_descriptor(one.what)) net_.sockets().hurry(one.what.fd);
      if (ready(one)) done = attempt(one);
    }
    if (done) {
      answer = -EALREADY;
      finish(number, *done);
    } else {
      answer = 0;
      decide(number, -ECANCELED);
    }
  }
  if (net_.chance(net_.faults().cancel_is_late)) {
    net_.after(net_.up_to(late_cancel_most),
               [&net = net_, ring = ring_number_, number = cancel.number, answer] {
                 uring* const owner = net.ring(ring);
                 if (owner != nullptr) owner->decide(number, answer);
               });
  } else if (first) {
    finish(cancel.number, {answer});
  } else {
    decide(cancel.number, answer);  // among the task work, in any order
  }
}

// --- doing it

bool uring::ready(const request& one) {
  if (!one.submitted) return false;
  const entry& wanted = one.what;
  switch (wanted.what) {
    case opcode::connect:
      return net_.sockets().ready(wanted.fd).connect;
    case opcode::accept:
      return net_.sockets().ready(wanted.fd).accept;
    case opcode::receive:
    case opcode::receive_posted:
      return net_.sockets().ready(wanted.fd).receive;
    case opcode::send:
      return net_.sockets().ready(wanted.fd).send;
    case opcode::read:
      return net_.sockets().ready(wanted.fd).read;
    case opcode::poll:
      return (net_.sockets().poll(wanted.fd) &
              (static_cast<unsigned>(wanted.value) | POLLERR | POLLHUP)) != 0;
    case opcode::nop:
    case opcode::peek:
      return true;
    default:
      return false;
  }
}

std::optional<uring::outcome> uring::attempt(request& one) {
  const entry& wanted = one.what;
  socket_table& sockets = net_.sockets();
  outcome how{};
  switch (wanted.what) {
    case opcode::nop:
      return outcome{wanted.value};
    case opcode::connect:
      how.result = sockets.connect_result(wanted.fd);
      break;
    case opcode::accept:
      how.result = sockets.accept(wanted.fd);
      break;
    case opcode::receive:
      how = receive(wanted.fd, {wanted.memory, wanted.length});
      break;
    case opcode::receive_posted:
      return receive_posted(wanted.fd);
    case opcode::send:
      return send(one);
    case opcode::poll:
      return outcome{static_cast<int>(sockets.poll(wanted.fd) &
                                      (static_cast<unsigned>(wanted.value) | POLLERR | POLLHUP))};
    case opcode::read:
      how.result = sockets.read_event(wanted.fd, {wanted.memory, wanted.length});
      break;
    case opcode::peek:
      return outcome{sockets.peek(wanted.fd)};  // it never waits
    default:
      misuse(std::string("an attempt at a ") + name_of(wanted.what));
  }
  if (how.result == -EAGAIN) return std::nullopt;
  return how;
}

uring::outcome uring::receive(int fd, std::span<std::byte> into) {
  socket_table& sockets = net_.sockets();
  const std::size_t there = std::min(into.size(), sockets.inspect(fd).bytes);
  if (there > 1 && net_.chance(net_.faults().short_receive)) {
    into = into.first(1 + net_.below(there - 1));
  }
  outcome how{sockets.receive(fd, into)};
  if (how.result >= 0 && sockets.nonempty(fd)) how.flags |= flag_nonempty;
  return how;
}

// The buffer is taken before the kernel looks what has come: even an end needs one.
std::optional<uring::outcome> uring::receive_posted(int fd) {
  if (!net_.sockets().ready(fd).receive) return std::nullopt;
  if (free_buffers_.empty() || net_.chance(net_.faults().no_buffer)) return outcome{-ENOBUFS};
  const auto which =
      free_buffers_.begin() + static_cast<std::ptrdiff_t>(net_.below(free_buffers_.size()));
  const std::uint16_t id = *which;
  outcome how = receive(fd, {memory_.data() + id * sizes_.buffer_bytes, sizes_.buffer_bytes});
  if (how.result <= 0) return how;
  free_buffers_.erase(which);
  buffer_is_free_[id] = false;
  how.flags |= flag_buffer | (static_cast<unsigned>(id) << buffer_shift);
  return how;
}

// Goes on until all is sent, as MSG_WAITALL says, or until a fault.
std::optional<uring::outcome> uring::send(request& one) {
  const entry& wanted = one.what;
  if (net_.chance(net_.faults().send_fails)) net_.sockets().break_off(wanted.fd);
  std::size_t rest = wanted.length - one.done;
  const bool partial = rest > 1 && net_.chance(net_.faults().partial_send);
  if (partial) rest = 1 + net_.below(rest - 1);
  const int sent = send_pieces(one, rest);
  if (sent == -EAGAIN) return std::nullopt;
  if (sent < 0) return outcome{one.done > 0 ? static_cast<int>(one.done) : sent};
  one.done += static_cast<std::size_t>(sent);
  if (one.done < wanted.length && !partial) return std::nullopt;
  return outcome{static_cast<int>(one.done)};
}

// Sends at most so much of what was not sent yet, its pieces as one segment.
int uring::send_pieces(const request& one, std::size_t most) {
  const entry& wanted = one.what;
  if (wanted.pieces.empty()) {
    return net_.sockets().send(wanted.fd, {wanted.memory + one.done, most});
  }
  std::vector<std::byte> together;
  std::size_t skip = one.done;
  for (std::span<const std::byte> piece : wanted.pieces) {
    const std::size_t before = std::min(skip, piece.size());
    skip -= before;
    piece = piece.subspan(before, std::min(piece.size() - before, most - together.size()));
    together.insert(together.end(), piece.begin(), piece.end());
  }
  return net_.sockets().send(wanted.fd, together);
}

void uring::changed(int fd) {
  for (auto& [number, one] : requests_) {
    if (one.what.fd != fd || one.marked || !is_on_descriptor(one.what)) continue;
    if (ready(one)) mark(number);
  }
}

// --- completions

void uring::mark(std::uint64_t number) {
  request& one = requests_.at(number);
  if (one.marked) return;
  one.marked = true;
  marked_.push_back(number);
  set_flags();
}

void uring::decide(std::uint64_t number, int result) {
  const auto found = requests_.find(number);
  if (found == requests_.end() || found->second.decided) return;
  request& one = found->second;
  // A send that was under way tells what it has sent.
  one.decided = one.done > 0 ? static_cast<int>(one.done) : result;
  mark(number);
}

void uring::run_task_work() {
  while (!overflow_.empty() && queue_.size() < sizes_.cq_entries) {
    queue_.push_back(overflow_.front());
    overflow_.pop_front();
    ++tail;
  }
  for (std::size_t count = 0; count < task_work_max && !marked_.empty(); ++count) {
    const auto which = marked_.begin() + static_cast<std::ptrdiff_t>(net_.below(marked_.size()));
    const std::uint64_t number = *which;
    marked_.erase(which);
    request& one = requests_.at(number);
    one.marked = false;
    if (one.decided) {
      finish(number, {*one.decided});
    } else if (const auto how = attempt(one)) {
      finish(number, *how);
    }
  }
  set_flags();
}

void uring::finish(std::uint64_t number, outcome how) {
  const auto found = requests_.find(number);
  const entry one = found->second.what;
  if (found->second.marked) std::erase(marked_, number);
  requests_.erase(found);
  if (is_on_descriptor(one)) net_.sockets().release(one.fd);
  post({one.user_data, number, one.what, how.result, how.flags, one.fd});
}

void uring::post(const completion& made) {
  if (!overflow_.empty() || queue_.size() >= sizes_.cq_entries) {
    overflow_.push_back(made);
  } else {
    queue_.push_back(made);
    ++tail;
  }
  set_flags();
}

bool uring::pop(completion& into) {
  if (queue_.empty()) return false;
  into = queue_.front();
  queue_.pop_front();
  net_.completed((into.number << 4) | static_cast<std::uint64_t>(into.what), into.result,
                 into.flags);
  net_.say([&] {
    return std::to_string(into.fd) + " " + name_of(into.what) + " #" + std::to_string(into.number) +
           " -> " + std::to_string(into.result) +
           ((into.flags & flag_nonempty) != 0 ? ", more" : "");
  });
  return true;
}

void uring::wake() {
  const std::uint64_t number = ++last_number_;
  request& made = requests_[number];
  made.what = {.what = opcode::woken, .user_data = 2, .number = number};
  made.submitted = true;
  decide(number, 0);
}

void uring::recycle(std::uint16_t id) {
  if (id >= sizes_.buffers) misuse("a receive buffer that is not of this ring was given back");
  if (buffer_is_free_[id]) misuse("a receive buffer was given back twice");
  buffer_is_free_[id] = true;
  free_buffers_.push_back(id);
  // If anything still reads the buffer, it reads nonsense.
  std::memset(memory_.data() + id * sizes_.buffer_bytes, 0xdd, sizes_.buffer_bytes);
}

}  // namespace conpool::sim
