// How BoringSSL reads and writes: from a span, into a record buffer. Internal to tls/.
//
// There is one BIO_METHOD a process and one BIO a shard, which all of the shard's channels share;
// it holds no bytes. An io_scope stands around every call into BoringSSL. It points the BIO at this
// call's input and record buffer, and takes them away again: outside of one the BIO has nothing to
// read or write.
//
// The read callback copies from the front of the input. The write callback appends to the record
// buffer as much as fits; without one, to the channel's few bytes for what waits (an alert, a key
// update).
//
// Used on the shard's thread; scopes do not nest (asserted).
#pragma once

#include <cstddef>
#include <span>

#include <conpool/tls/detail/boringssl_pointers.h>
#include <conpool/tls/detail/channel.h>
#include <conpool/tls/detail/shard_resources.h>

namespace conpool::tls {

// Null without memory.
boringssl_ptr<bio_st> make_span_bio();

class io_scope {
 public:
  io_scope(channel& of, std::span<const std::byte> input, record_buffer* output) noexcept;
  io_scope(const io_scope&) = delete;
  io_scope& operator=(const io_scope&) = delete;
  ~io_scope();

  // What has not been taken yet.
  std::span<const std::byte> left() const noexcept { return home_->window().input; }

  // The resources whose channel is being served on this thread; null outside of a scope.
  static shard_resources* serving() noexcept;

 private:
  shard_resources* home_;
};

}  // namespace conpool::tls
