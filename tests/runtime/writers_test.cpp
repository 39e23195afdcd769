// Writers whose peers are slow: no thread of the kernel's sits in their sends, and all arrives.
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include <conpool/runtime/scope.h>
#include <conpool/runtime/socket.h>

#include <tests/support/raw_sockets.h>
#include <tests/support/shard_fixture.h>

namespace conpool::test {
namespace {

using writers = shard_fixture;

// How many threads io_uring has made for this process.
std::size_t kernel_workers() {
  std::size_t count = 0;
  for (const auto& one : std::filesystem::directory_iterator("/proc/self/task")) {
    std::ifstream file(one.path() / "comm");
    std::string name;
    std::getline(file, name);
    if (name.starts_with("iou-wrk-")) ++count;
  }
  return count;
}

task<void> write_all(socket to, const std::string& what) {
  auto sent = co_await to->write(what);
  EXPECT_OK(sent);
}

TEST_F(writers, large_writes_to_slow_peers_occupy_no_thread_of_the_kernel_s) {
  constexpr std::size_t count = 100;
  constexpr int buffer_bytes = 16 * 1024;
  std::string what(std::size_t{8} << 20, 'x');
  for (std::size_t at = 0; at < what.size(); ++at) what[at] = static_cast<char>(at * 31 >> 5);
  std::vector<unique_fd> peers;
  scope running(home());
  for (std::size_t i = 0; i < count; ++i) {
    socket_pair pair = tcp_pair();
    ::setsockopt(pair.near.get(), SOL_SOCKET, SO_SNDBUF, &buffer_bytes, sizeof buffer_bytes);
    ::setsockopt(pair.far.get(), SOL_SOCKET, SO_RCVBUF, &buffer_bytes, sizeof buffer_bytes);
    peers.push_back(std::move(pair.far));
    running.spawn(write_all, adopt(pair.near), std::cref(what));
  }
  std::vector<std::size_t> got(count, 0);
  std::size_t most_workers = 0;
  std::size_t wrong = 0;
  std::vector<char> memory(buffer_bytes);
  unsigned rounds = 0;
  const bool over = run_until(
      home(), [&] { return running.running() == 0; },
      [&] {
        for (std::size_t i = 0; i < count; ++i) {
          const ssize_t read = ::recv(peers[i].get(), memory.data(), memory.size(), MSG_DONTWAIT);
          if (read <= 0) continue;
          const auto bytes = static_cast<std::size_t>(read);
          if (std::string_view(what).substr(got[i], bytes) !=
              std::string_view(memory.data(), bytes)) {
            ++wrong;
          }
          got[i] += bytes;
        }
        if (rounds++ % 16 == 0) most_workers = std::max(most_workers, kernel_workers());
      });
  EXPECT_TRUE(over);
  EXPECT_EQ(wrong, 0U);
  EXPECT_EQ(most_workers, 0U);
}

}  // namespace
}  // namespace conpool::test
