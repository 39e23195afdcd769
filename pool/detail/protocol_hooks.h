// The hooks of a protocol (protocol.h) with its type forgotten: a table of functions.
//
// Made once for each protocol type, at compile time. A null entry is a hook that the protocol does
// not have. The first argument is the pool's protocol object.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <typeinfo>

#include <conpool/pool/stats.h>
#include <conpool/runtime/error.h>
#include <conpool/runtime/task.h>

namespace conpool {

class connection;
class pooled_connection;
struct access;
struct endpoint_facts;
enum class idle_data : std::uint8_t;

struct protocol_hooks {
  // Of the protocol; null where it was made without RTTI.
  const std::type_info* type;
  pooled_connection* (*create)(endpoint_facts&, int fd);
  void (*destroy)(pooled_connection&) noexcept;
  task<result<void>> (*on_connect)(void*, connection&) = nullptr;
  bool (*on_acquire)(void*, connection&) noexcept = nullptr;
  bool (*is_healthy)(void*, const connection&) noexcept = nullptr;
  bool (*on_release)(void*, connection&) noexcept = nullptr;
  task<bool> (*clean)(void*, connection&) = nullptr;  // on_release as a coroutine
  bool (*needs_cleaning)(void*, const connection&) noexcept = nullptr;
  task<bool> (*recover)(void*, connection&, close_reason) = nullptr;
  task<void> (*farewell)(void*, connection&) = nullptr;
  task<result<void>> (*ping)(void*, connection&) = nullptr;
  idle_data (*on_idle_data)(void*, connection&, std::span<const std::byte>) noexcept = nullptr;
  void (*on_close)(void*, connection&, close_reason) noexcept = nullptr;
  access (*access_mode)(void*, const connection&) noexcept = nullptr;
  task<void> (*run)(void*, connection&) = nullptr;
  std::uint32_t expected_leases = 1;
  bool server_speaks_first = false;

  bool is_of(const std::type_info* other) const noexcept {
    return type == nullptr || other == nullptr || *type == *other;
  }
  bool asked_before_lend() const noexcept { return on_acquire != nullptr || is_healthy != nullptr; }
  // Whether each lend, or each return, has to ask one of them.
  bool on_each_lend() const noexcept {
    return on_acquire != nullptr || is_healthy != nullptr || access_mode != nullptr;
  }
  bool on_each_return() const noexcept {
    return on_release != nullptr || clean != nullptr || access_mode != nullptr;
  }
};

}  // namespace conpool
