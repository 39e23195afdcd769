// TLS as a socket's codec: drives a channel for a stream. Internal to tls/.
//
// connect() and accept() (handshake.h) make it, and hand it to the socket when the handshake is
// done; the socket owns it from then on. Used on the shard's thread.
//
// While the connection is idle it holds no memory but BoringSSL's and its own: the memory that
// records are written into is taken from the shard's for each write, and given back when the last
// byte was sent.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include <conpool/runtime/detail/codec.h>
#include <conpool/tls/detail/channel.h>
#include <conpool/tls/detail/shard_tls.h>

namespace conpool::tls {

class connection_codec final : public codec {
 public:
  // `owner` keeps `config` alive: a profile, or a server_profile. `peer` is as the
  // tls::channel's.
  connection_codec(shard_tls& home, ssl_config& config, std::shared_ptr<const void> owner,
                   const std::string& peer)
      : home_(&home), owner_(std::move(owner)), channel_(config, peer) {}
  ~connection_codec() override { home_->memory().give_back(std::move(memory_)); }

  tls::channel& channel() noexcept { return channel_; }
  const tls::channel& channel() const noexcept { return channel_; }

  std::size_t decode(const_bytes& input, std::span<std::byte> into) noexcept override;
  bool has_plain() const noexcept override { return has_first_ || channel_.has_plain(); }
  bool at_rest() const noexcept override { return channel_.between_records(); }
  bool ended() const noexcept override {
    return channel_.state() == channel_state::peer_closed ||
           channel_.state() == channel_state::closed;
  }
  void end_of_input() noexcept override;
  const error* failure() const noexcept override {
    return channel_.state() == channel_state::failed ? &channel_.failure() : nullptr;
  }
  std::size_t encode(std::span<const const_bytes> pieces) noexcept override;
  const_bytes wire() const noexcept override {
    return memory_.bytes().subspan(sent_, filled_ - sent_);
  }
  void wire_sent(std::size_t count) noexcept override;
  const_bytes farewell() noexcept override;
  conpool::idle_input idle(const_bytes& input, bool welcome) noexcept override;
  bool retire_due() const noexcept override { return channel_.retire_due(); }

 private:
  shard_tls* home_;
  std::shared_ptr<const void> owner_;  // outlives the channel
  tls::channel channel_;
  record_memory::block memory_;
  std::uint32_t filled_ = 0;
  std::uint32_t sent_ = 0;
  std::uint32_t welcome_bytes_ = 0;  // taken by idle() since the last data
  std::byte first_{};                // found by idle(), for the next reader
  bool has_first_ = false;
};

}  // namespace conpool::tls
