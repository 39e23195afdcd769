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

// The rest is left out of builds without TLS.
// tls_records.cpp: a record of range(0) bytes, written or read; 32 writes of 64 bytes that become
// one record; the same by BoringSSL alone; the bare AEAD.
void tls_record_encrypt(benchmark::State& state);
void tls_record_decrypt(benchmark::State& state);
void tls_write_gathered(benchmark::State& state);
void floor_span_bio_write(benchmark::State& state);
void floor_span_bio_read(benchmark::State& state);
void floor_aead(benchmark::State& state);

// tls_handshakes.cpp: a client's part of a handshake: full with the verification of a chain, full
// with a chain that was verified before, resumed; and the look at a chain that was verified before.
void tls_handshake_full(benchmark::State& state);
void tls_handshake_full_known_chain(benchmark::State& state);
void tls_handshake_resumed(benchmark::State& state);
void tls_verify_known_chain(benchmark::State& state);

// tls_pool.cpp: the acquire over TLS; one iteration is range(0) full handshakes at once (reported:
// the longest that another task of the shard was kept from running, in CPU time); one is a request
// on a connection of its own (reported: how many of them resumed a session).
void acquire_hit_tls(benchmark::State& state);
void tls_storm(benchmark::State& state);
void tls_churn(benchmark::State& state);

}  // namespace conpool::micro
