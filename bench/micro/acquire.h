// The measurement of acquire_hit, for any endpoint whose peer is running.
#pragma once

#include <benchmark/benchmark.h>

#include <conpool/pool/config.h>
#include <conpool/pool/endpoint.h>

namespace conpool::micro {

// In one iteration, one of 8 idle connections to `peer` is lent and given back.
void measure_acquires(benchmark::State& state, const endpoint& peer,
                      validation_policy validation = validation_policy::watch);

}  // namespace conpool::micro
