#include <conpool/pool/connection.h>

#include <conpool/pool/detail/endpoint_pool.h>
#include <conpool/pool/detail/pooled_connection.h>

namespace conpool {
namespace {

pooled_connection& pooled(connection& one) noexcept {
  return static_cast<pooled_connection&>(one);
}
const pooled_connection& pooled(const connection& one) noexcept {
  return static_cast<const pooled_connection&>(one);
}

void arrived_unread(stream& source) noexcept {
  auto& self = static_cast<pooled_connection&>(source);
  self.owner->something_arrived(self);
}

void fully_closed(stream& source) noexcept {
  auto& self = static_cast<pooled_connection&>(source);
  self.owner->retirements().stream_closed(self);
}

}  // namespace

pooled_connection::pooled_connection(endpoint_facts& of, int fd)
    : pooled_connection(of, fd, false) {}

pooled_connection::pooled_connection(endpoint_facts& of, int fd, bool is_managed)
    : connection(*of.home, fd, &of.peer.text(), &of.timeouts, &arrived_unread, &fully_closed),
      owner(of.whole),
      serial(of.pool->next_serial()),
      managed(is_managed) {}

const endpoint& connection::peer() const noexcept {
  return pooled(*this).owner->facts().peer;
}

std::uint64_t connection::id() const noexcept {
  return pooled(*this).serial;
}

std::uint64_t connection::uses() const noexcept {
  return pooled(*this).times_lent;
}

time_point connection::created_at() const noexcept {
  return pooled(*this).stood_at;
}

void connection::set_lease_limit(std::uint32_t most) noexcept {
  CONPOOL_ASSERT(pooled(*this).managed, "only a protocol's connection can be shared");
  if (!is_shared(pooled(*this))) return;
  pooled(*this).owner->lease_limit_changed(as_managed(pooled(*this)), most);
}

bool connection::speaks(const std::type_info* type) const noexcept {
  const protocol_hooks* const hooks = pooled(*this).owner->facts().hooks();
  return hooks != nullptr && hooks->is_of(type);
}

void connection::retire() noexcept {
  pooled(*this).owner->retirements().retire(pooled(*this), close_reason::retired);
}

std::uint32_t connection::leases() const noexcept {
  const pooled_connection& self = pooled(*this);
  if (is_shared(self)) return as_managed(self).lease_count;
  return self.stage == connection_stage::leased ? 1 : 0;
}

}  // namespace conpool
