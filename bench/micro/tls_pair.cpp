#include <bench/micro/tls_pair.h>

#include <array>
#include <utility>

#include <bench/micro/pool_client.h>
#include <bench/server_identity.h>

namespace conpool::micro {
namespace {

tls::shard_limits limits_of(const tls_pair::settings& wanted) {
  tls::shard_limits limits;
  if (!wanted.remember_chains) limits.verified_chains_max = 0;
  return limits;
}

}  // namespace

const std::string tls_pair::peer = "tls://localhost:1";

tls_pair::tls_pair(const settings& wanted)
    : memory_(tls::record_buffer_size), client_resources_(limits_of(wanted)) {
  const bench::server_identity own = bench::make_server_identity();
  tls::server_options server;
  server.certificate_chain_pem = own.chain_pem;
  server.private_key_pem = own.key_pem;
  auto made = tls::server_profile::make(server_resources_, std::move(server));
  if (!made) give_up(made.error());
  server_ = std::move(*made);
  auto trust = tls::trust_store::from_pem(own.root_pem);
  if (!trust) give_up(trust.error());
  tls::profile_options client;
  client.trust = std::move(*trust);
  client.verify_name = "localhost";
  client.resumption = wanted.resumption;
  auto profile = tls::profile::make(std::move(client));
  if (!profile) give_up(profile.error());
  profile_ = std::move(*profile);
  auto config = client_resources_.config_for(profile_);
  if (!config) give_up(config.error());
  client_ = *config;
}

void tls_pair::step(tls::channel& one, bytes& received, bytes& said) {
  if (one.state() != tls::channel_state::handshaking) return;
  tls::record_buffer out(memory_);
  std::span<const std::byte> input(received);
  one.handshake(input, out);
  received.erase(received.begin(), received.end() - static_cast<std::ptrdiff_t>(input.size()));
  said.insert(said.end(), out.filled().begin(), out.filled().end());
}

void tls_pair::shake(tls::channel& client, tls::channel& server, measured_run* run) {
  bytes to_client;
  bytes to_server;
  const auto shaking = [](const tls::channel& one) {
    return one.state() == tls::channel_state::handshaking;
  };
  while (shaking(client) || shaking(server)) {
    step(client, to_client, to_server);
    if (run != nullptr) run->pause();
    step(server, to_server, to_client);
    if (run != nullptr) run->resume();
  }
  if (client.state() != tls::channel_state::open) give_up(client.failure());
  // This reads the tickets, which follow the handshake.
  std::array<std::byte, 64> none{};
  std::span<const std::byte> input(to_client);
  const auto read = client.read(input, none);
  if (!read) give_up(read.error());
}

}  // namespace conpool::micro
