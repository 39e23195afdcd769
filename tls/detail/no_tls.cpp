// What a build without TLS (-Dtls=disabled) has in place of the rest of tls/.
//
// The public headers are the same in both builds, so that a program need not ask at compile time
// which one it is for: it links, and whatever would make something of TLS is refused with
// `unsupported`. Nothing that is refused here exists, so what describes it is never called.
#include <string_view>
#include <utility>

#include <conpool/tls/connection_info.h>
#include <conpool/tls/handshake.h>
#include <conpool/tls/profile.h>
#include <conpool/tls/server_profile.h>
#include <conpool/tls/trust_store.h>

namespace conpool::tls {
namespace {

error no_tls(phase where = phase::configure) {
  return error(errc::unsupported, where)
      .with_detail("this build of conpool has no TLS (-Dtls=disabled)");
}

task<result<void>> refuse(error why) {
  co_return fail(std::move(why));
}

task<result<void>> refuse_handshake(const conpool::stream& raw) {
  error why = no_tls(phase::handshake);
  return refuse(raw.name() != nullptr ? std::move(why).about(*raw.name()) : std::move(why));
}

}  // namespace

bool available() noexcept {
  return false;
}

// A program that could have a profile contains its destructor.
profile::~profile() = default;

result<profile_ptr> profile::make(profile_options) {
  return fail(no_tls());
}

result<trust_ptr> trust_store::system() {
  return fail(no_tls());
}

result<trust_ptr> trust_store::reload_system() {
  return fail(no_tls());
}

std::uint64_t trust_store::system_generation() noexcept {
  return 0;
}

result<trust_ptr> trust_store::from_pem(std::string_view, const trust_options&) {
  return fail(no_tls());
}

result<trust_ptr> trust_store::from_file(const std::string&, const trust_options&) {
  return fail(no_tls());
}

std::size_t trust_store::certificates() const noexcept {
  return 0;
}

bool trust_store::checks_revocation() const noexcept {
  return false;
}

task<result<void>> connect(conpool::stream& raw, profile_ptr, time_point) {
  return refuse_handshake(raw);
}

task<result<void>> accept(conpool::stream& raw, std::shared_ptr<server_profile>, time_point) {
  return refuse_handshake(raw);
}

const connection_info* of(const conpool::stream&) noexcept {
  return nullptr;
}

version connection_info::version() const noexcept {
  return conpool::tls::version::tls_1_3;
}

std::string_view connection_info::cipher() const noexcept {
  return {};
}

std::string_view connection_info::alpn() const noexcept {
  return {};
}

bool connection_info::resumed() const noexcept {
  return false;
}

std::span<const std::byte> connection_info::peer_certificate() const noexcept {
  return {};
}

std::string_view connection_info::requested_name() const noexcept {
  return {};
}

result<std::unique_ptr<server_profile>> server_profile::make(shard&, server_options) {
  return fail(no_tls());
}

// A program that could have a server_profile contains its destructor.
server_profile::~server_profile() = default;
ssl_config::~ssl_config() = default;

bool server_profile::verify(channel&, const ssl_st*, std::uint8_t&) {
  return false;
}

void boringssl_free::operator()(ssl_ctx_st*) const noexcept {}

}  // namespace conpool::tls
