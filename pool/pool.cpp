#include <conpool/pool/pool.h>

#include <algorithm>

#include <conpool/runtime/deadline.h>

namespace conpool {
namespace {

// What the configuration asks of the protocol.
result<void> fits_protocol(const pool_config& config, const protocol_hooks* hooks) {
  const bool pings = hooks != nullptr && hooks->ping != nullptr;
  const auto wrong = [](const char* field, const char* detail) {
    return fail(error(errc::invalid_config, phase::configure).about(field).with_detail(detail));
  };
  if (config.validation == validation_policy::ping && !pings) {
    return wrong("validation", "validation is ping, which needs a protocol with a ping()");
  }
  if (config.validation_interval > std::chrono::milliseconds::zero() && !pings &&
      config.validation == validation_policy::none) {
    return wrong("validation_interval",
                 "validation_interval is set, and validation is none: it needs validation by watch "
                 "or probe, or a protocol with a ping()");
  }
  return {};
}

task<result<void>> wait_for(event& what) {
  auto woken = co_await what.wait();
  co_return std::move(woken);
}

}  // namespace

result<pool> pool::create(shard& home, const pool_config& config) {
  return create_with(home, config, nullptr, nullptr);
}

result<pool> pool::create_with(shard& home, const pool_config& config, const protocol_hooks* hooks,
                               std::shared_ptr<void> speaks) {
  if (result<void> valid = conpool::validate(config); !valid) return fail(std::move(valid.error()));
  if (result<void> fits = fits_protocol(config, hooks); !fits) return fail(std::move(fits.error()));
  home.assert_owner();
  if (home.stopping()) return fail(error(errc::shard_stopped, phase::configure));
  return pool(*new pool_core(home, config, hooks, std::move(speaks)));
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

std::optional<error> pool::refusal(const endpoint& to) const {
  if (core_->closed()) [[unlikely]] {
    return error(core_->closed_because(), phase::acquire).about(to.text());
  }
  if (!dialer::supports(to)) [[unlikely]] {
    return error(errc::unsupported, phase::acquire)
        .about(to.text())
        .with_detail("this build of conpool has no TLS (-Dtls=disabled)");
  }
  return std::nullopt;
}

acquire_awaiter pool::acquire(const endpoint& to, duration timeout, location where) {
  if (core_->closed()) [[unlikely]]
    return acquire_awaiter(*refusal(to));
  return acquire_awaiter(core_->at(to), timeout, where);
}

acquire_awaiter pool::acquire(const endpoint& to, const acquire_options& options, location where) {
  if (core_->closed()) [[unlikely]]
    return acquire_awaiter(*refusal(to));
  return acquire_awaiter(core_->at(to), options, where);
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

void pool::clear(const endpoint& to, leased what) noexcept {
  if (endpoint_pool* const found = core_->find(to))
    found->retirements().clear(what == leased::break_off);
}

void pool::clear_all(leased what) noexcept {
  for (auto& [to, one] : core_->endpoints()) one->retirements().clear(what == leased::break_off);
}

result<void> pool::reconfigure(const pool_config& config) {
  if (result<void> valid = conpool::validate(config); !valid) return valid;
  if (result<void> fits = fits_protocol(config, core_->hooks()); !fits) return fits;
  core_->reconfigure(config);
  return {};
}

result<void> pool::configure(const endpoint& to, const pool_config& own) {
  if (auto refused = refusal(to)) return fail(std::move(*refused));
  if (result<void> valid = conpool::validate(own); !valid) return valid;
  if (result<void> fits = fits_protocol(own, core_->hooks()); !fits) return fits;
  core_->configure(to, &own);
  return {};
}

result<void> pool::adopt(const endpoint& to, int fd, const adopt_options& known) {
  if (auto refused = refusal(to)) return fail(std::move(*refused));
  if (known.age < duration::zero() || known.idle < duration::zero()) {
    return fail(error(errc::invalid_argument, phase::configure)
                    .about(to.text())
                    .with_detail("a connection's age and idle time cannot be negative"));
  }
  return core_->at(to).adopt(fd, known);
}

task<result<void>> pool::warm(endpoint to, std::uint32_t count, duration within) {
  if (auto refused = refusal(to)) co_return fail(std::move(*refused));
  const endpoint_handle kept = handle(to);  // the pool may go while this waits
  endpoint_pool& at = *kept.at_;
  shard& home = kept.core_->home();
  const pool_config& config = at.facts().config();
  const std::uint32_t limit =
      std::min(config.max_connections_per_endpoint, at.facts().counts.active + config.idle_limit());
  if (count > limit) {
    co_return fail(error(errc::invalid_argument, phase::acquire)
                       .about(to.text())
                       .with_detail("asked for " + std::to_string(count) +
                                    " connections; with those that are leased now " +
                                    std::to_string(limit) + " may stand"));
  }
  if (at.demand().warming().missing(count) == 0) co_return result<void>{};
  warm_request request(home, count);
  at.demand().warming().join(request);
  at.demand().look();
  if (within == duration::zero()) within = config.acquire_timeout;
  auto wait = wait_for(request.done);
  auto woken = co_await with_timeout(home, within, std::move(wait));
  at.demand().warming().leave(request);
  const std::uint32_t missing = at.demand().warming().missing(count);
  if (request.failure) co_return fail(std::move(*request.failure));
  if (woken) co_return result<void>{};
  co_return fail(error(woken.error().kind(), phase::connect)
                     .about(to.text())
                     .with_detail(std::to_string(missing) + " of " + std::to_string(count) +
                                  " connections did not stand in time"));
}

task<result<validation_report>> pool::validate(endpoint to) {
  const core_pointer core = core_;
  auto work = validate_in(core, std::move(to));
  auto report = co_await work;
  co_return std::move(report);
}

// The pool may go while this waits.
task<result<validation_report>> pool::validate_in(core_pointer core, endpoint to) {
  validation_report report;
  if (core->closed()) {
    co_return fail(error(core->closed_because(), phase::acquire).about(to.text()));
  }
  endpoint_pool* const found = core->find(to);
  if (found == nullptr) co_return report;
  const endpoint_handle kept(*core, *found);
  while (found->checks().batch() != nullptr) {
    auto turn = co_await found->checks().batch()->done.wait();  // another validate() is at it
    if (!turn) co_return fail(std::move(turn.error()));
    co_await core->home().yield();
  }
  check_batch batch(core->home());
  found->checks().check_all(batch);
  auto done = co_await batch.done.wait();
  found->checks().leave_batch();
  if (!done) co_return fail(std::move(done.error()));
  report.checked = batch.checked;
  report.alive = batch.alive;
  report.closed_by = batch.closed_by;
  co_return report;
}

task<result<validation_report>> pool::validate_all() {
  const core_pointer core = core_;
  std::vector<endpoint> all;
  for (const auto& [to, one] : core->endpoints()) {
    if (one->facts().counts.idle > 0) all.push_back(to);
  }
  // All of them begin before the first is awaited, so that their checks leave together.
  std::vector<result<validation_report>> reports(all.size(), validation_report{});
  scope checks(core->home());
  for (std::size_t i = 0; i < all.size(); ++i) {
    checks.spawn(&pool::validate_into, core, all[i], &reports[i]);
  }
  co_await checks.join();
  validation_report sum;
  for (result<validation_report>& one : reports) {
    if (!one) co_return fail(std::move(one.error()));
    sum.checked += one->checked;
    sum.alive += one->alive;
    for (std::size_t i = 0; i < close_reasons; ++i) sum.closed_by[i] += one->closed_by[i];
  }
  co_return sum;
}

task<void> pool::validate_into(core_pointer core, endpoint to, result<validation_report>* into) {
  auto work = validate_in(std::move(core), std::move(to));
  auto report = co_await work;
  *into = std::move(report);
}

pool::close_awaiter pool::close() {
  core_->shut_down(errc::pool_closed);
  return close_awaiter(core_);
}

task<result<drain_report>> pool::drain(duration within) {
  const core_pointer core = core_;  // the pool may go while this waits
  shard& home = core->home();
  drain_report report;
  for (const auto& [to, one] : core->endpoints()) report.waiters_failed += one->facts().callers();
  core->shut_down(errc::pool_closed);
  // Counted now: what was handed to a caller who had not run yet is no lease.
  for (const auto& [to, one] : core->endpoints()) report.returned += one->facts().leased();
  const time_point deadline = saturating_add(home.now(), within);
  auto wait = wait_for(core->empty());
  auto emptied = co_await with_timeout(home, within, std::move(wait));
  if (!emptied && home.now() < deadline) co_return fail(std::move(emptied.error()));
  for (auto& [to, one] : core->endpoints()) {
    one->retirements().force_leased(
        [&](const pooled_connection& forced) { report.forced.push_back(describe(forced)); });
  }
  report.returned -= report.forced.size();
  co_return std::move(report);
}

forced_lease pool::describe(const pooled_connection& forced) {
  forced_lease made;
  made.endpoint = forced.peer().text();
  made.connection = forced.id();
  if (forced.lent_from.line() != 0) {
    made.held = forced.home().now() - forced.last_used;
    made.where = forced.lent_from;
  }
  return made;
}

}  // namespace conpool
