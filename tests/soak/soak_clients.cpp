// The clients of conpool-soak-servers: one shard, a pool for each server, and what is checked.
#include <tests/soak/soak_board.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <unistd.h>

#include <conpool/conpool.h>
#include <conpool/runtime/deadline.h>
#include <conpool/runtime/detail/random.h>
#include <examples/redis_protocol.h>

#include <tests/support/descriptors.h>
#include <tests/support/postgres_client.h>

namespace conpool::test {
namespace {

using namespace std::chrono_literals;

constexpr unsigned clients_each = 16;
constexpr std::uint32_t connections_each = 10;
constexpr duration look_interval = 20ms;
constexpr duration rest_within = 20s;  // from the wish for it: all deadlines are shorter
constexpr duration late_acquire = 1s;  // beyond its deadline
constexpr std::size_t memory_growth_percent = 5;
constexpr unsigned rests_before_memory_counts = 2;
constexpr unsigned rests_to_judge_memory = 4;

struct soak_figures {
  std::uint64_t leases = 0;
  std::uint64_t answered = 0;
  std::uint64_t given_up = 0;   // exchanges that ran into the client's deadline
  std::uint64_t broken = 0;     // exchanges that failed otherwise
  std::uint64_t timed_out = 0;  // acquires that did
  std::uint64_t refused = 0;    // acquires that failed otherwise
};

using exchange_fn = task<result<std::string>> (*)(connection&, std::uint64_t, random_source&);

struct soak_backend {
  std::size_t which;
  pool backends;
  endpoint to;
  exchange_fn exchange;
  soak_figures sum{};
  time_point last_answer{};
  duration::rep judged = 0;  // the outage that was judged last, by the server's being ready
};

struct soak_world {
  soak_board* board;
  shard* home;
  std::vector<std::unique_ptr<soak_backend>> all{};
  unsigned running = 0;
  unsigned parked = 0;
  std::size_t descriptors = 0;  // at rest, before the first client
  std::size_t memory = 0;       // resident bytes when the second minute was over
  unsigned rests = 0;
};

// --- one exchange: a number goes out, and the same comes back

task<result<std::string>> ask_nginx(connection& on, std::uint64_t number, random_source&) {
  const std::string request = "GET /" + std::to_string(number) + " HTTP/1.1\r\nHost: soak\r\n\r\n";
  auto sent = co_await on.write(request);
  if (!sent) co_return fail(std::move(sent.error()));
  std::string answer;
  while (!answer.ends_with(" end\n")) {
    char some[512];
    auto got = co_await on.read(std::span<char>(some));
    if (!got) co_return fail(std::move(got.error()));
    if (*got == 0) co_return fail(error(errc::connection_closed, phase::read));
    answer.append(some, *got);
  }
  const std::size_t body = answer.find("\r\n\r\n/") + 5;
  co_return answer.substr(body, answer.size() - body - 5);
}

task<result<std::string>> ask_redis(connection& on, std::uint64_t number, random_source&) {
  auto asking = redis_command(on, redis_protocol::words("ECHO", std::to_string(number)));
  auto reply = co_await asking;
  if (!reply) co_return fail(std::move(reply.error()));
  const std::size_t line = reply->find("\r\n") + 2;
  co_return reply->substr(line, reply->size() - line - 2);
}

task<result<std::string>> ask_postgres(connection& on, std::uint64_t number, random_source& dice) {
  std::string query = "select " + std::to_string(number);
  if (dice.below(8) == 0) query = "select pg_sleep(0.03); " + query;
  if (dice.below(8) == 0) query = "begin; " + query;
  auto asking = postgres_query(on, std::move(query));
  auto rows = co_await asking;
  if (!rows) co_return fail(std::move(rows.error()));
  co_return rows->empty() ? std::string("nothing") : rows->back();
}

// --- the clients

void check_refusal(soak_world& in, soak_backend& at, const error& why, time_point deadline) {
  if (in.home->now() > deadline + late_acquire + in.board->slack) {
    note_violation(*in.board, "a caller waits for no longer than it said", soak_names[at.which],
                   why.message().c_str());
  }
  if (why == errc::acquire_timeout || why == errc::deadline_exceeded) {
    ++at.sum.timed_out;
    return;
  }
  ++at.sum.refused;
  if (why == errc::queue_full) return;
  const auto stats = at.backends.stats(at.to);
  if (!stats || stats->idle + stats->active == 0) return;
  const std::string detail = why.message() + " (idle " + std::to_string(stats->idle) + ", active " +
                             std::to_string(stats->active) + ")";
  note_violation(*in.board, "nobody is refused while a connection stands", soak_names[at.which],
                 detail.c_str());
}

task<void> use(soak_world& in, soak_backend& at, lease own, random_source& dice) {
  ++at.sum.leases;
  const std::uint64_t number = dice.next() % 1'000'000'000;
  const bool impatient = dice.below(8) == 0;
  const duration patience = impatient ? dice.up_to(1ms) : 50ms + dice.up_to(1s);
  auto asking = at.exchange(*own, number, dice);
  auto got = co_await with_timeout(*in.home, patience, std::move(asking));
  if (!got) {
    ++(got.error() == errc::deadline_exceeded ? at.sum.given_up : at.sum.broken);
    co_return;
  }
  ++at.sum.answered;
  at.last_answer = std::chrono::steady_clock::now();
  if (*got != std::to_string(number)) {
    const std::string detail = "\"" + *got + "\" for " + std::to_string(number);
    note_violation(*in.board, "nobody gets another's answer", soak_names[at.which], detail.c_str());
  }
  if (dice.below(4) == 0) {
    auto slept = co_await in.home->sleep_for(dice.up_to(20ms));
    static_cast<void>(slept);
  }
}

task<void> soak_client(soak_world& in, soak_backend& at, random_source dice) {
  while (!in.board->stop) {
    if (in.board->quiet) {
      ++in.parked;
      while (in.board->quiet && !in.board->stop) {
        auto slept = co_await in.home->sleep_for(look_interval);
        static_cast<void>(slept);
      }
      --in.parked;
      continue;
    }
    const duration patience = 20ms + dice.up_to(1s);
    const time_point deadline = in.home->now() + patience;
    auto taken = co_await at.backends.acquire(at.to, patience);
    if (!taken) {
      check_refusal(in, at, taken.error(), deadline);
      // As a client that has nothing better to do.
      auto slept = co_await in.home->sleep_for(dice.up_to(10ms));
      static_cast<void>(slept);
      continue;
    }
    auto using_it = use(in, at, std::move(*taken), dice);
    co_await using_it;
    if (dice.below(4) != 0) continue;
    auto slept = co_await in.home->sleep_for(dice.up_to(5ms));
    static_cast<void>(slept);
  }
  --in.running;
}

// --- the checks

std::size_t resident_bytes() {
  std::size_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages >> pages;
  return pages * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

void check_counts(soak_world& in) {
  for (const auto& at : in.all) {
    const pool_stats sum = at->backends.totals();
    const std::uint64_t there = sum.connecting + sum.idle + sum.active + sum.closing + sum.closed();
    if (sum.created != there) {
      note_violation(*in.board, "the counts add up", soak_names[at->which],
                     std::to_string(there).c_str());
    }
    if (sum.connecting + sum.idle + sum.active > connections_each) {
      note_violation(*in.board, "the limit of connections holds", soak_names[at->which], "");
    }
  }
}

void check_service(soak_world& in) {
  const auto now = std::chrono::steady_clock::now();
  for (const auto& at : in.all) {
    const duration::rep ready = in.board->ready_since[at->which];
    const time_point since{duration(ready)};
    if (ready == 0 || ready == at->judged || now < since + in.board->back_within()) continue;
    at->judged = ready;
    if (at->last_answer >= since) continue;
    const auto stats = at->backends.stats(at->to);
    if (!stats) continue;
    const std::string detail =
        "connecting " + std::to_string(stats->connecting) + ", idle " +
        std::to_string(stats->idle) + ", active " + std::to_string(stats->active) + ", waiting " +
        std::to_string(stats->waiting) + ", failed in a row " +
        std::to_string(stats->failed_in_a_row) + ", last: " + stats->last_error;
    note_violation(*in.board, "service is back in time", soak_names[at->which], detail.c_str());
  }
}

bool has_connections(const soak_world& in) {
  return std::any_of(in.all.begin(), in.all.end(), [](const auto& at) {
    const pool_stats sum = at->backends.totals();
    return sum.connecting + sum.idle + sum.active + sum.closing > 0;
  });
}

void print_table(const soak_world& in) {
  std::printf("rest %u: %zu descriptors, %zu KB\n", in.rests, open_descriptors(),
              resident_bytes() / 1024);
  for (const auto& at : in.all) {
    const pool_stats sum = at->backends.totals();
    const auto number = [](std::uint64_t count) {
      return static_cast<unsigned long long>(count);
    };
    std::printf(
        "  %-9s leases %9llu  answered %9llu  given up %7llu  broken %6llu  timed out %6llu  "
        "refused %6llu  created %6llu\n",
        soak_names[at->which], number(at->sum.leases), number(at->sum.answered),
        number(at->sum.given_up), number(at->sum.broken), number(at->sum.timed_out),
        number(at->sum.refused), number(sum.created));
  }
  std::fflush(stdout);
}

void check_rest(soak_world& in) {
  ++in.rests;
  const std::size_t descriptors = open_descriptors();
  if (descriptors != in.descriptors) {
    const std::string detail =
        std::to_string(descriptors) + " instead of " + std::to_string(in.descriptors);
    note_violation(*in.board, "no descriptor is leaked", "all", detail.c_str());
  }
  const std::size_t memory = resident_bytes();
  if (in.rests == rests_before_memory_counts) in.memory = memory;
  if (in.rests >= rests_to_judge_memory &&
      memory > in.memory + in.memory * memory_growth_percent / 100) {
    const std::string detail = std::to_string(memory) + " after " + std::to_string(in.memory);
    note_violation(*in.board, "memory does not grow", "all", detail.c_str());
  }
  print_table(in);
}

// Waits for the clients, closes all connections, and looks at what is left of it.
task<void> come_to_rest(soak_world& in) {
  const time_point until = in.home->now() + rest_within;
  const unsigned clients = in.running - 1;  // without this task
  while (in.parked < clients || has_connections(in)) {
    if (in.home->now() > until) {
      note_violation(*in.board, "everything comes to rest", "all", "");
      break;
    }
    if (in.parked == clients) {
      for (const auto& at : in.all) at->backends.clear_all();
    }
    auto slept = co_await in.home->sleep_for(look_interval);
    static_cast<void>(slept);
  }
  check_rest(in);
  in.board->at_rest = true;
  while (in.board->quiet && !in.board->stop) {
    auto slept = co_await in.home->sleep_for(look_interval);
    static_cast<void>(slept);
  }
  // The time of rest was nobody's fault.
  for (const auto& at : in.all) at->judged = in.board->ready_since[at->which];
  in.board->at_rest = false;
}

task<void> soak_checks(soak_world& in) {
  while (!in.board->stop) {
    check_counts(in);
    if (in.board->quiet) {
      auto resting = come_to_rest(in);
      co_await resting;
      continue;
    }
    check_service(in);
    auto slept = co_await in.home->sleep_for(look_interval);
    static_cast<void>(slept);
  }
  --in.running;
}

template <typename... P>
void add_backend(soak_world& in, std::size_t which, exchange_fn exchange, P... speaks) {
  pool_config config;
  config.max_connections_per_endpoint = connections_each;
  config.connect_backoff_max =
      std::chrono::duration_cast<std::chrono::milliseconds>(in.board->backoff_max);
  config.connection_timeout = 1s;
  // What is being recovered has a place of its own, and so puts off what would serve.
  config.release_timeout = 300ms;
  config.max_idle_time = 2s;
  config.max_connection_lifetime = 10s;
  const std::string at = "tcp://127.0.0.1:" + std::to_string(in.board->ports[which]);
  in.all.push_back(std::make_unique<soak_backend>(
      soak_backend{which, pool::create(*in.home, config, std::move(speaks)...).value(),
                   endpoint::parse(at).value(), exchange}));
}

}  // namespace

void note_violation(soak_board& on, const char* law, const char* server, const char* detail) {
  constexpr std::uint64_t printed_max = 50;
  if (on.violations++ >= printed_max) return;
  std::fprintf(stderr, "violated: %s (%s) %s\n", law, server, detail);
}

void run_soak_clients(soak_board& on) {
  auto home = shard::create({}).value();
  home->attach().value();
  {
    soak_world in{&on, home.get()};
    postgres_protocol speaks_postgres;
    speaks_postgres.port = on.ports[2];
    redis_protocol speaks_redis;
    add_backend(in, 0, ask_nginx);
    add_backend(in, 1, ask_redis, std::move(speaks_redis));
    add_backend(in, 2, ask_postgres, std::move(speaks_postgres));
    home->run_once(0ms);
    in.descriptors = open_descriptors();
    random_source dice(1);
    for (const auto& at : in.all) {
      at->last_answer = std::chrono::steady_clock::now();
      for (unsigned i = 0; i < clients_each; ++i, ++in.running) {
        home->spawn(soak_client, std::ref(in), std::ref(*at), random_source(dice.next()));
      }
    }
    home->spawn(soak_checks, std::ref(in));
    ++in.running;
    while (in.running > 0) home->run_once(100ms);
    home->stop();
    while (!home->stopped()) home->run_once(100ms);
  }
  on.ended = true;
}

}  // namespace conpool::test
