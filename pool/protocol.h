// Teaches a pool a protocol: to log in, check, clean, ping or share connections. All is optional.
//
//   struct redis {
//     struct state { int database = 0; };              // one for each connection
//
//     task<result<void>> on_connect(connection& to, state& own);        // log in
//     task<result<void>> ping(connection& to, state& own);              // a round trip
//     idle_data on_idle_data(connection& from, state& own, std::span<const std::byte> bytes);
//   };
//
//   auto backends = pool::create(home, config, redis{}).value();
//   auto lease = co_await backends.acquire(to);
//   int database = (*lease)->state<redis>().database;
//
// A protocol is a class with a nested type `state`, which can be default constructed, and any of
// the hooks below; a hook with the right name and the wrong form does not compile. One object of
// the class lives in the pool and is used on the pool's shard only. A hook that is not there costs
// nothing, and those that are not asked on each lend (on_connect, ping, on_idle_data, on_close)
// leave a hit as fast as it was.
//
// A hook that throws counts as one that failed; so does the constructor of a state, which makes it
// a failed connect. A hook that is not a coroutine must not block. Otherwise a hook may do what it
// likes at any time: retire or discard its connection, give back other leases, clear or close the
// pool. While it runs, its connection stays; what it did to it is done afterwards.
//
//   task<result<void>> on_connect(connection&, state&)
//       Runs before the connection is lent for the first time, within connection_timeout, to log
//       in, select a database or send a preface. An error makes it a failed connect, and callers
//       hear it with its kind, errno and text. If trying again is of no use before somebody changes
//       something (a wrong password), say so: fail(error(...).permanent()). Then the next connect
//       is put off for long, and if nothing stands callers hear of it at once. Success also says
//       that nothing is left to read of what was asked.
//   bool on_acquire(connection&, state&)
//       False closes the connection, and another one is lent.
//   bool is_healthy(const connection&, const state&)
//       Means the same and is asked first.
//   bool on_release(connection&, state&)
//       False closes the connection.
//   task<bool> on_release(connection&, state&)
//       Means the same for a protocol that has to talk (ROLLBACK). The pool runs it after the lease
//       has gone, within release_timeout, for at most max_releasing_per_endpoint connections at a
//       time; others wait for their turn. Meanwhile they count as connections on their way.
//   bool needs_cleaning(const connection&, const state&)
//       Is asked before an on_release that is a coroutine, which is spared if it says false.
//   task<bool> recover(connection&, state&, close_reason)
//       The lease has left an exchange unfinished: it was cancelled or ran into a deadline
//       (interrupted), its request was not answered (unanswered), or its answer was not read to the
//       end (unread_data). True says that the connection is at rest again, as after a database's
//       cancel request and the rest of its answer; then it goes on as if its lease had left it so.
//       False, an exception, and an end of release_timeout close it for that reason. The bounds are
//       those of on_release. It is not asked if the stream is broken, if a write was torn in the
//       middle, or if the lease was discarded.
//   task<void> farewell(connection&, state&)
//       Says goodbye (QUIT, Terminate, GOAWAY) before the pool closes a healthy connection for a
//       reason of its own: a limit, its age, clear(), close(). The bounds are those of on_release;
//       the connection counts as closing. Not when its shard stops.
//   task<result<void>> ping(connection&, state&)
//       Makes a round trip, within ping_timeout.
//   idle_data on_idle_data(connection&, state&, std::span<const std::byte>)
//       Bytes came while nobody had the connection. `keep` says that this was an expected push,
//       `dirt` closes the connection. A message may come in pieces: keep what you need of it in the
//       state.
//   void on_close(connection&, state&, close_reason) noexcept
//       A connection that stood is gone; its memory follows. It runs from the ready queue, before
//       close() and drain() return.
//   access access_mode(const connection&, const state&)
//       Says once, when the connection stands, whether it is exclusive or shared by n leases at
//       once. connection::set_lease_limit() and retire() change that later.
//   task<void> run(connection&, state&)
//       Lives as long as the connection, like the reader of a multiplexed protocol. It is cancelled
//       when the connection is closed; if it ends by itself the connection is retired. While it
//       reads, the pool posts no receive of its own, and this read is the idle watch.
//   static constexpr bool server_speaks_first
//       What the server sends before anybody has asked is a greeting for the first lease. By
//       default such bytes close the connection (pool_config::server_speaks_first).
//   static constexpr std::uint32_t expected_leases
//       How many leases a new connection will likely take, so that this many callers wait for one
//       connect. Default 1; the pool learns it from each connection.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <typeinfo>

