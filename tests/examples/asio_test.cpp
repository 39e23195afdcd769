// The example of Boost.Asio, against an echo server on this thread.
#include <gtest/gtest.h>

#include <array>
#include <string>

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <tests/examples/program.h>
#include <tests/support/raw_sockets.h>

namespace conpool::test {
namespace {

TEST(asio_example, prints_what_comes_back_over_one_connection) {
  unique_fd door(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  auto* const plain = reinterpret_cast<sockaddr*>(&address);
  ASSERT_EQ(::bind(door.get(), plain, length), 0);
  ASSERT_EQ(::listen(door.get(), 1), 0);
  ::getsockname(door.get(), plain, &length);
  const timeval patience{20, 0};  // a client that never comes fails the test
  ::setsockopt(door.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);

  program client("asio",
                 {"tcp://127.0.0.1:" + std::to_string(ntohs(address.sin_port)), "hello", "world"});
  const unique_fd peer(::accept(door.get(), nullptr, nullptr));
  ASSERT_GE(peer.get(), 0) << "nobody came";
  std::array<char, 64> chunk;
  for (;;) {
    const ssize_t count = ::recv(peer.get(), chunk.data(), chunk.size(), 0);
    if (count <= 0) break;
    EXPECT_EQ(::send(peer.get(), chunk.data(), static_cast<std::size_t>(count), MSG_NOSIGNAL),
              count);
  }
  EXPECT_EQ(client.finish(), 0) << client.printed();
  EXPECT_EQ(client.printed(), "hello\nworld\n");
}

TEST(asio_example, says_what_is_wrong) {
  program client("asio", {"nonsense://", "hello"});
  EXPECT_EQ(client.finish(), 1);
  EXPECT_TRUE(client.prints("nonsense")) << client.printed();
}

}  // namespace
}  // namespace conpool::test
