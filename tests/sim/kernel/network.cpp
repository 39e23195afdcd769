#include <tests/sim/kernel/network.h>

#include <cstdio>
#include <cstdlib>

#include <tests/sim/kernel/uring.h>

namespace conpool::sim {
namespace {

thread_local network* current_network = nullptr;

}  // namespace

void misuse(const std::string& what) {
  std::fprintf(stderr, "simulated kernel: %s\n", what.c_str());
  if (current_network != nullptr) {
    std::fprintf(stderr, "simulated kernel: seed %llu, after %llu completions\n",
                 static_cast<unsigned long long>(current_network->seed()),
                 static_cast<unsigned long long>(current_network->completions()));
  }
  std::abort();
}

network::network(std::uint64_t seed)
    : seed_(seed),
      random_(seed),
      sockets_(*this),
      tells_(std::getenv("CONPOOL_SIM_TRACE") != nullptr),
      outer_(std::exchange(current_network, this)) {}

network::~network() {
  if (!rings_.empty()) misuse("the network was destroyed before its rings");
  current_network = outer_;
}

network& network::current() {
  if (current_network == nullptr) misuse("a simulated ring needs a sim::network on its thread");
  return *current_network;
}

server& network::add_server(const std::string& host, std::uint16_t port, server_plan plan) {
  const auto address = socket_address::ip(host, port);
  if (!address) misuse("add_server: " + address.error().message());
  return add_server(*address, std::move(plan));
}

server& network::add_server(const socket_address& at, server_plan plan) {
  servers_.push_back(std::make_unique<server>(*this, at, std::move(plan)));
  server& made = *servers_.back();
  by_address_[at.to_string()] = &made;
  made.plan_outages();
  return made;
}

server* network::find_server(const socket_address& at) noexcept {
  const auto found = by_address_.find(at.to_string());
  return found == by_address_.end() ? nullptr : found->second;
}

// --- draws and the trace

bool network::chance(double probability) noexcept {
  constexpr std::uint64_t parts = 1'000'000;
  if (probability <= 0) return false;
  return random_.below(parts) < static_cast<std::uint64_t>(probability * parts);
}

duration network::up_to(duration most) noexcept {
  return most > duration::zero() ? random_.up_to(most) : duration::zero();
}

void network::completed(std::uint64_t what, int result, unsigned flags) noexcept {
  ++completions_;
  const auto fold = [this](std::uint64_t value) {
    trace_ = (trace_ ^ value) * 0x100000001b3;  // FNV-1a, a word at a time
  };
  fold(what);
  fold(static_cast<std::uint64_t>(static_cast<std::int64_t>(result)));
  fold(flags);
  fold(static_cast<std::uint64_t>(now().time_since_epoch().count()));
}

void network::tell(const std::string& what) {
  const auto since = now() - time_point(std::chrono::hours(1));
  std::fprintf(stderr, "[%11.6f] %s\n", std::chrono::duration<double>(since).count(), what.c_str());
}

// --- rings

unsigned network::add_ring(uring& made) {
  rings_[++last_ring_] = &made;
  return last_ring_;
}

uring* network::ring(unsigned number) noexcept {
  const auto found = rings_.find(number);
  return found == rings_.end() ? nullptr : found->second;
}

uring* network::ring_of(int ring_fd) noexcept {
  for (const auto& [number, one] : rings_) {
    if (one->fd() == ring_fd) return one;
  }
  return nullptr;
}

void network::descriptor_changed(int fd) {
  for (const auto& [number, one] : rings_) one->changed(fd);
}

// --- time

void network::at(time_point when, std::function<void()> what) {
  events_.emplace(std::pair(when, ++last_event_), std::move(what));
}

void network::run_first() {
  auto first = events_.extract(events_.begin());
  first.mapped()();
}

void network::run_due() {
  while (!events_.empty() && events_.begin()->first.first <= now()) run_first();
}

bool network::advance(time_point limit) {
  if (events_.empty() || events_.begin()->first.first > limit) {
    if (limit > now()) clock_.set(limit);
    return false;
  }
  const time_point when = events_.begin()->first.first;
  if (when > now()) clock_.set(when);
  run_first();
  return true;
}

void network::spend() {
  if (faults_.call_most > duration::zero()) clock_.advance(up_to(faults_.call_most));
  run_due();
}

}  // namespace conpool::sim