#include <conpool/pool/connection.h>
#include <conpool/pool/detail/pooled_connection.h>
#include <conpool/pool/detail/protocol_hooks.h>
#include <conpool/pool/stats.h>
#include <conpool/runtime/error.h>
#include <conpool/runtime/task.h>

namespace conpool {

// How many leases may share a connection.
struct access {
  std::uint32_t leases = 1;
  bool is_shared = false;

  static constexpr access exclusive() noexcept { return {}; }
  static constexpr access shared(std::uint32_t most) noexcept { return {most, true}; }
};

enum class idle_data : std::uint8_t {
  keep,  // it was expected; all of it was taken
  dirt,  // nobody asked for it: close the connection
};

namespace detail {

// Made before the connection: its constructor is user code and may throw.
template <typename P>
struct state_holder {
  typename P::state own{};
};

template <typename P>
class connection_of final : public state_holder<P>, public managed_connection {
 public:
  connection_of(endpoint_facts& of, int fd) : managed_connection(of, fd) {}
};

template <typename P>
typename P::state& state_of(connection& one) noexcept {
  return static_cast<connection_of<P>&>(one).own;
}
template <typename P>
const typename P::state& state_of(const connection& one) noexcept {
  return static_cast<const connection_of<P>&>(one).own;
}

// Whether a hook of that name is there, and whether it has its form.
#define CONPOOL_HOOK(name, signature)                                                      \
  template <typename P>                                                                    \
  concept has_##name = requires { &P::name; };                                             \
  template <typename P>                                                                    \
  concept good_##name =                                                                    \
      !has_##name<P> || requires(P protocol, connection& one, const connection& looked_at, \
                                 typename P::state& own, const typename P::state& seen,    \
                                 std::span<const std::byte> bytes, close_reason why) signature

CONPOOL_HOOK(on_connect, {
  {
    protocol.on_connect(one, own)
  } -> std::same_as<task<result<void>>>;
});
CONPOOL_HOOK(on_acquire, {
  {
    protocol.on_acquire(one, own)
  } -> std::same_as<bool>;
});
CONPOOL_HOOK(is_healthy, {
  {
    protocol.is_healthy(looked_at, seen)
  } -> std::same_as<bool>;
});
CONPOOL_HOOK(ping, {
  {
    protocol.ping(one, own)
  } -> std::same_as<task<result<void>>>;
});
CONPOOL_HOOK(on_idle_data, {
  {
    protocol.on_idle_data(one, own, bytes)
  } -> std::same_as<idle_data>;
});
CONPOOL_HOOK(on_close, {
  {
    protocol.on_close(one, own, why)
  } noexcept -> std::same_as<void>;
});
CONPOOL_HOOK(access_mode, {
  {
    protocol.access_mode(looked_at, seen)
  } -> std::same_as<access>;
});
CONPOOL_HOOK(needs_cleaning, {
  {
    protocol.needs_cleaning(looked_at, seen)
  } -> std::same_as<bool>;
});
CONPOOL_HOOK(recover, {
  {
    protocol.recover(one, own, why)
  } -> std::same_as<task<bool>>;
});
CONPOOL_HOOK(farewell, {
  {
    protocol.farewell(one, own)
  } -> std::same_as<task<void>>;
});
CONPOOL_HOOK(run, {
  {
    protocol.run(one, own)
  } -> std::same_as<task<void>>;
});
#undef CONPOOL_HOOK

template <typename P>
concept has_on_release = requires { &P::on_release; };
template <typename P>
concept releases_at_once = requires(P protocol, connection& one, typename P::state& own) {
  { protocol.on_release(one, own) } -> std::same_as<bool>;
};
template <typename P>
concept releases_later = requires(P protocol, connection& one, typename P::state& own) {
  { protocol.on_release(one, own) } -> std::same_as<task<bool>>;
};

}  // namespace detail

// A class that a pool can take as its protocol.
template <typename P>
concept protocol =
    std::move_constructible<P> && std::default_initializable<typename P::state> &&
    detail::good_on_connect<P> && detail::good_on_acquire<P> && detail::good_is_healthy<P> &&
    detail::good_ping<P> && detail::good_on_idle_data<P> && detail::good_on_close<P> &&
    detail::good_access_mode<P> && detail::good_run<P> && detail::good_needs_cleaning<P> &&
    detail::good_recover<P> && detail::good_farewell<P> &&
    (!detail::has_on_release<P> || detail::releases_at_once<P> || detail::releases_later<P>);

