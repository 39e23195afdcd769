// c-ares on a shard: it asks hosts files and name servers, and the ring polls each of its sockets.
//
// A resolver owns it and uses it on its shard's thread. c-ares decides what to ask whom and when to
// ask again; this class gives it non-blocking sockets, tells it when they are ready, and tells it
// when its time has come. c-ares measures its timeouts with CLOCK_MONOTONIC, so virtual time on the
// shard moves only the moments at which c-ares looks.
//
// Closing a descriptor does not end a poll that the ring has armed on it. When c-ares closes a
// socket, its poll is cancelled first, and close(2) follows when the kernel has answered. So each
// socket is a node of its own, which may outlive c-ares's use of it by a turn or two.
//
// Sources: ares_init_options(3), ares_set_socket_functions(3), ares_process(3).
#pragma once

#include <cstddef>
#include <vector>

#include <conpool/runtime/address.h>
#include <conpool/runtime/clock.h>
#include <conpool/runtime/detail/intrusive_list.h>
#include <conpool/runtime/detail/timers.h>
#include <conpool/runtime/error.h>

struct ares_addrinfo;
struct ares_channeldata;
struct ares_socket_functions;

namespace conpool {
class shard;
struct resolver_options;
}  // namespace conpool

namespace conpool::detail {

struct resolver_answer {
  // The addresses in the order in which to try them, without a port. Errors: resolve_failed,
  // resolve_timeout, too_many_files, out_of_memory; shard_stopped if the question was cancelled.
  result<std::vector<socket_address>> addresses;
  // How long the answer holds; 0 if it does not come from a name server.
  duration time_to_live{};
};

class resolver_channel;

// One question: the base of what waits for the answer.
class resolver_question {
 public:
  using answered_fn = void (*)(resolver_question&, resolver_answer&&) noexcept;
  explicit resolver_question(answered_fn function) noexcept : on_answer(function) {}
  answered_fn on_answer;

 private:
  friend class resolver_channel;
  resolver_channel* asked_ = nullptr;
};

class resolver_channel : private timer_node {
 public:
  // Reads the system's configuration files. `options` is needed only during the call.
  resolver_channel(shard& home, const resolver_options& options);
  // Precondition: nothing is in flight, as after cancel_all() once the shard has stopped.
  ~resolver_channel();

  // Asks for all addresses of `name`. on_answer is called once, maybe before this returns, and no
  // later than in cancel_all(); `question` must live until then. on_answer must not ask again.
  void ask(const char* name, resolver_question& question) noexcept;

  // Answers every question now, and closes each socket as soon as its poll has ended.
  void cancel_all() noexcept;

 private:
  class watched_socket;

  static void answered(void* asker, int status, int timeouts, ares_addrinfo* found) noexcept;
  static const ares_socket_functions& socket_functions() noexcept;
  static int open_socket(int family, int type, int protocol, void* self) noexcept;
  static int close_socket(int fd, void* self) noexcept;
  static void socket_wants(void* self, int fd, int readable, int writable) noexcept;
  static void time_has_come(timer_node& node) noexcept;

  watched_socket* find(int fd) noexcept;
  error describe(int status) const;
  void process(int readable_fd, int writable_fd) noexcept;
  void arm_timer() noexcept;

  shard* home_;
  ares_channeldata* channel_ = nullptr;
  int failed_ = 0;      // the status of c-ares that says why there is no channel
  int open_errno_ = 0;  // the errno of the last socket(2), 0 if it succeeded
  intrusive_list<watched_socket, list_hook<resolver_channel>> sockets_;
};

}  // namespace conpool::detail
