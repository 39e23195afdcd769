// Names to addresses, without blocking the shard: /etc/hosts and name servers, through c-ares.
//
// One for each shard, resolver::of(home); used on its shard's thread only. It honours /etc/hosts,
// /etc/nsswitch.conf and /etc/resolv.conf as they were at the shard's first look-up.
//
//   auto addresses = co_await resolver::of(home).resolve(host, 443, home.now() + 5s);
//   if (!addresses) co_return fail(addresses.error());
//   // at least one, in the order in which to try them (RFC 6724)
//
// Numeric addresses and cached names are answered without suspending, and cost no system call.
// Look-ups of the same name at the same time share one question, which does not die with the one
// who asked first: a waiter that gives up leaves the others, and the cache, their answer. Answers
// are cached for the least time to live among their records, within 1 s to 300 s; failures are not.
//
// Deadlines are the shard's time; c-ares's own attempts (by default 5 s, 4 times) run on
// CLOCK_MONOTONIC. Running out of memory here ends the program: c-ares's callbacks cannot throw.
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
  // Name servers, "127.0.0.1:5353,[::1]:53"; empty: those of /etc/resolv.conf.
  std::string servers;
  // How long c-ares waits for a server before it asks again or the next; 0: the system's setting.
  std::chrono::milliseconds attempt_timeout{0};
  // How often it asks each server; 0: the system's setting.
  unsigned attempts = 0;
};

// Counted from the resolver's creation.
struct resolver_statistics {
  std::uint64_t questions = 0;  // given to c-ares
  std::uint64_t coalesced = 0;  // look-ups that joined a question under way
  std::uint64_t cache_hits = 0;
};

class resolver final : public shard_extension, private stop_hook {
 public:
  static constexpr duration cached_at_least = std::chrono::seconds(1);
  static constexpr duration cached_at_most = std::chrono::seconds(300);
  static constexpr std::size_t host_bytes_max = 255;

  // The shard's resolver, made at the first use with the system's configuration.
  static resolver& of(shard& home) { return home.extension<resolver>(); }
  // Makes the shard's resolver with these options. Precondition: of() was not called before.
  static resolver& use(shard& home, const resolver_options& options);

  // On the shard's thread, or before it has one.
  explicit resolver(shard& home, const resolver_options& options = {});
  // Once the shard has stopped, or was never turned.
  ~resolver() override;

  class resolve_awaiter;
  // Awaits result<std::vector<socket_address>>: the addresses of `host`, at least one, each with
  // `port`. `host` is a name or a numeric address without brackets, and must stay valid until the
  // co_await ends. Errors, with `host` as subject: resolve_failed (no such name, no address, no
  // server to ask), resolve_timeout (at `deadline`, or when the servers did not answer),
  // invalid_argument (`host` is empty, too long or has a zero byte), too_many_files, and the
  // context's: cancelled, deadline_exceeded, shard_stopped.
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
  std::unique_ptr<detail::resolver_channel> channel_;  // since the first question
  std::unordered_map<std::string, std::unique_ptr<look_up>> under_way_;
  detail::resolver_cache cache_;
  resolver_statistics statistics_;
};

// Suspends until the name's addresses are known, its look-up failed, or the waiter gave up.
class resolver::resolve_awaiter : public wait_point, private list_hook<resolver> {
 public:
  bool await_ready();
  template <typename Promise>
  bool await_suspend(std::coroutine_handle<Promise> handle) noexcept {
    return begin(handle, context_of(handle));
  }
  result<std::vector<socket_address>> await_resume();

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
