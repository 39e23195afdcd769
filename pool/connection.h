// A pooled connection: a stream that belongs to its endpoint's pool.
//
// Users reach it through a lease and use what stream offers: read, read_exactly, write.
//
//   auto sent = co_await (*lease)->write("PING\r\n");
//   if (!sent) co_return fail(sent.error());
//   auto count = co_await (*lease)->read(buffer);
//
// bytes_sent() and bytes_received() count from the beginning of the lease (in shared mode: from
// the moment the connection stood), so that a protocol can tell whether a request that failed may
// have reached the server.
//
// Its endpoint's pool owns it until its descriptor is closed; it is used on its shard only. The
// reference that a lease gives is valid as long as the lease.
#pragma once

#include <cstdint>
#include <memory>
#include <typeinfo>

#include <conpool/pool/endpoint.h>
#include <conpool/runtime/clock.h>
#include <conpool/runtime/detail/export.h>
#include <conpool/runtime/error.h>
#include <conpool/runtime/stream.h>
#include <conpool/runtime/task.h>

namespace conpool {

namespace tls {
class connection_info;
class profile;
}  // namespace tls

// What is known of a connection that was opened elsewhere (pool::adopt()). By default it has been
// used, just now. Trivially destructible, so it may be written in braces beside a co_await.
struct adopt_options {
  // How often it was used. 0 says that nothing was ever sent or read on it.
  std::uint64_t uses = 1;
  // Since when it stands, for max_connection_lifetime; and since when nobody used it, for
  // max_idle_time.
  duration age{0};
  duration idle{0};
};

class CONPOOL_API connection : public stream {
 public:
  // After mark(discarded) it is closed when it comes back: for protocols and users who know
  // something that the pool does not.
  static constexpr std::uint32_t discarded = 1U << first_owner_bit;

  // What it is connected to.
  const conpool::endpoint& peer() const noexcept;
  // Counts the pool's connections from 1; for logs.
  std::uint64_t id() const noexcept;
  // How often it was lent, this lease included.
  std::uint64_t uses() const noexcept;
  // When it was connected.
  time_point created_at() const noexcept;

  // Version, cipher, application protocol, whether the session was resumed and so on
  // (tls/connection_info.h). Null if the endpoint is not tls://, and once the connection is closed.
  const tls::connection_info* tls() const noexcept;

  // Puts TLS on a connection that began in the clear, for protocols that ask the server for it
  // first: SMTP's STARTTLS (RFC 3207), PostgreSQL's SSLRequest. Without a profile the host's name
  // or address is verified against the system's roots. It takes at most connection_timeout. From
  // then on reads and writes carry plain bytes, tls() is not null, and the connection goes back to
  // the pool with its TLS: do it in on_connect, or look at tls() first. Statistics count it among
  // handshakes.
  //
  // Errors: those of a handshake (tls/handshake.h), after which the connection is closed when it
  // comes back; unsolicited_data if bytes in the clear wait behind the server's answer, since
  // somebody on the way may have put them there; invalid_argument if it has TLS already, a read or
  // write is under way, it has other leases, or it is of a Unix socket and there is no profile. Of
  // these nothing was sent. The connection must not be given back until this returns.
  task<result<void>> upgrade(std::shared_ptr<const tls::profile> as = nullptr);

  // What protocol P keeps for this connection. Precondition: it is of a pool that was made with a
  // P, which is asserted in builds without NDEBUG. In protocol.h.
  template <typename P>
  typename P::state& state() noexcept;

  // For the protocol of a shared connection, at any time: how many leases it may have at once. A
  // number below the leases it has takes none of them away. Has no effect on a connection that is
  // not shared.
  void set_lease_limit(std::uint32_t most) noexcept;
  // For protocols (GOAWAY): the connection takes no new leases, no longer counts as capacity, and
  // is closed when its last lease is back, or at once if it has none. Idempotent; has no effect in
  // on_connect.
  void retire() noexcept;
  // Leases on it now; 0 or 1 unless it is shared.
  std::uint32_t leases() const noexcept;

 protected:
  using stream::stream;
  // Whether it is of a pool whose protocol is of this type, as far as that is known.
  bool speaks(const std::type_info* type) const noexcept;
  ~connection() = default;
};

}  // namespace conpool
