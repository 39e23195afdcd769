// A simulated io_uring: what is submitted, what is in flight, and the completions.
//
// Knows nothing of the library's operations: an entry carries a number of its submitter's, and its
// completion brings it back. As with the real one in DEFER_TASKRUN mode:
//   - an entry takes effect when it is submitted, in order; what can be done then may be done at
//     once, and its completion is there at once;
//   - the rest waits for its descriptor. When that is ready the work is only marked
//     (flag_task_work), and done when task work is run, at most about 20 at a time, in any order:
//     until then a cancel still ends the operation, and the bytes stay in the socket;
//   - a cancel answers for itself, before, after or long after its target's own completion, and the
//     target may have been faster;
//   - completions that find the queue full are kept aside (flag_overflow).
//
// Owned by a simulated ring; belongs to the network that was current when it was made.
#pragma once

#include <sys/socket.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <span>
#include <vector>

#include <conpool/runtime/clock.h>

namespace conpool::sim {

class network;

enum class opcode : std::uint8_t {
  nop,
  connect,
  accept,
  receive,
  receive_posted,
  send,
  poll,
  read,
  peek,
  cancel,
  wake,
  woken,  // another ring's wake
};

struct entry {
  opcode what;
  std::uint64_t user_data;
  int fd = -1;  // the target ring's for a wake
  std::byte* memory = nullptr;
  std::size_t length = 0;
  const sockaddr* address = nullptr;
  socklen_t address_length = 0;
  int value = 0;                                     // the result of a nop, the events of a poll
  std::uint64_t target = 0;                          // the user_data that a cancel is aimed at
  std::vector<std::span<const std::byte>> pieces{};  // of a send; without any, its memory
  std::uint64_t number = 0;                          // given by prepare()
};

struct completion {
  std::uint64_t user_data;
  std::uint64_t number;
  opcode what;
  int result;
  unsigned flags;
  int fd;
};

class uring {
 public:
  // As IORING_CQE_F_BUFFER, IORING_CQE_F_SOCK_NONEMPTY and IORING_CQE_BUFFER_SHIFT.
  static constexpr unsigned flag_buffer = 1;
  static constexpr unsigned flag_nonempty = 4;
  static constexpr unsigned buffer_shift = 16;
  // As IORING_SQ_CQ_OVERFLOW and IORING_SQ_TASKRUN.
  static constexpr unsigned flag_overflow = 2;
  static constexpr unsigned flag_task_work = 4;

  struct sizes {
    unsigned sq_entries;
    unsigned cq_entries;
    unsigned buffers;
    std::size_t buffer_bytes;
  };

  uring(network& net, const sizes& wanted);
  ~uring();
  uring(const uring&) = delete;
  uring& operator=(const uring&) = delete;

  int fd() const noexcept { return fd_; }
  const sizes& capacity() const noexcept { return sizes_; }

  // --- Submissions. prepare() fails when the queue is full.
  bool prepare(const entry& wanted);
  std::size_t prepared() const noexcept { return prepared_.size(); }
  // Lets up to `most` take effect; returns how many.
  unsigned submit(std::size_t most);

  // --- Completions.
  void run_task_work();
  bool pop(completion& into);
  bool has_completions() const noexcept { return !queue_.empty(); }

  // What completions_pending() of the ring reads: how many were posted ever, and the flags.
  unsigned tail = 0;
  unsigned flags = 0;

  // --- Receive buffers.
  std::byte* buffers() noexcept { return memory_.data(); }
  void recycle(std::uint16_t id);

  // --- For the network.
  void changed(int fd);
  void wake();

 private:
  struct request {
    entry what;
    std::size_t done = 0;        // bytes a send has handed over
    std::optional<int> decided;  // how it ends, whatever its descriptor says
    bool marked = false;         // task work
    bool submitted = false;
  };
  struct outcome {
    int result;
    unsigned flags = 0;
  };

  void start(std::uint64_t number);
  void start_cancel(const entry& cancel);
  void may_end_by_itself(std::uint64_t number);
  bool ready(const request& one);
  // Does it, or finds that it has to wait.
  std::optional<outcome> attempt(request& one);
  outcome receive(int fd, std::span<std::byte> into);
  std::optional<outcome> receive_posted(int fd);
  std::optional<outcome> send(request& one);
  int send_pieces(const request& one, std::size_t most);
  void mark(std::uint64_t number);
  void decide(std::uint64_t number, int result);
  void finish(std::uint64_t number, outcome how);
  void post(const completion& made);
  void set_flags() noexcept;
  bool is_on_descriptor(const entry& one) const noexcept;

  network& net_;
  sizes sizes_;
  unsigned ring_number_;
  int fd_;
  std::uint64_t last_number_ = 0;
  std::deque<std::uint64_t> prepared_;
  std::map<std::uint64_t, request> requests_;  // by number
  std::vector<std::uint64_t> marked_;
  std::deque<completion> queue_;
  std::deque<completion> overflow_;
  std::vector<std::byte> memory_;
  std::vector<std::uint16_t> free_buffers_;
  std::vector<bool> buffer_is_free_;
};

}  // namespace conpool::sim
