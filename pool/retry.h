// A request once more, when the connection that was kept for it turned out to be over.
//
//   const auto ask = [&](connection& peer) { return get(peer, path); };
//   auto page = co_await retry_if_stale(backends, to, request::repeatable, ask);
//
// A server may close an idle connection in the very moment in which a request is sent on it. No
// pool can see that before. The request then fails although the server is well, and it is right to
// send it again, once, on a connection that nobody has used: if the caller says that doing it twice
// is as good as doing it once, or if nothing of it was sent.
#pragma once

#include <cstdint>
#include <source_location>
#include <type_traits>
#include <utility>

#include <conpool/pool/pool.h>
#include <conpool/runtime/detail/compiler_bugs.h>
#include <conpool/runtime/detail/export.h>
#include <conpool/runtime/error.h>
#include <conpool/runtime/task.h>

namespace conpool {

// Whether a request may reach the server twice.
enum class request : std::uint8_t {
  once,        // it is sent again only if nothing of it was sent before
  repeatable,  // a read, or what the server recognizes when it comes again
};

namespace detail {

// Whether the connection was over before the request was: it was lent before, it has ended or was
// reset, and no byte of an answer came.
CONPOOL_API bool was_stale(const connection& used, const error& why, request kind) noexcept;

template <typename F>
using outcome_of = typename std::invoke_result_t<F&, connection&>::value_type;

template <typename F>
task<outcome_of<F>> run_with_retry(pool& from, endpoint to, request kind, F function,
                                   acquire_options how, std::source_location where) {
  for (;;) {
    auto taken = co_await from.acquire(to, how, where);
    if (!taken) co_return fail(std::move(taken.error()));
    discarding_lease held{std::move(*taken)};
    auto body = function(*held.taken);
    auto outcome = co_await body;
    held.is_good = outcome.has_value();
    if (held.is_good || how.fresh || !was_stale(*held.taken, outcome.error(), kind)) {
      co_return std::move(outcome);
    }
    how.fresh = true;
  }
}

}  // namespace detail

// Does what pool::with_connection() does. If the function fails on a connection that had been lent
// before, with connection_closed, connection_reset or truncated, and before a byte of an answer has
// come, it is run once more, on a connection that was never lent; so it is called twice, and what
// it captured must be good for that. On a shared connection the bytes of other leases count, too,
// and mostly forbid it. Each acquire has the timeout of `how`; its deadline holds for both. The
// pool must stay until this returns. Errors: those of the function, and of pool::acquire().
template <typename F>
auto retry_if_stale(pool& from, endpoint to, request kind, F&& function,
                    const acquire_options& how = {},
                    std::source_location where = std::source_location::current())
    -> task<detail::outcome_of<std::decay_t<F>>> {
  detail::check_beside_co_await<F>();
  return detail::run_with_retry<std::decay_t<F>>(from, std::move(to), kind,
                                                 std::forward<F>(function), how, where);
}

}  // namespace conpool