namespace detail {

// What is asked when a connection is lent and when it comes back.
template <protocol P>
constexpr void set_lending_hooks(protocol_hooks& made) noexcept {
  if constexpr (has_on_acquire<P>) {
    made.on_acquire = [](void* self, connection& one) noexcept {
      try {
        return static_cast<P*>(self)->on_acquire(one, state_of<P>(one));
      } catch (...) {
        return false;
      }
    };
  }
  if constexpr (has_is_healthy<P>) {
    made.is_healthy = [](void* self, const connection& one) noexcept {
      try {
        return static_cast<P*>(self)->is_healthy(one, state_of<P>(one));
      } catch (...) {
        return false;
      }
    };
  }
  if constexpr (releases_at_once<P>) {
    made.on_release = [](void* self, connection& one) noexcept {
      try {
        return static_cast<P*>(self)->on_release(one, state_of<P>(one));
      } catch (...) {
        return false;
      }
    };
  }
  if constexpr (releases_later<P>) {
    made.clean = [](void* self, connection& one) {
      return static_cast<P*>(self)->on_release(one, state_of<P>(one));
    };
  }
  if constexpr (has_needs_cleaning<P>) {
    made.needs_cleaning = [](void* self, const connection& one) noexcept {
      try {
        return static_cast<P*>(self)->needs_cleaning(one, state_of<P>(one));
      } catch (...) {
        return true;
      }
    };
  }
}

// What it does when a lease has left something behind, and before it is closed.
template <protocol P>
constexpr void set_ending_hooks(protocol_hooks& made) noexcept {
  if constexpr (has_recover<P>) {
    made.recover = [](void* self, connection& one, close_reason why) {
      return static_cast<P*>(self)->recover(one, state_of<P>(one), why);
    };
  }
  if constexpr (has_farewell<P>) {
    made.farewell = [](void* self, connection& one) {
      return static_cast<P*>(self)->farewell(one, state_of<P>(one));
    };
  }
  if constexpr (has_on_close<P>) {
    made.on_close = [](void* self, connection& one, close_reason why) noexcept {
      static_cast<P*>(self)->on_close(one, state_of<P>(one), why);
    };
  }
}

// Null without RTTI. The address differs between shared objects, so types are compared by ==.
template <typename P>
constexpr const std::type_info* type_of() noexcept {
#ifdef __cpp_rtti
  return &typeid(P);
#else
  return nullptr;
#endif
}

template <protocol P>
constexpr protocol_hooks make_hooks() {
  protocol_hooks made{.type = type_of<P>(),
                      .create = [](endpoint_facts& of, int fd) -> pooled_connection* {
                        return new connection_of<P>(of, fd);
                      },
                      .destroy =
                          [](pooled_connection& gone) noexcept {
                            delete &static_cast<connection_of<P>&>(gone);
                          }};
  if constexpr (has_on_connect<P>) {
    made.on_connect = [](void* self, connection& one) {
      return static_cast<P*>(self)->on_connect(one, state_of<P>(one));
    };
  }
  set_lending_hooks<P>(made);
  set_ending_hooks<P>(made);
  if constexpr (has_ping<P>) {
    made.ping = [](void* self, connection& one) {
      return static_cast<P*>(self)->ping(one, state_of<P>(one));
    };
  }
  if constexpr (has_on_idle_data<P>) {
    made.on_idle_data = [](void* self, connection& one, std::span<const std::byte> bytes) noexcept {
      try {
        return static_cast<P*>(self)->on_idle_data(one, state_of<P>(one), bytes);
      } catch (...) {
        return idle_data::dirt;
      }
    };
  }
  if constexpr (has_access_mode<P>) {
    made.access_mode = [](void* self, const connection& one) noexcept {
      try {
        return static_cast<P*>(self)->access_mode(one, state_of<P>(one));
      } catch (...) {
        return access::exclusive();
      }
    };
  }
  if constexpr (has_run<P>) {
    made.run = [](void* self, connection& one) {
      return static_cast<P*>(self)->run(one, state_of<P>(one));
    };
  }
  if constexpr (requires { P::expected_leases; }) made.expected_leases = P::expected_leases;
  if constexpr (requires { P::server_speaks_first; }) {
    made.server_speaks_first = P::server_speaks_first;
  }
  return made;
}

template <protocol P>
inline constexpr protocol_hooks hooks_of = make_hooks<P>();

}  // namespace detail

template <typename P>
typename P::state& connection::state() noexcept {
  CONPOOL_ASSERT(speaks(detail::type_of<P>()), "the connection is of a pool with another protocol");
  return detail::state_of<P>(*this);
}

}  // namespace conpool
