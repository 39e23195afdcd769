// A stream socket on a shard, connected or connecting: reads, writes, the posted receive, close.
//
// It is the base of the pool's connections and of `socket`, through which users meet it:
//
//   auto sent = co_await peer->write("GET / HTTP/1.0\r\n\r\n");
//   if (!sent) co_return fail(sent.error());
//   auto count = co_await peer->read(buffer);         // result<size_t>; 0 at the end of the stream
//
// What is written and read into is described in buffers.h. A request and the first bytes of its
// answer are one call, which wakes its task once:
//
//   auto count = co_await peer->exchange(request, answer, 1);   // at least one byte of the answer
//
// A stream lives on the heap, because the kernel may use it after its owner has let go:
// begin_close() returns at once, and `on_closed` is called when the descriptor is closed and
// nothing is in flight any more. Only then may the memory be freed. A stream is used on its shard's
// thread only.
//
// At most one read and one write may be under way at a time. Each ends by its deadline, with an
// error. One timer serves both and stays armed when they end: an exchange arms and cancels nothing,
// and the timer looks once every read timeout or so and finds a later deadline or none.
//
// The posted receive: post_receive() asks for bytes without offering memory. It watches an idle
// connection, because the end of the stream, a reset or a stray byte completes it, and it is the
// first receive of whoever reads next. Those bytes are copied once, from the shard's buffer into
// the reader's memory; further receives of the same response go straight into the reader's memory.
//
// To read message by message, see buffered_reader.h. What a buffered_reader has received and not
// handed out is the stream's, and comes first in its reads.
//
// A probe asks the socket whether anything has come, without taking it, for streams that have no
// receive posted. detach() ends the watch and hands the plain descriptor over.
//
// With a codec (detail/codec.h), reads and writes carry plain bytes and the wire carries something
// else. Every receive is then a posted one, because what arrives must pass through the codec first.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include <sys/socket.h>

#include <conpool/runtime/buffers.h>
#include <conpool/runtime/detached.h>
#include <conpool/runtime/detail/ahead_bytes.h>
#include <conpool/runtime/detail/codec.h>
#include <conpool/runtime/detail/export.h>
#include <conpool/runtime/detail/held_bytes.h>
#include <conpool/runtime/detail/intrusive_list.h>
#include <conpool/runtime/detail/open_streams.h>
#include <conpool/runtime/detail/operation.h>
#include <conpool/runtime/detail/stream_state.h>
#include <conpool/runtime/detail/wait_point.h>
#include <conpool/runtime/error.h>
#include <conpool/runtime/shard.h>

