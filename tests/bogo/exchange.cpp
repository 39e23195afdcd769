#include <tests/bogo/exchange.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <string_view>
#include <utility>

#include <conpool/tls/detail/boringssl.h>
#include <conpool/tls/detail/shard_resources.h>
#include <tests/bogo/checks.h>
#include <tests/bogo/sides.h>

namespace conpool::bogo {
namespace {

// An asynchronous handshake's record buffer: no flight fits.
constexpr std::size_t small_buffer = 37;
constexpr std::size_t usual_read = 512;

// As BoringSSL spells it, for the runner: the reason between colons.
std::string in_the_runners_words(const error& why) {
  std::string words = why.message();
  // Of these the key's use is found wrong by BoringSSL, and all others by our verifier.
  const bool is_ours = why.detail().find("KEY_USAGE_BIT_INCORRECT") == why.detail().npos;
  if (is_ours && why.kind() >= errc::certificate_expired && why.kind() <= errc::pin_mismatch) {
    return words + "\n:CERTIFICATE_VERIFY_FAILED:";
  }
  std::string_view reasons = why.detail().substr(0, why.detail().find(';'));
  while (!reasons.empty()) {
    std::string_view reason = reasons.substr(0, reasons.find(", "));
    reasons.remove_prefix(std::min(reasons.size(), reason.size() + 2));
    if (reason.starts_with("alert ")) {
      int alert = 0;
      std::from_chars(reason.data() + 6, reason.data() + reason.size(), alert);
      reason = ERR_reason_error_string(
          static_cast<std::uint32_t>(ERR_PACK(ERR_LIB_SSL, SSL_AD_REASON_OFFSET + alert)));
    }
    words.append("\n:").append(reason).append(":");
  }
  return words;
}

}  // namespace

exchange::exchange(tls::ssl_config& config, const std::string& peer, connection& runner,
                   const settings& asked, bool is_resumption)
    : channel_(config, peer),
      runner_(runner),
      asked_(asked),
      is_resumption_(is_resumption),
      memory_(tls::record_buffer_size),
      out_(memory_) {}

bool exchange::run() {
  if (!set_on_ssl(channel_.native(), asked_)) return fails("BoringSSL refused a setting");
  return shake() && talk() && end();
}

bool exchange::shake() {
  if (asked_.async) out_ = tls::record_buffer(std::span(memory_).first(small_buffer));
  std::optional<std::size_t> sessions_before;
  for (;;) {
    const_bytes input = offer();
    const std::size_t offered = input.size();
    const tls::handshake_step step = channel_.handshake(input, out_);
    // The first call has no input, and takes the session that it offers.
    if (!sessions_before) sessions_before = sessions();
    taken(offered - input.size());
    send();
    if (step == tls::handshake_step::failed) return fails_with(channel_.failure());
    if (step == tls::handshake_step::open) break;
    if (step == tls::handshake_step::wants_input && !receive()) {
      return fails_with(channel_.end_of_input().error());
    }
  }
  out_ = tls::record_buffer(memory_);
  sessions_then_ = sessions();
  std::string wrong =
      wrong_with(channel_, asked_, {is_resumption_, sessions_then_ > *sessions_before});
  return wrong.empty() || fails(std::move(wrong));
}

bool exchange::talk() {
  if (!export_secrets()) return false;
  if (asked_.write_different_record_sizes) return write_sizes();
  constexpr std::string_view hello = "hello";
  if (asked_.shim_writes_first && !write(std::as_bytes(std::span(hello)))) return false;
  if (asked_.shim_shuts_down) return true;
  std::vector<std::byte> into(asked_.read_size > 0 ? static_cast<std::size_t>(asked_.read_size)
                                                   : usual_read);
  for (;;) {
    const_bytes input = offer();
    const std::size_t offered = input.size();
    const auto count = channel_.read(input, into);
    taken(offered - input.size());
    if (!count) return fails_with(count.error());
    if (*count > 0) {
      if (!answer(std::span(into).first(*count))) return false;
      continue;
    }
    if (channel_.state() == tls::channel_state::peer_closed) return true;
    if (!receive()) {
      // Its end without close_notify is an error to conpool; most cases end so.
      const auto ended = channel_.end_of_input();
      return ended || !asked_.check_close_notify || fails_with(ended.error());
    }
  }
}

bool exchange::answer(std::span<std::byte> received) {
  if (asked_.key_update && SSL_key_update(channel_.native(), SSL_KEY_UPDATE_NOT_REQUESTED) != 1) {
    return fails("no key update");
  }
  for (std::byte& one : received) one ^= std::byte{0xff};
  return write(received);
}

bool exchange::export_secrets() {
  SSL* ssl = channel_.native();
  if (asked_.export_keying_material > 0) {
    std::vector<std::uint8_t> made(static_cast<std::size_t>(asked_.export_keying_material));
    if (SSL_export_keying_material(
            ssl, made.data(), made.size(), asked_.export_label.data(), asked_.export_label.size(),
            reinterpret_cast<const std::uint8_t*>(asked_.export_context.data()),
            asked_.export_context.size(), asked_.use_export_context ? 1 : 0) != 1) {
      return fails("keying material cannot be exported");
    }
    if (!write(std::as_bytes(std::span(made)))) return false;
  }
  if (asked_.export_traffic_secrets) {
    bssl::Span<const std::uint8_t> reads;
    bssl::Span<const std::uint8_t> writes;
    if (!bssl::SSL_get_traffic_secrets(ssl, &reads, &writes)) {
      return fails("traffic secrets cannot be exported");
    }
    const std::array<std::uint8_t, 2> size = {static_cast<std::uint8_t>(reads.size() & 0xff),
                                              static_cast<std::uint8_t>(reads.size() >> 8)};
    if (!write(std::as_bytes(std::span(size))) ||
        !write(std::as_bytes(std::span(reads.data(), reads.size()))) ||
        !write(std::as_bytes(std::span(writes.data(), writes.size())))) {
      return false;
    }
  }
  if (asked_.tls_unique) {
    std::array<std::uint8_t, 16> unique{};
    std::size_t size = 0;
    if (SSL_get_tls_unique(ssl, unique.data(), &size, unique.size()) != 1 || size != 12) {
      return fails("no tls-unique");
    }
    return write(std::as_bytes(std::span(unique).first(size)));
  }
  return true;
}

// Around the sizes of a record and of two.
bool exchange::write_sizes() {
  constexpr auto sizes =
      std::to_array<std::size_t>({0, 1, 255, 256, 257, 16383, 16384, 16385, 32767, 32768, 32769});
  const std::vector<std::byte> bytes(sizes.back(), std::byte{0x42});
  return std::ranges::all_of(sizes,
                             [&](std::size_t size) { return write(std::span(bytes).first(size)); });
}

bool exchange::end() {
  const std::size_t sessions_now = sessions();
  if (channel_.version() == tls::version::tls_1_3 && !asked_.server) {
    const bool wants_session = !asked_.expect_no_session && !asked_.shim_shuts_down;
    if (wants_session != (sessions_now > sessions_then_)) {
      return fails(wants_session ? "no ticket was kept" : "a ticket was kept");
    }
  } else if (sessions_now != sessions_then_) {
    return fails("a session was kept after the handshake");
  }
  channel_.close(out_);
  send();
  if (!asked_.check_close_notify) return true;
  std::array<std::byte, usual_read> rest;
  while (channel_.state() != tls::channel_state::closed) {
    const_bytes input = offer();
    const std::size_t offered = input.size();
    const auto count = channel_.read(input, rest);
    taken(offered - input.size());
    if (!count) return fails_with(count.error());
    if (*count > 0 || channel_.state() == tls::channel_state::closed) continue;
    if (!receive()) return fails_with(channel_.end_of_input().error());
  }
  return true;
}

bool exchange::receive() {
  if (!unread_.empty()) return true;
  const std::size_t count = runner_.receive(received_);
  unread_ = std::span(received_).first(count);
  return count > 0;
}

exchange::const_bytes exchange::offer() const noexcept {
  return asked_.async ? unread_.first(std::min<std::size_t>(unread_.size(), 1)) : unread_;
}

bool exchange::write(const_bytes bytes) {
  do {
    const auto count = channel_.write(bytes, out_);
    send();
    if (!count) return fails_with(count.error());
    bytes = bytes.subspan(*count);
  } while (!bytes.empty());
  return true;
}

void exchange::send() {
  do {
    runner_.send(out_.filled());
    out_.clear();
    channel_.flush(out_);
  } while (!out_.empty());
}

bool exchange::fails_with(const error& why) {
  send();
  return fails(in_the_runners_words(why));
}

bool exchange::fails(std::string why) {
  problem_ = std::move(why);
  return false;
}

std::size_t exchange::sessions() const {
  const tls::ssl_config& config = channel_.config();
  return config.home().sessions().count(config.profile_id(), channel_.peer());
}

}  // namespace conpool::bogo
