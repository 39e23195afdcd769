#include <tests/soak/faulty_server.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <conpool/runtime/detail/random.h>
#include <conpool/tls/detail/channel.h>
#include <conpool/tls/detail/shard_resources.h>

#include <tests/support/raw_sockets.h>

namespace conpool::test {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t message_bytes = 8;
constexpr duration fault_delay_max = 400us;

time_point wall() {
  return std::chrono::steady_clock::now();
}

enum class fault : std::uint8_t { end, cut, reset, stray };

}  // namespace

// One client's connection.
class faulty_connection {
 public:
  faulty_connection(faulty_server& of, unique_fd fd, std::uint16_t client_port,
                    tls::server_profile* secure)
      : server_(&of), fd_(std::move(fd)), client_port_(client_port) {
    of.broke_[client_port_].store(0, std::memory_order_release);
    if (secure == nullptr) return;
    channel_ = std::make_unique<tls::channel>(*secure, name_);
    memory_.resize(tls::record_buffer_size);
  }

  int fd() const noexcept { return fd_.get(); }
  std::optional<time_point> due() const noexcept { return due_; }

  // False when it is over.
  bool receive(random_source& dice) {
    std::byte some[16 * 1024];
    const ssize_t count = ::recv(fd(), some, sizeof some, MSG_DONTWAIT);
    if (count < 0 && errno == EAGAIN) return true;
    if (count <= 0) return false;
    take(std::span(some).first(static_cast<std::size_t>(count)));
    while (received_.size() >= message_bytes) {
      const std::string answer = received_.substr(0, message_bytes);
      received_.erase(0, message_bytes);
      send(answer);
      if (due_ || dice.below(faulty_server::fault_odds) != 0) continue;
      what_ = static_cast<fault>(dice.below(4));
      const bool at_once = dice.below(3) == 0;
      if (at_once) return do_fault();
      due_ = wall() + dice.up_to(fault_delay_max);
    }
    return !is_broken_;
  }

  bool do_fault() {
    due_.reset();
    switch (what_) {
      case fault::end:
        if (channel_) {
          tls::record_buffer out(memory_);
          channel_->close(out);
          send_raw(out.filled());
        }
        [[fallthrough]];
      case fault::cut:
        fd_.reset();
        note(server_->ends_);
        return false;
      case fault::reset:
        fd_.reset_connection();
        note(server_->resets_);
        return false;
      case fault::stray:
        send("???");
        note(server_->strays_);
        return !is_broken_;
    }
    return false;
  }

 private:
  // The first fault counts: the connection is dead from then on.
  void note(std::atomic<std::uint64_t>& kind) {
    const duration::rep now = wall().time_since_epoch().count();
    duration::rep none = 0;
    server_->broke_[client_port_].compare_exchange_strong(none, now, std::memory_order_release);
    kind.fetch_add(1, std::memory_order_relaxed);
  }

  void take(std::span<const std::byte> input) {
    if (!channel_) {
      received_.append(reinterpret_cast<const char*>(input.data()), input.size());
      return;
    }
    while (channel_->state() == tls::channel_state::handshaking) {
      tls::record_buffer out(memory_);
      const tls::handshake_step step = channel_->handshake(input, out);
      send_raw(out.filled());
      if (step == tls::handshake_step::wants_input) return;
      if (step == tls::handshake_step::failed) is_broken_ = true;
    }
    std::byte plain[4096];
    while (!is_broken_ && (!input.empty() || channel_->has_plain())) {
      const auto count = channel_->read(input, plain);
      if (!count) is_broken_ = true;
      if (!count || *count == 0) return;
      received_.append(reinterpret_cast<const char*>(plain), *count);
    }
  }
  void send(std::string_view text) {
    const auto bytes = std::as_bytes(std::span(text));
    if (!channel_) {
      send_raw(bytes);
      return;
    }
    tls::record_buffer out(memory_);
    if (!channel_->write(bytes, out)) is_broken_ = true;
    send_raw(out.filled());
  }
  void send_raw(std::span<const std::byte> bytes) {
    if (bytes.empty()) return;
    const ssize_t sent = ::send(fd(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent != static_cast<ssize_t>(bytes.size())) is_broken_ = true;
  }

  faulty_server* server_;
  unique_fd fd_;
  std::uint16_t client_port_;
  const std::string name_ = "client";
  std::unique_ptr<tls::channel> channel_;
  std::vector<std::byte> memory_;  // for what TLS sends
  std::string received_;
  fault what_ = fault::end;
  std::optional<time_point> due_;
  bool is_broken_ = false;
};

// What the thread does.
class faulty_server::loop {
 public:
  loop(faulty_server& own, const tls::server_options* secure, std::uint64_t seed)
      : own_(&own), dice_(seed), events_(::epoll_create1(EPOLL_CLOEXEC)) {
    if (secure != nullptr) {
      resources_ = std::make_unique<tls::shard_resources>();
      tls::server_options options = *secure;
      options.tickets = 0;
      profile_ = tls::server_profile::make(*resources_, std::move(options)).value();
    }
    watch(own.listener_);
    watch(own.stop_);
  }

