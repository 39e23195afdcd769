#include <sys/time.h>

#include <new>

#include <conpool/runtime/detail/assert.h>
#include <conpool/tls/detail/boringssl.h>
#include <conpool/tls/detail/context.h>
#include <conpool/tls/detail/span_bio.h>
#include <conpool/tls/stream.h>

namespace conpool::tls {
namespace {

int context_index() {
  static const int index = SSL_CTX_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
  return index;
}

void tell_time(const SSL*, timeval* into) {
  engine* serving = io_scope::serving();
  into->tv_sec = serving != nullptr ? serving->now_s() : system_wall_clock().now_s();
  into->tv_usec = 0;
}

}  // namespace

context_base::~context_base() {
  CONPOOL_ASSERT(streams_ == 0, "a TLS context died before its streams");
}

result<void> context_base::make_library_context() {
  library_.reset(SSL_CTX_new(TLS_with_buffers_method()));
  if (!library_ || SSL_CTX_set_ex_data(library_.get(), context_index(), this) != 1) {
    ERR_clear_error();
    return fail(error(errc::out_of_memory, phase::configure).about("TLS context"));
  }
  SSL_CTX_set0_buffer_pool(library_.get(), home_->certificates_.get());
  SSL_CTX_set_current_time_cb(library_.get(), &tell_time);
  SSL_CTX_set_info_callback(library_.get(), [](const SSL* session, int what, int value) {
    if ((what & SSL_CB_WRITE_ALERT) == SSL_CB_WRITE_ALERT) {
      current(session).alert_sent_ = static_cast<std::uint8_t>(value & 0xff);
    }
  });
  return {};
}

void context_base::set_verify(int mode) {
  SSL_CTX_set_custom_verify(library_.get(), mode, [](SSL* session, std::uint8_t* alert) {
    stream& asking = current(session);
    bool good = false;
    // Nothing may be thrown through the library, whose state would be left anyhow.
    try {
      good = of(session).verify(asking, session, *alert);
    } catch (const std::bad_alloc&) {
      *alert = SSL_AD_INTERNAL_ERROR;
      asking.refusal_.emplace(errc::out_of_memory, phase::handshake);
    }
    return good ? ssl_verify_ok : ssl_verify_invalid;
  });
}

context_base& context_base::of(const ssl_st* session) noexcept {
  return *static_cast<context_base*>(
      SSL_CTX_get_ex_data(SSL_get_SSL_CTX(session), context_index()));
}

stream& context_base::current(const ssl_st* session) noexcept {
  stream* found = of(session).home_->window_.current;
  CONPOOL_ASSERT(found != nullptr, "the library works outside of an io_scope");
  return *found;
}

}  // namespace conpool::tls
