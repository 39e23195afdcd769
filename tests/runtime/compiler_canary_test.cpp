// What the library believes about the compiler's coroutines, tested.
//
// g++ 12 silently miscompiles some coroutines (docs/COROUTINES.md has the rules). The suite
// coroutine_forms has the forms that the library and its examples use: each value must be
// constructed and destroyed exactly once, and the body must run. They must pass with every
// compiler. The tests named compiler_bug.records... hold a form that is forbidden and record as the
// test property `bug_present` (see --gtest_output) whether this compiler gets it wrong; they pass
// either way, and do no harm either way, as the value that is destroyed twice owns nothing. Forms
// that cannot be run without undefined behaviour where the bug is present (an await in a condition)
// are not here.

#include <gtest/gtest.h>

#include <coroutine>
#include <exception>
#include <expected>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool sanitized = true;  // they keep the compiler from making tail calls
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
constexpr bool sanitized = true;
#else
constexpr bool sanitized = false;
#endif
#else
constexpr bool sanitized = false;
#endif

// Counts what happens to its instances. Not an aggregate: it has constructors.
struct counts {
  int constructed = 0;
  int copied = 0;
  int moved = 0;
  int destroyed = 0;
  int alive() const { return constructed + copied + moved - destroyed; }
};

counts seen;

class counted {
 public:
  explicit counted(int v) : value(v), text_("a text too long for the small string buffer") {
    ++seen.constructed;
  }
  counted(const counted& other) : value(other.value), text_(other.text_) { ++seen.copied; }
  counted(counted&& other) noexcept : value(other.value), text_(std::move(other.text_)) {
    ++seen.moved;
  }
  counted& operator=(const counted&) = default;
  counted& operator=(counted&&) noexcept = default;
  ~counted() { ++seen.destroyed; }

  int value;

 private:
  std::string text_;  // so that AddressSanitizer sees a double destruction
};

// The library's task in small: lazy, symmetric transfer, the awaiter in the caller's frame.
template <typename T>
class task {
 public:
  struct promise_type {
    task get_return_object() noexcept { return task(handle::from_promise(*this)); }
    std::suspend_always initial_suspend() noexcept { return {}; }
    struct final_awaiter {
      final_awaiter() noexcept {}
      bool await_ready() noexcept { return false; }
      std::coroutine_handle<> await_suspend(std::coroutine_handle<promise_type> done) noexcept {
        return done.promise().continuation;
      }
      void await_resume() noexcept {}
    };
    final_awaiter final_suspend() noexcept { return final_awaiter(); }
    template <typename U>
    void return_value(U&& value) {
      result = std::make_unique<T>(std::forward<U>(value));
    }
    void unhandled_exception() noexcept { std::terminate(); }

    std::coroutine_handle<> continuation = std::noop_coroutine();
    std::unique_ptr<T> result;
  };
  using handle = std::coroutine_handle<promise_type>;

