#include <bench/micro/pool_client.h>

#include <cstdio>
#include <cstdlib>
#include <utility>

namespace conpool::micro {
namespace {

// One of `count` tasks, each of which takes a connection that is held until all have one.
task<void> take_one(pool_client& client, const endpoint_handle& to, std::vector<lease>& taken) {
  auto lent = co_await client.pool().acquire(to);
  if (!lent) give_up(lent.error());
  taken.push_back(std::move(*lent));
  if (taken.size() == taken.capacity()) client.end_run();
}

}  // namespace

void give_up(const error& why) {
  std::fprintf(stderr, "conpool-micro: %s\n", why.message().c_str());
  std::exit(1);
}

pool_client::pool_client(const pool_config& config) {
  auto made = shard::create();
  if (!made) give_up(made.error());
  home_ = std::move(*made);
  if (auto attached = home_->attach(); !attached) give_up(attached.error());
  auto created = pool::create(*home_, config);
  if (!created) give_up(created.error());
  pool_.emplace(std::move(*created));
}

pool_client::~pool_client() {
  pool_.reset();
  home_.reset();
}

endpoint endpoint_of(const echo_peer& peer) {
  auto parsed = endpoint::parse(peer.uri());
  if (!parsed) give_up(parsed.error());
  return std::move(*parsed);
}

endpoint_handle pool_client::handle_of(const echo_peer& peer) {
  return pool_->handle(endpoint_of(peer));
}

void pool_client::fill(const endpoint_handle& to, std::size_t count) {
  std::vector<lease> taken;
  taken.reserve(count);
  CONPOOL_ASSERT(taken.capacity() == count, "reserve() took more than it was asked for");
  for (std::size_t i = 0; i < count; ++i) {
    home_->spawn(take_one, std::ref(*this), std::cref(to), std::ref(taken));
  }
  run();
  taken.clear();
  // The next enter submits the posted receives, so that what follows finds a quiet shard.
  home_->run_once(duration::zero());
}

}  // namespace conpool::micro