  void run() {
    for (;;) {
      epoll_event happened[64];
      const timespec wait = until_due();
      const int count = ::epoll_pwait2(events_.get(), happened, 64, &wait, nullptr);
      for (int i = 0; i < count; ++i) {
        const int fd = happened[i].data.fd;
        if (fd == own_->stop_) return;
        if (fd == own_->listener_) {
          accept();
        } else if (const auto found = open_.find(fd); found != open_.end()) {
          if (!found->second->receive(dice_)) open_.erase(found);
        }
      }
      do_faults();
    }
  }

 private:
  void watch(int fd) const {
    epoll_event wanted{.events = EPOLLIN, .data = {.fd = fd}};
    ::epoll_ctl(events_.get(), EPOLL_CTL_ADD, fd, &wanted);
  }
  void accept() {
    sockaddr_in from{};
    socklen_t length = sizeof from;
    unique_fd fd(
        ::accept4(own_->listener_, reinterpret_cast<sockaddr*>(&from), &length, SOCK_CLOEXEC));
    if (fd.get() < 0) return;
    const int on = 1;
    ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    const int number = fd.get();
    watch(number);
    open_[number] = std::make_unique<faulty_connection>(*own_, std::move(fd), ntohs(from.sin_port),
                                                        profile_.get());
  }
  timespec until_due() const {
    duration wait = 1s;
    const time_point now = wall();
    for (const auto& [fd, one] : open_) {
      if (one->due()) wait = std::clamp<duration>(*one->due() - now, 0ns, wait);
    }
    return {wait.count() / 1'000'000'000, wait.count() % 1'000'000'000};
  }
  void do_faults() {
    const time_point now = wall();
    std::erase_if(open_, [now](const auto& entry) {
      return entry.second->due() && *entry.second->due() <= now && !entry.second->do_fault();
    });
  }

  faulty_server* own_;
  random_source dice_;
  unique_fd events_;
  std::unique_ptr<tls::shard_resources> resources_;
  std::unique_ptr<tls::server_profile> profile_;
  std::unordered_map<int, std::unique_ptr<faulty_connection>> open_;
};

faulty_server::faulty_server(const tls::server_options* secure, std::uint64_t seed)
    : ports_(std::make_unique<std::array<std::atomic<duration::rep>, 65536>>()), broke_(*ports_) {
  raw_listener door = listen_on_loopback(256);
  listener_ = door.fd.release();
  port_ = ntohs(door.address.sin_port);
  stop_ = ::eventfd(0, EFD_CLOEXEC);
  std::atomic<bool> ready = false;
  thread_ = std::thread([this, secure, seed, &ready] {
    loop body(*this, secure, seed);
    ready = true;
    ready.notify_one();
    body.run();
  });
  ready.wait(false);
}

faulty_server::~faulty_server() {
  const std::uint64_t one = 1;
  static_cast<void>(!::write(stop_, &one, sizeof one));
  thread_.join();
  ::close(listener_);
  ::close(stop_);
}

}  // namespace conpool::test
