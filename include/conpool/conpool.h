// All of conpool: a runtime on io_uring, and pools of live TCP connections on it.
//
//   #include <conpool/conpool.h>
//
// The parts can be included alone; see docs/ARCHITECTURE.md for what lies where.
#pragma once

#include <conpool/pool/config.h>
#include <conpool/pool/endpoint.h>
#include <conpool/pool/lease.h>
#include <conpool/pool/pool.h>
#include <conpool/pool/sharded.h>
#include <conpool/pool/stats.h>
#include <conpool/runtime/deadline.h>
#include <conpool/runtime/error.h>
#include <conpool/runtime/event.h>
#include <conpool/runtime/kernel.h>
#include <conpool/runtime/listener.h>
#include <conpool/runtime/runtime.h>
#include <conpool/runtime/scope.h>
#include <conpool/runtime/shard.h>
#include <conpool/runtime/socket.h>
#include <conpool/runtime/submit.h>
#include <conpool/runtime/task.h>
