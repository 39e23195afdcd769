// Turns names into addresses without blocking the shard, through /etc/hosts and name servers. The
// work is done by c-ares.
//
// Each shard has one, resolver::of(home), used on the shard's thread only. It honours /etc/hosts,
// /etc/nsswitch.conf and /etc/resolv.conf as they were at the shard's first look-up.
//
//   auto addresses = co_await resolver::of(home).resolve(host, 443, home.now() + 5s);
//   if (!addresses) co_return fail(addresses.error());
//   // at least one, in the order in which to try them (RFC 6724)
//
// Numeric addresses and cached names are answered without suspending and cost no system call.
// Look-ups of the same name at the same time share one question. The question does not die with the
// task that asked first: when one waiter gives up, the others still get the answer, and so does the
// cache. An answer is cached for the shortest time to live among its records, but for at least 1 s
// and at most 300 s; failures are not cached.
//
// Deadlines run on the shard's clock. The attempts of c-ares (by default 5 s each, 4 of them) run
// on CLOCK_MONOTONIC. Hazard: running out of memory here ends the program, because the callbacks of
// c-ares cannot throw.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include <conpool/runtime/address.h>
#include <conpool/runtime/clock.h>
#include <conpool/runtime/detail/export.h>
#include <conpool/runtime/detail/intrusive_list.h>
#include <conpool/runtime/detail/resolver_cache.h>
#include <conpool/runtime/detail/shard_extension.h>
#include <conpool/runtime/detail/stop_hook.h>
#include <conpool/runtime/detail/wait_point.h>
#include <conpool/runtime/error.h>
#include <conpool/runtime/shard.h>

namespace conpool {

namespace detail {
class resolver_channel;
struct resolver_answer;
class resolver_question;
}  // namespace detail

struct resolver_options {
  // The name servers to ask, as "127.0.0.1:5353,[::1]:53"; if empty, those of /etc/resolv.conf.
  std::string servers;
  // How long c-ares waits for a server before it asks again, or the next one. 0 takes the system's
  // setting.
  std::chrono::milliseconds attempt_timeout{0};
  // How often c-ares asks each server. 0 takes the system's setting.
  unsigned attempts = 0;
};

// Counted from the resolver's creation.
struct resolver_statistics {
  std::uint64_t questions = 0;  // given to c-ares
  std::uint64_t coalesced = 0;  // look-ups that joined a question under way
  std::uint64_t cache_hits = 0;
};

class CONPOOL_API resolver final : public shard_extension, private stop_hook {
 public:
  static constexpr duration cached_at_least = std::chrono::seconds(1);
  static constexpr duration cached_at_most = std::chrono::seconds(300);
  static constexpr std::size_t host_bytes_max = 255;

  // Returns the shard's resolver; the first use makes it, with the system's configuration.
  static resolver& of(shard& home) { return home.extension<resolver>(); }
  // Makes the shard's resolver with these options. Precondition: the shard has none yet.
  static resolver& use(shard& home, const resolver_options& options);

  // A resolver of your own, beside the shard's. Call it on the shard's thread, or before the shard
  // has one.
  explicit resolver(shard& home, const resolver_options& options = {});
  // Call it once the shard has stopped, or if it was never turned.
  ~resolver() override;

  class resolve_awaiter;
  // Awaits result<std::vector<socket_address>>: the addresses of `host`, at least one, each with
  // `port`. `host` is a name or a numeric address without brackets, and must stay valid until the
  // co_await ends. All errors have `host` as their subject: resolve_failed (there is no such name,
  // it has no address, or no server can be asked), resolve_timeout (the deadline passed, or the
  // servers did not answer), invalid_argument (`host` is empty, longer than host_bytes_max or has a
  // zero byte), too_many_files, and the context's: cancelled, deadline_exceeded, shard_stopped.
  resolve_awaiter resolve(std::string_view host, std::uint16_t port, time_point deadline) noexcept;

  const resolver_statistics& statistics() const noexcept { return statistics_; }

 private:
  struct look_up;

  void join(resolve_awaiter& waiter);
  static void answered(detail::resolver_question& question,
                       detail::resolver_answer&& answer) noexcept;
  static void stop(stop_hook& hook) noexcept;

  shard* home_;
  resolver_options options_;
  std::unique_ptr<detail::resolver_channel> channel_;  // null before the first question
  std::unordered_map<std::string, std::unique_ptr<look_up>> under_way_;
  detail::resolver_cache cache_;
  resolver_statistics statistics_;
};

// Suspends until the addresses are known, the look-up has failed, or the waiter gives up. The
// shard's turn resumes it.
class resolver::resolve_awaiter : public wait_point, private list_hook<resolver> {
 public:
  bool await_ready();
  template <typename Promise>
  bool await_suspend(std::coroutine_handle<Promise> handle) noexcept {
    return begin(handle, context_of(handle));
  }
  [[nodiscard]] result<std::vector<socket_address>> await_resume();

 private:
  friend class resolver;
  friend intrusive_list<resolve_awaiter, list_hook<resolver>>;

  resolve_awaiter(resolver& asked, std::string_view host, std::uint16_t port,
                  time_point deadline) noexcept
      : wait_point(*asked.home_, &resolve_awaiter::interrupt, errc::resolve_timeout),
        resolver_(&asked),
        host_(host),
        deadline_(deadline),
        port_(port) {}

  bool begin(std::coroutine_handle<> handle, context* where) noexcept;
  static void interrupt(wait_point& waiting, errc why) noexcept;

  resolver* resolver_;
  std::string_view host_;
  time_point deadline_;
  std::uint16_t port_;
  std::optional<result<std::vector<socket_address>>> answer_;
};

inline resolver::resolve_awaiter resolver::resolve(std::string_view host, std::uint16_t port,
                                                   time_point deadline) noexcept {
  return resolve_awaiter(*this, host, port, deadline);
}

}  // namespace conpool
