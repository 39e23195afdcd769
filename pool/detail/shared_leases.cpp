#include <conpool/pool/detail/shared_leases.h>

#include <conpool/pool/detail/return_verdict.h>

namespace conpool {

bool shared_leases::has_room(const managed_connection& one) noexcept {
  return !one.retiring && one.lease_count < one.lease_limit && !return_verdict::is_broken(one);
}

managed_connection* shared_leases::least_loaded() noexcept {
  managed_connection* least = nullptr;
  for (pooled_connection& candidate : open_) {
    if (return_verdict::is_broken(candidate)) continue;
    if (least == nullptr || as_managed(candidate).lease_count < least->lease_count) {
      least = &as_managed(candidate);
    }
  }
  return least;
}

void shared_leases::add_lease(managed_connection& one) noexcept {
  one.stage = connection_stage::leased;
  ++one.lease_count;
  ++facts_->counts.leases;
}

void shared_leases::drop_lease(managed_connection& one) noexcept {
  CONPOOL_ASSERT(one.lease_count > 0, "more leases came back than were lent");
  --one.lease_count;
  --facts_->counts.leases;
}

bool shared_leases::list_if_open(managed_connection& one) noexcept {
  if (one.stage != connection_stage::leased) return false;
  const bool belongs = one.lease_count > 0 && has_room(one);
  if (belongs && !one.idle_hook::is_linked()) {
    open_.push_back(one);
  } else if (!belongs) {
    unlist(one);
  }
  return belongs;
}

}  // namespace conpool
