#include <conpool/runtime/error.h>

#include <cstddef>
#include <cstring>
#include <iterator>

namespace conpool {
namespace {

struct description {
  errc code;
  const char* name;
  const char* text;
};

// In the order of the values, which begin with 1.
constexpr description descriptions[] = {
    {errc::invalid_config, "invalid_config", "invalid configuration"},
    {errc::invalid_endpoint, "invalid_endpoint", "invalid endpoint"},
    {errc::invalid_argument, "invalid_argument", "invalid argument"},
    {errc::ring_unavailable, "ring_unavailable", "io_uring is not available"},
    {errc::too_many_files, "too_many_files", "too many open files"},
    {errc::out_of_memory, "out_of_memory", "out of memory"},
    {errc::resolve_failed, "resolve_failed", "name resolution failed"},
    {errc::resolve_timeout, "resolve_timeout", "name resolution timed out"},
    {errc::connect_failed, "connect_failed", "connect failed"},
    {errc::connect_timeout, "connect_timeout", "connect timed out"},
    {errc::acquire_timeout, "acquire_timeout", "no connection became free in time"},
    {errc::queue_full, "queue_full", "too many callers wait already"},
    {errc::pool_closed, "pool_closed", "the pool is closed"},
    {errc::pool_paused, "pool_paused", "the pool is paused"},
    {errc::breaker_open, "breaker_open", "the endpoint failed too often"},
    {errc::none_idle, "none_idle", "no connection is idle"},
    {errc::read_timeout, "read_timeout", "read timed out"},
    {errc::write_timeout, "write_timeout", "write timed out"},
    {errc::connection_closed, "connection_closed", "connection closed"},
    {errc::connection_reset, "connection_reset", "connection reset"},
    {errc::io_failed, "io_failed", "input or output failed"},
    {errc::cancelled, "cancelled", "cancelled"},
    {errc::deadline_exceeded, "deadline_exceeded", "deadline exceeded"},
    {errc::shard_stopped, "shard_stopped", "the shard is stopped"},
    {errc::unsupported, "unsupported", "not supported"},
    {errc::trust_unavailable, "trust_unavailable", "no trusted root certificates"},
    {errc::handshake_timeout, "handshake_timeout", "TLS handshake timed out"},
    {errc::not_tls, "not_tls", "the peer does not speak TLS"},
    {errc::tls_protocol, "tls_protocol", "TLS protocol error"},
    {errc::alert_received, "alert_received", "the peer sent a TLS alert"},
    {errc::certificate_expired, "certificate_expired", "certificate has expired"},
    {errc::certificate_not_yet_valid, "certificate_not_yet_valid", "certificate is not yet valid"},
    {errc::certificate_unknown_issuer, "certificate_unknown_issuer",
     "certificate is of an unknown issuer"},
    {errc::certificate_self_signed, "certificate_self_signed",
     "certificate is self-signed and not trusted"},
    {errc::certificate_host_mismatch, "certificate_host_mismatch",
     "certificate is for another name"},
    {errc::certificate_revoked, "certificate_revoked", "certificate is revoked"},
    {errc::revocation_unknown, "revocation_unknown",
     "no revocation list says whether the certificate is revoked"},
    {errc::certificate_bad_purpose, "certificate_bad_purpose",
     "certificate is not for this purpose"},
    {errc::certificate_weak, "certificate_weak", "certificate is too weak"},
    {errc::certificate_rejected, "certificate_rejected", "certificate rejected"},
    {errc::pin_mismatch, "pin_mismatch", "no certificate has a pinned key"},
    {errc::alpn_mismatch, "alpn_mismatch", "no application protocol in common"},
    {errc::client_certificate_refused, "client_certificate_refused",
     "the peer refused the client certificate"},
    {errc::truncated, "truncated", "the peer closed without ending TLS"},
    {errc::unsolicited_data, "unsolicited_data", "unsolicited data"},
    {errc::record_limit, "record_limit", "TLS limit reached"},
    {errc::forked, "forked", "not usable in a child of fork()"},
    {errc::too_many_threads, "too_many_threads", "too many threads"},
    {errc::message_too_long, "message_too_long", "the message is too long"},
};
static_assert([] {
  int value = 0;
  for (const description& one : descriptions) {
    if (static_cast<int>(one.code) != ++value) return false;
  }
  return true;
}());

// Null for a value that is none of the kinds.
const description* describe(errc code) noexcept {
  const auto index = static_cast<std::size_t>(code) - 1;
  return index < std::size(descriptions) ? &descriptions[index] : nullptr;
}

const char* text_of(errc code) noexcept {
  const description* const known = describe(code);
  return known != nullptr ? known->text : "unknown error";
}

class category final : public std::error_category {
 public:
  const char* name() const noexcept override { return "conpool"; }
  std::string message(int value) const override { return text_of(static_cast<errc>(value)); }
  std::error_condition default_error_condition(int value) const noexcept override {
    switch (static_cast<errc>(value)) {
      case errc::invalid_config:
      case errc::invalid_endpoint:
      case errc::invalid_argument:
        return std::errc::invalid_argument;
      case errc::too_many_files:
        return std::errc::too_many_files_open;
      case errc::out_of_memory:
        return std::errc::not_enough_memory;
      case errc::resolve_timeout:
      case errc::connect_timeout:
      case errc::acquire_timeout:
      case errc::read_timeout:
      case errc::write_timeout:
      case errc::deadline_exceeded:
      case errc::handshake_timeout:
        return std::errc::timed_out;
      case errc::connection_reset:
        return std::errc::connection_reset;
      case errc::cancelled:
        return std::errc::operation_canceled;
      case errc::unsupported:
        return std::errc::not_supported;
      default:
        return std::error_condition(value, *this);
    }
  }
};

}  // namespace

const std::error_category& error_category() noexcept {
  static const category instance;
  return instance;
}

std::error_code make_error_code(errc code) noexcept {
  return std::error_code(static_cast<int>(code), error_category());
}

const char* to_string(errc code) noexcept {
  const description* const known = describe(code);
  return known != nullptr ? known->name : "unknown";
}

const char* to_string(phase value) noexcept {
  switch (value) {
    case phase::none:
      return "none";
    case phase::configure:
      return "configure";
    case phase::start:
      return "start";
    case phase::acquire:
      return "acquire";
    case phase::resolve:
      return "resolve";
    case phase::connect:
      return "connect";
    case phase::handshake:
      return "handshake";
    case phase::read:
      return "read";
    case phase::write:
      return "write";
    case phase::accept:
      return "accept";
    case phase::drain:
      return "drain";
  }
  return "unknown";
}

std::string errno_name(int system_errno) {
  if (const char* name = ::strerrorname_np(system_errno)) return name;
  return "errno " + std::to_string(system_errno);
}

error::error(errc code, conpool::phase where, int system_errno) noexcept
    : code_(code), phase_(where), errno_(system_errno < 0 ? -system_errno : system_errno) {}

error::text& error::own_text() {
  // A copy of this error may share the text: change only what nobody else sees.
  if (!text_) {
    text_ = std::make_shared<text>();
  } else if (text_.use_count() > 1) {
    text_ = std::make_shared<text>(*text_);
  }
  return *text_;
}

error&& error::about(std::string_view subject) && {
  own_text().subject.assign(subject);
  return std::move(*this);
}

error&& error::with_detail(std::string_view detail) && {
  own_text().detail.assign(detail);
  return std::move(*this);
}

error&& error::after_attempts(std::uint32_t attempts) && noexcept {
  attempts_ = attempts;
  return std::move(*this);
}

error&& error::permanent() && noexcept {
  permanent_ = true;
  return std::move(*this);
}

bool error::is_permanent() const noexcept {
  switch (code_) {
    case errc::certificate_expired:
    case errc::certificate_not_yet_valid:
    case errc::certificate_unknown_issuer:
    case errc::certificate_self_signed:
    case errc::certificate_host_mismatch:
    case errc::certificate_revoked:
    case errc::certificate_bad_purpose:
    case errc::certificate_weak:
    case errc::certificate_rejected:
    case errc::pin_mismatch:
    case errc::alpn_mismatch:
    case errc::client_certificate_refused:
    case errc::trust_unavailable:
    case errc::unsupported:
      return true;
    default:
      return permanent_;
  }
}

std::string_view error::subject() const noexcept {
  return text_ ? std::string_view(text_->subject) : std::string_view();
}

std::string_view error::detail() const noexcept {
  return text_ ? std::string_view(text_->detail) : std::string_view();
}

std::string error::message() const {
  std::string out;
  if (phase_ != phase::none) {
    out += to_string(phase_);
    if (!subject().empty()) out.append(" ").append(subject());
    out += ": ";
  } else if (!subject().empty()) {
    out.append(subject()).append(": ");
  }
  out += text_of(code_);
  if (attempts_ > 0) {
    out += " (" + std::to_string(attempts_) + (attempts_ == 1 ? " attempt)" : " attempts)");
  }
  if (errno_ != 0) {
    char buffer[128];
    out.append(": ").append(::strerror_r(errno_, buffer, sizeof buffer));
    out.append(" (").append(errno_name(errno_)).append(")");
  }
  if (!detail().empty()) out.append(": ").append(detail());
  return out;
}

}  // namespace conpool
