// Errors as values: what failed, in which phase, for which endpoint, after how many attempts.
//
// Every operation of conpool that can fail returns `result<T>`, a std::expected<T, error>. The
// library throws nothing for what a peer, the kernel or a configuration can cause.
//
//   auto lease = co_await pool.acquire(endpoint);
//   if (!lease) {
//     log(lease.error().message());   // "connect tcp://10.0.0.7:6379: connect failed
//     co_return;                      //  (1 attempt): Connection refused (ECONNREFUSED)"
//   }
//
// An error is 32 bytes, and its text is built only when message() is called. Compare it with an
// errc: `lease.error() == errc::acquire_timeout`. It may be copied and moved to other threads.
// `errc` is a std::error_code enumeration, so error::code() also compares equal to the
// std::error_condition that fits, and travels through code that knows only <system_error>.
#pragma once

#include <cstdint>
#include <expected>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <conpool/runtime/detail/export.h>

namespace conpool {

// The kinds of failure. Each is a distinct value of error_category().
enum class errc : int {
  invalid_config = 1,  // a configuration field is out of its range
  invalid_endpoint,    // an endpoint's text cannot be parsed
  invalid_argument,    // any other argument out of its range
  ring_unavailable,    // io_uring is missing, forbidden or lacks what conpool needs
  too_many_files,      // EMFILE or ENFILE: the process or the system is out of descriptors
  out_of_memory,       // ENOMEM or ENOBUFS from the kernel
  resolve_failed,      // the name does not exist, or no server could be asked
  resolve_timeout,     // the name servers did not answer in time
  connect_failed,      // refused, unreachable, reset during the handshake
  connect_timeout,     // no answer within connection_timeout
  acquire_timeout,     // no connection became free within acquire_timeout
  queue_full,          // max_waiters_per_endpoint callers wait already
  pool_closed,         // the pool was closed or destroyed
  pool_paused,         // the pool is paused and the policy is to fail
  breaker_open,        // the endpoint failed too often; a trial connect is under way
  none_idle,           // no connection is idle, and the caller did not want to wait (try_only)
  read_timeout,        // no bytes within the read timeout
  write_timeout,       // the peer took no bytes within the write timeout
  connection_closed,   // the peer closed, or the connection was closed on this side
  connection_reset,    // the peer reset the connection, or the network lost it
  io_failed,           // any other error of a read or a write
  cancelled,           // the task was cancelled
  deadline_exceeded,   // the task's own deadline passed (with_timeout)
  shard_stopped,       // the shard or the runtime was stopped
  unsupported,         // asked for something that this build or kernel does not have

  // TLS.
  trust_unavailable,           // no root certificates were found, or the bundle cannot be read
  handshake_timeout,           // the TLS handshake did not end in time
  not_tls,                     // the peer answered with something that is not TLS
  tls_protocol,                // the peer broke the protocol; the detail has BoringSSL's reason
  alert_received,              // the peer ended it with a fatal alert; the detail names it
  certificate_expired,         // a certificate of the chain is too old
  certificate_not_yet_valid,   // its validity begins in the future
  certificate_unknown_issuer,  // no chain to a trusted root
  certificate_self_signed,     // the peer's certificate, or its root, signed itself; not trusted
  certificate_host_mismatch,   // it is for another name or address
  certificate_revoked,         // a revocation list names it
  revocation_unknown,          // no list says: it is missing, out of date or not yet valid
  certificate_bad_purpose,     // it is not for this side of TLS, or its issuer may not issue
  certificate_weak,            // a key or signature too weak for the policy
  certificate_rejected,        // anything else that is wrong with it; the detail says what
  pin_mismatch,                // no certificate of the chain has a pinned key
  alpn_mismatch,               // no application protocol in common
  client_certificate_refused,  // the peer wants a client certificate, or another one
  truncated,                   // the peer closed the connection without ending TLS first
  unsolicited_data,            // data arrived on a connection that nobody was using
  record_limit,                // too many records or bytes for one key or one handshake

  // Of the process.
  forked,            // made before a fork() and used in the child, where nothing of it works
  too_many_threads,  // the process or the system may have no more threads

  message_too_long,  // a message is larger than its buffered_reader's limit
};

// What the operation was doing when it failed.
enum class phase : std::uint8_t {
  none,
  configure,
  start,
  acquire,
  resolve,
  connect,
  handshake,
  read,
  write,
  accept,
  drain,
};

CONPOOL_API const std::error_category& error_category() noexcept;
CONPOOL_API std::error_code make_error_code(errc code) noexcept;
// The kind and the phase as they are spelled here, "acquire_timeout" or "connect", for logs and
// metrics; "unknown" for another value. Any thread may call these.
CONPOOL_API const char* to_string(errc code) noexcept;
CONPOOL_API const char* to_string(phase value) noexcept;

class [[nodiscard]] CONPOOL_API error {
 public:
  explicit error(errc code, conpool::phase where = conpool::phase::none,
                 int system_errno = 0) noexcept;

  // These add to a new error: what it is about (an endpoint or a field), a sentence that says more,
  // and the number of attempts. Each returns the error, so that one expression builds it. about()
  // and with_detail() allocate.
  error&& about(std::string_view subject) &&;
  error&& with_detail(std::string_view detail) &&;
  error&& after_attempts(std::uint32_t attempts) && noexcept;
  // Says that trying again will not help before somebody has changed something: a wrong password,
  // a database that does not exist. A protocol's on_connect says it so that the pool does not
  // hammer the server (protocol.h).
  error&& permanent() && noexcept;

  errc kind() const noexcept { return code_; }
  std::error_code code() const noexcept { return make_error_code(code_); }
  conpool::phase where() const noexcept { return phase_; }
  // The errno value behind the error, which is positive; 0 if there was none.
  int system_errno() const noexcept { return errno_; }
  // How often the operation was tried; 0 where trying again has no meaning.
  std::uint32_t attempts() const noexcept { return attempts_; }
  // Whether trying again is of no use for now: it was said to be permanent(), or it is of a kind
  // that is, such as a certificate that was refused.
  bool is_permanent() const noexcept;
  // The endpoint, name or field that the error is about, and the sentence that says more; empty if
  // there is none. Both are valid as long as this error or a copy of it lives.
  std::string_view subject() const noexcept;
  std::string_view detail() const noexcept;

  // One line for a person: what failed, where, after how many attempts, why.
  std::string message() const;

  friend bool operator==(const error& left, errc right) noexcept { return left.code_ == right; }

 private:
  struct text {
    std::string subject;
    std::string detail;
  };
  text& own_text();

  errc code_;
  conpool::phase phase_;
  bool permanent_ = false;
  int errno_;
  std::uint32_t attempts_ = 0;
  std::shared_ptr<text> text_;
};

static_assert(sizeof(error) <= 32);

template <typename T>
using result = std::expected<T, error>;

// Shorthand for `std::unexpected(error(...))`.
[[nodiscard]] inline std::unexpected<error> fail(error why) {
  return std::unexpected<error>(std::move(why));
}

// Returns the name of an errno value as errno(3) spells it ("ECONNREFUSED"), or "errno 999".
CONPOOL_API std::string errno_name(int system_errno);

}  // namespace conpool

template <>
struct std::is_error_code_enum<conpool::errc> : std::true_type {};
