// Clients in a closed loop against a server that breaks connections at random moments: does the
// pool lend one that was broken before it looked?
#include <tests/soak/lend_counts.h>

#include <array>
#include <chrono>
#include <cstring>
#include <memory>
#include <span>
#include <stdexcept>

#include <netinet/in.h>
#include <sys/socket.h>

#include <conpool/conpool.h>
#include <conpool/runtime/detail/random.h>

#include <tests/soak/faulty_server.h>
#include <tests/tls/certificates.h>

namespace conpool::test {
namespace {

using namespace std::chrono_literals;

constexpr std::int64_t root_from_s = 1'577'836'800;  // 2020
constexpr duration hold_max = 200us;

// Few clients for many connections find idle ones; many for few are handed what comes back.
struct crowd {
  std::uint32_t connections;
  unsigned clients;
};
constexpr std::array<crowd, 2> crowds{{{8, 5}, {3, 8}}};

struct faulty_soak {
  shard* home;
  pool* backends;
  faulty_server* server;
  endpoint to;
  std::uint64_t left;
  unsigned running;
  lend_counts sum;
};

std::uint16_t port_of(int fd) {
  sockaddr_in own{};
  socklen_t length = sizeof own;
  ::getsockname(fd, reinterpret_cast<sockaddr*>(&own), &length);
  return ntohs(own.sin_port);
}

void compute(duration time) {
  const time_point until = std::chrono::steady_clock::now() + time;
  while (std::chrono::steady_clock::now() < until) continue;
}

// Keeps a lease past the last read: for turns, for a time, or within one turn.
task<void> keep(shard& home, random_source& dice) {
  switch (dice.below(6)) {
    case 0:
      break;
    case 1:
      for (std::uint64_t turns = dice.below(5); turns > 0; --turns) co_await home.yield();
      break;
    case 2: {
      auto slept = co_await home.sleep_for(dice.up_to(hold_max));
      static_cast<void>(slept);
      break;
    }
    case 3:
      compute(dice.up_to(hold_max));
      break;
    case 4:
      compute(dice.up_to(hold_max));
      co_await home.yield();
      break;
    default:
      co_await home.yield();
      compute(dice.up_to(hold_max));
      break;
  }
}

// False if the connection is of no use any more.
task<bool> exchange(connection& over, std::uint64_t number) {
  std::array<std::byte, sizeof number> bytes{};
  std::memcpy(bytes.data(), &number, sizeof number);
  auto sent = co_await over.write(bytes);
  if (!sent) co_return false;
  std::array<std::byte, sizeof number> answer{};
  auto got = co_await over.read_exactly(std::span<std::byte>(answer));
  co_return got.has_value() && answer == bytes;
}

task<void> client(faulty_soak& in, random_source dice) {
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
    const time_point broke = in.server->broke(port_of(own->fd()));
    if (!judge_lend(in.sum, own, broke, asked)) {
      own.discard();
      continue;
    }
    auto talking = exchange(*own, dice.next());
    auto well = co_await talking;
    if (!well) {
      own.discard();
      continue;
    }
    auto keeping = keep(*in.home, dice);
    co_await keeping;
  }
  --in.running;
}

struct identity {
  tls::server_options server;
  tls::profile_ptr client;
};

identity make_identity() {
  const authority root("soak root", root_from_s);
  const certificate own = root.issue({.ip = {"127.0.0.1"}, .from_s = root_from_s});
  identity made;
  made.server.certificate_chain_pem = own.chain_pem();
  made.server.private_key_pem = own.key_pem;
  tls::profile_options options;
  options.trust = root.trust();
  options.verify_name = "127.0.0.1";
  made.client = tls::profile::make(std::move(options)).value();
  return made;
}

lend_counts soak_crowd(const lend_case& how, const crowd& many, const identity& secret) {
  faulty_server server(how.secure ? &secret.server : nullptr, how.seed);
  auto home = shard::create({}).value();
  home->attach().value();
  endpoint to = endpoint::parse((how.secure ? "tls://127.0.0.1:" : "tcp://127.0.0.1:") +
                                std::to_string(server.port()))
                    .value();
  if (how.secure) to = to.with_profile(secret.client).value();
  pool_config config;
  config.validation = how.policy;
  config.max_connections_per_endpoint = many.connections;
  pool backends = pool::create(*home, config).value();
  faulty_soak in{home.get(), &backends, &server, to, how.lends, 0, {}};
  in.sum.expects_stale = how.policy == validation_policy::none;
  random_source dice(how.seed);
  for (in.running = 0; in.running < many.clients; ++in.running) {
    home->spawn(client, std::ref(in), random_source(dice.next()));
  }
  while (in.running > 0) home->run_once(100ms);
  in.sum.faults = server.ends() + server.resets() + server.strays();
  home->stop();
  while (!home->stopped()) home->run_once(100ms);
  return in.sum;
}

}  // namespace

lend_counts soak_faulty_server(const lend_case& how) {
  static const identity secret = make_identity();
  lend_counts sum;
  for (const crowd& many : crowds) {
    lend_case part = how;
    part.lends /= crowds.size();
    sum += soak_crowd(part, many, secret);
  }
  return sum;
}

}  // namespace conpool::test
