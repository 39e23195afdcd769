// What liburing 2.3's headers lack but the kernel has, defined in this one place.
//
// Included by the ring's sources only. Values are from the kernel's include/uapi/linux/io_uring.h;
// everything here is used only after ring::create() or check_kernel() found that it works.
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