namespace conpool {

// How long one read and one write may take. Every wait has an end; the default is 30 s.
struct io_timeouts {
  duration read = std::chrono::seconds(30);
  duration write = std::chrono::seconds(30);
};

class CONPOOL_API stream : public stream_state,
                           public list_hook<open_streams>,
                           private operation,
                           private timer_node {
 public:
  class read_awaiter;
  class readable_awaiter;
  class write_awaiter;
  class gather_awaiter;
  class exchange_awaiter;
  class connect_awaiter;

  // Awaits result<void>: connects. The address must stay valid until the co_await ends. Errors:
  // connect_failed, connect_timeout at `deadline`, connection_closed (on this side), and the
  // context's: cancelled, deadline_exceeded, shard_stopped. After an error only a close is left.
  connect_awaiter connect(const sockaddr* address, socklen_t length, time_point deadline) noexcept;

  // In what follows, `timeout` is for this one call, counted from its beginning; without it, that
  // of io_timeouts counts.
  using optional_timeout = std::optional<duration>;

  // Awaits result<size_t>: reads what is there, at least one byte, and returns how many; 0 at the
  // end of the stream. `into` must stay valid until the co_await ends. Errors: connection_reset,
  // connection_closed (on this side), read_timeout, io_failed, out_of_memory, invalid_argument
  // (another read is under way), the codec's failure, and the context's.
  read_awaiter read(mutable_buffer into, optional_timeout timeout = {}) noexcept;
  // Does the same but fills all of `into`; the end of the stream before that is an error,
  // connection_closed.
  read_awaiter read_exactly(mutable_buffer into, optional_timeout timeout = {}) noexcept;
  // Awaits result<void>: writes all of `from`, which must stay valid until the co_await ends. After
  // an error some of it may have been sent. Errors: connection_reset, connection_closed (on this
  // side), write_timeout, io_failed, out_of_memory, invalid_argument (another write is under way),
  // the codec's failure, and the context's.
  write_awaiter write(const_buffer from, optional_timeout timeout = {}) noexcept;
  // Does the same with any number of pieces, one behind the other, and copies none of them. Over
  // TLS small pieces share a record. The array must stay valid, too.
  gather_awaiter write(std::span<const const_buffer> pieces,
                       optional_timeout timeout = {}) noexcept;

  // Awaits result<size_t>: writes all of `out` and reads at least `minimum` bytes, both at once,
  // and returns how many it has read. It ends when both have, with one wake-up, so both memories
  // are the caller's again. An answer is an answer: if the bytes have come, their number is the
  // result, whatever became of the rest of `out`, and conditions() says `failed` or `torn`.
  // Otherwise the errors are those of write() and read_exactly(); whichever part fails ends the
  // other one. If the end of the stream, or a failure, is known before, nothing is sent.
  exchange_awaiter exchange(const_buffer out, mutable_buffer in, std::size_t minimum,
                            optional_timeout timeout = {}) noexcept;
  exchange_awaiter exchange(std::span<const const_buffer> out, mutable_buffer in,
                            std::size_t minimum, optional_timeout timeout = {}) noexcept;

  // Awaits result<void>: returns when there is something to read, or the end, and takes nothing of
  // it, within `timeout`. Unlike a read that runs into its deadline, this leaves the connection as
  // it was: it is for listeners that wait for what may never come. Errors: those of read(). An end
  // or a failure is left to the read that follows.
  readable_awaiter wait_readable(duration timeout) noexcept;

  // For parsers that know best: reads at least `minimum` bytes, within `timeout`. The errors are
  // those of read().
  read_awaiter read_some(std::span<std::byte> into, std::size_t minimum, duration timeout) noexcept;

  // Puts a codec between the user and the wire, for good. `early` are bytes that were read behind
  // whatever set the codec up; they are copied. Those that have been received and wait to be read,
  // here or in a buffered_reader, go through the codec behind them. Precondition: the stream is
  // connected, no read or write is under way, and no receive is posted.
  void use_codec(std::unique_ptr<codec> made, std::span<const std::byte> early = {});
  bool has_codec() const noexcept { return coded_ != nullptr; }
  // The codec; null without one, and once the stream is closed.
  const codec* current_codec() const noexcept { return coded_ ? coded_->coder.get() : nullptr; }
  // Lets the codec take all that has arrived while nobody reads; see codec::idle(). After `nothing`
  // a receive may be posted. Precondition: the stream has a codec and is not closing, and no read
  // is under way.
  idle_input take_idle_input(bool data_is_welcome) noexcept;

  // Do not ask while a probe is in flight.
  bool receive_posted() const noexcept { return operation::in_flight(); }
  // Whether the kernel has a receive of this stream, posted or a reader's, so that whatever arrives
  // completes it. A receive that is only prepared leaves with the next enter; until then nothing
  // can tell. What completed and was not harvested yet is another question: ask the ring.
  bool receive_in_kernel(const ring& of_home) const noexcept {
    return of_home.submitted() >= receive_place_;
  }
  // Precondition: the stream is connected, no received bytes wait, no read is under way, and no
  // receive is posted.
  void post_receive() noexcept;
  // Waits for the peer's end while received bytes wait to be read, so that no receive can be posted
  // (poll(2), POLLRDHUP). When it comes, conditions() has `ended` and `on_unread` is called.
  // Precondition: received bytes wait, no read is under way, and nothing is posted.
  void watch_end() noexcept;
  // Before its bytes are read: `on_unread` is called when the watch has ended, without `ended`.
  void stop_end_watch() noexcept;
  // Asks whether bytes, the end or an error wait in the socket, and takes nothing of them. When
  // `on_unread` is called, conditions() has the answer: more_data, ended or failed, or none of
  // these if nothing waits. The precondition is that of post_receive().
  void begin_probe() noexcept;

  // Frees the memory of a buffered_reader in which no bytes are left. For the stream's owner, when
  // nobody has a view of it any more.
  void free_read_ahead() noexcept {
    if (ahead_.empty() && (conditions_ & reading) == 0) ahead_.release();
  }

  class detach_awaiter;
  // Awaits result<detached>: ends the posted receive and hands over the descriptor, with the bytes
  // that were received and not read. Afterwards the stream is closed, and `on_closed` has been
  // called. Cancellation does not cut it short, because the kernel answers the cancel of a receive
  // at once. Errors: invalid_argument (a read, a write, a probe or another detach is under
  // way), unsupported (a codec has state that no descriptor carries), connection_reset and the like
  // (the stream has failed), connection_closed (it is closed, or was closed meanwhile).
  detach_awaiter detach() noexcept;

  // Ends all that is in flight, then closes the descriptor. A second call does nothing.
  void begin_close() noexcept;
  // Does the same with a reset instead of an orderly end (SO_LINGER 0): the peer sees ECONNRESET,
  // and nothing stays in TIME_WAIT.
  void begin_reset() noexcept;

 protected:
  using event_fn = void (*)(stream&) noexcept;
  // `name` is the subject of the stream's errors: null, or valid as long as the stream. `timeouts`
  // must be valid as long as the stream, too. `on_unread` is called when the posted receive or a
  // probe has completed and nobody was reading, `on_closed` as said above. Both are called from
  // within a harvest, `on_closed` also from begin_close() and at the end of detach(). Each may free
  // the stream.
  stream(shard& home, int fd, const std::string* name, const io_timeouts* timeouts,
         event_fn on_unread, event_fn on_closed);
  ~stream();

 private:
  static constexpr std::uint64_t no_receive = ~std::uint64_t{0};
  // In the awaiters' codes, beside negative errno values: the codec has failed, and says why.
  static constexpr int codec_failed = -4096;
  // What a stream has only with a codec.
  struct coded_state {
    std::unique_ptr<codec> coder;
    std::unique_ptr<std::byte[]> spill;  // held bytes that no receive buffer has
    std::size_t encoded = 0;             // plain bytes in wire(), until some of it was sent
  };

  static void posted_receive_done(operation& op) noexcept;
  void post_again() noexcept;
  void probe_done(int code) noexcept;
  void end_watch_done(int code) noexcept;
  void hold_buffer() noexcept;
  std::size_t take_unread(std::span<std::byte> into) noexcept;
  void drop_unread() noexcept;
  void release_held() noexcept;
  // --- detail/stream_codec.cpp
  bool has_plain_for_reader() noexcept;
  void serve_coded_reader(int code) noexcept;
  std::size_t decode_held(std::span<std::byte> into) noexcept;
  int receive_spilled() noexcept;
  void note_codec_failure() noexcept;
  static error codec_failure(const stream* failed, phase where);
  void say_farewell() noexcept;
  // --- detail/stream_close.cpp
  void watch_deadline(time_point deadline) noexcept;
  static void look_at_deadlines(timer_node& node) noexcept;
  void operation_ended() noexcept;
  void end_operations() noexcept;
  void finish_close() noexcept;
  friend class open_streams;
  friend class buffered_reader;
  void close_descriptor() noexcept;
  detached take_descriptor();  // detail/stream_detach.cpp

  const io_timeouts* timeouts_;
  event_fn on_unread_;
  event_fn on_closed_;
  read_awaiter* reader_ = nullptr;
  write_awaiter* writer_ = nullptr;
  connect_awaiter* connector_ = nullptr;
  detach_awaiter* detacher_ = nullptr;
  std::unique_ptr<coded_state> coded_;
  held_bytes held_;
  ahead_bytes ahead_;
  std::uint64_t receive_place_ = no_receive;  // of the receive in flight, among the ring's entries
  time_point looks_at_{};                     // when the timer fires, if it is armed
};

// Suspends unless the bytes are there. The turn that harvested the last of them resumes it.
class stream::read_awaiter : public wait_point, private operation {
 public:
  bool await_ready() noexcept;
  template <typename Promise>
  bool await_suspend(std::coroutine_handle<Promise> handle) noexcept {
    return begin(handle, context_of(handle));
  }
  [[nodiscard]] result<std::size_t> await_resume();

