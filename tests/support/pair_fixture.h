// A stream of the library's and the bare socket of its peer, over loopback.
//
//   class streams : public pair_fixture { ... };       // near() reads what send_all(far(), ...)
//   says
#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include <sys/socket.h>

#include <conpool/runtime/socket.h>

#include <tests/support/raw_sockets.h>
#include <tests/support/shard_fixture.h>

namespace conpool::test {

class pair_fixture : public shard_fixture {
 protected:
  void SetUp() override {
    shard_fixture::SetUp();
    connect();
  }
  void TearDown() override {
    near_.reset();
    far_.reset();
    shard_fixture::TearDown();
  }

  // Another pair; with a small buffer, large writes leave in many pieces.
  virtual void connect(bool small_buffer = false) {
    socket_pair pair = tcp_pair();
    if (small_buffer) make_small(pair.near, SO_SNDBUF);
    far_ = std::move(pair.far);
    near_.emplace(adopt(pair.near));
  }
  static void make_small(const unique_fd& end, int which) {
    const int bytes = 4096;
    ::setsockopt(end.get(), SOL_SOCKET, which, &bytes, sizeof bytes);
  }
  // A pair on another shard, whose posted receives have these buffers.
  void connect_on(const shard_options& options) {
    near_.reset();
    settle();
    create(options);
    connect();
  }

  socket& near() { return *near_; }
  unique_fd& far() { return far_; }

  // Text that repeats nowhere soon: a piece in the wrong place is noticed.
  static std::string pattern(std::size_t bytes) {
    std::string text(bytes, '\0');
    std::uint32_t state = 1;
    for (char& each : text) {
      state = state * 1664525U + 1013904223U;
      each = static_cast<char>(state >> 24);
    }
    return text;
  }

 private:
  std::optional<socket> near_;
  unique_fd far_;
};

}  // namespace conpool::test
