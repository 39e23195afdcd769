// What a caller hears who gets no connection: why it may not wait, or why its wait has ended.
//
// Each text says what the caller waited for, the counts, the last failed connect, and what to do.
// Each call also counts what it tells of, and tells the observer.
#pragma once

#include <optional>

#include <conpool/pool/detail/dial_demand.h>
#include <conpool/pool/detail/endpoint_facts.h>
#include <conpool/runtime/error.h>

namespace conpool::refusals {

// Why a caller may not queue up; nothing if it may.
std::optional<error> at_the_door(endpoint_facts& facts, const dial_demand& demand, bool try_only);
// What all hear who wait when the breaker opens.
error breaker_opened(endpoint_facts& facts, const dial_demand& demand);
// What an acquire returns that was ended by its deadline or its context. `in_line`: the endpoint
// waits for a slot of the pool's.
error ended_early(endpoint_facts& facts, const dial_demand& demand, bool in_line, errc why);
// While the pool is paused and the policy is to fail.
error paused(const endpoint_facts& facts);

}  // namespace conpool::refusals
