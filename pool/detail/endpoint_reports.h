// What the parts of an endpoint's pool report to the whole.
//
// The parts are used from above; this is the only way up. Implemented by endpoint_pool.
#pragma once

#include <cstdint>

namespace conpool {

class managed_connection;
class pooled_connection;

enum class protocol_task : std::uint8_t;
enum class task_end : std::uint8_t { well, refused, failed };

class endpoint_reports {
 public:
  endpoint_reports() noexcept = default;
  endpoint_reports(const endpoint_reports&) = delete;
  endpoint_reports& operator=(const endpoint_reports&) = delete;

  // From the ready queue: it is time to serve waiters and begin connects.
  virtual void demand_due() noexcept = 0;
  // The task is over; the connection is still held by the pool, or closing after a farewell.
  virtual void task_over(pooled_connection& one, protocol_task what, task_end how) noexcept = 0;
  // The protocol's run() on it has ended.
  virtual void run_over(managed_connection& one) noexcept = 0;

 protected:
  ~endpoint_reports() = default;
};

}  // namespace conpool
