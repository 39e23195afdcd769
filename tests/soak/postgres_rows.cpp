// What a buffered_reader costs: the rows of one large PostgreSQL query, cut into messages by it and
// by a buffer made by hand for the purpose.
//
//   conpool-postgres-rows [--rows N] [--rounds N] [--only reader|hand] [--port N]
//
// Both read from the same server over the same kind of socket and do the same with each row, which
// is next to nothing: they add up its columns. N rows, 200,000 by default, in each of 15 rounds,
// which take turns in either order. It prints the CPU time of the client's thread for each row, as
// the lower quartile of the rounds, and the ratio. The exit status is 1 if the two saw different
// rows, or if the reader took more than 1.2 times the time.
//
// To compare instructions, run it under callgrind with --only and two numbers of rows; the
// difference belongs to the rows. Callgrind needs a server that stands already: at --port of
// 127.0.0.1, with a superuser "conpool" that it trusts.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <conpool/conpool.h>

#include <tests/support/postgres_server.h>
#include <tests/support/postgres_wire.h>
#include <tests/support/run.h>

namespace conpool::test {
namespace {

constexpr double ratio_max = 1.2;

struct rows_options {
  std::uint64_t rows = 200'000;
  unsigned rounds = 15;
  std::string only;
  std::uint16_t port = 0;  // 0: starts a server of its own
};

// What was done with the rows; equal for both parsers.
struct rows_sum {
  std::uint64_t rows = 0;
  std::uint64_t columns = 0;
  std::uint64_t bytes = 0;
  bool operator==(const rows_sum&) const = default;
};

// The body of a DataRow: how many columns, and each with its length.
void add_row(rows_sum& to, std::string_view body) {
  ++to.rows;
  std::size_t at = 2;
  for (unsigned left = big_endian<std::uint16_t>(body); left > 0; --left) {
    const auto size = static_cast<std::int32_t>(big_endian<std::uint32_t>(body, at));
    at += 4;
    ++to.columns;
    if (size <= 0) continue;
    to.bytes += static_cast<std::uint32_t>(size);
    at += static_cast<std::uint32_t>(size);
  }
}

// --- by a buffered_reader

constexpr frame_format message_format{
    .header_bytes = 5, .length_at = 1, .length_bytes = 4, .uncounted_bytes = 1};

task<result<rows_sum>> read_rows(stream& from) {
  rows_sum sum;
  buffered_reader in(from);
  for (;;) {
    auto message = co_await in.read_frame<message_format>();
    if (!message) co_return fail(std::move(message.error()));
    if (message->front() == 'D') add_row(sum, message->substr(message_format.header_bytes));
    if (message->front() == 'Z') co_return sum;
  }
}

// --- by hand

task<result<rows_sum>> read_rows_by_hand(stream& from) {
  rows_sum sum;
  std::vector<char> memory(64 * 1024);
  std::size_t begin = 0;
  std::size_t end = 0;
  for (;;) {
    while (end - begin >= 5) {
      std::uint32_t length = 0;
      std::memcpy(&length, memory.data() + begin + 1, sizeof length);
      const std::size_t size = __builtin_bswap32(length) + std::size_t{1};
      if (end - begin < size) break;
      const std::string_view message(memory.data() + begin, size);
      begin += size;
      if (message.front() == 'D') add_row(sum, message.substr(5));
      if (message.front() == 'Z') co_return sum;
    }
    std::memmove(memory.data(), memory.data() + begin, end - begin);
    end -= begin;
    begin = 0;
    if (end == memory.size()) memory.resize(2 * memory.size());
    const std::span<char> room = std::span(memory).subspan(end);
    auto count = co_await from.read(room);
    if (!count) co_return fail(std::move(count.error()));
    if (*count == 0) co_return fail(error(errc::connection_closed, phase::read));
    end += *count;
  }
}

// --- a session of each

using rows_fn = task<result<rows_sum>> (*)(stream& from);

double cpu_seconds() {
  timespec now{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

struct round_result {
  rows_sum sum;
  double seconds = 0;
};

task<result<round_result>> play_round(socket_address server, rows_fn parse, std::uint64_t rows) {
  const socket_options plain;
  auto peer = co_await connect_socket(*shard::current(), server, plain, std::chrono::seconds(10));
  if (!peer) co_return fail(std::move(peer.error()));
  const std::string hello = postgres_startup("conpool", "postgres", "rows");
  auto greeted = co_await (*peer)->write(hello);
  if (!greeted) co_return fail(std::move(greeted.error()));
  auto logging_in = read_rows(**peer);  // there are no rows before the first 'Z'
  auto ready = co_await logging_in;
  if (!ready) co_return fail(std::move(ready.error()));
  const std::string asks = "select g, md5(g::text), g % 7 = 0, null from generate_series(1, " +
                           std::to_string(rows) + ") g";
  const std::string query = spell_postgres('Q', asks);
  const double before = cpu_seconds();
  auto sent = co_await (*peer)->write(query);
  if (!sent) co_return fail(std::move(sent.error()));
  auto reading = parse(**peer);
  auto sum = co_await reading;
  if (!sum) co_return fail(std::move(sum.error()));
  round_result done;
  done.seconds = cpu_seconds() - before;
  done.sum = *sum;
  co_return done;
}

double lower_quartile(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 4];
}

int run(const rows_options& asked) {
  const auto server = asked.port == 0 ? std::make_unique<postgres_server>() : nullptr;
  const std::uint16_t port = server ? server->port() : asked.port;
  const socket_address at = socket_address::ip("127.0.0.1", port).value();
  auto made = shard::create();
  if (!made || !(*made)->attach()) throw std::runtime_error("there is no shard");
  shard& home = **made;
  const struct {
    const char* name;
    rows_fn parse;
  } parsers[] = {{"reader", read_rows}, {"hand", read_rows_by_hand}};
  std::vector<double> ns[2];
  rows_sum seen[2];
  for (unsigned round = 0; round < asked.rounds; ++round) {
    for (std::size_t turn = 0; turn < 2; ++turn) {
      // In turns: Linux may put every other session of the server beside this thread's processor,
      // where the rows come in larger pieces.
      const std::size_t i = (turn + round) % 2;
      if (!asked.only.empty() && asked.only != parsers[i].name) continue;
      const auto done = start_on(home, play_round(at, parsers[i].parse, asked.rows));
      while (!done->has_value()) home.run_once(std::chrono::seconds(1));
      const result<round_result>& round_is = **done;
      if (!round_is) throw std::runtime_error(round_is.error().message());
      seen[i] = round_is->sum;
      ns[i].push_back(round_is->seconds * 1e9 / static_cast<double>(asked.rows));
    }
  }
  for (std::size_t i = 0; i < 2; ++i) {
    if (ns[i].empty()) continue;
    std::printf("%-6s  %6.1f ns a row  %ju rows, %ju columns, %ju bytes\n", parsers[i].name,
                lower_quartile(ns[i]), static_cast<std::uintmax_t>(seen[i].rows),
                static_cast<std::uintmax_t>(seen[i].columns),
                static_cast<std::uintmax_t>(seen[i].bytes));
  }
  if (ns[0].empty() || ns[1].empty()) return 0;
  const double ratio = lower_quartile(ns[0]) / lower_quartile(ns[1]);
  std::printf("reader / hand: %.3f\n", ratio);
  return seen[0] == seen[1] && seen[0].rows == asked.rows && ratio <= ratio_max ? 0 : 1;
}

bool parse(int count, char** words, rows_options& into) {
  for (int i = 1; i + 1 < count; i += 2) {
    const std::string name = words[i];
    if (name == "--rows") {
      into.rows = std::strtoull(words[i + 1], nullptr, 10);
    } else if (name == "--rounds") {
      into.rounds = static_cast<unsigned>(std::strtoul(words[i + 1], nullptr, 10));
    } else if (name == "--only") {
      into.only = words[i + 1];
    } else if (name == "--port") {
      into.port = static_cast<std::uint16_t>(std::strtoul(words[i + 1], nullptr, 10));
    } else {
      return false;
    }
  }
  return count % 2 == 1 && into.rows > 0 && into.rounds > 0;
}

}  // namespace
}  // namespace conpool::test

int main(int count, char** words) {
  try {
    conpool::test::rows_options asked;
    if (conpool::test::parse(count, words, asked)) return conpool::test::run(asked);
    std::fputs(
        "usage: conpool-postgres-rows [--rows N] [--rounds N] [--only reader|hand] [--port N]\n",
        stderr);
  } catch (const std::exception& why) {
    std::fprintf(stderr, "conpool-postgres-rows: %s\n", why.what());
  }
  return 2;
}
