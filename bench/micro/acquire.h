// What acquire_hit measures, for any endpoint with a peer that runs.
#pragma once

#include <benchmark/benchmark.h>

#include <conpool/pool/config.h>
#include <conpool/pool/endpoint.h>

namespace conpool::micro {

// One iteration: an idle connection to `peer`, one of 8, is lent and given back.
void measure_acquires(benchmark::State& state, const endpoint& peer,
                      validation_policy validation = validation_policy::watch);

}  // namespace conpool::micro
