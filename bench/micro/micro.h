// The benchmarks of conpool-micro, one function each; main.cpp gives them their names.
//
// Each sets up what it needs for itself, peer included, and takes it down again: a run of one
// benchmark does nothing for the others.
#pragma once

#include <benchmark/benchmark.h>

namespace conpool::micro {

// acquire.cpp: one iteration is one acquire and release of an idle connection.
void acquire_hit(benchmark::State& state);
void acquire_hit_16_endpoints(benchmark::State& state);
void acquire_hit_unvalidated(benchmark::State& state);

// baselines.cpp: the same, by textbook pools.
void baseline_peek_syscall(benchmark::State& state);
void baseline_mutex_pool(benchmark::State& state);

// probe.cpp: one iteration asks range(0) idle connections whether they are alive.
void probe_batch(benchmark::State& state);
void floor_probe_batch(benchmark::State& state);

// dial.cpp: one iteration is range(0) misses at once on a cold endpoint.
void dial_batch(benchmark::State& state);

// request.cpp, bare_ring.cpp: one iteration is one exchange of 64 bytes with the peer, at range(0)
// connections that work side by side.
void request_pooled(benchmark::State& state);
void floor_request_bare_ring(benchmark::State& state);

// tls.cpp, left out of builds without TLS: the acquire over TLS; a record of range(0) bytes written
// or read, and the bare AEAD; a client's part of a handshake.
void acquire_hit_tls(benchmark::State& state);
void tls_record_encrypt(benchmark::State& state);
void tls_record_decrypt(benchmark::State& state);
void floor_aead(benchmark::State& state);
void tls_handshake_full(benchmark::State& state);
void tls_handshake_resumed(benchmark::State& state);

}  // namespace conpool::micro
