// Reads a stream message by message: up to a delimiter, so many bytes, or a frame with a length.
//
//   conpool::buffered_reader in(**lease);                   // or of a socket: in(*peer)
//   auto line = co_await in.read_until("\r\n");             // result<std::string_view>
//   if (!line) co_return fail(line.error());
//   auto body = co_await in.read_exactly(size_in(*line));   // *line is gone from here
//
// It receives as much as there is, keeps it, and hands out views. A view is valid until the next
// call of the same stream that has to wait for bytes or puts some back, and as long as the stream:
// until the lease ends. What is there already is handed out without suspending or allocating.
//
// A reader is a view of its stream, and owns nothing. The bytes that it has received and not handed
// out belong to the stream:
//   - A connection with such bytes in it is not lent again: it is closed with `unread_data`, or it
//     goes to its protocol's recover(). It makes no difference which goes first, the reader or the
//     lease.
//   - Another reader of the stream finds them, and so do the stream's own read(), wait_readable(),
//     detach() and the handshake of TLS.
//   - So a protocol's hooks make a reader where they need one, and keep none in their state.
// The memory for them is one block of 4 KiB at first. It grows with the largest message, and to
// 64 KiB for a peer that sends much at once; a connection gives it back when it becomes idle.
//
// One read of a stream may be under way at a time. The stream must not be freed while one is: close
// it with begin_close(), and free its owner afterwards. A reader is used on its shard's thread.
#pragma once

#include <algorithm>
#include <concepts>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>

#include <conpool/runtime/detail/export.h>
#include <conpool/runtime/error.h>
#include <conpool/runtime/frames.h>
#include <conpool/runtime/socket.h>
#include <conpool/runtime/stream.h>
#include <conpool/runtime/task.h>

namespace conpool {

// Trivially destructible, so it may be written in braces beside a co_await.
struct reader_options {
  // The largest message, with its delimiter or header; 1 GiB at most. A larger one is an error,
  // message_too_long.
  std::size_t limit = std::size_t{1} << 20;
  // How long one wait for more bytes may take; without it, the stream's own timeout counts.
  std::optional<duration> timeout{};
};

namespace detail {

// What a reader knows of the message at the front of what is there.
enum class look : std::uint8_t { missing, whole, too_long, malformed };

// Each kind of message has look_at(), and consumed(): how many bytes go away with a whole one.
struct sought {
  std::size_t limit = 0;
  std::size_t least = 1;  // while it is not whole: no look is of use before so many bytes are there
  std::size_t size = 0;   // once it is whole: of the view that is handed out
};

struct sought_bytes : sought {
  look look_at(std::string_view there) noexcept {
    if (least > limit) return look::too_long;
    if (there.size() < least) return look::missing;
    size = least;
    return look::whole;
  }
  std::size_t consumed() const noexcept { return size; }
};

struct sought_peek : sought_bytes {
  look look_at(std::string_view there) noexcept {
    const look found = sought_bytes::look_at(there);
    size = there.size();
    return found;
  }
  std::size_t consumed() const noexcept { return 0; }
};

struct sought_delimiter : sought {
  std::string_view delimiter;
  std::size_t searched = 0;  // bytes at whose places it does not begin

  look look_at(std::string_view there) noexcept {
    const std::size_t at = there.find(delimiter, searched);
    if (at != there.npos && at + delimiter.size() <= limit) {
      size = at;
      return look::whole;
    }
    if (at != there.npos || there.size() >= limit) return look::too_long;
    if (there.size() >= delimiter.size()) searched = there.size() - delimiter.size() + 1;
    least = there.size() + 1;
    return look::missing;
  }
  std::size_t consumed() const noexcept { return size + delimiter.size(); }
};

template <frame_format Format>
struct sought_frame : sought {
  static_assert(Format.is_valid(), "the length is outside of the header, or has no size");

  look look_at(std::string_view there) noexcept {
    if (there.size() < Format.header_bytes) {
      least = Format.header_bytes;
      return look::missing;
    }
    const std::uint64_t bytes = Format.size_of(there);
    if (bytes > limit) return look::too_long;
    if (bytes < Format.header_bytes) return look::malformed;
    size = static_cast<std::size_t>(bytes);
    if (there.size() >= size) return look::whole;
    least = size;
    return look::missing;
  }
  std::size_t consumed() const noexcept { return size; }
};

}  // namespace detail

class CONPOOL_API buffered_reader {
 public:
  template <typename Sought>
  class reading;
  template <typename T>
  class reading_number;

  explicit buffered_reader(stream& from, const reader_options& options = {}) noexcept
      : from_(&from),
        limit_(std::min(options.limit, ahead_bytes::most_bytes)),
        timeout_(options.timeout.value_or(from.timeouts_->read)) {}

  // What is there without waiting; empty if nothing is.
  std::string_view buffered() const noexcept { return from_->ahead_.view(); }
  // Drops bytes from the front of buffered(); all of them if so many are not there.
  void consume(std::size_t count) noexcept {
    from_->ahead_.drop(count);
    if (from_->ahead_.empty()) from_->clear(stream::read_ahead);
  }
  // Puts bytes in front of buffered(), to be read next; also such as it has handed out. Errors:
  // out_of_memory; invalid_argument while a read is under way.
  result<void> put_back(std::string_view bytes);

