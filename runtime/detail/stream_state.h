// What is known about a stream: its descriptor, what has happened to it, what it has carried.
//
// The base of stream, which does the reading and writing. All of it is facts of input and output;
// what follows from them (whether a connection may be lent again) is for the owner to conclude.
// Owned by the stream; used on its shard's thread only. Nothing here allocates or makes a system
// call, but building an error does.
#pragma once

#include <cstdint>
#include <string>

#include <conpool/runtime/error.h>

namespace conpool {

class shard;

class stream_state {
 public:
  // What has happened to it: a bit set, 0 for a stream at rest that can be used again.
  enum condition : std::uint32_t {
    has_data = 1U << 0,       // received bytes wait to be read
    more_data = 1U << 1,      // the kernel said that bytes were left after the last receive
    reading = 1U << 2,        // a read is under way
    writing = 1U << 3,        // a write is under way
    ended = 1U << 4,          // the peer closed its side
    failed = 1U << 5,         // a read or write failed
    interrupted = 1U << 6,    // an exchange was broken off: by a deadline or a cancellation
    closing = 1U << 7,        // begin_close() was called
    wrote_last = 1U << 8,     // the last thing that happened was a write
    probing = 1U << 9,        // the operation in flight is a probe
    detaching = 1U << 10,     // detach() is under way
    torn = 1U << 11,          // a write ended in the middle: its rest would be expected next
    codec_spent = 1U << 12,   // its codec asks not to be used much longer
    end_watch = 1U << 13,     // the operation in flight waits for the end behind unread bytes
    read_ahead = 1U << 14,    // a buffered_reader has received bytes that nobody has consumed
    owes_answers = 1U << 15,  // answers_owed() is not 0
  };
  // The upper half of the same word is its owner's, who keeps marks of their own there and so tests
  // both with one load. The stream neither sets nor reads them.
  static constexpr unsigned first_owner_bit = 16;

  stream_state(const stream_state&) = delete;
  stream_state& operator=(const stream_state&) = delete;

  shard& home() const noexcept { return *home_; }
  int fd() const noexcept { return fd_; }
  bool closed() const noexcept { return fd_ < 0; }
  // The subject of the stream's errors; null for none.
  const std::string* name() const noexcept { return name_; }
  // A set of `condition`s.
  std::uint32_t conditions() const noexcept { return conditions_; }
  // The first errno that a read, a write or a connect failed with, positive; 0 if none did.
  int failure() const noexcept { return failure_; }
  // Bytes handed over by reads and writes, since the stream was opened or count_from_here().
  std::uint64_t bytes_received() const noexcept { return bytes_received_; }
  std::uint64_t bytes_sent() const noexcept { return bytes_sent_; }
  void count_from_here() noexcept { bytes_received_ = bytes_sent_ = 0; }

  // Answers that the peer owes, for those who send requests before they have read the answers of
  // earlier ones: whoever sends some says how many answers will come, and who has read an answer to
  // its end says so. Only the user can tell where an answer ends, so the stream counts and does
  // nothing else. A connection that comes back with answers owed is not lent again (`unanswered`),
  // and neither is one on which more came than was expected, when the count is below 0.
  void expect_answers(std::uint32_t count = 1) noexcept { owe(count); }
  void answered(std::uint32_t count = 1) noexcept { owe(-std::int64_t{count}); }
  std::int64_t answers_owed() const noexcept { return answers_owed_; }

  // For its owner's marks, and for an owner who knows better than the stream what a fact means.
  void mark(std::uint32_t what) noexcept { conditions_ |= what; }
  void clear(std::uint32_t what) noexcept { conditions_ &= ~what; }

 protected:
  // `name` must be null, or valid as long as the stream.
  stream_state(shard& home, int fd, const std::string* name) noexcept
      : home_(&home), name_(name), fd_(fd) {}
  ~stream_state() = default;

  // `code` is a negative errno value; the first one stays.
  void fail_with(int code) noexcept;
  // What a positive errno value of a read or a write means to its caller.
  static errc classify(int system_errno) noexcept;
  // An error about this stream.
  error describe(errc why, phase where, int system_errno) const;

  void owe(std::int64_t more) noexcept {
    answers_owed_ += more;
    conditions_ &= ~std::uint32_t{owes_answers};
    if (answers_owed_ != 0) conditions_ |= owes_answers;
  }

  shard* home_;
  const std::string* name_;
  std::int64_t answers_owed_ = 0;
  std::uint64_t bytes_received_ = 0;
  std::uint64_t bytes_sent_ = 0;
  int fd_;
  std::uint32_t conditions_ = 0;
  int failure_ = 0;
  bool read_failed_ = false;     // a failed write leaves what came before it readable
  std::uint8_t operations_ = 0;  // in flight: posted receive or probe, read, write, connect
};

}  // namespace conpool
