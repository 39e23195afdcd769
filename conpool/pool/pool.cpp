#include <conpool/pool/pool.h>

namespace conpool {

result<pool> pool::create(shard& home, const pool_config& config) {
  if (result<void> valid = validate(config); !valid) return fail(std::move(valid.error()));
  home.assert_owner();
  if (home.stopping()) return fail(error(errc::shard_stopped, phase::configure));
  return pool(*new pool_core(home, config));
}

pool& pool::operator=(pool&& other) noexcept {
  if (this != &other) {
    if (core_) core_->shut_down(errc::pool_closed);
    core_ = std::move(other.core_);
  }
  return *this;
}

pool::~pool() {
  if (core_) core_->shut_down(errc::pool_closed);
}

acquire_awaiter pool::acquire(const endpoint& to) {
  return acquire(to, config().acquire_timeout);
}

acquire_awaiter pool::acquire(const endpoint& to, duration timeout) {
  if (core_->closed()) [[unlikely]] {
    return acquire_awaiter(error(core_->closed_because(), phase::acquire).about(to.text()));
  }
  if (to.transport() == transport::tls) [[unlikely]] {
    return acquire_awaiter(error(errc::unsupported, phase::acquire)
                               .about(to.text())
                               .with_detail("TLS is not part of this version yet"));
  }
  return acquire_awaiter(core_->at(to), timeout);
}

std::optional<endpoint_stats> pool::stats(const endpoint& to) const {
  endpoint_pool* const found = core_->find(to);
  if (found == nullptr) return std::nullopt;
  return found->stats();
}

std::vector<endpoint_stats> pool::all_stats() const {
  std::vector<endpoint_stats> all;
  all.reserve(core_->endpoints().size());
  for (const auto& [to, one] : core_->endpoints()) all.push_back(one->stats());
  return all;
}

pool_stats pool::totals() const {
  pool_stats sum;
  for (const auto& [to, one] : core_->endpoints()) sum += one->counts();
  sum.endpoints = core_->endpoints().size();
  return sum;
}

void pool::clear(const endpoint& to) noexcept {
  if (endpoint_pool* const found = core_->find(to)) found->clear();
}

void pool::clear_all() noexcept {
  for (auto& [to, one] : core_->endpoints()) one->clear();
}

pool::close_awaiter pool::close() {
  core_->shut_down(errc::pool_closed);
  return close_awaiter(core_);
}

}  // namespace conpool
