// Why the kernel does not give a shard its ring, in words for a person who can change it.
//
//   return fail(ring_failure("io_uring_setup", code, options));
//
// Used where rings are made and by check_kernel(). It may read files of /proc.
#pragma once

#include <string>
#include <string_view>

#include <conpool/runtime/error.h>
#include <conpool/runtime/kernel.h>

namespace conpool {

// The sentence for a negative errno value that one of io_uring's three system calls, or the
// registration of the receive buffers (which needs a newer kernel than the call does), came back
// with. `options` are those of the ring.
std::string explain_ring_failure(std::string_view call, int code, const ring_options& options);

// The same as an error about io_uring: out_of_memory for ENOMEM, too_many_files for EMFILE and
// ENFILE, else ring_unavailable.
error ring_failure(std::string_view call, int code, const ring_options& options);

}  // namespace conpool
