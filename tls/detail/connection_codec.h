// TLS as a socket's codec: drives a tls::stream for a conpool::stream. Internal to tls/; made by
// secure.h's functions, which hand it to the socket when the handshake is done.
//
// While it is idle it holds no memory but the library's and its own: what records are written into
// is taken for each write from the shard's, and given back when the last byte was sent.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include <conpool/runtime/detail/codec.h>
#include <conpool/tls/detail/service.h>
#include <conpool/tls/stream.h>

namespace conpool::tls {

class connection_codec final : public codec {
 public:
  // `owner` is what the context lives by: a profile, or a server's context. `peer` as
  // tls::stream's.
  connection_codec(service& home, context_base& context, std::shared_ptr<const void> owner,
                   const std::string& peer)
      : home_(&home), owner_(std::move(owner)), session_(context, peer) {}
  ~connection_codec() override { home_->memory().give_back(std::move(memory_)); }

  tls::stream& session() noexcept { return session_; }
  const tls::stream& session() const noexcept { return session_; }

  std::size_t decode(const_bytes& input, std::span<std::byte> into) noexcept override;
  bool has_plain() const noexcept override { return has_first_ || session_.has_plain(); }
  bool at_rest() const noexcept override { return session_.between_records(); }
  bool ended() const noexcept override {
    return session_.state() == stream_state::peer_closed ||
           session_.state() == stream_state::closed;
  }
  void end_of_input() noexcept override;
  const error* failure() const noexcept override {
    return session_.state() == stream_state::failed ? &session_.failure() : nullptr;
  }
  std::size_t encode(const_bytes plain) noexcept override;
  const_bytes wire() const noexcept override {
    return memory_.bytes().subspan(sent_, filled_ - sent_);
  }
  void wire_sent(std::size_t count) noexcept override;
  const_bytes farewell() noexcept override;
  conpool::idle_input idle(const_bytes& input, bool welcome) noexcept override;
  bool retire_due() const noexcept override { return session_.retire_due(); }

 private:
  service* home_;
  std::shared_ptr<const void> owner_;  // outlives the session
  tls::stream session_;
  record_memory::block memory_;
  std::uint32_t filled_ = 0;
  std::uint32_t sent_ = 0;
  std::uint32_t welcome_bytes_ = 0;  // taken by idle() since the last data
  std::byte first_{};                // found by idle(), for the next reader
  bool has_first_ = false;
};

}  // namespace conpool::tls
