#include <conpool/tls/detail/record_position.h>

#include <algorithm>

namespace conpool::tls {
namespace {

constexpr std::size_t record_header_bytes = 5;

std::uint16_t body_bytes(std::byte high, std::byte low) noexcept {
  return static_cast<std::uint16_t>((std::to_integer<unsigned>(high) << 8U) |
                                    std::to_integer<unsigned>(low));
}

}  // namespace

void record_position::advance(std::span<const std::byte> received) noexcept {
  while (!received.empty()) {
    if (body_left_ > 0) {
      const std::size_t count = std::min<std::size_t>(body_left_, received.size());
      body_left_ = static_cast<std::uint16_t>(body_left_ - count);
      received = received.subspan(count);
      if (body_left_ == 0) had_record_ = true;
      continue;
    }
    // Mostly BoringSSL takes a header at once, and then its body.
    if (header_size_ == 0 && received.size() >= record_header_bytes) {
      body_left_ = body_bytes(received[record_header_bytes - 2], received[record_header_bytes - 1]);
      received = received.subspan(record_header_bytes);
      continue;
    }
    const std::byte next = received.front();
    received = received.subspan(1);
    if (++header_size_ == record_header_bytes - 1) {
      header_length_high_ = next;
    } else if (header_size_ == record_header_bytes) {
      header_size_ = 0;
      body_left_ = body_bytes(header_length_high_, next);
    }
  }
}

}  // namespace conpool::tls
