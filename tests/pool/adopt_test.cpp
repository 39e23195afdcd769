// adopt() takes sockets that the program connected by itself.
#include <gtest/gtest.h>

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <utility>

#include <conpool/conpool.h>

#include <tests/support/pool_fixture.h>

namespace conpool::test {
namespace {

using namespace std::chrono_literals;

class adopt : public pool_fixture {
 protected:
  int connected_socket() {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const socket_address at =
        socket_address::ip(server().at().host(), server().at().port()).value();
    EXPECT_EQ(::connect(fd, at.data(), at.size()), 0);
    return fd;
  }
  // Why an adoption fails. The descriptor must still be the caller's.
  errc refused_to_adopt(int fd) {
    const result<void> done = backends().adopt(server().at(), fd);
    EXPECT_FALSE(done);
    EXPECT_GE(::fcntl(fd, F_GETFD), 0) << "it closed what is not its own";
    return done ? errc{} : done.error().kind();
  }
};

TEST_F(adopt, an_adopted_socket_is_an_idle_connection_like_any_other) {
  const int fd = connected_socket();
  ASSERT_EQ(::fcntl(fd, F_SETFL, O_NONBLOCK), 0);  // as other libraries have them
  ASSERT_TRUE(backends().adopt(server().at(), fd));
  EXPECT_EQ(totals().idle, 1U);
  EXPECT_EQ(totals().created, 1U);
  lease held = hold();
  EXPECT_EQ(held->fd(), fd);
  EXPECT_TRUE(held.reused()) << "it has had another owner";
  EXPECT_TRUE(works(held));
  held.release();
  EXPECT_EQ(totals().idle, 1U);
  // It is watched.
  server().close_all();
  ASSERT_TRUE(until([&] { return totals().idle == 0; }));
  EXPECT_EQ(closed(close_reason::peer_closed), 1U);
}

TEST_F(adopt, it_goes_to_the_first_who_waits) {
  pool_config config;
  config.max_connecting_per_endpoint = 1;
  configure(config);
  backends().pause();
  caller& waiting = call();
  settle();
  ASSERT_TRUE(backends().adopt(server().at(), connected_socket()));
  EXPECT_EQ(totals().idle, 1U) << "not in a pause";
  backends().resume();
  ASSERT_TRUE(until([&] { return waiting.served(); }));
  EXPECT_EQ(totals().created, 1U);
}

TEST_F(adopt, what_is_no_connected_socket_is_refused) {
  const int file = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  EXPECT_EQ(refused_to_adopt(file), errc::invalid_argument);
  ::close(file);
  const int loose = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  EXPECT_EQ(refused_to_adopt(loose), errc::invalid_argument);
  ::close(loose);
  const result<void> none = backends().adopt(server().at(), -1);
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error(), errc::invalid_argument);
  EXPECT_EQ(totals().created, 0U);
}

TEST_F(adopt, the_limits_hold_for_it) {
  const int fd = connected_socket();
  pool_config config;
  config.max_connections_per_endpoint = 1;
  configure(config);
  lease held = hold();
  EXPECT_EQ(refused_to_adopt(fd), errc::queue_full);
  held.release();
  EXPECT_EQ(refused_to_adopt(fd), errc::queue_full);

  config.max_connections_per_endpoint = 4;
  config.max_idle_per_endpoint = 1;
  ASSERT_TRUE(backends().reconfigure(config));
  EXPECT_EQ(refused_to_adopt(fd), errc::queue_full) << "one is idle already";
  config.max_idle_per_endpoint = 0;
  config.max_connections = 1;
  ASSERT_TRUE(backends().reconfigure(config));
  EXPECT_EQ(refused_to_adopt(fd), errc::queue_full) << "the pool is full";
  config.max_connections = 2;
  ASSERT_TRUE(backends().reconfigure(config));
  ASSERT_TRUE(backends().adopt(server().at(), fd));
  EXPECT_EQ(totals().idle, 2U);
}

TEST_F(adopt, a_closed_pool_takes_nothing) {
  const int fd = connected_socket();
  ASSERT_TRUE(run([this]() -> task<void> {
    auto closed = co_await backends().close();
    EXPECT_TRUE(closed);
  }));
  EXPECT_EQ(refused_to_adopt(fd), errc::pool_closed);
  ::close(fd);
}

TEST_F(adopt, one_that_its_peer_has_ended_already_is_refused) {
  const int fd = connected_socket();
  ASSERT_TRUE(until([&] { return server().open() == 1; }));
  server().close_all();
  const auto has_ended = [fd] {
    char one = 0;
    return ::recv(fd, &one, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
  };
  ASSERT_TRUE(until(has_ended));
  EXPECT_EQ(refused_to_adopt(fd), errc::connection_closed);
  ::close(fd);
  EXPECT_TRUE(add_up(totals()));
  EXPECT_EQ(totals().created, 0U);
}

// An adopted connection may be shared by as many callers as a dialed one.
struct shares_three {
  struct state {};
  access access_mode(const connection&, const state&) { return access::shared(3); }
};

TEST_F(adopt, a_protocol_is_asked_how_it_may_be_shared) {
  auto made = pool::create(home(), {}, shares_three{});
  ASSERT_TRUE(made);
  pool shared = std::move(*made);
  ASSERT_TRUE(shared.adopt(server().at(), connected_socket()));
  ASSERT_TRUE(run([&]() -> task<void> {
    auto first = co_await shared.acquire(server().at());
    CO_ASSERT_OK(first);
    auto second = co_await shared.acquire(server().at());
    CO_ASSERT_OK(second);
    EXPECT_EQ((*first)->id(), (*second)->id());
    EXPECT_EQ(shared.totals().leases, 2U);
  }));
  EXPECT_EQ(shared.totals().leases, 0U);
  EXPECT_EQ(shared.totals().idle, 1U);
  EXPECT_TRUE(add_up(shared.totals()));
}

}  // namespace
}  // namespace conpool::test
