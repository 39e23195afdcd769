// What conpool asks of the kernel: the sizes of a shard's io_uring, what the ring counts, and
// whether io_uring can be used here at all.
//
//   const kernel_report report = check_kernel();
//   if (!report.usable) std::cerr << "conpool cannot run here: " << report.cause << '\n';
//
// conpool needs Linux 6.1 or newer. Containers often forbid io_uring even there; the report says
// which of the two is in the way, and what to do about it.
#pragma once

#include <cstdint>
#include <string>

#include <conpool/runtime/detail/export.h>

namespace conpool {

// The sizes of one shard's ring. They cannot be changed later.
struct ring_options {
  // How many submissions can be prepared before they have to be flushed: 1 to 32768, rounded up to
  // a power of two.
  unsigned sq_entries = 1024;
  // How many completions the kernel can post before it has to keep them aside. A number below
  // sq_entries counts as sq_entries.
  unsigned cq_entries = 8192;
  // How many buffers there are for posted receives, shared by all connections of the shard: a power
  // of two from 1 to 32768. A buffer is in use only while received bytes wait to be read.
  unsigned receive_buffers = 256;
  // The size of each of them: 64 bytes to 1 MiB.
  unsigned receive_buffer_bytes = 4096;
};

// What a ring has counted since it was created (shard::statistics()). Read it on the shard's
// thread.
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

// What this kernel and container offer, in words for a person.
struct kernel_report {
  bool usable = false;
  std::string kernel;    // "6.1.0-18-amd64"
  int system_errno = 0;  // the positive errno of the call that failed, 0 if none did
  std::string missing;   // the name of what is missing, empty if nothing is
  std::string cause;     // the likely cause and what to do about it
};

// Tries whether io_uring can be used here: it opens one small ring, uses each of the three system
// calls on it, and closes it. Any thread may call it.
CONPOOL_API kernel_report check_kernel();

// Makes room for so many descriptors in the process's table, once. 0 means as many as the process
// may open now (RLIMIT_NOFILE's soft limit), but at most 65,536, which take the kernel 0.5 MiB; a
// larger count is cut to the limit. Nothing is left open. Returns for how many there is room for
// certain, which is 0 if none could be made; then only time is lost.
//
// The table doubles whenever a descriptor finds no room in it, and in a process of several threads
// whoever opens that descriptor waits until all processors have seen the new table: 10 to 20 ms
// for the 257th, the 513th, the 1,025th ... So call it before the program starts threads. runtime
// does; call it yourself if you make shards on threads of your own.
CONPOOL_API unsigned make_room_for_descriptors(unsigned count = 0) noexcept;

}  // namespace conpool
