#include <conpool/pool/lease.h>

#include <conpool/pool/detail/endpoint_pool.h>

namespace conpool {

void lease::give_back(connection& lent) noexcept {
  auto& pooled = static_cast<pooled_connection&>(lent);
  pooled.owner->give_back(pooled);
}

task<result<detached>> lease::detach() {
  auto& lent = static_cast<pooled_connection&>(**this);
  if (lent.managed && lent.leases() != 1) {
    co_return fail(error(errc::invalid_argument)
                       .about(lent.peer().text())
                       .with_detail("a connection that others have leased cannot be detached"));
  }
  auto taken = co_await lent.detach();
  if (!taken) co_return fail(std::move(taken.error()));
  lent.reason = close_reason::detached;
  give_back(*std::exchange(connection_, nullptr));
  co_return std::move(*taken);
}

}  // namespace conpool