  explicit task(handle h) noexcept : handle_(h) {}
  task(task&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  ~task() {
    if (handle_) handle_.destroy();
  }

  bool await_ready() noexcept { return false; }
  std::coroutine_handle<> await_suspend(std::coroutine_handle<> caller) noexcept {
    handle_.promise().continuation = caller;
    return handle_;
  }
  T await_resume() { return std::move(*handle_.promise().result); }

  // Runs a task that waits for nothing but other tasks.
  T run() {
    handle_.resume();
    EXPECT_TRUE(handle_.done());
    return await_resume();
  }

 private:
  handle handle_;
};

class coroutine_forms : public ::testing::Test {
 protected:
  coroutine_forms() { seen = counts(); }
  // After every test: what was constructed was destroyed, once.
  ~coroutine_forms() override {
    EXPECT_GT(seen.constructed, 0);
    EXPECT_EQ(seen.alive(), 0);
  }
};

task<counted> make_counted(int value) {
  co_return counted(value);
}

task<int> value_of(counted c) {
  co_return c.value;
}

task<int> add(int a, int b) {
  const counted witness(a + b);
  co_return witness.value;
}

task<int> await_into_named_local() {
  const auto c = co_await make_counted(7);
  co_return c.value;
}

TEST_F(coroutine_forms, await_into_a_named_local) {
  EXPECT_EQ(await_into_named_local().run(), 7);
}

task<int> await_then_branch(int wanted) {
  const auto value = co_await add(wanted, 0);
  if (value == wanted) {
    co_return 1;
  }
  co_return 0;
}

TEST_F(coroutine_forms, await_before_the_condition_runs_the_branch) {
  EXPECT_EQ(await_then_branch(3).run(), 1);
}

task<int> await_in_a_condition_that_declares(int wanted) {
  if (const auto value = co_await add(wanted, 0); value == wanted) {  // tidy: allow co-await (safe)
    co_return 1;
  }
  co_return 0;
}

TEST_F(coroutine_forms, await_in_a_condition_that_declares_a_variable) {
  EXPECT_EQ(await_in_a_condition_that_declares(3).run(), 1);
}

task<int> await_with_a_lambda_of_references() {
  const counted kept(4);
  const auto call = [](const auto& function) -> task<int> {
    co_return function();
  };
  const auto value = co_await call([&kept] { return kept.value; });
  co_return value;
}

TEST_F(coroutine_forms, await_with_a_lambda_that_captures_by_reference) {
  EXPECT_EQ(await_with_a_lambda_of_references().run(), 4);
}

task<int> await_with_a_conditional_of_variables(bool first) {
  const counted one(1);
  const counted two(2);
  const auto value = co_await value_of(first ? one : two);  // tidy: allow co-await (it makes none)
  co_return value;
}

TEST_F(coroutine_forms, await_with_a_conditional_between_variables) {
  EXPECT_EQ(await_with_a_conditional_of_variables(true).run(), 1);
  EXPECT_EQ(await_with_a_conditional_of_variables(false).run(), 2);
}

task<int> await_in_loop(int rounds) {
  int sum = 0;
  while (true) {
    const auto next = co_await add(sum, 1);
    if (next > rounds) break;
    sum = next;
  }
  co_return sum;
}

TEST_F(coroutine_forms, await_in_a_loop_body_runs_each_round) {
  EXPECT_EQ(await_in_loop(10).run(), 10);
}

task<int> await_into_assignment() {
  counted c(1);
  c = co_await make_counted(2);
  const int first = c.value;
  c = co_await make_counted(3);
  co_return first * 10 + c.value;
}

TEST_F(coroutine_forms, await_into_an_assignment) {
  EXPECT_EQ(await_into_assignment().run(), 23);
}

task<int> await_with_moved_and_copied_names() {
  counted moved(4);
  counted copied(5);
  const auto a = co_await value_of(std::move(moved));
  const auto b = co_await value_of(copied);
  co_return a * 10 + b;
}

TEST_F(coroutine_forms, await_with_moved_and_copied_names_as_arguments) {
  EXPECT_EQ(await_with_moved_and_copied_names().run(), 45);
}

counted counted_by_function(int value) {
  return counted(value);
}

task<int> await_with_prvalues_that_have_constructors() {
  const auto a = co_await value_of(counted(6));
  const auto b = co_await value_of(counted_by_function(7));
  co_return a * 10 + b;
}

TEST_F(coroutine_forms, await_with_prvalue_arguments_of_types_with_constructors) {
  EXPECT_EQ(await_with_prvalues_that_have_constructors().run(), 67);
}

// Trivially destructible, as the public options are: safe even where it is made in the statement.
struct plain_options {
  int limit = 3;
  bool fast = false;
};

task<int> with_options(plain_options options) {
  const counted witness(options.limit);
  co_return options.fast ? witness.value : -witness.value;
}

task<int> await_with_plain_options() {
  plain_options named;
  named.fast = true;
  const auto a = co_await with_options(named);
  const auto b =
      co_await with_options(plain_options{4, true});   // tidy: allow co-await (a user may)
  const auto c = co_await with_options({.limit = 5});  // tidy: allow co-await (a user may)
  co_return a * 100 + b * 10 - c;
}

TEST_F(coroutine_forms, await_with_trivially_destructible_options) {
  EXPECT_EQ(await_with_plain_options().run(), 345);
}

task<counted> return_an_await(int value) {
  co_return co_await make_counted(value);
}

TEST_F(coroutine_forms, return_of_an_await) {
  EXPECT_EQ(return_an_await(8).run().value, 8);
}

task<int> make_then_await() {
  counted argument(9);
  task<int> pending = value_of(std::move(argument));
  const auto value = co_await pending;
  co_return value;
}

TEST_F(coroutine_forms, a_task_made_in_one_statement_and_awaited_in_the_next) {
  EXPECT_EQ(make_then_await().run(), 9);
}

using expected_counted = std::expected<counted, std::string>;

task<expected_counted> succeed_or_fail(bool succeed) {
  if (!succeed) co_return std::unexpected(std::string("it failed for a reason long enough"));
  co_return counted(1);
}

task<expected_counted> chain_of_results(bool first, bool second) {
  const counted before(10);
  auto one = co_await succeed_or_fail(first);
  if (!one) co_return std::unexpected(one.error());
  const counted between(20);
  auto two = co_await succeed_or_fail(second);
  if (!two) co_return std::unexpected(std::move(two).error());
  co_return counted(one->value + two->value + before.value + between.value);
}

TEST_F(coroutine_forms, expected_of_class_types_with_early_error_return) {
  const expected_counted good = chain_of_results(true, true).run();
  ASSERT_TRUE(good.has_value());
  EXPECT_EQ(good->value, 32);
  EXPECT_EQ(chain_of_results(false, true).run().error(), "it failed for a reason long enough");
  EXPECT_EQ(chain_of_results(true, false).run().error(), "it failed for a reason long enough");
}

task<int> lambda_with_trivial_captures() {
  int sum = 0;
  const counted witness(3);
  const counted* at = &witness;
  const auto add_to_sum = [&sum, at](int n) {
    sum += n * at->value;
  };
  const auto value = co_await add(1, 2);
  add_to_sum(value);
  co_return sum;
}

TEST_F(coroutine_forms, a_named_lambda_with_trivial_captures_across_an_await) {
  EXPECT_EQ(lambda_with_trivial_captures().run(), 9);
}

task<int> lambda_with_owning_capture() {
  counted owned(4);
  const auto get = [held = std::move(owned)] {
    return held.value;
  };
  const auto value = co_await add(1, 1);
  co_return get() + value;
}

TEST_F(coroutine_forms, a_named_lambda_with_an_owning_capture_across_an_await) {
  EXPECT_EQ(lambda_with_owning_capture().run(), 6);
}

// A coroutine lambda without captures, its state passed as parameters.
task<int> coroutine_lambda() {
  const auto body = [](counted by_value, const counted& by_reference) -> task<int> {
    const auto sum = co_await add(by_value.value, by_reference.value);
    co_return sum;
  };
  const counted a(30);
  const counted b(12);
  const auto sum = co_await body(a, b);
  co_return sum;
}

TEST_F(coroutine_forms, a_coroutine_lambda_with_parameters_only) {
  EXPECT_EQ(coroutine_lambda().run(), 42);
}

// Suspends once and leaves its handle where the test finds it.
struct parking {
  explicit parking(std::coroutine_handle<>& place) noexcept : handle(place) {}
  bool await_ready() noexcept { return false; }
  void await_suspend(std::coroutine_handle<> h) noexcept { handle = h; }
  void await_resume() noexcept {}
  std::coroutine_handle<>& handle;
};

task<int> parks(std::coroutine_handle<>& place, counted parameter) {
  const counted local(1);
  co_await parking(place);
  co_return local.value + parameter.value;
}

TEST_F(coroutine_forms, destroying_a_suspended_coroutine_destroys_its_locals_and_parameters) {
  std::coroutine_handle<> parked;
  {
    task<int> pending = parks(parked, counted(2));
    pending.await_suspend(std::noop_coroutine()).resume();
    EXPECT_FALSE(parked.done());
    EXPECT_EQ(seen.alive(), 2);
  }
  EXPECT_EQ(seen.alive(), 0);
}

TEST_F(coroutine_forms, a_destroyed_task_that_never_started_destroys_its_parameters) {
  {
    counted parameter(3);
    const task<int> pending = value_of(std::move(parameter));
    EXPECT_GE(seen.alive(), 2);
  }
  EXPECT_EQ(seen.alive(), 0);
}

task<int> one() {
  co_return 1;
}

task<int> sum_of_ones(int rounds) {
  int sum = 0;
  for (int round = 0; round < rounds; ++round) {
    const auto next = co_await one();
    sum += next;
  }
  co_return sum;
}

// Needs -foptimize-sibling-calls with g++ below -O2; without it the stack overflows here.
TEST(symmetric_transfer, a_loop_of_synchronous_awaits_uses_no_stack) {
  const int rounds = sanitized ? 500 : 100'000;
  EXPECT_EQ(sum_of_ones(rounds).run(), rounds);
}

task<int> depth(int levels) {
  if (levels == 0) co_return 0;
  const auto below = co_await depth(levels - 1);
  co_return below + 1;
}

TEST(symmetric_transfer, a_chain_of_nested_awaits_uses_no_stack) {
  const int levels = sanitized ? 500 : 100'000;
  EXPECT_EQ(depth(levels).run(), levels);
}

// The forbidden forms. `owner` is an aggregate that owns nothing: when the compiler copies its bits
// and destroys it twice, a counter is wrong and no memory is.
int owners_destroyed = 0;

struct token {
  token() noexcept {}
  token(const token&) = delete;
  token& operator=(const token&) = delete;
  ~token() { ++owners_destroyed; }
};

struct owner {
  int number;
  token held;
};

task<int> number_of(const owner& o) {
  co_return o.number;
}

void record(int expected_destructions) {
  const bool bug = owners_destroyed != expected_destructions;
  ::testing::Test::RecordProperty("destructions", owners_destroyed);
  ::testing::Test::RecordProperty("bug_present", bug ? "yes" : "no");
}

task<int> await_with_aggregate_prvalue() {
  const auto value = co_await number_of(owner{5, token()});  // tidy: allow co-await (canary)
  co_return value;
}

TEST(compiler_bug, records_whether_an_aggregate_prvalue_beside_an_await_is_destroyed_twice) {
  owners_destroyed = 0;
  EXPECT_EQ(await_with_aggregate_prvalue().run(), 5);
  EXPECT_GE(owners_destroyed, 1);
  record(1);
}

// A lambda is made of its captures as an aggregate of its members.
task<int> await_with_owning_lambda() {
  const auto call = [](const auto& function) -> task<int> {
    co_return function();
  };
  const auto value = co_await call(  // tidy: allow co-await (canary)
      [held = token()] { return sizeof held == 1 ? 5 : 6; });
  co_return value;
}

TEST(compiler_bug, records_whether_a_lambda_that_owns_beside_an_await_is_destroyed_twice) {
  owners_destroyed = 0;
  EXPECT_EQ(await_with_owning_lambda().run(), 5);
  EXPECT_GE(owners_destroyed, 1);
  record(1);
}

task<int> await_with_conditional(bool first) {
  const auto value = co_await number_of(  // tidy: allow co-await (canary)
      first ? owner(6, token()) : owner(7, token()));
  co_return value;
}

TEST(compiler_bug, records_whether_a_conditional_beside_an_await_is_destroyed_twice) {
  owners_destroyed = 0;
  EXPECT_EQ(await_with_conditional(true).run(), 6);
  EXPECT_GE(owners_destroyed, 1);
  record(1);
}

// Both, written as the house writes them.
task<int> await_with_named_aggregate() {
  const owner named{5, token()};
  const auto value = co_await number_of(named);
  co_return value;
}

TEST(compiler_bug, is_avoided_by_a_named_aggregate) {
  owners_destroyed = 0;
  EXPECT_EQ(await_with_named_aggregate().run(), 5);
  EXPECT_EQ(owners_destroyed, 1);
}

task<int> await_with_branches(bool first) {
  if (first) {
    const owner six{6, token()};
    co_return co_await number_of(six);
  } else {
    const owner seven{7, token()};
    co_return co_await number_of(seven);
  }
}

TEST(compiler_bug, is_avoided_by_if_and_else) {
  owners_destroyed = 0;
  EXPECT_EQ(await_with_branches(true).run(), 6);
  EXPECT_EQ(await_with_branches(false).run(), 7);
  EXPECT_EQ(owners_destroyed, 2);
}

}  // namespace
