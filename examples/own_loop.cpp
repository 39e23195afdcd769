// conpool inside an event loop of your own: one thread, one epoll, one shard among other things.
//
//   own_loop
//
// The shard's descriptor is readable when a turn has something to do; next_deadline() says when a
// turn is due even if it is not. With libuv or Asio it is the same: watch fd(), set a timer. A
// timerfd stands for everything else that such a loop serves.
#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <conpool/conpool.h>

#include "echo_peer.h"

namespace {

constexpr int clients = 4;
constexpr int requests_per_client = 250;
constexpr int turns_at_once = 8;

int report(const conpool::error& why) {
  std::fprintf(stderr, "%s\n", why.message().c_str());
  return 1;
}

struct progress {
  int clients_done = 0;
  int answered = 0;
  int failed = 0;
};

conpool::task<void> client(conpool::pool& backends, conpool::endpoint to, progress& so_far) {
  for (int number = 0; number < requests_per_client; ++number) {
    const std::string message = "request " + std::to_string(number);
    std::string answer(message.size(), '\0');
    auto lease = co_await backends.acquire(to);
    if (!lease) {
      so_far.failed += report(lease.error());
      continue;
    }
    auto sent = co_await (*lease)->write(message);
    auto received = co_await (*lease)->read_exactly(std::span<char>(answer));
    if (!sent || !received || answer != message) {
      ++so_far.failed;
      continue;
    }
    ++so_far.answered;
  }
  ++so_far.clients_done;
}

int wait_ms(const conpool::shard& home) {
  const std::optional<conpool::time_point> due = home.next_deadline();
  if (!due) return -1;
  const auto left =
      std::chrono::ceil<std::chrono::milliseconds>(*due - std::chrono::steady_clock::now());
  return static_cast<int>(std::clamp<std::int64_t>(left.count(), 0, 60'000));
}

// Turns the shard a few times, and then waits once for whatever comes first. A shard that is always
// busy must not keep the rest of the program waiting, so after a few turns the other descriptors
// are looked at, too. Returns false if epoll failed.
bool turn(conpool::shard& home, int epoll_fd, int timer_fd, int& ticks) {
  bool more = true;
  for (int turns = 0; more && turns < turns_at_once; ++turns) {
    more = home.run_once(conpool::duration::zero());
  }
  if (home.stopped()) return true;
  std::array<epoll_event, 16> events;
  const int count = epoll_wait(epoll_fd, events.data(), events.size(), more ? 0 : wait_ms(home));
  if (count < 0) return errno == EINTR;
  for (int index = 0; index < count; ++index) {
    std::uint64_t expirations = 0;
    if (events[static_cast<std::size_t>(index)].data.fd == timer_fd &&
        read(timer_fd, &expirations, sizeof expirations) == sizeof expirations) {
      ++ticks;  // here a real program would do its timed work
    }
  }
  return true;
}

bool watch(int epoll_fd, int fd) {
  epoll_event interest{};
  interest.events = EPOLLIN;  // level-triggered
  interest.data.fd = fd;
  return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &interest) == 0;
}

}  // namespace

int main() {
  auto made = conpool::shard::create();
  if (!made) return report(made.error());
  conpool::shard& home = **made;
  auto attached = home.attach();  // from here on the shard belongs to this thread
  if (!attached) return report(attached.error());

  auto loopback = conpool::socket_address::ip("127.0.0.1", 0);
  if (!loopback) return report(loopback.error());
  auto door = conpool::listener::open(home, *loopback);
  if (!door) return report(door.error());
  auto to = conpool::endpoint::parse("tcp://" + door->address().to_string());
  if (!to) return report(to.error());
  auto backends = conpool::pool::create(home);
  if (!backends) return report(backends.error());

  const int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  const int timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
  itimerspec often{};
  often.it_interval.tv_nsec = often.it_value.tv_nsec = 1'000'000;
  timerfd_settime(timer_fd, 0, &often, nullptr);
  if (!watch(epoll_fd, home.fd()) || !watch(epoll_fd, timer_fd)) {
    std::perror("epoll_ctl");
    return 1;
  }

  progress so_far;
  conpool::scope server(home);
  server.spawn(serve_echo, std::ref(*door), std::ref(server));
  for (int number = 0; number < clients; ++number) {
    home.spawn(client, std::ref(*backends), *to, std::ref(so_far));
  }
  int ticks = 0;
  bool works = true;
  while (works && so_far.clients_done < clients) works = turn(home, epoll_fd, timer_fd, ticks);
  const conpool::pool_stats sum = backends->totals();
  std::printf("%d answered, %d failed, %d timer ticks, %ju connections, hit ratio %.2f\n",
              so_far.answered, so_far.failed, ticks, static_cast<std::uintmax_t>(sum.created),
              sum.hit_ratio());

  // The same turns bring the shard to its end: its tasks are cancelled and its sockets closed.
  server.cancel();
  home.stop();
  while (works && !home.stopped()) works = turn(home, epoll_fd, timer_fd, ticks);
  close(timer_fd);
  close(epoll_fd);
  return works && so_far.failed == 0 ? 0 : 1;
}
