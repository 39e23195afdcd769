// All of conpool's public API: a runtime on io_uring, pools of live connections on it, and TLS.
//
//   #include <conpool/conpool.h>
//
// Each of these headers can be included alone; docs/ARCHITECTURE.md says what lies where. They are
// the same in a build without TLS (-Dtls=disabled), in which all that would make something of TLS
// fails with errc::unsupported.
#pragma once

#include <conpool/pool/acquire.h>
#include <conpool/pool/config.h>
#include <conpool/pool/connection.h>
#include <conpool/pool/endpoint.h>
#include <conpool/pool/lease.h>
#include <conpool/pool/observer.h>
#include <conpool/pool/pool.h>
#include <conpool/pool/protocol.h>
#include <conpool/pool/retry.h>
#include <conpool/pool/sharded.h>
#include <conpool/pool/stats.h>
#include <conpool/runtime/address.h>
#include <conpool/runtime/buffered_reader.h>
#include <conpool/runtime/buffers.h>
#include <conpool/runtime/clock.h>
#include <conpool/runtime/deadline.h>
#include <conpool/runtime/detached.h>
#include <conpool/runtime/error.h>
#include <conpool/runtime/event.h>
#include <conpool/runtime/frames.h>
#include <conpool/runtime/kernel.h>
#include <conpool/runtime/listener.h>
#include <conpool/runtime/resolver.h>
#include <conpool/runtime/runtime.h>
#include <conpool/runtime/scope.h>
#include <conpool/runtime/shard.h>
#include <conpool/runtime/socket.h>
#include <conpool/runtime/stream.h>
#include <conpool/runtime/submit.h>
#include <conpool/runtime/task.h>
#include <conpool/runtime/version.h>
#include <conpool/runtime/when.h>
#include <conpool/tls/connection_info.h>
#include <conpool/tls/handshake.h>
#include <conpool/tls/keylog.h>
#include <conpool/tls/profile.h>
#include <conpool/tls/server_profile.h>
#include <conpool/tls/trust_store.h>