 private:
  friend class stream;
  friend class buffered_reader;
  enum class purpose : std::uint8_t { read, take_nothing, fill_ahead };

  read_awaiter(stream& source, std::span<std::byte> into, std::size_t minimum, duration timeout,
               bool ends_in_zero, purpose what = purpose::read) noexcept
      : wait_point(source.home(), &read_awaiter::interrupt, errc::read_timeout),
        operation(&read_awaiter::received),
        source_(&source),
        into_(into),
        minimum_(std::min(minimum, into.size())),
        timeout_(timeout),
        ends_in_zero_(ends_in_zero),
        takes_nothing_(what == purpose::take_nothing),
        fills_ahead_(what == purpose::fill_ahead) {}

  friend class exchange_awaiter;

  bool begin(std::coroutine_handle<> handle, context* where) noexcept;
  void receive_more() noexcept;
  void take_ahead() noexcept;
  bool has_enough() const noexcept { return filled_ >= minimum_ || filled_ == into_.size(); }
  void finish(int code) noexcept;
  static void received(operation& op) noexcept;
  static void interrupt(wait_point& self, errc why) noexcept;
  void stop() noexcept;
  bool is_readable() const noexcept;
  bool breaks_off() const noexcept;
  // --- detail/stream_codec.cpp
  bool decode() noexcept;
  bool decode_ready() noexcept;

