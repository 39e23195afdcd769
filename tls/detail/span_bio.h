// How the library reads and writes: from a span, into a slab. Internal to tls/.
//
// One BIO_METHOD a process and one BIO an engine, which all its streams share; it holds no bytes.
// Around every call into the library stands an io_scope, which points the BIO at this call's input
// and slab, and takes them away again: outside of one the BIO has nothing to read or write.
//
// The read callback copies from the front of the input. The write callback appends to the slab as
// much as fits; without a slab, to the stream's few bytes for what waits (an alert, a key update).
#pragma once

#include <cstddef>
#include <span>

#include <conpool/tls/detail/boringssl_pointers.h>
#include <conpool/tls/detail/channel.h>
#include <conpool/tls/detail/shard_resources.h>

namespace conpool::tls {

boringssl_ptr<bio_st> make_span_bio();

class io_scope {
 public:
  io_scope(channel& of, std::span<const std::byte> input, record_buffer* output) noexcept;
  io_scope(const io_scope&) = delete;
  io_scope& operator=(const io_scope&) = delete;
  ~io_scope();

  // What has not been taken yet.
  std::span<const std::byte> left() const noexcept { return home_->window().input; }

  // The engine whose stream is being served on this thread, null outside of a scope.
  static shard_resources* serving() noexcept;

 private:
  shard_resources* home_;
};

}  // namespace conpool::tls
