// Whether a connection may be lent again, and if not, why.
//
// Pure functions of the connection's conditions and the pool's configuration; they close nothing.
// Their answers are the close_reasons that statistics show.
#pragma once

#include <cstdint>
#include <optional>

#include <conpool/pool/detail/endpoint_facts.h>
#include <conpool/pool/detail/pooled_connection.h>
#include <conpool/pool/stats.h>

namespace conpool::return_verdict {

// What keeps any connection from being lent, however its protocol reads and shares it.
inline constexpr std::uint32_t broken = stream::ended | stream::failed | stream::closing |
                                        connection::discarded | stream::detaching | stream::torn;

inline bool is_broken(const connection& one) noexcept {
  return (one.conditions() & broken) != 0;
}

// Its protocol's run() reads it, also while it is idle, and so is the idle watch.
bool read_by_run(const pooled_connection& one) noexcept;
// It is read by run(), or on behalf of several leases: what is under way when one lease ends is the
// protocol's business, as long as the stream is whole.
bool read_by_protocol(const pooled_connection& one) noexcept;

// The conditions that keep it from being lent again; 0 if none does. `dirty` are those that count
// for a connection that only its user reads (lend_rules).
std::uint32_t faults_of(const pooled_connection& one, std::uint32_t dirty) noexcept;

// The most telling of its conditions. Precondition: some condition keeps it from being lent.
close_reason reason_of(const pooled_connection& dirty) noexcept;

// Why the pool does not want a clean connection, if so: its age, a limit, the pool's end.
std::optional<close_reason> unwanted(const pooled_connection& clean, const endpoint_facts& at,
                                     std::uint32_t generation) noexcept;

// What was left unread came by itself: its lease has asked nothing and read nothing.
bool is_push(const pooled_connection& returned) noexcept;

// For a connection with a codec, when it comes back and before anything else is asked: what was
// left unread may be for the codec alone, and is given to it. Why it cannot stay, if so.
std::optional<close_reason> settle_codec(pooled_connection& returned) noexcept;

// Its codec refused bytes that nobody may send now.
bool is_unsolicited(const connection& refused) noexcept;

}  // namespace conpool::return_verdict
