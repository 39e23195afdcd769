#include <conpool/pool/connection.h>

#include <conpool/pool/acquire.h>
#include <conpool/pool/detail/endpoint_pool.h>
#include <conpool/pool/detail/pool_core.h>

namespace conpool {

connection::connection(endpoint_pool& owner, shard& home, int fd, std::uint64_t id)
    : stream(home, fd, &owner.peer().text(), &owner.core().timeouts(), &connection::arrived_unread,
             &connection::fully_closed),
      owner_(&owner),
      id_(id) {}

managed_connection::managed_connection(endpoint_pool& owner, shard& home, int fd, std::uint64_t id)
    : connection(owner, home, fd, id) {
  managed_ = true;
}

const endpoint& connection::peer() const noexcept {
  return owner_->peer();
}

void connection::arrived_unread(stream& source) noexcept {
  auto& self = static_cast<connection&>(source);
  self.owner_->something_arrived(self);
}

void connection::fully_closed(stream& source) noexcept {
  auto& self = static_cast<connection&>(source);
  self.owner_->connection_closed(self);
}

void connection::set_lease_limit(std::uint32_t most) noexcept {
  CONPOOL_ASSERT(managed_, "only a protocol's connection can be shared");
  if (!managed_) return;
  auto& self = static_cast<managed_connection&>(*this);
  if (!self.shared_) return;
  self.lease_limit_ = std::max(1U, most);
  self.owner_->expect_leases(self.lease_limit_);
  self.owner_->lease_limit_changed(self);
}

void connection::retire() noexcept {
  owner_->retire(*this, close_reason::retired);
}

std::uint32_t connection::leases() const noexcept {
  if (managed_ && static_cast<const managed_connection*>(this)->shared_) {
    return static_cast<const managed_connection*>(this)->leases_;
  }
  return state_ == state_kind::leased ? 1 : 0;
}

}  // namespace conpool
