// What the headers of liburing 2.3 lack but the kernel has, defined in this one place.
//
// Only the ring's own sources and kernel.cpp include this header. The values are those of the
// kernel's include/uapi/linux/io_uring.h. Everything here is used only after ring::create() or
// check_kernel() found that it works.
#pragma once

#include <liburing.h>

#ifndef IORING_NOP_INJECT_RESULT
#define IORING_NOP_INJECT_RESULT (1U << 0)  // 6.12: a NOP completes with sqe->len as its result
#endif

#ifndef IORING_SQ_CQ_OVERFLOW
#define IORING_SQ_CQ_OVERFLOW (1U << 1)
#endif

#ifndef IORING_SQ_TASKRUN
#define IORING_SQ_TASKRUN (1U << 2)
#endif
