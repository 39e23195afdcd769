#include <tests/sim/kernel/sockets.h>

#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <tests/sim/kernel/network.h>

namespace conpool::sim {
namespace {

constexpr duration syn_timeout = std::chrono::seconds(127);  // six retries of Linux
// To a listener of the same program, or to nobody.
constexpr duration near_least = std::chrono::microseconds(20);
constexpr duration near_most = std::chrono::microseconds(500);
constexpr tcp_connection::path near_path{near_least, near_most, std::size_t{64} * 1024};

int copy_out(const socket_address& from, sockaddr_storage& address, socklen_t& length) {
  std::memset(&address, 0, sizeof address);
  length = from.size();
  std::memcpy(&address, from.data(), length);
  return 0;
}

}  // namespace

// --- descriptors

socket_table::descriptor& socket_table::find(int fd, const char* used_by) {
  const auto found = open_.find(fd);
  if (found == open_.end()) {
    misuse(std::string(used_by) + " on " + std::to_string(fd) +
           (fd > 1'000'000 && fd <= last_fd_ ? ", which is closed"
                                             : ", which is no descriptor of the simulation"));
  }
  return found->second;
}

int socket_table::add(state now, int family) {
  descriptor& made = open_[++last_fd_];
  made.now = now;
  made.family = family;
  return last_fd_;
}

bool socket_table::full() const {
  return open_.size() >= net_.faults().descriptors_max;
}

int socket_table::open_socket(int family) {
  if (full() || net_.chance(net_.faults().no_descriptor)) return -EMFILE;
  return add(state::fresh, family);
}

int socket_table::open_event() {
  if (full()) return -EMFILE;
  return add(state::event, 0);
}

int socket_table::open_ring() {
  if (full()) return -EMFILE;
  return add(state::ring, 0);
}

std::string socket_table::describe() const {
  std::string text;
  for (const auto& [fd, one] : open_) {
    text += std::to_string(fd) + (one.now == state::event  ? " (event)"
                                  : one.now == state::ring ? " (ring)"
                                                           : " to " + one.peer.to_string());
    text += ", " + std::to_string(one.in_use) + " operations; ";
  }
  return text;
}

void socket_table::use(int fd, const char* by) {
  ++find(fd, by).in_use;
}

void socket_table::release(int fd) {
  --find(fd, "release").in_use;
}

void socket_table::close(int fd) {
  descriptor& one = find(fd, "close");
  // The kernel would keep the operation, and send no FIN before it has ended.
  if (one.in_use > 0) {
    misuse("descriptor " + std::to_string(fd) + " to " + one.peer.to_string() +
           " was closed with " + std::to_string(one.in_use) + " operations in flight on it");
  }
  if (one.link) one.link->close(one.reset_on_close);
  if (one.decided && one.decided->link) one.decided->link->close(true);
  for (auto& [pending, from] : one.backlog) pending->close(true);
  open_.erase(fd);
}

int socket_table::set_option(int fd, int level, int name, int value) {
  find(fd, "setsockopt").options[{level, name}] = value;
  return 0;
}

std::optional<int> socket_table::option(int fd, int level, int name) {
  const auto& options = find(fd, "getsockopt").options;
  const auto found = options.find({level, name});
  if (found == options.end()) return std::nullopt;
  return found->second;
}

int socket_table::reset_on_close(int fd) {
  find(fd, "setsockopt").reset_on_close = true;
  return 0;
}

// --- addresses

// It is on another host than every server, so it is never the peer's address.
socket_address socket_table::ephemeral(int family) {
  if (family == AF_UNIX) {
    sockaddr_un unnamed{};
    unnamed.sun_family = AF_UNIX;
    return socket_address::from(reinterpret_cast<const sockaddr*>(&unnamed), sizeof(sa_family_t))
        .value();
  }
  last_port_ = last_port_ == 65'535 ? 20'001 : static_cast<std::uint16_t>(last_port_ + 1);
  return socket_address::ip(family == AF_INET6 ? "fd00::c11e" : "10.255.255.1", last_port_).value();
}

int socket_table::bind(int fd, const sockaddr* address, socklen_t length) {
  descriptor& one = find(fd, "bind");
  auto wanted = socket_address::from(address, length);
  if (!wanted) return -EINVAL;
  if (wanted->family() != AF_UNIX && wanted->port() == 0) {
    wanted->set_port(ephemeral(wanted->family()).port());
  }
  if (find_listener(*wanted) >= 0 || net_.find_server(*wanted) != nullptr) return -EADDRINUSE;
  one.local = *wanted;
  return 0;
}

int socket_table::listen(int fd, int backlog) {
  descriptor& one = find(fd, "listen");
  if (one.local.family() == AF_UNSPEC) one.local = ephemeral(one.family);
  one.now = state::listening;
  one.backlog_max = static_cast<std::size_t>(std::max(backlog, 1));
  return 0;
}

int socket_table::local_address(int fd, sockaddr_storage& address, socklen_t& length) {
  return copy_out(find(fd, "getsockname").local, address, length);
}

int socket_table::peer_address(int fd, sockaddr_storage& address, socklen_t& length) {
  descriptor& one = find(fd, "getpeername");
  if (one.now != state::connected) return -ENOTCONN;
  return copy_out(one.peer, address, length);
}

int socket_table::find_listener(const socket_address& at) const noexcept {
  for (const auto& [fd, one] : open_) {
    if (one.now == state::listening && !one.shut && one.local == at) return fd;
  }
  return -1;
}

// --- connecting

int socket_table::begin_connect(int fd, const sockaddr* address, socklen_t length) {
  descriptor& one = find(fd, "connect");
  if (one.now == state::connecting) return -EALREADY;
  if (one.now == state::connected) return -EISCONN;
  if (one.now != state::fresh) return -EINVAL;
  const auto to = socket_address::from(address, length);
  if (!to) return -EINVAL;
  one.now = state::connecting;
  one.peer = *to;
  one.local = ephemeral(to->family());
  server* const called = net_.find_server(*to);
  if (called != nullptr) called->on_begun();
  const duration least = called != nullptr ? called->plan().latency_least : near_least;
  const duration most = called != nullptr ? called->plan().latency_most : near_most;
  net_.say([&] { return std::to_string(fd) + " connects to " + to->to_string(); });
  net_.after(least + net_.up_to(most - least),
             [this, fd, from = one.local, to = *to] { knock(fd, from, to); });
  return -EAGAIN;
}

// The SYN has arrived. The client may have closed meanwhile: the peer does not know that yet.
void socket_table::knock(int fd, const socket_address& from, const socket_address& to) {
  server* const called = net_.find_server(to);
  if (called == nullptr) {
    const duration latency = near_least + net_.up_to(near_most - near_least);
    const int door = find_listener(to);
    if (door < 0) return answer_connect(fd, {-ECONNREFUSED, nullptr}, latency);
    descriptor& at = open_[door];
    // Not even a refusal: Linux drops what finds the backlog full.
    if (at.backlog.size() >= at.backlog_max) {
      return answer_connect(fd, {-ETIMEDOUT, nullptr}, syn_timeout);
    }
    const auto made = tcp_connection::make(net_, near_path, net_.now() + latency);
    at.backlog.emplace_back(made->server(), from);
    answer_connect(fd, {0, made->client()}, latency);
    return net_.descriptor_changed(door);
  }
  const server_plan& plan = called->plan();
  const duration latency = plan.latency_least + net_.up_to(plan.latency_most - plan.latency_least);
  switch (called->on_connect()) {
    case server::answer::none:
      return answer_connect(fd, {-ETIMEDOUT, nullptr}, syn_timeout);
    case server::answer::unreachable:
      return answer_connect(fd, {-ENETUNREACH, nullptr}, latency);
    case server::answer::refuse:
      return answer_connect(fd, {-ECONNREFUSED, nullptr}, latency);
    case server::answer::accept:
      break;
  }
  const auto made = tcp_connection::make(net_, {plan.latency_least, plan.latency_most, plan.window},
                                         net_.now() + latency);
  answer_connect(fd, {0, made->client()}, latency);
  called->on_accepted(made->server());
}

void socket_table::answer_connect(int fd, answer what, duration latency) {
  const auto found = open_.find(fd);
  const bool waits = found != open_.end() && found->second.now == state::connecting;
  if (waits) {
    found->second.decided = std::move(what);
    net_.after(latency, [this, fd] { finish_connect(fd); });
  } else if (what.link) {
    // Nobody is there any more: its kernel answers with a reset.
    net_.after(latency, [link = what.link] { link->close(true); });
  }
}

void socket_table::finish_connect(int fd) {
  const auto found = open_.find(fd);
  if (found == open_.end() || !found->second.decided) return;
  descriptor& one = found->second;
  const answer what = *std::exchange(one.decided, std::nullopt);
  one.connected = what.code;
  one.now = what.code == 0 ? state::connected : state::failed;
  if (what.link) take_link(fd, one, what.link);
  net_.descriptor_changed(fd);
}

void socket_table::take_link(int fd, descriptor& one, std::shared_ptr<tcp_end> link) {
  one.link = std::move(link);
  one.link->on_change = [this, fd] {
    net_.descriptor_changed(fd);
  };
}

int socket_table::connect_result(int fd) {
  return find(fd, "connect").connected.value_or(-EAGAIN);
}

int socket_table::open_connected(server& to) {
  const int fd = add(state::connected, to.address().family());
  descriptor& one = open_[fd];
  one.peer = to.address();
  one.local = ephemeral(one.family);
  const server_plan& plan = to.plan();
  const auto made =
      tcp_connection::make(net_, {plan.latency_least, plan.latency_most, plan.window}, net_.now());
  take_link(fd, one, made->client());
  to.on_accepted(made->server());
  return fd;
}

int socket_table::accept(int fd) {
  descriptor& door = find(fd, "accept");
  if (door.now != state::listening || door.shut) return -EINVAL;
  if (door.backlog.empty()) return -EAGAIN;
  if (full()) return -EMFILE;
  auto [link, from] = std::move(door.backlog.front());
  door.backlog.pop_front();
  const int made = add(state::connected, door.family);
  descriptor& one = open_[made];
  one.local = door.local;
  one.peer = from;
  take_link(made, one, std::move(link));
  return made;
}

// --- the connection

int socket_table::shutdown(int fd) {
  descriptor& one = find(fd, "shutdown");
  switch (one.now) {
    case state::connected:
      one.link->shut_down();
      return 0;
    case state::connecting:
      one.now = state::failed;
      one.connected = -ECONNRESET;
      if (one.decided && one.decided->link) one.decided->link->close(true);
      one.decided.reset();
      net_.descriptor_changed(fd);
      return 0;
    case state::listening:
      one.shut = true;
      net_.descriptor_changed(fd);
      return 0;
    default:
      return -ENOTCONN;
  }
}

int socket_table::peek(int fd) {
  descriptor& one = find(fd, "peek");
  return one.link ? one.link->peek() : -ENOTCONN;
}

int socket_table::receive(int fd, std::span<std::byte> into) {
  descriptor& one = find(fd, "receive");
  return one.link ? one.link->receive(into) : -ENOTCONN;
}

// Linux also says so when a FIN has come, so that its reader goes on and finds it.
bool socket_table::nonempty(int fd) {
  const descriptor& one = find(fd, "receive");
  return one.link && (one.link->unread() > 0 || one.link->ended());
}

int socket_table::send(int fd, std::span<const std::byte> from) {
  descriptor& one = find(fd, "send");
  return one.link ? one.link->send(from) : -EPIPE;
}

void socket_table::break_off(int fd) {
  descriptor& one = find(fd, "send");
  if (one.link) one.link->break_off();
}

void socket_table::hurry(int fd) {
  const descriptor& one = open_.at(fd);
  if (one.now == state::connecting) {
    if (one.decided && one.decided->code != -ETIMEDOUT) finish_connect(fd);
  } else if (one.link) {
    one.link->hurry();
  }
}

socket_table::arrivals socket_table::inspect(int fd) {
  const descriptor& one = find(fd, "inspect");
  if (!one.link) return {};
  return {one.link->unread(), one.link->ended(), one.link->broken(), one.link->unread_since()};
}

// --- events, and what is ready

void socket_table::signal(int event_fd) {
  ++find(event_fd, "signal_event").signals;
  net_.descriptor_changed(event_fd);
}

int socket_table::read_event(int fd, std::span<std::byte> into) {
  descriptor& one = find(fd, "read");
  if (one.now != state::event) misuse("a read that is not of an event: not simulated");
  if (one.signals == 0) return -EAGAIN;
  if (into.size() < sizeof one.signals) return -EINVAL;
  std::memcpy(into.data(), &one.signals, sizeof one.signals);
  one.signals = 0;
  return sizeof one.signals;
}

readiness socket_table::ready(int fd) {
  const descriptor& one = find(fd, "look");
  readiness now;
  now.connect = one.connected.has_value();
  now.accept = one.now != state::listening || one.shut || !one.backlog.empty();
  now.receive = !one.link || one.link->readable();
  now.send = !one.link || one.link->writable();
  now.read = one.now != state::event || one.signals > 0;
  return now;
}

unsigned socket_table::poll(int fd) {
  const descriptor& one = find(fd, "poll");
  unsigned events = 0;
  if (one.now == state::listening && !one.backlog.empty()) events |= POLLIN;
  if (one.now == state::event && one.signals > 0) events |= POLLIN;
  if (one.now == state::failed) events |= POLLERR | POLLHUP | POLLOUT;
  if (!one.link) return events;
  if (one.link->readable()) events |= POLLIN;
  if (one.link->writable()) events |= POLLOUT;
  if (one.link->ended()) events |= POLLRDHUP;
  if (one.link->broken()) events |= POLLERR | POLLHUP | POLLRDHUP;
  return events;
}

}  // namespace conpool::sim
