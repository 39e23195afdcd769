#include <bench/micro/tls_peer.h>

#include <functional>
#include <utility>
#include <vector>

#include <bench/micro/pool_client.h>
#include <conpool/runtime/listener.h>
#include <conpool/tls/handshake.h>

namespace conpool::micro {
namespace {

task<void> serve(socket peer, std::shared_ptr<tls::server_profile> as) {
  shard& home = peer->home();
  auto secured = co_await tls::accept(*peer, as, home.now() + std::chrono::seconds(10));
  if (!secured) co_return;
  std::vector<std::byte> memory(64 * 1024);
  for (;;) {
    auto count = co_await peer->read(std::span<std::byte>(memory));
    if (!count || *count == 0) co_return;
    auto sent = co_await peer->write(std::span<const std::byte>(memory).first(*count));
    if (!sent) co_return;
  }
}

task<void> accept_all(listener door, std::shared_ptr<tls::server_profile> as) {
  shard& home = *shard::current();
  for (;;) {
    auto peer = co_await door.accept();
    if (!peer) co_return;
    home.spawn(serve, std::move(*peer), as);
  }
}

task<result<endpoint>> open(const bench::server_identity& own) {
  shard& home = *shard::current();
  tls::server_options options;
  options.certificate_chain_pem = own.chain_pem;
  options.private_key_pem = own.key_pem;
  auto made = tls::server_profile::make(home, std::move(options));
  if (!made) co_return fail(std::move(made.error()));
  listen_options listening;
  listening.accepted.timeouts = {std::chrono::hours(24), std::chrono::hours(24)};
  const socket_address loopback = socket_address::ip("127.0.0.1", 0).value();
  auto door = listener::open(home, loopback, listening);
  if (!door) co_return fail(std::move(door.error()));
  auto where = endpoint::parse("tls://" + door->address().to_string());
  std::shared_ptr<tls::server_profile> as = std::move(*made);
  home.spawn(accept_all, std::move(*door), std::move(as));
  co_return std::move(where);
}

}  // namespace

endpoint trusting(const endpoint& where, const bench::server_identity& own, bool resumption) {
  auto trust = tls::trust_store::from_pem(own.root_pem);
  if (!trust) give_up(trust.error());
  tls::profile_options options;
  options.trust = std::move(*trust);
  options.verify_name = where.host();
  options.resumption = resumption;
  auto profile = tls::profile::make(std::move(options));
  if (!profile) give_up(profile.error());
  auto under_it = where.with_profile(std::move(*profile));
  if (!under_it) give_up(under_it.error());
  return *std::move(under_it);
}

tls_peer::tls_peer(bench::server_identity own) : own_(std::move(own)) {
  runtime_options options;
  options.shards = 1;
  auto made = runtime::create(options);
  if (!made) give_up(made.error());
  runtime_ = std::move(*made);
  auto where = runtime_->run_on(0, open, std::cref(own_));
  if (!where) give_up(where.error());
  where_ = std::make_unique<endpoint>(std::move(*where));
}

tls_peer::~tls_peer() = default;

}  // namespace conpool::micro
