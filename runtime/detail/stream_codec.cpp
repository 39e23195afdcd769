// What a stream does differently when it has a codec.
//
// The only receive is the posted one. It has no memory of the reader's, so a read that ends early
// just goes, and what arrives later waits. When no receive buffer is free, the bytes are fetched at
// once into memory of the stream's own, the spill.
#include <algorithm>
#include <array>
#include <cerrno>
#include <new>
#include <utility>

#include <conpool/runtime/stream.h>

namespace conpool {
namespace {

constexpr std::size_t spill_bytes = 4096;
constexpr std::size_t encoded_pieces_max = 64;  // at a time

}  // namespace

void stream::use_codec(std::unique_ptr<codec> made, std::span<const std::byte> early) {
  CONPOOL_ASSERT(made != nullptr && coded_ == nullptr, "a stream takes one codec");
  CONPOOL_ASSERT(operations_ == 0, "a codec came too late");
  CONPOOL_ASSERT((conditions_ & closing) == 0, "a closed stream takes no codec");
  auto state = std::make_unique<coded_state>();
  state->coder = std::move(made);
  const std::size_t waiting = early.size() + ahead_.view().size() + held_.bytes().size();
  if (waiting > 0) {
    state->spill = std::make_unique<std::byte[]>(waiting);
    const std::span<std::byte> all(state->spill.get(), waiting);
    std::ranges::copy(early, all.begin());
    const std::size_t ahead = ahead_.take(all.subspan(early.size()));
    held_.take(all.subspan(early.size() + ahead));
  }
  ahead_.release();
  drop_unread();
  coded_ = std::move(state);
  // The bytes of the set-up are no user's, so the count starts over.
  count_from_here();
  clear(wrote_last | more_data | read_ahead);
  if (waiting == 0) return;
  held_.hold(held_bytes::own_memory, {coded_->spill.get(), waiting});
  mark(has_data);
}

void stream::note_codec_failure() noexcept {
  if (coded_->coder->failure() == nullptr) return;
  fail_with(-EPROTO);
  read_failed_ = true;
}

error stream::codec_failure(const stream* failed, phase where) {
  if (failed == nullptr) return error(errc::connection_closed, where);
  if (!failed->coded_) return failed->describe(errc::connection_closed, where, 0);
  const error* const why = failed->coded_->coder->failure();
  // A codec that cannot work and has not failed had no memory.
  return why != nullptr ? *why : failed->describe(errc::out_of_memory, where, 0);
}

void stream::say_farewell() noexcept {
  const std::span<const std::byte> last = coded_->coder->farewell();
  // This is best effort: nobody waits for a peer that takes nothing more.
  if (!last.empty()) home_->ring().send_now(fd_, last);
}

// --- read

std::size_t stream::decode_held(std::span<std::byte> into) noexcept {
  std::span<const std::byte> input = held_.bytes();
  const std::size_t count = coded_->coder->decode(input, into);
  bytes_received_ += count;
  if (count > 0) clear(wrote_last);
  if (coded_->coder->ended()) mark(ended);
  if (coded_->coder->retire_due()) mark(codec_spent);
  note_codec_failure();
  if (input.empty() || coded_->coder->ended() || coded_->coder->failure() != nullptr) {
    release_held();
  } else {
    held_.shorten(input);
  }
  // Half of something may be half of data; then a reader has to see it.
  if (!held_.empty() || coded_->coder->has_plain() || !coded_->coder->at_rest()) {
    mark(has_data);
  } else {
    clear(has_data);
  }
  return count;
}

// For a reader that takes nothing. What is for the codec alone is given to it, and is nothing to
// read.
bool stream::has_plain_for_reader() noexcept {
  const std::uint32_t was_reading = conditions_ & reading;
  clear(reading);
  const idle_input found = take_idle_input(true);
  mark(was_reading);
  return found != idle_input::nothing;
}

// Returns true if there is nothing more to wait for: enough bytes, the end, or a failure.
bool stream::read_awaiter::decode() noexcept {
  stream& source = *source_;
  if (takes_nothing_) return source.has_plain_for_reader();
  if ((source.conditions_ & has_data) != 0 && filled_ < into_.size()) {
    filled_ += source.decode_held(into_.subspan(filled_));
  }
  if (filled_ >= minimum_ || filled_ == into_.size()) return true;
  if ((source.conditions_ & ended) != 0 && source.coded_->coder->failure() == nullptr) {
    source.coded_->coder->end_of_input();
    source.note_codec_failure();
    at_end_ = source.coded_->coder->failure() == nullptr;
    if (at_end_) return true;
  }
  if (source.coded_->coder->failure() != nullptr) {
    code_ = codec_failed;
    return true;
  }
  if ((source.conditions_ & failed) != 0 && source.read_failed_) {
    code_ = -source.failure_;
    return true;
  }
  return false;
}

bool stream::read_awaiter::decode_ready() noexcept {
  if (!decode()) return false;
  if (code_ != 0 || at_end_) return true;
  ready_queue* const queue = ready_queue::current();
  return queue == nullptr || queue->spend_inline_budget();
}

// Called from within the posted receive's completion.
void stream::serve_coded_reader(int code) noexcept {
  read_awaiter& reader = *reader_;
  if ((conditions_ & closing) != 0) {
    reader.finish(-ECANCELED);
    return;
  }
  if (code == -ENOBUFS) code = receive_spilled();
  // What the kernel announced may be gone again; then wait for what comes next.
  if (code == -EAGAIN || !reader.decode()) {
    post_again();
  } else {
    reader.finish(reader.code_);
  }
}

// Fetches the bytes that found no receive buffer. Returns what recv(2) would, or a negative errno.
int stream::receive_spilled() noexcept {
  coded_->spill.reset(new (std::nothrow) std::byte[spill_bytes]);
  int code = -ENOMEM;
  if (coded_->spill) {
    code = home_->ring().receive_now(fd_, std::span(coded_->spill.get(), spill_bytes));
  }
  if (code > 0) {
    held_.hold(held_bytes::own_memory, {coded_->spill.get(), static_cast<std::size_t>(code)});
    mark(has_data);
    mark(more_data);  // recv(2) does not say whether this was all
    return code;
  }
  coded_->spill.reset();
  if (code == 0) mark(ended);
  if (code < 0 && code != -EAGAIN) {
    fail_with(code);
    read_failed_ = true;
  }
  return code;
}

idle_input stream::take_idle_input(bool data_is_welcome) noexcept {
  CONPOOL_ASSERT(coded_ != nullptr && (conditions_ & (reading | closing)) == 0, "not idle");
  if (coded_->coder->has_plain()) return idle_input::data;
  idle_input taken = idle_input::nothing;
  // The loop is bounded, because the codec refuses when too much comes.
  for (;;) {
    if (!held_.empty()) {
      std::span<const std::byte> input = held_.bytes();
      taken = coded_->coder->idle(input, data_is_welcome);
      if (taken == idle_input::data && !input.empty()) {
        held_.shorten(input);
      } else {
        release_held();
      }
      clear(has_data);
    }
    if (taken != idle_input::nothing || (conditions_ & more_data) == 0) break;
    clear(more_data);
    if (receive_spilled() <= 0) break;
  }
  note_codec_failure();
  if (taken == idle_input::data) mark(has_data);
  if (taken == idle_input::end) mark(ended);
  if (taken != idle_input::nothing) return taken;
  if ((conditions_ & ended) != 0) return idle_input::end;
  return (conditions_ & failed) != 0 ? idle_input::refused : idle_input::nothing;
}

// --- write

// Sends what is encoded, or encodes what comes next.
void stream::write_awaiter::send_encoded() noexcept {
  stream& sink = *source_;
  codec& coder = *sink.coded_->coder;
  if (coder.wire().empty()) {
    std::array<std::span<const std::byte>, encoded_pieces_max> pieces;
    pieces[0] = from_.subspan(done_);
    std::size_t count = 1;
    for (const const_buffer& piece : behind_) {
      if (count == pieces.size()) break;
      pieces[count++] = piece.bytes();
    }
    sink.coded_->encoded = coder.encode(std::span(pieces).first(count));
    if (sink.coded_->encoded == 0) {
      sink.note_codec_failure();
      finish(codec_failed);
      sink.operation_ended();
      return;
    }
  }
  sink.home_->ring().send(*this, sink.fd_, coder.wire());
}

void stream::write_awaiter::encoded_sent(int code) noexcept {
  stream& sink = *source_;
  codec& coder = *sink.coded_->coder;
  if (code > 0) {
    coder.wire_sent(static_cast<std::size_t>(code));
    if (coder.retire_due()) sink.mark(codec_spent);
    // The plain bytes count as sent as soon as the peer may have some of them.
    const std::size_t taken = std::exchange(sink.coded_->encoded, 0);
    advance(taken);
    sink.bytes_sent_ += taken;
    const bool all_sent = coder.wire().empty() && over();
    if (!all_sent && may_go_on()) {
      send_encoded();
      return;
    }
    finish(all_sent ? 0 : -ECANCELED);
  } else {
    if (code != -ECANCELED) sink.fail_with(code == 0 ? -EPIPE : code);
    // What was encoded cannot be taken back, even if nothing of it was sent: it comes before
    // whatever is written next, and may be only the first part of what its writer meant.
    sink.mark(torn);
    finish(code == 0 ? -EPIPE : code);
  }
  sink.operation_ended();
}

}  // namespace conpool
