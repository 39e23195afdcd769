// The pool for a long time against nginx, Redis and PostgreSQL, which stand still, die and come
// back.
//
//   conpool-soak-servers [--minutes N] [--seconds N] [--slack-ms N] [--seed N]
//
// It starts the servers itself. Sixteen clients for each send numbers in closed loops, hold their
// leases for a random time, and give up at random moments, while an operator disturbs the servers.
// Once a minute all comes to rest, and a table is printed. The exit status is 1 if a law was
// violated: answers are one's own, no descriptor is leaked, memory does not grow, counts add up,
// nobody waits beyond its deadline or is refused while a connection stands, and after an outage
// service is back within connect_backoff_max and a second. `--slack-ms` is added to the times for
// machines that do other things beside; without sanitizers only, memory is worth a look.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>
#include <thread>

#include <conpool/runtime/detail/random.h>

#include <tests/soak/soak_board.h>
#include <tests/soak/soak_operator.h>

namespace conpool::test {
namespace {

using namespace std::chrono_literals;

constexpr duration rest_interval = 60s;
constexpr duration rest_max = 60s;

struct soak_options {
  duration time = 20min;
  duration slack{0};
  std::uint64_t seed = 1;
};

bool parse(int count, char** words, soak_options& into) {
  for (int i = 1; i + 1 < count; i += 2) {
    const std::string name = words[i];
    const std::int64_t value = std::strtoll(words[i + 1], nullptr, 10);
    if (name == "--minutes") {
      into.time = std::chrono::minutes(value);
    } else if (name == "--seconds") {
      into.time = std::chrono::seconds(value);
    } else if (name == "--slack-ms") {
      into.slack = std::chrono::milliseconds(value);
    } else if (name == "--seed") {
      into.seed = static_cast<std::uint64_t>(value);
    } else {
      return false;
    }
  }
  return count % 2 == 1 && into.time > 0s;
}

time_point here_and_now() {
  return std::chrono::steady_clock::now();
}

// Until all clients have stopped, all connections are closed, and the table is printed.
void rest(soak_board& on) {
  on.quiet = true;
  const time_point until = here_and_now() + rest_max;
  while (!on.at_rest && here_and_now() < until) let_pass(10ms);
  if (!on.at_rest) note_violation(on, "everything comes to rest", "all", "");
  on.quiet = false;
  while (on.at_rest && here_and_now() < until) let_pass(10ms);
}

int run(const soak_options& asked) {
  if (!postgres_server::is_installed()) {
    std::puts("PostgreSQL is not installed: scripts/deps test");
    constexpr int skipped = 77;  // to meson
    return skipped;
  }
  soak_board board;
  board.slack = asked.slack;
  soak_operator disturber(board, asked.seed);
  std::thread clients(run_soak_clients, std::ref(board));
  random_source dice(asked.seed + 1);
  const time_point end = here_and_now() + asked.time;
  time_point next_rest = here_and_now() + rest_interval;
  while (here_and_now() < end) {
    disturber.disturb();
    let_pass(10ms + dice.up_to(200ms));
    if (here_and_now() < next_rest || here_and_now() >= end) continue;
    rest(board);
    next_rest = here_and_now() + rest_interval;
  }
  rest(board);
  board.stop = true;
  clients.join();
  std::printf("%llu disturbances, %llu violations\n",
              static_cast<unsigned long long>(disturber.disturbances()),
              static_cast<unsigned long long>(board.violations.load()));
  return board.violations == 0 ? 0 : 1;
}

}  // namespace
}  // namespace conpool::test

int main(int count, char** words) {
  try {
    conpool::test::soak_options asked;
    if (conpool::test::parse(count, words, asked)) return conpool::test::run(asked);
    std::fputs(
        "usage: conpool-soak-servers [--minutes N] [--seconds N] [--slack-ms N] "
        "[--seed N]\n",
        stderr);
  } catch (const std::exception& why) {
    std::fprintf(stderr, "conpool-soak-servers: %s\n", why.what());
  }
  return 2;
}
