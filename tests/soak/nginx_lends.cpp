// Leases that are held for about as long as nginx keeps a connection alive: does the pool lend one
// that nginx had ended before it looked?
#include <tests/soak/lend_counts.h>

#include <array>
#include <atomic>
#include <chrono>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <utility>

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <conpool/conpool.h>
#include <conpool/runtime/detail/random.h>

#include <tests/support/nginx_server.h>
#include <tests/support/raw_sockets.h>
#include <tests/tls/certificates.h>

namespace conpool::test {
namespace {

using namespace std::chrono_literals;

constexpr std::int64_t since_s = 1'577'836'800;  // 2020
constexpr std::uint32_t nginx_connections = 300;
constexpr unsigned nginx_clients = 320;
// nginx keeps a connection for 100 ms.
constexpr duration shortest_hold = 90ms;
constexpr duration hold_spread = 20ms;

// Notes when the peers of sockets have ended them, on a thread of its own. It looks at the pool's
// own descriptors; the kernel takes one that is closed out of its set.
class end_recorder {
 public:
  end_recorder() : thread_([this] { run(); }) {}
  ~end_recorder() {
    const std::uint64_t one = 1;
    static_cast<void>(!::write(stop_.get(), &one, sizeof one));
    thread_.join();
  }
  end_recorder(const end_recorder&) = delete;
  end_recorder& operator=(const end_recorder&) = delete;

  void watch(int fd, std::uint64_t id) const {
    epoll_event wanted{.events = EPOLLRDHUP | EPOLLET, .data = {.u64 = id}};
    ::epoll_ctl(events_.get(), EPOLL_CTL_ADD, fd, &wanted);
  }
  // The epoch if it has not.
  time_point ended(std::uint64_t id) const noexcept {
    return time_point(duration(ended_[id % ended_.size()].load(std::memory_order_acquire)));
  }

 private:
  void run() {
    epoll_event stopping{.events = EPOLLIN, .data = {.u64 = 0}};
    ::epoll_ctl(events_.get(), EPOLL_CTL_ADD, stop_.get(), &stopping);
    for (;;) {
      epoll_event happened[64];
      const int count = ::epoll_wait(events_.get(), happened, 64, -1);
      const auto now = std::chrono::steady_clock::now().time_since_epoch();
      for (int i = 0; i < count; ++i) {
        const std::uint64_t id = happened[i].data.u64;
        if (id == 0) return;  // connections are counted from 1
        ended_[id % ended_.size()].store(now.count(), std::memory_order_release);
      }
    }
  }

  unique_fd events_{::epoll_create1(EPOLL_CLOEXEC)};
  unique_fd stop_{::eventfd(0, EFD_CLOEXEC)};
  std::array<std::atomic<duration::rep>, 65536> ended_{};
  std::thread thread_;
};

struct nginx_soak {
  nginx_soak(shard& here, pool& from, endpoint there, std::uint64_t lends)
      : home(&here), backends(&from), to(std::move(there)), left(lends) {}

  shard* home;
  pool* backends;
  endpoint to;
  std::uint64_t left;
  unsigned running = 0;
  end_recorder recorder;
  lend_counts sum;
};

task<bool> get(connection& from) {
  auto sent = co_await from.write("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
  if (!sent) co_return false;
  std::string answer;
  while (!answer.ends_with("end\n")) {
    char some[512];
    auto got = co_await from.read(std::span<char>(some));
    if (!got || *got == 0) co_return false;
    answer.append(some, *got);
  }
  co_return true;
}

task<void> nginx_client(nginx_soak& in, random_source dice) {
  while (in.left > 0) {
    --in.left;
    const time_point asked = std::chrono::steady_clock::now();
    auto taken = co_await in.backends->acquire(in.to);
    if (!taken) {
      ++in.sum.refused;
      co_await in.home->yield();
      continue;
    }
    lease own = std::move(*taken);
    if (!own.reused()) in.recorder.watch(own->fd(), own->id());
    const time_point ended = in.recorder.ended(own->id());
    if (!judge_lend(in.sum, own, ended, asked)) {
      own.discard();
      continue;
    }
    auto asking = get(*own);
    auto well = co_await asking;
    if (!well) {
      own.discard();
      continue;
    }
    auto kept = co_await in.home->sleep_for(shortest_hold + dice.up_to(hold_spread));
    static_cast<void>(kept);
    if (in.recorder.ended(own->id()) != time_point()) ++in.sum.faults;
  }
  --in.running;
}

class keepalive_nginx {
 public:
  keepalive_nginx() {
    const certificate own =
        root_.issue({.common_name = "a.example", .dns = {"a.example"}, .from_s = since_s});
    const std::string secret = "ssl_certificate " + files_.file("a.pem", own.chain_pem()) +
                               "; ssl_certificate_key " + files_.file("a.key", own.key_pem) +
                               "; ssl_session_tickets off; ssl_session_cache off;\n";
    const std::string rest =
        "keepalive_timeout 100ms; keepalive_requests 1000000;\n"
        "location / { return 200 \"the end\\n\"; } }\n";
    server_ = run_nginx(files_,
                        "server { listen 127.0.0.1:" + std::to_string(plain_port_) + ";\n" + rest +
                            "server { listen 127.0.0.1:" + std::to_string(tls_port_) + " ssl;\n" +
                            secret + rest,
                        tls_port_);
  }
  endpoint at(bool secure) const {
    if (!secure) {
      return endpoint::parse("tcp://127.0.0.1:" + std::to_string(plain_port_)).value();
    }
    tls::profile_options options;
    options.trust = root_.trust();
    options.verify_name = "a.example";
    return endpoint::parse("tls://127.0.0.1:" + std::to_string(tls_port_))
        .value()
        .with_profile(tls::profile::make(std::move(options)).value())
        .value();
  }

 private:
  const authority root_{"nginx's soak root", since_s};
  const std::uint16_t plain_port_ = free_port();
  const std::uint16_t tls_port_ = free_port();
  const temporary_folder files_;
  std::unique_ptr<server_process> server_;
};

}  // namespace

lend_counts soak_nginx(const lend_case& how) {
  const keepalive_nginx server;
  auto home = shard::create({}).value();
  home->attach().value();
  pool_config config;
  config.validation = how.policy;
  config.max_connections_per_endpoint = nginx_connections;
  config.max_connecting_per_endpoint = 32;
  pool backends = pool::create(*home, config).value();
  auto in = std::make_unique<nginx_soak>(*home, backends, server.at(how.secure), how.lends);
  random_source dice(how.seed);
  for (; in->running < nginx_clients; ++in->running) {
    home->spawn(nginx_client, std::ref(*in), random_source(dice.next()));
  }
  while (in->running > 0) home->run_once(100ms);
  home->stop();
  while (!home->stopped()) home->run_once(100ms);
  return in->sum;
}

}  // namespace conpool::test
