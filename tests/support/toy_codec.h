// A codec that is small enough to see through. Its frames have a kind, a length and a masked body.
//
//   'D' data   'N' noise, which no reader sees (TLS: tickets)   'E' the end (TLS: close_notify)
//
// Any other kind breaks it. Both ends may be streams with this codec, or the test speaks it by hand
// with frame().
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

#include <conpool/runtime/detail/codec.h>

namespace conpool::test {

class toy_codec final : public codec {
 public:
  static constexpr std::size_t header = 3;
  static constexpr std::size_t body_max = 1000;

  static std::string frame(char kind, std::string_view body) {
    std::string made{kind, static_cast<char>(body.size() & 0xFF),
                     static_cast<char>(body.size() >> 8)};
    for (const char each : body) made += static_cast<char>(each ^ 0x5A);
    return made;
  }
  // The frames that `text` is written in.
  static std::string frames(std::string_view text) {
    std::string made;
    for (; !text.empty(); text.remove_prefix(std::min(text.size(), body_max))) {
      made += frame('D', text.substr(0, body_max));
    }
    return made;
  }

  std::size_t decode(const_bytes& input, std::span<std::byte> into) noexcept override {
    std::size_t count = 0;
    for (;;) {
      const std::size_t taken = std::min(into.size() - count, plain_.size());
      std::memcpy(into.data() + count, plain_.data(), taken);
      plain_.erase(0, taken);
      count += taken;
      if (count == into.size() || ended_ || failure_ || !take_frame(input)) return count;
    }
  }
  bool has_plain() const noexcept override { return !plain_.empty(); }
  bool at_rest() const noexcept override { return partial_.empty(); }
  bool ended() const noexcept override { return ended_; }
  void end_of_input() noexcept override {
    if (!ended_ && !failure_) failure_.emplace(errc::truncated, phase::read);
  }
  const error* failure() const noexcept override { return failure_ ? &*failure_ : nullptr; }

  std::size_t encode(std::span<const const_bytes> pieces) noexcept override {
    if (refuses_to_write) failure_.emplace(errc::record_limit, phase::write);
    if (failure_) return 0;
    std::string text;
    for (const const_bytes& piece : pieces) {
      const std::size_t room = 2 * body_max - text.size();
      text.append(reinterpret_cast<const char*>(piece.data()), std::min(piece.size(), room));
    }
    wire_ = frames(text);
    sent_ = 0;
    return text.size();
  }
  const_bytes wire() const noexcept override {
    return std::as_bytes(std::span(wire_)).subspan(sent_);
  }
  void wire_sent(std::size_t count) noexcept override {
    sent_ += count;
    if (sent_ < wire_.size()) return;
    wire_.clear();
    sent_ = 0;
  }
  const_bytes farewell() noexcept override {
    if (!wire_.empty()) return {};
    last_ = frame('E', "");
    return std::as_bytes(std::span(last_));
  }

  idle_input idle(const_bytes& input, bool welcome) noexcept override {
    while (!ended_ && !failure_ && plain_.empty() && take_frame(input)) {
    }
    if (!plain_.empty() && !welcome) failure_.emplace(errc::unsolicited_data, phase::none);
    if (failure_) return idle_input::refused;
    if (ended_) return idle_input::end;
    return plain_.empty() ? idle_input::nothing : idle_input::data;
  }

  bool refuses_to_write = false;

 private:
  // Returns false if the input is used up before the end of a frame.
  bool take_frame(const_bytes& input) {
    while (!input.empty() && partial_.size() < wanted()) {
      const std::size_t count = std::min(input.size(), wanted() - partial_.size());
      partial_.append(reinterpret_cast<const char*>(input.data()), count);
      input = input.subspan(count);
    }
    if (partial_.size() < header || partial_.size() < wanted()) return false;
    const char kind = partial_[0];
    if (kind == 'D') {
      for (const char each : partial_.substr(header)) plain_ += static_cast<char>(each ^ 0x5A);
    } else if (kind == 'E') {
      ended_ = true;
    } else if (kind != 'N') {
      failure_.emplace(errc::tls_protocol, phase::read);
    }
    partial_.clear();
    return true;
  }
  std::size_t wanted() const {
    if (partial_.size() < header) return header;
    return header + static_cast<std::uint8_t>(partial_[1]) +
           256 * static_cast<std::size_t>(static_cast<std::uint8_t>(partial_[2]));
  }

  std::string partial_;
  std::string plain_;
  std::string wire_;
  std::string last_;
  std::size_t sent_ = 0;
  bool ended_ = false;
  std::optional<error> failure_;
};

}  // namespace conpool::test
