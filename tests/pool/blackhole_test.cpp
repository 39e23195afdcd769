// A peer that vanishes without a word: no FIN, no RST, no ICMP, only silence.
//
// The network is real and the test's own: a namespace in which the server's address is local until
// the test makes it a neighbour that drops every packet. Needs root and iproute2.
#include <gtest/gtest.h>

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string>
#include <utility>

#include <conpool/conpool.h>

#include <tests/support/expect.h>
#include <tests/support/pool_fixture.h>

namespace conpool::test {
namespace {

using namespace std::chrono_literals;

int option_of(int fd, int level, int name) {
  int value = -1;
  socklen_t length = sizeof value;
  EXPECT_EQ(::getsockopt(fd, level, name, &value, &length), 0);
  return value;
}

void expect_defaults(int fd) {
  EXPECT_EQ(option_of(fd, SOL_SOCKET, SO_KEEPALIVE), 1);
  EXPECT_EQ(option_of(fd, IPPROTO_TCP, TCP_KEEPIDLE), 30);
  EXPECT_EQ(option_of(fd, IPPROTO_TCP, TCP_KEEPINTVL), 5);
  EXPECT_EQ(option_of(fd, IPPROTO_TCP, TCP_KEEPCNT), 3);
  EXPECT_EQ(option_of(fd, IPPROTO_TCP, TCP_USER_TIMEOUT), 30'000);
}

using keepalive = pool_fixture;

TEST_F(keepalive, T68_the_defaults_are_set_on_every_socket) {
  lease dialed = hold();
  expect_defaults(dialed->fd());

  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const socket_address at = socket_address::ip(server().at().host(), server().at().port()).value();
  ASSERT_EQ(::connect(fd, at.data(), at.size()), 0);
  const result<void> adopted = backends().adopt(server().at(), fd);
  ASSERT_OK(adopted);
  expect_defaults(fd);
}

TEST_F(keepalive, T68_what_is_configured_holds_for_new_connections) {
  pool_config config;
  config.tcp_keepalive = false;
  config.tcp_user_timeout = 1234ms;
  ASSERT_TRUE(backends().reconfigure(config));
  lease held = hold();
  EXPECT_EQ(option_of(held->fd(), SOL_SOCKET, SO_KEEPALIVE), 0);
  EXPECT_EQ(option_of(held->fd(), IPPROTO_TCP, TCP_USER_TIMEOUT), 1234);
}

class blackhole : public pool_fixture {
 protected:
  static constexpr const char* peer = "10.99.0.2";

  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "a network namespace needs root";
    outside_ = ::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    ASSERT_GE(outside_, 0);
    if (::unshare(CLONE_NEWNET) != 0) {
      // Root without CAP_SYS_ADMIN, as in a container, is not the root that this needs.
      const int why = errno;
      ::close(std::exchange(outside_, -1));
      if (why == EPERM) GTEST_SKIP() << "a network namespace needs CAP_SYS_ADMIN";
      FAIL() << "unshare: " << std::strerror(why);
    }
    inside_ = true;
    // The server's address is local but is not assigned to an interface, so a client comes from
    // the other one, and keeps it when the route is gone.
    ASSERT_TRUE(ip("link set lo up"));
    ASSERT_TRUE(ip("link add here type veth peer name there"));
    ASSERT_TRUE(ip("address add 10.99.0.1/24 dev here"));
    ASSERT_TRUE(ip("link set here up"));
    ASSERT_TRUE(ip("link set there up"));
    ASSERT_TRUE(ip("neighbour add 10.99.0.2 lladdr 02:00:00:00:00:01 dev here nud permanent"));
    ASSERT_TRUE(ip("route add local 10.99.0.2 dev lo src 10.99.0.1"));
    pool_fixture::SetUp();
  }
  void TearDown() override {
    if (inside_) {
      pool_fixture::TearDown();
      EXPECT_EQ(::setns(outside_, CLONE_NEWNET), 0);  // the namespace goes with its last socket
    }
    if (outside_ >= 0) ::close(outside_);
  }

  // From here on packets to the peer go to a neighbour that is nobody.
  void vanish() { ASSERT_TRUE(ip("route del local 10.99.0.2 dev lo src 10.99.0.1")); }

 private:
  static bool ip(const std::string& what) {
    return std::system(("ip " + what).c_str()) == 0;  // NOLINT(cert-env33-c): a test's own words
  }
  int outside_ = -1;
  bool inside_ = false;
};

// The one test that really waits, some seconds: the timers are the kernel's, and it has no clock
// that could be set. The configured times are the shortest that the kernel takes.
TEST_F(blackhole, T68_a_peer_that_vanishes_is_noticed_by_lent_and_idle_connections) {
  pool_config config;
  config.keepalive_idle = 1s;
  config.keepalive_interval = 1s;
  config.keepalive_probes = 1;
  config.tcp_user_timeout = 1s;
  configure(config);
  const endpoint to = endpoint::parse(std::string("tcp://") + peer + ":4711").value();
  echo_server& far = add_server(to);
  lease writes = hold(to);
  lease rests = hold(to);
  ASSERT_TRUE(works(writes));
  ASSERT_TRUE(works(rests));
  rests.release();
  ASSERT_TRUE(until([&] { return far.open() == 2 && totals().idle == 1; }));

  vanish();
  std::optional<error> mid_lease;
  bool ended = false;
  start(
      [&]() -> task<void> {
        auto talk = exchange(*writes, "is anybody there?");
        auto got = co_await talk;
        if (!got) mid_lease = got.error();
      },
      ended);
  ASSERT_TRUE(until([&] { return ended; })) << "the request waits for retransmissions";
  ASSERT_TRUE(mid_lease);
  EXPECT_EQ(*mid_lease, errc::connection_reset) << mid_lease->message();
  EXPECT_EQ(mid_lease->system_errno(), ETIMEDOUT);
  EXPECT_EQ(writes->bytes_received(), 5U) << "the answer of before, and nothing since";
  ASSERT_TRUE(until([&] { return totals().idle == 0; })) << "the idle one looks alive";
  EXPECT_EQ(far.open(), 2U) << "the peer said nothing";
  writes.release();
  ASSERT_TRUE(nothing_closing());
  EXPECT_EQ(totals().closed(), 2U);
  EXPECT_EQ(totals().acquire_timeouts, 0U);
}

}  // namespace
}  // namespace conpool::test
