// with_connection() as people write it first: awaited straight, with the lambda, the endpoint and
// the strings made in the same statement, and also within a condition. What of this a compiler must
// refuse is in tests/compile_test.py.
#include <gtest/gtest.h>

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include <conpool/conpool.h>

#include <tests/support/pool_fixture.h>

namespace conpool::test {
namespace {

using namespace std::chrono_literals;

const std::string long_text = "a text too long for the small string buffer";

task<result<std::string>> echo(connection& peer, std::string_view text) {
  auto sent = co_await peer.write(text);
  if (!sent) co_return fail(std::move(sent.error()));
  std::string got(text.size(), '\0');
  auto read = co_await peer.read_exactly(std::span<char>(got));
  if (!read) co_return fail(std::move(read.error()));
  co_return got;
}

class with_connection : public pool_fixture {
 protected:
  // Runs a coroutine that returns what it got.
  std::string run_for(task<result<std::string>> (*body)(pool&, const endpoint&)) {
    std::string got;
    EXPECT_TRUE(run([&]() -> task<void> {
      auto work = body(backends(), server().at());
      auto answer = co_await work;
      CO_ASSERT_OK(answer);
      got = *answer;
    }));
    return got;
  }
};

// Each is a coroutine as a user's: it is what stands in its statement that may be miscompiled.
// Where scripts/tidy.py is stricter than the rules, the statement begins with an exception.
task<result<std::string>> by_reference(pool& backends, const endpoint& to) {
  std::string key = long_text;
  auto got = co_await backends.with_connection(
      to, [&key](connection& peer) -> task<result<std::string>> { return echo(peer, key); });
  co_return got;
}

task<result<std::string>> in_a_condition(pool& backends, const endpoint& to) {
  if (auto got = co_await backends.with_connection(  // tidy: allow co-await (it declares)
          to, [](connection& peer) { return echo(peer, long_text); });
      got) {
    co_return got;
  }
  co_return std::string("the body was not run");
}

task<result<std::string>> all_by_reference(pool& backends, const endpoint& to) {
  const std::string key = long_text;
  if (auto got = co_await backends.with_connection(  // tidy: allow co-await (it declares)
          to, [&](connection& peer) -> task<result<std::string>> {
            co_return co_await echo(peer, key);
          })) {
    co_return *got;
  }
  co_return std::string("the body was not run");
}

task<result<std::string>> trivial_captures(pool& backends, const endpoint& to) {
  const std::string_view key = long_text;
  co_return co_await backends.with_connection(  // tidy: allow co-await (it copies a view)
      to, [key, skip = std::size_t{2}](connection& peer) { return echo(peer, key.substr(skip)); });
}

task<result<std::string>> made_in_the_statement(pool& backends, const endpoint& to) {
  const auto get = [](const std::string& key, connection& peer) {
    return echo(peer, key);
  };
  std::string key = long_text;
  auto got = co_await backends.with_connection(
      endpoint::parse("tcp://" + std::string(to.host()) + ":" + std::to_string(to.port())).value(),
      std::bind_front(get, key + "!"));
  co_return got;
}

task<result<std::string>> named_and_owning(pool& backends, const endpoint& to) {
  auto get = [key = long_text](connection& peer) -> task<result<std::string>> {
    return echo(peer, key);
  };
  auto first = co_await backends.with_connection(to, get);
  if (!first) co_return first;
  co_return co_await backends.with_connection(to, get);
}

TEST_F(with_connection, takes_a_lambda_that_captures_by_reference) {
  EXPECT_EQ(run_for(&by_reference), long_text);
  EXPECT_EQ(totals().idle, 1U);
}

TEST_F(with_connection, may_stand_in_a_condition_that_names_its_result) {
  EXPECT_EQ(run_for(&in_a_condition), long_text);
  EXPECT_EQ(run_for(&all_by_reference), long_text);
}

TEST_F(with_connection, takes_captures_whose_destructors_do_nothing) {
  EXPECT_EQ(run_for(&trivial_captures), long_text.substr(2));
}

TEST_F(with_connection, takes_arguments_that_functions_made_in_the_statement) {
  EXPECT_EQ(run_for(&made_in_the_statement), long_text + "!");
}

TEST_F(with_connection, copies_a_named_lambda_and_leaves_it_to_its_owner) {
  EXPECT_EQ(run_for(&named_and_owning), long_text);
}

// The rest of the interface, with temporaries of classes that have constructors.
task<result<std::string>> temporaries(pool& backends, const endpoint& to) {
  if (auto lent = co_await backends.acquire(  // tidy: allow co-await (it declares)
          endpoint(to), {.timeout = 5s});
      lent) {
    const std::string key = long_text;
    auto sent = co_await (*lent)->write("GET " + key + "\r\n");
    if (!sent) co_return fail(sent.error());
    std::string got(key.size() + 6, '\0');
    auto read = co_await (*lent)->read_exactly(  // tidy: allow co-await (a span owns nothing)
        std::span<char>{got.data(), got.size()});
    if (!read) co_return fail(read.error());
    co_return got;
  }
  co_return std::string("the body was not run");
}

TEST_F(with_connection, and_the_other_awaitables_take_temporaries_beside_them) {
  EXPECT_EQ(run_for(&temporaries), "GET " + long_text + "\r\n");
}

}  // namespace
}  // namespace conpool::test
