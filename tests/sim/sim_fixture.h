// A world of its own for each test: a shard on a simulated network, in virtual time.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <utility>

#include <tests/sim/world.h>

namespace conpool::sim {

class sim_fixture : public ::testing::Test {
 protected:
  static constexpr std::uint64_t seed = 20'261'124;

  void TearDown() override {
    if (world_) world_->end();
  }

  // Made at first use, so that a test may choose its options with make().
  world& here() {
    if (!world_) world_ = std::make_unique<world>(seed);
    return *world_;
  }
  world& make(const shard_options& options) {
    world_ = std::make_unique<world>(seed, options);
    return *world_;
  }
  network& net() { return here().net(); }
  shard& home() { return here().home(); }

  bool run(std::function<task<void>()> body) { return here().run(std::move(body)); }
  template <typename Done>
  bool until(Done done, duration most = std::chrono::minutes(10)) {
    return here().until(std::move(done), most);
  }
  void settle() { here().settle(); }
  void pass(duration time) { here().pass(time); }

 private:
  std::unique_ptr<world> world_;
};

}  // namespace conpool::sim
