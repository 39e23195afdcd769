#include <conpool/runtime/detail/resolver_channel.h>

#include <algorithm>
#include <cerrno>
#include <new>
#include <string>

#include <ares.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <conpool/runtime/detail/operation.h>
#include <conpool/runtime/detail/ready_queue.h>
#include <conpool/runtime/resolver.h>
#include <conpool/runtime/shard.h>

namespace conpool::detail {
namespace {

// Done once for the process and never undone, because other code in it may use c-ares, too.
int initialize_library() {
  static const int status = ares_library_init(ARES_LIB_INIT_ALL);
  return status;
}

int connect_socket(int fd, const sockaddr* address, socklen_t length, void*) noexcept {
  return ::connect(fd, address, length);
}

ares_ssize_t receive_from(int fd, void* memory, std::size_t bytes, int flags, sockaddr* from,
                          socklen_t* from_length, void*) noexcept {
  return ::recvfrom(fd, memory, bytes, flags, from, from_length);
}

// It uses sendmsg(2), not writev(2), because a server that closed its side must not raise SIGPIPE.
ares_ssize_t send_vector(int fd, const iovec* parts, int count, void*) noexcept {
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(parts);
  message.msg_iovlen = static_cast<std::size_t>(count);
  const ssize_t sent = ::sendmsg(fd, &message, MSG_NOSIGNAL);
  if (sent >= 0 || errno != ECONNREFUSED) return sent;
  // The server's host refused an earlier datagram, and the kernel reports that once, here. c-ares
  // would take it for the failure of this question alone and leave the earlier one to its timeout.
  // Sent again, the datagram is refused again, and the poll then reports it for all questions.
  return ::sendmsg(fd, &message, MSG_NOSIGNAL);
}

resolver_answer copy_answer(const ares_addrinfo& found) {
  std::vector<socket_address> addresses;
  int seconds = -1;
  const auto shorten = [&seconds](int ttl) {
    seconds = seconds < 0 ? ttl : std::min(seconds, ttl);
  };
  for (const ares_addrinfo_node* node = found.nodes; node != nullptr; node = node->ai_next) {
    result<socket_address> address = socket_address::from(node->ai_addr, node->ai_addrlen);
    if (!address) continue;
    addresses.push_back(*address);
    shorten(node->ai_ttl);
  }
  // An alias may change before the addresses behind it do.
  for (const ares_addrinfo_cname* alias = found.cnames; alias != nullptr; alias = alias->next) {
    shorten(alias->ttl);
  }
  return {std::move(addresses), std::chrono::seconds(std::max(seconds, 0))};
}

}  // namespace

// A socket of c-ares. It has at most one poll, which is armed again after c-ares has looked.
//
//   idle --wanted--> polled --ready--> queued --turn--> ares_process_fd --> idle or polled
//   closing: c-ares has closed it; it dies as soon as it is neither polled nor queued nor in use
class resolver_channel::watched_socket : public operation,
                                         public ready_node,
                                         public list_hook<resolver_channel> {
 public:
  watched_socket(resolver_channel& owner, int opened) noexcept
      : operation(&watched_socket::polled),
        ready_node(&watched_socket::process),
        owner_(&owner),
        fd_(opened) {}

  int fd() const noexcept { return fd_; }
  bool closing() const noexcept { return closing_; }

  void want(unsigned events) noexcept {
    wanted_ = events;
    settle();
  }
  // May free this.
  void close() noexcept {
    CONPOOL_ASSERT(!closing_, "c-ares closed a socket twice");
    closing_ = true;
    wanted_ = 0;
    settle();
  }

 private:
  static constexpr unsigned error_events = POLLERR | POLLHUP | POLLNVAL;

  // Brings the poll in line with what is wanted. May free this.
  void settle() noexcept {
    if (queued_ || processing_) return;  // they end with a settle()
    conpool::ring& ring = owner_->home_->ring();
    if (in_flight()) {
      if (armed_ != wanted_) ring.cancel(*this);
      return;
    }
    if (closing_) {
      owner_->sockets_.remove(*this);
      ring.close(fd_);
      delete this;
      return;
    }
    if (wanted_ == 0) return;
    armed_ = wanted_;
    ring.poll(*this, fd_, armed_);
  }

  static void polled(operation& op) noexcept {
    auto& self = static_cast<watched_socket&>(op);
    const int code = op.returned();
    if (self.closing_ || code == -ECANCELED) {
      self.settle();
      return;
    }
    // If polling itself failed, c-ares finds out why when it uses the socket.
    self.seen_ = code > 0 ? static_cast<unsigned>(code) : self.armed_;
    self.queued_ = true;
    self.owner_->home_->ready().push(self);
  }

  static void process(ready_node& node) noexcept {
    auto& self = static_cast<watched_socket&>(node);
    resolver_channel& owner = *self.owner_;
    self.queued_ = false;
    if (!self.closing_) {
      const bool readable = (self.seen_ & (POLLIN | error_events)) != 0;
      const bool writable =
          (self.seen_ & (POLLOUT | error_events)) != 0 && (self.wanted_ & POLLOUT) != 0;
      self.processing_ = true;
      owner.process(readable ? self.fd_ : ARES_SOCKET_BAD, writable ? self.fd_ : ARES_SOCKET_BAD);
      self.processing_ = false;
    }
    self.settle();
  }

  resolver_channel* owner_;
  int fd_;
  unsigned wanted_ = 0;
  unsigned armed_ = 0;
  unsigned seen_ = 0;
  bool queued_ = false;
  bool processing_ = false;
  bool closing_ = false;
};

resolver_channel::resolver_channel(shard& home, const resolver_options& options)
    : timer_node(&resolver_channel::time_has_come), home_(&home) {
  failed_ = initialize_library();
  if (failed_ != ARES_SUCCESS) return;
  ares_options settings{};
  int given = ARES_OPT_SOCK_STATE_CB;
  settings.sock_state_cb = &resolver_channel::socket_wants;
  settings.sock_state_cb_data = this;
  if (options.attempt_timeout > std::chrono::milliseconds::zero()) {
    given |= ARES_OPT_TIMEOUTMS;
    settings.timeout = static_cast<int>(options.attempt_timeout.count());
  }
  if (options.attempts > 0) {
    given |= ARES_OPT_TRIES;
    settings.tries = static_cast<int>(options.attempts);
  }
  std::string hosts_then_servers = "fb";
  if (!options.servers.empty()) {
    given |= ARES_OPT_LOOKUPS;
    settings.lookups = hosts_then_servers.data();
  }
  failed_ = ares_init_options(&channel_, &settings, given);
  if (failed_ != ARES_SUCCESS) {
    channel_ = nullptr;
    return;
  }
  ares_set_socket_functions(channel_, &socket_functions(), this);
  if (!options.servers.empty()) {
    failed_ = ares_set_servers_ports_csv(channel_, options.servers.c_str());
  }
}

resolver_channel::~resolver_channel() {
  if (channel_ != nullptr) {
    cancel_all();
    ares_destroy(channel_);
  }
  home_->timers().cancel(*this);
  CONPOOL_ASSERT(sockets_.empty(), "a resolver was destroyed while the ring polls its sockets");
}

void resolver_channel::ask(const char* name, resolver_question& question) noexcept {
  home_->assert_owner();
  if (failed_ != ARES_SUCCESS) {
    question.on_answer(question, {fail(describe(failed_))});
    return;
  }
  question.asked_ = this;
  ares_addrinfo_hints hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;  // one entry for each address, not one for each kind of socket
  ares_getaddrinfo(channel_, name, nullptr, &hints, &resolver_channel::answered, &question);
  arm_timer();
}

void resolver_channel::answered(void* asker, int status, int, ares_addrinfo* found) noexcept {
  auto& question = *static_cast<resolver_question*>(asker);
  resolver_answer answer;
  if (status == ARES_SUCCESS && found != nullptr) {
    answer = copy_answer(*found);
  } else {
    answer.addresses = fail(question.asked_->describe(status));
  }
  if (found != nullptr) ares_freeaddrinfo(found);
  question.on_answer(question, std::move(answer));
}

void resolver_channel::cancel_all() noexcept {
  if (channel_ == nullptr) return;
  ares_cancel(channel_);
  arm_timer();
}

error resolver_channel::describe(int status) const {
  errc why = errc::resolve_failed;
  int system_errno = 0;
  std::string detail = ares_strerror(status);
  switch (status) {
    case ARES_ENOTFOUND:
    case ARES_ENODATA:
      detail = "name not found: " + detail;
      break;
    case ARES_ETIMEOUT:
      why = errc::resolve_timeout;
      break;
    case ARES_ENOMEM:
      why = errc::out_of_memory;
      break;
    case ARES_ECANCELLED:
    case ARES_EDESTRUCTION:
      why = errc::shard_stopped;
      break;
    case ARES_ECONNREFUSED:
      // c-ares also says "refused" when it got no socket to ask with.
      system_errno = open_errno_;
      if (open_errno_ == EMFILE || open_errno_ == ENFILE) why = errc::too_many_files;
      break;
    default:
      break;
  }
  return error(why, phase::resolve, system_errno).with_detail(detail);
}

void resolver_channel::process(int readable_fd, int writable_fd) noexcept {
  ares_process_fd(channel_, readable_fd, writable_fd);
  arm_timer();
}

void resolver_channel::arm_timer() noexcept {
  timeval left{};
  if (ares_timeout(channel_, nullptr, &left) == nullptr) {
    home_->timers().cancel(*this);
    return;
  }
  // Wait at least a tick: if the shard's clock runs ahead of c-ares's, there is nothing to do yet.
  const duration wait = std::chrono::seconds(left.tv_sec) + std::chrono::microseconds(left.tv_usec);
  home_->timers().arm(*this, home_->now() + std::max(wait, timer_wheel::tick_length));
}

void resolver_channel::time_has_come(timer_node& node) noexcept {
  static_cast<resolver_channel&>(node).process(ARES_SOCKET_BAD, ARES_SOCKET_BAD);
}

// --- The functions that c-ares calls.

const ares_socket_functions& resolver_channel::socket_functions() noexcept {
  static constexpr ares_socket_functions functions = {&resolver_channel::open_socket,
                                                      &resolver_channel::close_socket,
                                                      &connect_socket, &receive_from, &send_vector};
  return functions;
}

int resolver_channel::open_socket(int family, int type, int protocol, void* self) noexcept {
  auto& channel = *static_cast<resolver_channel*>(self);
  const int fd = ::socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);
  channel.open_errno_ = fd < 0 ? errno : 0;
  if (fd < 0) return ARES_SOCKET_BAD;
  auto* const watched = new (std::nothrow) watched_socket(channel, fd);
  if (watched == nullptr) {
    ::close(fd);
    errno = channel.open_errno_ = ENOMEM;
    return ARES_SOCKET_BAD;
  }
  channel.sockets_.push_back(*watched);
  // A failure costs a delay and nothing else.
  const int on = 1;
  if (type == SOCK_STREAM) ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return fd;
}

int resolver_channel::close_socket(int fd, void* self) noexcept {
  watched_socket* const watched = static_cast<resolver_channel*>(self)->find(fd);
  CONPOOL_ASSERT(watched != nullptr, "c-ares closed a socket that is not its own");
  watched->close();
  return 0;
}

void resolver_channel::socket_wants(void* self, int fd, int readable, int writable) noexcept {
  watched_socket* const watched = static_cast<resolver_channel*>(self)->find(fd);
  CONPOOL_ASSERT(watched != nullptr, "c-ares waits for a socket that is not its own");
  watched->want((readable != 0 ? POLLIN : 0U) | (writable != 0 ? POLLOUT : 0U));
}

// There are a handful at most. A socket that is closing keeps its number until close(2), so numbers
// are unique.
resolver_channel::watched_socket* resolver_channel::find(int fd) noexcept {
  for (watched_socket& watched : sockets_) {
    if (watched.fd() == fd && !watched.closing()) return &watched;
  }
  return nullptr;
}

}  // namespace conpool::detail