  // The reader must live until the co_await ends. Each of these awaits result<std::string_view>.
  // Errors: those of stream::read(); the end of the stream before the message is whole
  // (connection_closed; buffered() is empty if it ended between two messages); message_too_long.
  // After an error the bytes that had come are in buffered().
  //
  // The bytes in front of the delimiter, which is consumed with them. `delimiter` is not empty and
  // must stay valid until the co_await ends. With `limit`, this message with its delimiter may not
  // be larger than so many bytes.
  reading<detail::sought_delimiter> read_until(std::string_view delimiter) & noexcept;
  reading<detail::sought_delimiter> read_until(std::string_view delimiter,
                                               std::size_t limit) & noexcept;
  // So many bytes.
  reading<detail::sought_bytes> read_exactly(std::size_t count) & noexcept;
  // All that is there, at least so many bytes, of which none is consumed.
  reading<detail::sought_peek> peek(std::size_t count = 1) & noexcept;
  // A whole frame, header included (frames.h). A length that is smaller than the header is an
  // error, io_failed.
  template <frame_format Format>
  reading<detail::sought_frame<Format>> read_frame() & noexcept;
  // Awaits result<T>: an unsigned integer in network byte order.
  template <std::unsigned_integral T>
  reading_number<T> read_big_endian() & noexcept;

 private:
  class receiving;
  using look_fn = detail::look (*)(detail::sought& what, std::string_view there) noexcept;

  template <typename Sought>
  Sought seek(std::size_t limit) const noexcept {
    Sought made;
    made.limit = std::min(limit, limit_);
    return made;
  }
  // The message at the front, which is whole, and drops so many bytes.
  std::string_view hand_out(std::size_t size, std::size_t consumed) noexcept {
    const std::string_view message = from_->ahead_.hand_out(size, consumed);
    if (from_->ahead_.empty()) from_->clear(stream::read_ahead);
    return message;
  }
  // Receives until the message is whole.
  static task<result<void>> fill(buffered_reader from, detail::sought& what, look_fn look);
  static error failure(const stream& of, detail::look found, const detail::sought& what);

  stream* from_;
  std::size_t limit_;
  duration timeout_;
};

// Suspends unless the message is there.
template <typename Sought>
class [[nodiscard]] buffered_reader::reading {
 public:
  bool await_ready() noexcept {
    found_ = what_.look_at(from_->buffered());
    return found_ != detail::look::missing;
  }
  template <typename Promise>
  std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> handle) {
    filling_.emplace(fill(*from_, what_, [](detail::sought& what, std::string_view there) noexcept {
      return static_cast<Sought&>(what).look_at(there);
    }));
    return filling_->operator co_await().await_suspend(handle);
  }
  [[nodiscard]] result<std::string_view> await_resume() {
    if (found_ != detail::look::whole) [[unlikely]] {
      if (!filling_) return fail(failure(*from_->from_, found_, what_));
      auto filled = filling_->handle().promise().take();
      if (!filled) return fail(std::move(filled.error()));
    }
    return from_->hand_out(what_.size, what_.consumed());
  }

 private:
  friend class buffered_reader;
  reading(buffered_reader& from, const Sought& what) noexcept : from_(&from), what_(what) {}

  buffered_reader* from_;
  Sought what_;
  detail::look found_ = detail::look::missing;
  std::optional<task<result<void>>> filling_;
};

template <typename T>
class [[nodiscard]] buffered_reader::reading_number
    : private buffered_reader::reading<detail::sought_bytes> {
  using base = buffered_reader::reading<detail::sought_bytes>;

 public:
  using base::await_ready;
  using base::await_suspend;
  [[nodiscard]] result<T> await_resume() {
    auto bytes = base::await_resume();
    if (!bytes) return fail(std::move(bytes.error()));
    return big_endian<T>(*bytes);
  }

 private:
  friend class buffered_reader;
  using base::base;
};

inline buffered_reader::reading<detail::sought_delimiter> buffered_reader::read_until(
    std::string_view delimiter, std::size_t limit) & noexcept {
  CONPOOL_ASSERT(!delimiter.empty(), "a delimiter has at least one byte");
  auto what = seek<detail::sought_delimiter>(limit);
  what.delimiter = delimiter;
  return {*this, what};
}
inline buffered_reader::reading<detail::sought_delimiter> buffered_reader::read_until(
    std::string_view delimiter) & noexcept {
  return read_until(delimiter, limit_);
}
inline buffered_reader::reading<detail::sought_bytes> buffered_reader::read_exactly(
    std::size_t count) & noexcept {
  auto what = seek<detail::sought_bytes>(limit_);
  what.least = count;
  return {*this, what};
}
inline buffered_reader::reading<detail::sought_peek> buffered_reader::peek(
    std::size_t count) & noexcept {
  auto what = seek<detail::sought_peek>(limit_);
  what.least = count;
  return {*this, what};
}
template <frame_format Format>
buffered_reader::reading<detail::sought_frame<Format>> buffered_reader::read_frame() & noexcept {
  return {*this, seek<detail::sought_frame<Format>>(limit_)};
}
template <std::unsigned_integral T>
buffered_reader::reading_number<T> buffered_reader::read_big_endian() & noexcept {
  auto what = seek<detail::sought_bytes>(limit_);
  what.least = sizeof(T);
  return {*this, what};
}

}  // namespace conpool
