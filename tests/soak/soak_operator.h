// The servers of conpool-soak-servers, and what happens to them: they stand still for less than a
// second, are killed and started again, or are down for up to two seconds.
//
// Used on one thread, which must live as long as the servers.
#pragma once

#include <array>
#include <memory>

#include <conpool/runtime/detail/random.h>

#include <tests/soak/soak_board.h>
#include <tests/support/postgres_server.h>
#include <tests/support/redis_server.h>
#include <tests/support/server_process.h>

namespace conpool::test {

class soak_operator {
 public:
  soak_operator(soak_board& on, std::uint64_t seed);

  // Does something to a server that has been well for long enough; nothing if there is none.
  void disturb();
  std::uint64_t disturbances() const noexcept { return count_; }

 private:
  void start_nginx();
  void pause(std::size_t which, duration time);
  void kill_and_restart(std::size_t which, duration down);
  void ready(std::size_t which);

  soak_board* board_;
  random_source dice_;
  const temporary_folder files_;
  std::unique_ptr<server_process> nginx_;
  redis_server redis_;
  postgres_server postgres_;
  std::uint64_t count_ = 0;
};

}  // namespace conpool::test