  stream* source_;  // null once the stream may be gone
  exchange_awaiter* part_of_ = nullptr;
  std::span<std::byte> into_;
  std::size_t minimum_;
  std::size_t filled_ = 0;
  duration timeout_;
  time_point deadline_{};
  int code_ = 0;              // 0, or the negative errno that ended it
  bool ends_in_zero_;         // the end before the first byte is a count of 0, and no error
  const bool takes_nothing_;  // only waits for something to read
  const bool fills_ahead_;    // receives for a buffered_reader, behind what that has
  bool at_end_ = false;
  bool misused_ = false;
};

// A read that takes nothing.
class stream::readable_awaiter : private read_awaiter {
 public:
  using read_awaiter::await_ready;
  using read_awaiter::await_suspend;
  [[nodiscard]] result<void> await_resume() {
    auto count = read_awaiter::await_resume();
    if (!count) return fail(std::move(count.error()));
    return {};
  }

 private:
  friend class stream;
  readable_awaiter(stream& source, duration timeout) noexcept
      : read_awaiter(source, {}, 0, timeout, true, purpose::take_nothing) {}
};

// Suspends unless there is nothing to write. It is resumed when the kernel has taken all bytes.
class stream::write_awaiter : public wait_point, private operation {
 public:
  bool await_ready() noexcept {
    return from_.empty() && (source_->conditions_ & (writing | closing)) == 0;
  }
  template <typename Promise>
  bool await_suspend(std::coroutine_handle<Promise> handle) noexcept {
    return begin(handle, context_of(handle));
  }
  [[nodiscard]] result<void> await_resume();

 private:
  friend class stream;
  friend class gather_awaiter;
  friend class exchange_awaiter;
  write_awaiter(stream& sink, std::span<const std::byte> from, duration timeout) noexcept
      : wait_point(sink.home(), &write_awaiter::interrupt, errc::write_timeout),
        operation(&write_awaiter::sent),
        source_(&sink),
        from_(from),
        timeout_(timeout) {}

  bool begin(std::coroutine_handle<> handle, context* where) noexcept;
  void send_more() noexcept;
  bool over() const noexcept { return done_ == from_.size() && behind_.empty(); }
  void advance(std::size_t sent) noexcept;
  std::size_t bytes_in_all() const noexcept;
  // Nobody has asked it to end.
  bool may_go_on() const noexcept {
    return !wait_point::interrupted() && !operation::cancel_requested() &&
           (source_->conditions_ & closing) == 0;
  }
  void finish(int code) noexcept;
  static void sent(operation& op) noexcept;
  static void interrupt(wait_point& self, errc why) noexcept;
  void stop() noexcept;
  // --- detail/stream_codec.cpp
  void send_encoded() noexcept;
  void encoded_sent(int code) noexcept;

  stream* source_;
  exchange_awaiter* part_of_ = nullptr;
  std::span<const std::byte> from_;  // the piece that is being sent, and how much of it was
  std::size_t done_ = 0;
  std::span<const const_buffer> behind_;  // pieces that follow; only a gather_awaiter has any
  std::size_t passed_ = 0;                // bytes in the pieces before
  duration timeout_;
  time_point deadline_{};
  int code_ = 0;
  bool misused_ = false;
};

// A write of several pieces.
class stream::gather_awaiter : public write_awaiter {
 private:
  friend class stream;
  friend class write_awaiter;
  friend class exchange_awaiter;
  gather_awaiter(stream& sink, const_buffer single, std::span<const const_buffer> pieces,
                 duration timeout) noexcept
      : write_awaiter(sink, single.bytes(), timeout) {
    behind_ = pieces;
    advance(0);  // past what is empty
  }

  msghdr message_{};  // the kernel's, until it has taken the submission
};

// Suspends until both parts have ended.
class stream::exchange_awaiter {
 public:
  bool await_ready() noexcept;
  template <typename Promise>
  bool await_suspend(std::coroutine_handle<Promise> handle) noexcept {
    return begin(handle, context_of(handle));
  }
  [[nodiscard]] result<std::size_t> await_resume();

