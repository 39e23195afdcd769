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
  // Why a connection may not be lent again: a set of bits, 0 for a clean connection.
  enum condition : std::uint32_t {
    has_data = 1U << 0,     // received bytes wait to be read
    more_data = 1U << 1,    // the kernel said that bytes were left after the last receive
    reading = 1U << 2,      // a read is under way
    writing = 1U << 3,      // a write is under way
    ended = 1U << 4,        // the peer closed its side
    failed = 1U << 5,       // a read or write failed
    broken_off = 1U << 6,   // a read or write was ended by its deadline or a cancellation
    discarded = 1U << 7,    // the user or a protocol asked for it to be closed
    closing = 1U << 8,      // begin_close() was called
    unanswered = 1U << 9,   // the last thing that happened was a write
    probing = 1U << 10,     // the operation in flight is a probe
    detaching = 1U << 11,   // detach() is under way
    supervised = 1U << 12,  // its owner wants to look at it before it is lent again
    torn = 1U << 13,        // a write ended in the middle: what follows would be taken for its rest
    worn_out = 1U << 14,    // its codec should not be used much longer
  };

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

  // What a user or a protocol knows and the stream does not: after mark(discarded) a pooled
  // connection is closed instead of lent again.
  void mark(condition what) noexcept { conditions_ |= what; }
  void clear(condition what) noexcept { conditions_ &= ~std::uint32_t{what}; }

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

  shard* home_;
  const std::string* name_;
  std::uint64_t bytes_received_ = 0;
  std::uint64_t bytes_sent_ = 0;
  int fd_;
  std::uint32_t conditions_ = 0;
  int failure_ = 0;
  bool read_failed_ = false;     // a failed write leaves what came before it readable
  std::uint8_t operations_ = 0;  // in flight: posted receive or probe, read, write, connect
};

}  // namespace conpool
