// The benchmarks of conpool-micro, one function each; main.cpp gives them their names.
//
// Each sets up everything that it needs, peer included, and takes it down again, so a run of one
// benchmark does no work for the others.
#pragma once

#include <benchmark/benchmark.h>

namespace conpool::micro {

// acquire.cpp: one iteration is one acquire and release of an idle connection.
void acquire_hit(benchmark::State& state);
void acquire_hit_16_endpoints(benchmark::State& state);
void acquire_hit_unvalidated(benchmark::State& state);

// baselines.cpp: the same, with textbook pools.
void baseline_peek_syscall(benchmark::State& state);
void baseline_mutex_pool(benchmark::State& state);

// probe.cpp: one iteration probes range(0) idle connections.
void probe_batch(benchmark::State& state);
void floor_probe_batch(benchmark::State& state);

// miss_at_cap.cpp: one iteration is a miss at max_connections, with range(0) endpoints known.
void miss_at_cap(benchmark::State& state);

// dial.cpp: one iteration is range(0) simultaneous misses on a cold endpoint.
void dial_batch(benchmark::State& state);

// request.cpp, bare_ring.cpp: one iteration is one exchange of 64 bytes with the peer, over
// range(0) connections that work side by side.
void request_pooled(benchmark::State& state);
void request_held(benchmark::State& state);
void request_exchanged(benchmark::State& state);
void floor_request_bare_ring(benchmark::State& state);

// Builds without TLS leave out the rest.
//
// tls_records.cpp: a record of range(0) bytes, written or read; 32 writes of 64 bytes that become
// one record; a record written or read by bare BoringSSL; and the bare AEAD.
void tls_record_encrypt(benchmark::State& state);
void tls_record_decrypt(benchmark::State& state);
void tls_write_gathered(benchmark::State& state);
void floor_span_bio_write(benchmark::State& state);
void floor_span_bio_read(benchmark::State& state);
void floor_aead(benchmark::State& state);

// tls_handshakes.cpp: a client's part of a handshake, which is full and verifies a chain, or full
// with a chain that was verified before, or resumed; and the lookup of a chain that was verified
// before.
void tls_handshake_full(benchmark::State& state);
void tls_handshake_full_known_chain(benchmark::State& state);
void tls_handshake_resumed(benchmark::State& state);
void tls_verify_known_chain(benchmark::State& state);

// tls_pool.cpp: acquire_hit over TLS. An iteration of tls_storm is range(0) full handshakes at
// once; it reports the longest CPU time for which another task of the shard was kept from running.
// An iteration of tls_churn is a request on a connection of its own; it reports the share of those
// that resumed a session.
void acquire_hit_tls(benchmark::State& state);
void tls_storm(benchmark::State& state);
void tls_churn(benchmark::State& state);

}  // namespace conpool::micro