 private:
  friend class stream;
  friend class read_awaiter;
  friend class write_awaiter;
  exchange_awaiter(stream& peer, const_buffer single, std::span<const const_buffer> pieces,
                   std::span<std::byte> in, std::size_t minimum, duration write_timeout,
                   duration read_timeout) noexcept
      : out_(peer, single, pieces, write_timeout), in_(peer, in, minimum, read_timeout, false) {}

  bool begin(std::coroutine_handle<> handle, context* where) noexcept;
  void read_over() noexcept;
  void write_over() noexcept;

  gather_awaiter out_;
  read_awaiter in_;
  unsigned under_way_ = 0;    // parts
  bool out_stopped_ = false;  // because the read has failed
};

// Suspends if a receive is posted, until that has ended.
class stream::detach_awaiter : public wait_point {
 public:
  bool await_ready() noexcept;
  void await_suspend(std::coroutine_handle<> handle) noexcept;
  [[nodiscard]] result<detached> await_resume();

 private:
  friend class stream;
  explicit detach_awaiter(stream& source) noexcept
      : wait_point(source.home(), &detach_awaiter::interrupt, errc{}), source_(&source) {}
  static void interrupt(wait_point&, errc) noexcept {}
  void lost() noexcept;

  stream* source_;  // null once the stream may be gone
  errc refused_{};
};

// Suspends until the connection stands or the attempt has failed.
class stream::connect_awaiter : public wait_point, private operation {
 public:
  bool await_ready() const noexcept { return false; }
  template <typename Promise>
  bool await_suspend(std::coroutine_handle<Promise> handle) noexcept {
    return begin(handle, context_of(handle));
  }
  [[nodiscard]] result<void> await_resume();

 private:
  friend class stream;
  connect_awaiter(stream& socket, const sockaddr* address, socklen_t length,
                  time_point deadline) noexcept
      : wait_point(socket.home(), &connect_awaiter::interrupt, errc::connect_timeout),
        operation(&connect_awaiter::connected),
        source_(&socket),
        address_(address),
        length_(length),
        deadline_(deadline) {}

  bool begin(std::coroutine_handle<> handle, context* where) noexcept;
  static void connected(operation& op) noexcept;
  static void interrupt(wait_point& self, errc why) noexcept;

  stream* source_;
  const sockaddr* address_;
  socklen_t length_;
  time_point deadline_;
  int code_ = 0;
};

inline stream::read_awaiter stream::read_some(std::span<std::byte> into, std::size_t minimum,
                                              duration timeout) noexcept {
  return read_awaiter(*this, into, minimum, timeout, minimum <= 1);
}
inline stream::readable_awaiter stream::wait_readable(duration timeout) noexcept {
  return readable_awaiter(*this, timeout);
}
inline stream::read_awaiter stream::read(mutable_buffer into, optional_timeout timeout) noexcept {
  return read_awaiter(*this, into.bytes(), 1, timeout.value_or(timeouts_->read), true);
}
inline stream::read_awaiter stream::read_exactly(mutable_buffer into,
                                                 optional_timeout timeout) noexcept {
  return read_awaiter(*this, into.bytes(), into.size(), timeout.value_or(timeouts_->read), false);
}
inline stream::write_awaiter stream::write(const_buffer from, optional_timeout timeout) noexcept {
  return write_awaiter(*this, from.bytes(), timeout.value_or(timeouts_->write));
}
inline stream::gather_awaiter stream::write(std::span<const const_buffer> pieces,
                                            optional_timeout timeout) noexcept {
  return gather_awaiter(*this, {}, pieces, timeout.value_or(timeouts_->write));
}
inline stream::exchange_awaiter stream::exchange(const_buffer out, mutable_buffer in,
                                                 std::size_t minimum,
                                                 optional_timeout timeout) noexcept {
  return exchange_awaiter(*this, out, {}, in.bytes(), minimum, timeout.value_or(timeouts_->write),
                          timeout.value_or(timeouts_->read));
}
inline stream::exchange_awaiter stream::exchange(std::span<const const_buffer> out,
                                                 mutable_buffer in, std::size_t minimum,
                                                 optional_timeout timeout) noexcept {
  return exchange_awaiter(*this, {}, out, in.bytes(), minimum, timeout.value_or(timeouts_->write),
                          timeout.value_or(timeouts_->read));
}
inline stream::connect_awaiter stream::connect(const sockaddr* address, socklen_t length,
                                               time_point deadline) noexcept {
  return connect_awaiter(*this, address, length, deadline);
}

}  // namespace conpool
