#include <conpool/tls/detail/connection_codec.h>

#include <utility>

namespace conpool::tls {
namespace {

// What may stand in front of a record in its memory: an alert that waited, a key update.
constexpr std::size_t small_record_max =
    record_memory::small_bytes - record_overhead_max - record_overhead_max;

}  // namespace

std::size_t connection_codec::decode(const_bytes& input, std::span<std::byte> into) noexcept {
  std::size_t count = 0;
  if (has_first_ && !into.empty()) {
    into.front() = first_;
    has_first_ = false;
    count = 1;
  }
  if (count == into.size() || failure() != nullptr) return count;
  welcome_bytes_ = 0;
  const auto more = channel_.read(input, into.subspan(count));
  return more ? count + *more : count;
}

void connection_codec::end_of_input() noexcept {
  // It keeps its failure.
  [[maybe_unused]] const result<void> ended = channel_.end_of_input();
}

std::size_t connection_codec::encode(std::span<const const_bytes> pieces) noexcept {
  CONPOOL_ASSERT(filled_ == sent_, "a record was encoded over another one");
  if (failure() != nullptr) return 0;
  std::size_t bytes = 0;
  for (const const_bytes& piece : pieces) bytes += piece.size();
  const bool fits = bytes <= small_record_max;
  memory_ = home_->memory().take(fits ? record_memory::small_bytes : record_buffer_size);
  if (!memory_) return 0;
  record_buffer out(memory_.bytes());
  const auto taken = channel_.write(pieces, out);
  if (!taken) return 0;  // what waited inside goes with the farewell
  welcome_bytes_ = 0;
  filled_ = static_cast<std::uint32_t>(out.size());
  sent_ = 0;
  return *taken;
}

void connection_codec::wire_sent(std::size_t count) noexcept {
  sent_ += static_cast<std::uint32_t>(count);
  CONPOOL_ASSERT(sent_ <= filled_, "more was sent than there was");
  if (sent_ < filled_) return;
  home_->memory().give_back(std::move(memory_));
  memory_ = {};
  filled_ = sent_ = 0;
}

codec::const_bytes connection_codec::farewell() noexcept {
  if (filled_ != sent_) return {};
  if (!memory_) memory_ = home_->memory().take(record_memory::small_bytes);
  if (!memory_) return {};
  record_buffer out(memory_.bytes());
  channel_.close(out);
  return out.filled();
}

conpool::idle_input connection_codec::idle(const_bytes& input, bool welcome) noexcept {
  if (!welcome) {
    const idle_outcome verdict = channel_.idle(std::exchange(input, {}));
    if (verdict == idle_outcome::keep) return conpool::idle_input::nothing;
    return verdict == idle_outcome::closed ? conpool::idle_input::end
                                           : conpool::idle_input::refused;
  }
  welcome_bytes_ += static_cast<std::uint32_t>(input.size());
  const auto count = channel_.read(input, std::span(&first_, 1));
  has_first_ = count && *count > 0;
  if (has_first_) {
    welcome_bytes_ = 0;
    return conpool::idle_input::data;
  }
  if (failure() != nullptr) return conpool::idle_input::refused;
  if (ended()) return conpool::idle_input::end;
  const bool too_much = welcome_bytes_ > home_->resources().limits().idle_bytes_max;
  return too_much ? conpool::idle_input::refused : conpool::idle_input::nothing;
}

}  // namespace conpool::tls
