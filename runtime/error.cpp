#include <conpool/runtime/error.h>

#include <cstring>

namespace conpool {
namespace {

const char* describe_tls(errc code) noexcept {
  switch (code) {
    case errc::trust_unavailable:
      return "no trusted root certificates";
    case errc::handshake_timeout:
      return "TLS handshake timed out";
    case errc::not_tls:
      return "the peer does not speak TLS";
    case errc::tls_protocol:
      return "TLS protocol error";
    case errc::alert_received:
      return "the peer sent a TLS alert";
    case errc::certificate_expired:
      return "certificate has expired";
    case errc::certificate_not_yet_valid:
      return "certificate is not yet valid";
    case errc::certificate_unknown_issuer:
      return "certificate is of an unknown issuer";
    case errc::certificate_self_signed:
      return "certificate is self-signed and not trusted";
    case errc::certificate_host_mismatch:
      return "certificate is for another name";
    case errc::certificate_revoked:
      return "certificate is revoked";
    case errc::revocation_unknown:
      return "no revocation list says whether the certificate is revoked";
    case errc::certificate_bad_purpose:
      return "certificate is not for this purpose";
    case errc::certificate_weak:
      return "certificate is too weak";
    case errc::certificate_rejected:
      return "certificate rejected";
    case errc::pin_mismatch:
      return "no certificate has a pinned key";
    case errc::alpn_mismatch:
      return "no application protocol in common";
    case errc::client_certificate_refused:
      return "the peer refused the client certificate";
    case errc::truncated:
      return "the peer closed without ending TLS";
    case errc::unsolicited_data:
      return "unsolicited data";
    case errc::record_limit:
      return "TLS limit reached";
    default:
      return "unknown error";
  }
}

const char* describe(errc code) noexcept {
  switch (code) {
    case errc::message_too_long:
      return "the message is too long";
    case errc::forked:
      return "not usable in a child of fork()";
    case errc::too_many_threads:
      return "too many threads";
    case errc::invalid_config:
      return "invalid configuration";
    case errc::invalid_endpoint:
      return "invalid endpoint";
    case errc::invalid_argument:
      return "invalid argument";
    case errc::ring_unavailable:
      return "io_uring is not available";
    case errc::too_many_files:
      return "too many open files";
    case errc::out_of_memory:
      return "out of memory";
    case errc::resolve_failed:
      return "name resolution failed";
    case errc::resolve_timeout:
      return "name resolution timed out";
    case errc::connect_failed:
      return "connect failed";
    case errc::connect_timeout:
      return "connect timed out";
    case errc::acquire_timeout:
      return "no connection became free in time";
    case errc::queue_full:
      return "too many callers wait already";
    case errc::pool_closed:
      return "the pool is closed";
    case errc::pool_paused:
      return "the pool is paused";
    case errc::breaker_open:
      return "the endpoint failed too often";
    case errc::none_idle:
      return "no connection is idle";
    case errc::read_timeout:
      return "read timed out";
    case errc::write_timeout:
      return "write timed out";
    case errc::connection_closed:
      return "connection closed";
    case errc::connection_reset:
      return "connection reset";
    case errc::io_failed:
      return "input or output failed";
    case errc::cancelled:
      return "cancelled";
    case errc::deadline_exceeded:
      return "deadline exceeded";
    case errc::shard_stopped:
      return "the shard is stopped";
    case errc::unsupported:
      return "not supported";
    default:
      return describe_tls(code);
  }
}

class category final : public std::error_category {
 public:
  const char* name() const noexcept override { return "conpool"; }
  std::string message(int value) const override { return describe(static_cast<errc>(value)); }
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
  out += describe(code_);
  if (attempts_ > 0) {
    out += " after " + std::to_string(attempts_) + (attempts_ == 1 ? " attempt" : " attempts");
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
