// TLS: lending, records beside the bare AEAD, and handshakes; streams are joined by memory.

#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <bench/micro/acquire.h>
#include <bench/micro/measured_run.h>
#include <bench/micro/micro.h>
#include <bench/micro/pool_client.h>
#include <bench/micro/tls_peer.h>
#include <conpool/tls/boringssl.h>
#include <conpool/tls/engine.h>
#include <conpool/tls/server_context.h>
#include <conpool/tls/shard_context.h>
#include <conpool/tls/stream.h>

namespace conpool::micro {
namespace {

using bytes = std::vector<std::byte>;
using const_bytes = std::span<const std::byte>;

// Both sides of TLS in memory, with what their handshakes need.
class both_sides {
 public:
  explicit both_sides(bool resumption) : memory_(tls::slab_size) {
    const bench::self_signed own = bench::make_self_signed();
    tls::server_options server;
    server.certificate_chain_pem = own.certificate_pem;
    server.private_key_pem = own.key_pem;
    auto made = tls::server_context::make(server_engine_, std::move(server));
    if (!made) give_up(made.error());
    server_ = std::move(*made);
    auto trust = tls::trust_store::from_pem(own.certificate_pem);
    if (!trust) give_up(trust.error());
    tls::profile_options client;
    client.trust = std::move(*trust);
    client.verify_name = "localhost";
    client.resumption = resumption;
    auto profile = tls::profile::make(std::move(client));
    if (!profile) give_up(profile.error());
    profile_ = std::move(*profile);
    auto context = client_engine_.context_for(profile_);
    if (!context) give_up(context.error());
    client_ = *context;
  }

  // A handshake to its end; the client's steps are timed if `timed` is not null.
  void shake(tls::stream& client, tls::stream& server, benchmark::State* timed) {
    bytes to_client;
    bytes to_server;
    while (client.state() == tls::stream_state::handshaking ||
           server.state() == tls::stream_state::handshaking) {
      if (timed != nullptr) timed->ResumeTiming();
      step(client, to_client, to_server);
      if (timed != nullptr) timed->PauseTiming();
      step(server, to_server, to_client);
    }
    if (client.state() != tls::stream_state::open) give_up(client.failure());
    // The tickets.
    std::array<std::byte, 64> none{};
    const_bytes input(to_client);
    const auto read = client.read(input, none);
    if (!read) give_up(read.error());
  }
  tls::shard_context& client_context() noexcept { return *client_; }
  tls::server_context& server_context() noexcept { return *server_; }
  std::span<std::byte> memory() noexcept { return memory_; }

 private:
  void step(tls::stream& one, bytes& received, bytes& said) {
    if (one.state() != tls::stream_state::handshaking) return;
    tls::slab out(memory_);
    const_bytes input(received);
    one.handshake(input, out);
    received.erase(received.begin(), received.end() - static_cast<std::ptrdiff_t>(input.size()));
    said.insert(said.end(), out.filled().begin(), out.filled().end());
  }

  bytes memory_;
  tls::engine client_engine_;
  tls::engine server_engine_;
  tls::profile_ptr profile_;
  tls::shard_context* client_ = nullptr;
  std::unique_ptr<tls::server_context> server_;
};

void measure_handshakes(benchmark::State& state, bool resumed) {
  both_sides sides(resumed);
  const std::string peer = "tls://localhost:1";
  const auto once = [&](benchmark::State* timed) {
    tls::stream client(sides.client_context(), peer);
    tls::stream server(sides.server_context(), peer);
    sides.shake(client, server, timed);
    if (timed != nullptr && client.resumed() != resumed) state.SkipWithError("not as expected");
    if (timed != nullptr) timed->ResumeTiming();
  };
  once(nullptr);
  for (auto each : state) {
    static_cast<void>(each);
    state.PauseTiming();
    // A full one verifies the chain, too.
    if (!resumed) sides.client_context().verified().clear();
    once(&state);
  }
}

}  // namespace

void acquire_hit_tls(benchmark::State& state) {
  const tls_peer peer;
  measure_acquires(state, peer.where());
}

void tls_record_encrypt(benchmark::State& state) {
  both_sides sides(false);
  const std::string peer = "tls://localhost:1";
  tls::stream client(sides.client_context(), peer);
  tls::stream server(sides.server_context(), peer);
  sides.shake(client, server, nullptr);
  const bytes plain(static_cast<std::size_t>(state.range(0)));
  for (auto each : state) {
    static_cast<void>(each);
    tls::slab out(sides.memory());
    auto taken = client.write(plain, out);
    benchmark::DoNotOptimize(taken);
  }
  state.SetBytesProcessed(state.iterations() * state.range(0));
}

void tls_record_decrypt(benchmark::State& state) {
  both_sides sides(false);
  const std::string peer = "tls://localhost:1";
  tls::stream client(sides.client_context(), peer);
  tls::stream server(sides.server_context(), peer);
  sides.shake(client, server, nullptr);
  const bytes plain(static_cast<std::size_t>(state.range(0)));
  bytes into(plain.size());
  // Records are made for many reads at once, outside of the measured time.
  constexpr std::size_t batch = 256;
  std::vector<bytes> records;
  std::size_t next = 0;
  for (auto each : state) {
    static_cast<void>(each);
    if (next == records.size()) {
      state.PauseTiming();
      records.clear();
      for (std::size_t i = 0; i < batch; ++i) {
        tls::slab out(sides.memory());
        if (!server.write(plain, out)) return state.SkipWithError("write failed");
        records.emplace_back(out.filled().begin(), out.filled().end());
      }
      next = 0;
      state.ResumeTiming();
    }
    const_bytes input(records[next++]);
    auto count = client.read(input, into);
    benchmark::DoNotOptimize(count);
  }
  state.SetBytesProcessed(state.iterations() * state.range(0));
}

// One seal of AES-128-GCM: what a record cannot cost less than.
void floor_aead(benchmark::State& state) {
  const std::array<std::uint8_t, 16> key{};
  std::array<std::uint8_t, 12> nonce{};
  const std::array<std::uint8_t, 5> extra{};
  bssl::ScopedEVP_AEAD_CTX aead;
  if (EVP_AEAD_CTX_init(aead.get(), EVP_aead_aes_128_gcm_tls13(), key.data(), key.size(),
                        EVP_AEAD_DEFAULT_TAG_LENGTH, nullptr) != 1) {
    return state.SkipWithError("no AEAD");
  }
  const auto size = static_cast<std::size_t>(state.range(0));
  const std::vector<std::uint8_t> plain(size);
  std::vector<std::uint8_t> sealed(size + EVP_AEAD_MAX_OVERHEAD);
  std::uint64_t sequence = 0;
  for (auto each : state) {
    static_cast<void>(each);
    ++sequence;
    for (int i = 0; i < 8; ++i) {
      nonce[11 - static_cast<std::size_t>(i)] = static_cast<std::uint8_t>(sequence >> (8 * i));
    }
    std::size_t written = 0;
    EVP_AEAD_CTX_seal(aead.get(), sealed.data(), &written, sealed.size(), nonce.data(),
                      nonce.size(), plain.data(), plain.size(), extra.data(), extra.size());
    benchmark::DoNotOptimize(written);
  }
  state.SetBytesProcessed(state.iterations() * state.range(0));
}

void tls_handshake_full(benchmark::State& state) {
  measure_handshakes(state, false);
}

void tls_handshake_resumed(benchmark::State& state) {
  measure_handshakes(state, true);
}

}  // namespace conpool::micro
