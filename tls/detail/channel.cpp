#include <algorithm>
#include <climits>
#include <cstring>
#include <new>
#include <utility>

#include <conpool/runtime/detail/assert.h>
#include <conpool/tls/detail/boringssl.h>
#include <conpool/tls/detail/boringssl_failure.h>
#include <conpool/tls/detail/channel.h>
#include <conpool/tls/detail/span_bio.h>

namespace conpool::tls {
namespace {

int int_size(std::size_t size) noexcept {
  return static_cast<int>(std::min<std::size_t>(size, INT_MAX));
}

// The server signs in every handshake that is offered. Old builds of BoringSSL do not check by
// themselves that an RSA key of TLS 1.2 may sign, and have this switch; current ones always check,
// and have none.
template <typename Session>
void enforce_key_usage(Session* session) noexcept {
  if constexpr (requires { SSL_set_enforce_rsa_key_usage(session, 1); }) {
    SSL_set_enforce_rsa_key_usage(session, 1);
  }
}

}  // namespace

channel::channel(ssl_config& config, const std::string& peer)
    : connection_info(peer, boringssl_ptr<ssl_st>(SSL_new(config.ssl_ctx_.get())),
                      config.insecure_),
      config_(&config) {
  ++config_->channels_;
  BIO* bio = config_->home().bio();
  if (!ssl_) {
    ERR_clear_error();
    fail_with(error(errc::out_of_memory, phase::handshake).about(*peer_));
    return;
  }
  BIO_up_ref(bio);
  SSL_set0_rbio(ssl_.get(), bio);
  BIO_up_ref(bio);
  SSL_set0_wbio(ssl_.get(), bio);
  SSL_set_shed_handshake_config(ssl_.get(), 1);
  if (config_->is_server()) {
    SSL_set_accept_state(ssl_.get());
    return;
  }
  SSL_set_connect_state(ssl_.get());
  enforce_key_usage(ssl_.get());
  const std::string name(config_->server_name());
  if (!name.empty() && SSL_set_tlsext_host_name(ssl_.get(), name.c_str()) != 1) {
    ERR_clear_error();
    fail_with(error(errc::out_of_memory, phase::handshake).about(*peer_));
  }
}

channel::~channel() {
  ssl_.reset();
  --config_->channels_;
}

handshake_step channel::handshake(const_bytes& input, record_buffer& out) {
  if (state_ == channel_state::failed) return handshake_step::failed;
  CONPOOL_ASSERT(state_ == channel_state::handshaking, "a handshake that was done already");
  shard_resources& home = config_->home();
  if (!started_) {
    started_ = true;
    if (config_->offers_sessions_ && may_offer_session_) {
      const auto session = home.sessions().take(config_->profile_id(), *peer_, home.now_s());
      offered_session_ = session && SSL_set_session(ssl_.get(), session.get()) == 1;
    }
  }
  const std::size_t allowed = home.limits().handshake_bytes_max - handshake_bytes_;
  const const_bytes offered = input.first(std::min(input.size(), allowed));
  io_scope scope(*this, offered, &out);
  // It may be done already: a server's driver calls again while its tickets do not fit.
  const bool done = SSL_in_init(ssl_.get()) == 0;
  const int result = done ? 1 : SSL_do_handshake(ssl_.get());
  const std::size_t taken = offered.size() - scope.left().size();
  input = input.subspan(taken);
  handshake_bytes_ += taken;
  if (result == 1) return handshake_ended();
  const handshake_step step = handshake_broke(result);
  if (step == handshake_step::wants_input &&
      handshake_bytes_ >= home.limits().handshake_bytes_max) {
    fail_with(
        describe(errc::record_limit, phase::handshake, "more bytes than a handshake may have"));
    return handshake_step::failed;
  }
  return step;
}

handshake_step channel::handshake_broke(int result) {
  switch (SSL_get_error(ssl_.get(), result)) {
    case SSL_ERROR_WANT_READ:
      return handshake_step::wants_input;
    case SSL_ERROR_WANT_WRITE:
      return handshake_step::wants_output;
    case SSL_ERROR_ZERO_RETURN:
      // Which is no error to BoringSSL, and has no reason.
      ERR_clear_error();
      fail_with(describe(errc::alert_received, phase::handshake,
                         "alert 0, close notify, in the middle of the handshake"));
      return handshake_step::failed;
    default:
      fail_by_boringssl(phase::handshake);
      return handshake_step::failed;
  }
}

handshake_step channel::handshake_ended() {
  shard_resources& home = config_->home();
  if (config_->requires_alpn() && alpn().empty()) {
    SSL_send_fatal_alert(ssl_.get(), SSL_AD_NO_APPLICATION_PROTOCOL);
    ERR_clear_error();
    fail_with(describe(errc::alpn_mismatch, phase::handshake, "the peer chose no protocol"));
    return handshake_step::failed;
  }
  if (config_->is_server()) {
    // Tickets would otherwise ride in front of the first data, and might not fit its
    // record buffer.
    const int flushed = SSL_write(ssl_.get(), nullptr, 0);
    if (flushed < 0) {
      const handshake_step step = handshake_broke(flushed);
      if (step != handshake_step::wants_input) return step;
    }
  }
  ERR_clear_error();
  state_ = channel_state::open;
  ++home.counters().handshakes;
  if (config_->insecure_) ++home.counters().insecure;
  if (resumed()) {
    ++home.counters().resumed;
    home.sessions().resumed(config_->profile_id(), *peer_);
  }
  return handshake_step::open;
}

result<std::size_t> channel::read(const_bytes& input, std::span<std::byte> into) {
  CONPOOL_ASSERT(state_ != channel_state::handshaking, "read before the handshake was done");
  if (state_ == channel_state::failed) return fail(*failure_);
  idle_bytes_ = idle_messages_ = 0;
  io_scope scope(*this, input, nullptr);
  std::size_t filled = 0;
  while (filled < into.size() && (plain_left_ || !scope.left().empty())) {
    const int count = SSL_read(ssl_.get(), into.data() + filled, int_size(into.size() - filled));
    if (count <= 0) {
      plain_left_ = false;
      read_ended(count);
      if (state_ != channel_state::open && state_ != channel_state::closing) break;
      continue;
    }
    filled += static_cast<std::size_t>(count);
    has_read_ = true;
    plain_left_ = filled == into.size() && SSL_pending(ssl_.get()) > 0;
  }
  input = scope.left();
  if (state_ == channel_state::open) {
    const std::uint64_t opened = SSL_get_read_sequence(ssl_.get());
    if (opened < config_->home().limits().records_per_key) {
      asked_new_keys_ = false;
    } else {
      ask_for_new_keys(opened);
    }
  }
  if (filled == 0 && state_ == channel_state::failed) return fail(*failure_);
  return filled;
}

void channel::read_ended(int result) {
  switch (SSL_get_error(ssl_.get(), result)) {
    case SSL_ERROR_WANT_READ:
      return;
    case SSL_ERROR_ZERO_RETURN:
      state_ = state_ == channel_state::closing || state_ == channel_state::closed
                   ? channel_state::closed
                   : channel_state::peer_closed;
      return;
    default:
      fail_by_boringssl(phase::read);
  }
}

idle_outcome channel::idle(const_bytes input) {
  CONPOOL_ASSERT(!plain_left_, "idle with data that nobody read");
  if (state_ == channel_state::failed) return idle_outcome::refused;
  if (state_ != channel_state::open) return idle_outcome::closed;
  const shard_limits& limits = config_->home().limits();
  idle_bytes_ += input.size();
  std::byte stray{};
  io_scope scope(*this, input, nullptr);
  SSL_set_msg_callback_arg(ssl_.get(), this);
  SSL_set_msg_callback(ssl_.get(),
                       [](int is_write, int, int type, const void*, std::size_t, SSL*, void* self) {
                         if (is_write == 0 && type == SSL3_RT_HANDSHAKE)
                           ++static_cast<channel*>(self)->idle_messages_;
                       });
  bool got_data = false;
  while (!scope.left().empty() && state_ == channel_state::open && !got_data) {
    const int count = SSL_read(ssl_.get(), &stray, 1);
    got_data = count > 0;
    if (!got_data) read_ended(count);
  }
  SSL_set_msg_callback(ssl_.get(), nullptr);
  if (state_ == channel_state::peer_closed) return idle_outcome::closed;
  if (got_data) {
    fail_with(describe(errc::unsolicited_data, phase::none, "on an idle connection"));
  } else if (state_ == channel_state::open &&
             (idle_messages_ > limits.idle_messages_max || idle_bytes_ > limits.idle_bytes_max)) {
    fail_with(describe(errc::record_limit, phase::none, "too much on an idle connection"));
  }
  return state_ == channel_state::failed ? idle_outcome::refused : idle_outcome::keep;
}

// Joins what is smaller than a record; returns at most one record's bytes.
channel::const_bytes channel::next_record(std::span<const const_bytes>& parts,
                                          std::size_t& offset) {
  while (offset == parts.front().size()) {
    parts = parts.subspan(1);
    offset = 0;
  }
  const const_bytes first = parts.front().subspan(offset);
  if (first.size() >= record_bytes_max || parts.size() == 1) {
    const const_bytes record = first.first(std::min(first.size(), record_bytes_max));
    offset += record.size();
    return record;
  }
  const std::span<std::byte> scratch = config_->home().scratch();
  std::size_t filled = 0;
  while (!parts.empty() && filled < record_bytes_max) {
    const const_bytes part = parts.front().subspan(offset);
    const std::size_t count = std::min(part.size(), record_bytes_max - filled);
    if (count > 0) std::memcpy(scratch.data() + filled, part.data(), count);
    filled += count;
    offset += count;
    if (offset == parts.front().size()) {
      parts = parts.subspan(1);
      offset = 0;
    }
  }
  return scratch.first(filled);
}

result<std::size_t> channel::write(std::span<const const_bytes> parts, record_buffer& out) {
  CONPOOL_ASSERT(state_ != channel_state::handshaking, "write before the handshake was done");
  flush(out);
  if (state_ == channel_state::failed) return fail(*failure_);
  if (state_ != channel_state::open && state_ != channel_state::peer_closed) {
    return fail(describe(errc::connection_closed, phase::write, "this side was closed"));
  }
  idle_bytes_ = idle_messages_ = 0;
  std::size_t left = 0;
  for (const const_bytes& part : parts) left += part.size();
  const std::size_t total = left;
  std::size_t offset = 0;
  const std::uint64_t most_sealed = config_->home().limits().records_per_key;
  io_scope scope(*this, {}, &out);
  while (left > 0 && out.room() >= std::min(left, record_bytes_max) + record_overhead_max) {
    const std::uint64_t sealed = SSL_get_write_sequence(ssl_.get());
    if (sealed >= most_sealed) [[unlikely]] {
      if (auto renewed = renew_keys(sealed); !renewed) return fail(std::move(renewed).error());
    }
    const const_bytes record =
        parts.size() == 1 ? parts.front().last(left).first(std::min(left, record_bytes_max))
                          : next_record(parts, offset);
    const int written = SSL_write(ssl_.get(), record.data(), int_size(record.size()));
    // The room was there, so it cannot have been written in part.
    if (written != static_cast<int>(record.size())) {
      fail_by_boringssl(phase::write);
      return fail(*failure_);
    }
    left -= record.size();
  }
  return total - left;
}

// Before a record is sealed, with a key that has sealed enough of them: it is replaced.
result<void> channel::renew_keys(std::uint64_t sealed) {
  const std::uint64_t most = config_->home().limits().records_per_key;
  if (version() == version::tls_1_3) {
    // The new key is in use once the update is in front of the next record.
    if (SSL_key_update(ssl_.get(), SSL_KEY_UPDATE_NOT_REQUESTED) == 1) {
      ++config_->home().counters().key_updates;
      return {};
    }
    fail_by_boringssl(phase::write);
    return fail(*failure_);
  }
  limits_reached_ = true;
  if (sealed < 2 * most) return {};
  fail_with(describe(errc::record_limit, phase::write, "too many records under one key"));
  return fail(*failure_);
}

// After many records were opened: the peer is asked for another key, which it owes us in TLS 1.3.
void channel::ask_for_new_keys(std::uint64_t opened) {
  const std::uint64_t most = config_->home().limits().records_per_key;
  if (opened >= 2 * most) {
    fail_with(describe(errc::record_limit, phase::read, "too many records under one key"));
  } else if (version() != version::tls_1_3) {
    limits_reached_ = true;
  } else if (!asked_new_keys_) {
    asked_new_keys_ = true;
    ++config_->home().counters().key_updates;
    // There is no record buffer here: it waits inside, and has_output() says so.
    if (SSL_key_update(ssl_.get(), SSL_KEY_UPDATE_REQUESTED) == 1) {
      SSL_write(ssl_.get(), nullptr, 0);
    }
    ERR_clear_error();
  }
}

void channel::close(record_buffer& out) {
  flush(out);
  if (state_ == channel_state::handshaking) {
    state_ = channel_state::closed;
    return;
  }
  if (state_ != channel_state::open && state_ != channel_state::peer_closed) return;
  io_scope scope(*this, {}, &out);
  SSL_shutdown(ssl_.get());
  ERR_clear_error();
  state_ = state_ == channel_state::open ? channel_state::closing : channel_state::closed;
}

result<void> channel::end_of_input() {
  switch (state_) {
    case channel_state::peer_closed:
    case channel_state::closed:
      return {};
    case channel_state::failed:
      return fail(*failure_);
    case channel_state::handshaking:
      fail_with(describe(errc::truncated, phase::handshake, "during the handshake"));
      break;
    case channel_state::open:
    case channel_state::closing:
      fail_with(describe(errc::truncated, phase::read,
                         between_records() ? "between two records" : "in the middle of a record"));
      break;
  }
  return fail(*failure_);
}

void channel::keep_session(boringssl_ptr<ssl_session_st> session) noexcept {
  shard_resources& home = config_->home();
  // No exception may pass through BoringSSL: without memory for a ticket there is none.
  try {
    home.sessions().put(config_->profile_id(), *peer_, std::move(session), home.now_s(),
                        chain_ends_s_);
  } catch (const std::bad_alloc&) {
    ++home.counters().tickets_lost;
  }
}

// Certificates are judged after the peer has said whether it resumes.
void channel::note_full_handshake() noexcept {
  full_handshake_ = full_handshake_ || SSL_session_reused(ssl_.get()) == 0;
}

void channel::accept_certificate(std::int64_t ends_s) noexcept {
  note_full_handshake();
  chain_ends_s_ = ends_s;
}

void channel::refuse_certificate(errc why, std::string_view reason) {
  note_full_handshake();
  refusal_ = describe(why, phase::handshake, reason);
}

error channel::describe(errc why, phase where, std::string_view reason) const {
  std::string detail(reason);
  if (ssl_ && !config_->server_name().empty()) {
    detail.append("; server name ").append(config_->server_name());
  }
  if (ssl_ && started_ && SSL_get_current_cipher(ssl_.get()) != nullptr) {
    detail.append("; ").append(SSL_get_version(ssl_.get())).append(", ").append(cipher());
  }
  if (alert_sent_ != 0) {
    detail.append("; alert sent: ").append(SSL_alert_desc_string_long(alert_sent_));
  }
  return error(why, where).about(*peer_).with_detail(detail);
}

void channel::fail_by_boringssl(phase where) {
  const boringssl_failure found =
      take_failure({.nothing_decrypted = !position_.had_record(),
                    .certificate_at_stake = certificate_requested_ && !has_read_,
                    .certificate_withheld = !config_->has_certificate_});
  if (found.why == errc::certificate_bad_purpose && alert_sent_ == 0) {
    // BoringSSL finds the key's usage wrong without a word to the peer.
    SSL_send_fatal_alert(ssl_.get(), SSL_AD_UNSUPPORTED_CERTIFICATE);
    ERR_clear_error();
  }
  if (refusal_) {
    fail_with(std::move(*std::exchange(refusal_, std::nullopt)).about(*peer_));
  } else {
    fail_with(describe(found.why, where, found.reason));
  }
}

void channel::handshake_given_up() noexcept {
  if (state_ == channel_state::handshaking) note_failed_resumption();
}

// The session may be what the peer did not like. If it is not, sessions are no good either: what
// was kept came with a chain that is refused now, or from a server that there is no more.
void channel::note_failed_resumption() noexcept {
  if (!offered_session_) return;
  shard_resources& home = config_->home();
  if (full_handshake_) {
    home.sessions().purge(config_->profile_id(), *peer_);
    return;
  }
  resumption_failed_ = true;
  home.sessions().failed(config_->profile_id(), *peer_, home.now_s());
}

void channel::fail_with(error why) {
  CONPOOL_ASSERT(!failure_, "a channel failed twice");
  if (state_ == channel_state::handshaking) {
    ++config_->home().counters().handshakes_failed;
    note_failed_resumption();
  }
  state_ = channel_state::failed;
  failure_.emplace(std::move(why));
}

}  // namespace conpool::tls
