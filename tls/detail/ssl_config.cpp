#include <sys/time.h>

#include <new>

#include <conpool/runtime/detail/assert.h>
#include <conpool/tls/detail/boringssl.h>
#include <conpool/tls/detail/channel.h>
#include <conpool/tls/detail/shard_resources.h>
#include <conpool/tls/detail/span_bio.h>
#include <conpool/tls/detail/ssl_config.h>

namespace conpool::tls {
namespace {

int config_index() {
  static const int index = SSL_CTX_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
  return index;
}

void tell_time(const SSL*, timeval* into) {
  shard_resources* serving = io_scope::serving();
  into->tv_sec = serving != nullptr ? serving->now_s() : system_wall_clock().now_s();
  into->tv_usec = 0;
}

}  // namespace

ssl_config::~ssl_config() {
  CONPOOL_ASSERT(channels_ == 0, "an ssl_config died before its channels");
}

result<void> ssl_config::make_ssl_ctx() {
  ssl_ctx_.reset(SSL_CTX_new(TLS_with_buffers_method()));
  if (!ssl_ctx_ || SSL_CTX_set_ex_data(ssl_ctx_.get(), config_index(), this) != 1) {
    ERR_clear_error();
    return fail(error(errc::out_of_memory, phase::configure).about("SSL_CTX"));
  }
  SSL_CTX_set0_buffer_pool(ssl_ctx_.get(), home_->certificates());
  SSL_CTX_set_current_time_cb(ssl_ctx_.get(), &tell_time);
  SSL_CTX_set_info_callback(ssl_ctx_.get(), [](const SSL* session, int what, int value) {
    if ((what & SSL_CB_WRITE_ALERT) == SSL_CB_WRITE_ALERT) {
      current(session).alert_was_sent(static_cast<std::uint8_t>(value & 0xff));
    }
  });
  return {};
}

void ssl_config::set_verify(int mode) {
  SSL_CTX_set_custom_verify(ssl_ctx_.get(), mode, [](SSL* session, std::uint8_t* alert) {
    channel& asking = current(session);
    bool good = false;
    // No exception may pass through BoringSSL, whose state would be left half done.
    try {
      good = of(session).verify(asking, session, *alert);
    } catch (const std::bad_alloc&) {
      *alert = SSL_AD_INTERNAL_ERROR;
      asking.refuse_without_memory();
    }
    return good ? ssl_verify_ok : ssl_verify_invalid;
  });
}

ssl_config& ssl_config::of(const ssl_st* session) noexcept {
  return *static_cast<ssl_config*>(SSL_CTX_get_ex_data(SSL_get_SSL_CTX(session), config_index()));
}

channel& ssl_config::current(const ssl_st* session) noexcept {
  channel* found = of(session).home_->window().current;
  CONPOOL_ASSERT(found != nullptr, "BoringSSL works outside of an io_scope");
  return *found;
}

}  // namespace conpool::tls
