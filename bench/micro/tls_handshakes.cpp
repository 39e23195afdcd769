// Handshakes in memory, of which the client's part is measured: making its channel, its steps, its
// tickets, and its end.

#include <bench/micro/measured_run.h>
#include <bench/micro/micro.h>
#include <bench/micro/tls_pair.h>
#include <conpool/tls/detail/peer_chain.h>

namespace conpool::micro {
namespace {

void measure_handshakes(benchmark::State& state, const tls_pair::settings& wanted) {
  tls_pair pair(wanted);
  const auto shake_once = [&](measured_run* run) {
    if (run != nullptr) run->pause();
    tls::channel server = pair.server();
    if (run != nullptr) run->resume();
    tls::channel client = pair.client();
    pair.shake(client, server, run);
    if (run != nullptr && client.resumed() != wanted.resumption) run->fail("not as expected");
  };
  shake_once(nullptr);
  const tls::shard_counters before = pair.client_resources().counters();
  measured_run run(state);
  run.begin();
  for (std::int64_t i = 0; i < run.iterations() && !run.failed(); ++i) shake_once(&run);
  run.end();
  const tls::shard_counters& after = pair.client_resources().counters();
  const auto made = static_cast<std::uint64_t>(run.iterations());
  if ((wanted.remember_chains ? after.verifications_saved - before.verifications_saved
                              : after.verifications - before.verifications) != made) {
    run.fail("chains were not verified as expected");
  }
}

}  // namespace

void tls_handshake_full(benchmark::State& state) {
  measure_handshakes(state, {.resumption = false, .remember_chains = false});
}

void tls_handshake_full_known_chain(benchmark::State& state) {
  measure_handshakes(state, {.resumption = false, .remember_chains = true});
}

void tls_handshake_resumed(benchmark::State& state) {
  measure_handshakes(state, {.resumption = true, .remember_chains = true});
}

void tls_verify_known_chain(benchmark::State& state) {
  tls_pair pair({});
  tls::channel client = pair.client();
  tls::channel server = pair.server();
  pair.shake(client, server, nullptr);
  tls::shard_resources& resources = pair.client_resources();
  measured_run run(state);
  run.begin();
  for (std::int64_t i = 0; i < run.iterations(); ++i) {
    const auto chain = tls::peer_chain(client.native());
    if (!pair.client_profile().verified().end_of(chain, resources.now_s())) [[unlikely]] {
      return run.fail("the chain was not known");
    }
  }
  run.end();
}

}  // namespace conpool::micro
