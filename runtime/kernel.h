// What conpool asks of the kernel: the sizes of a shard's io_uring, what it counted, and whether
// io_uring can be used here at all.
//
//   if (const kernel_report report = check_kernel(); !report.usable) {
//     std::cerr << "conpool cannot run here: " << report.cause << "\n";
//   }
//
// Linux 6.1 is the oldest kernel that will do. Containers often forbid io_uring even on a newer
// one; the report says which of the two it is.
#pragma once

#include <cstdint>
#include <string>

namespace conpool {

struct ring_options {
  // Submissions prepared before a flush; rounded up to a power of two, 1 to 32768.
  unsigned sq_entries = 1024;
  // Completions the kernel can post before it has to keep them aside; at least sq_entries.
  unsigned cq_entries = 8192;
  // Buffers for posted receives, shared by all connections of the shard: a power of two, 1 to
  // 32768. A buffer is in use only while received bytes wait to be read.
  unsigned receive_buffers = 256;
  unsigned receive_buffer_bytes = 4096;
};

// Counted from the ring's creation; read on the owner's thread.
struct ring_statistics {
  std::uint64_t enters = 0;             // io_uring_enter calls, all kinds
  std::uint64_t submitting_enters = 0;  // of these, calls that handed over entries
  std::uint64_t waits = 0;              // of these, calls that were allowed to block
  std::uint64_t submissions = 0;        // entries handed to the kernel
  std::uint64_t completions = 0;        // entries harvested
  std::uint64_t flushes = 0;            // enters made only because the submission queue was full
  std::uint64_t overflows = 0;          // harvests that found the completion queue overflown
  std::uint64_t buffer_misses = 0;      // posted receives that completed without a buffer
};

// What this kernel and container offer, for a person to read.
struct kernel_report {
  bool usable = false;
  std::string kernel;    // "6.1.0-18-amd64"
  int system_errno = 0;  // what io_uring_setup failed with, 0 if it did not
  std::string missing;   // what is missing, empty if nothing
  std::string cause;     // the likely cause and what to do about it
};

// Tries whether io_uring can be used here. Any thread; opens and closes one small ring.
kernel_report check_kernel();

}  // namespace conpool
