// Connecting and accepting: TCP and Unix sockets, refusals, black holes, no descriptors.
#include <gtest/gtest.h>
#include <netinet/tcp.h>
#include <sys/resource.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <conpool/runtime/deadline.h>
#include <conpool/runtime/listener.h>
#include <conpool/runtime/scope.h>
#include <conpool/runtime/socket.h>

#include <tests/support/expect.h>
#include <tests/support/raw_sockets.h>
#include <tests/support/shard_fixture.h>

namespace conpool::test {
namespace {

using namespace std::chrono_literals;

// While it lives, no descriptor can be opened.
class no_descriptors {
 public:
  no_descriptors() {
    ::getrlimit(RLIMIT_NOFILE, &before_);
    rlimit none = before_;
    none.rlim_cur = 3;
    ::setrlimit(RLIMIT_NOFILE, &none);
  }
  ~no_descriptors() { ::setrlimit(RLIMIT_NOFILE, &before_); }
  no_descriptors(const no_descriptors&) = delete;
  no_descriptors& operator=(const no_descriptors&) = delete;

 private:
  rlimit before_{};
};

class connects : public shard_fixture {
 protected:
  using outcome = std::shared_ptr<std::optional<result<socket>>>;

  outcome start_connect(const socket_address& to, duration timeout = 3s) {
    return start_on(home(), connect_socket(home(), to, {}, timeout));
  }
  static socket_address loopback(std::uint16_t port = 0) {
    return socket_address::ip("127.0.0.1", port).value();
  }
  static socket_address address_of(const raw_listener& door) {
    return loopback(ntohs(door.address.sin_port));
  }
  static task<result<socket>> accept_one(listener& door) {
    auto peer = co_await door.accept();
    co_return std::move(peer);
  }
  // Connects to a listener of its own at `at` and sends a word.
  void meet(const socket_address& at, const std::string& shown);

  // A listener whose queue is full: what connects to it waits.
  struct black_hole {
    raw_listener door;
    unique_fd filler;
    socket_address address;
  };
  static black_hole make_black_hole() {
    black_hole made{listen_on_loopback(0), unique_fd(), {}};
    made.filler.reset(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    made.address = address_of(made.door);
    EXPECT_EQ(::connect(made.filler.get(), made.address.data(), made.address.size()), 0);
    return made;
  }
};

void connects::meet(const socket_address& at, const std::string& shown) {
  auto door = listener::open(home(), at);
  ASSERT_OK(door);
  if (!shown.empty()) {
    EXPECT_EQ(door->address().to_string(), shown);
  }
  const auto accepted = start_on(home(), accept_one(*door));
  const outcome connected = start_connect(door->address());
  ASSERT_TRUE(until([&] { return accepted->has_value() && connected->has_value(); }));
  ASSERT_TRUE(connected->value()) << connected->value().error().message();
  ASSERT_TRUE(accepted->value()) << accepted->value().error().message();
  socket near = std::move(**connected).value();
  socket far = std::move(**accepted).value();
  ASSERT_TRUE(run([&]() -> task<void> {
    auto sent = co_await near->write("word");
    CO_ASSERT_OK(sent);
    std::array<char, 4> memory;
    auto got = co_await far->read_exactly(std::span<char>(memory));
    CO_ASSERT_OK(got);
    EXPECT_EQ(std::string_view(memory.data(), 4), "word");
  }));
}

TEST_F(connects, a_connection_is_made_over_ipv4) {
  meet(loopback(), "");
}

TEST_F(connects, a_connection_is_made_over_ipv6) {
  const unique_fd probe(::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const auto at = socket_address::ip("::1", 0).value();
  if (probe.get() < 0 || ::bind(probe.get(), at.data(), at.size()) != 0) {
    GTEST_SKIP() << "no IPv6 here";
  }
  meet(at, "");
}

TEST_F(connects, a_connection_is_made_over_a_unix_path) {
  const std::string path = "/tmp/conpool-test-" + std::to_string(::getpid()) + ".sock";
  ::unlink(path.c_str());
  meet(socket_address::unix_path(path).value(), "unix:" + path);
  ::unlink(path.c_str());
}

TEST_F(connects, a_connection_is_made_over_an_abstract_unix_name) {
  const std::string name = "@conpool-test-" + std::to_string(::getpid());
  meet(socket_address::unix_path(name).value(), "unix:" + name);
}

TEST_F(connects, a_refused_connection_says_so_and_closes_its_descriptor) {
  socket_address nobody;
  {
    const raw_listener gone = listen_on_loopback(1);
    nobody = address_of(gone);
  }
  const std::size_t before = open_descriptors();
  const outcome connected = start_connect(nobody);
  ASSERT_TRUE(until([&] { return connected->has_value(); }));
  const error& why = connected->value().error();
  EXPECT_EQ(why, errc::connect_failed);
  EXPECT_EQ(why.system_errno(), ECONNREFUSED);
  EXPECT_EQ(why.where(), phase::connect);
  EXPECT_EQ(why.subject(), nobody.to_string());
  settle();
  EXPECT_EQ(open_descriptors(), before);
}

TEST_F(connects, a_unix_path_without_a_listener_is_a_failed_connect) {
  const auto nobody = socket_address::unix_path("@conpool-test-nobody").value();
  const outcome connected = start_connect(nobody);
  ASSERT_TRUE(until([&] { return connected->has_value(); }));
  EXPECT_EQ(connected->value().error(), errc::connect_failed);
  EXPECT_EQ(connected->value().error().system_errno(), ECONNREFUSED);
}

TEST_F(connects, without_an_answer_it_ends_with_connect_timeout_and_closes_its_descriptor) {
  const black_hole hole = make_black_hole();
  const std::size_t before = open_descriptors();
  const outcome connected = start_connect(hole.address, 500ms);
  settle();
  pass(499ms);
  EXPECT_FALSE(connected->has_value());
  EXPECT_EQ(open_descriptors(), before + 1);
  clock().advance(1ms);
  ASSERT_TRUE(until([&] { return connected->has_value(); }));
  EXPECT_EQ(connected->value().error(), errc::connect_timeout);
  EXPECT_EQ(connected->value().error().subject(), hole.address.to_string());
  settle();
  EXPECT_EQ(open_descriptors(), before);
}

TEST_F(connects, to_a_full_unix_listener_it_ends_with_connect_timeout_too) {
  const auto name = socket_address::unix_path("@conpool-full-" + std::to_string(::getpid()));
  const unique_fd door(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(::bind(door.get(), name->data(), name->size()), 0);
  ASSERT_EQ(::listen(door.get(), 0), 0);
  const unique_fd filler(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(::connect(filler.get(), name->data(), name->size()), 0);
  const outcome connected = start_connect(*name, 500ms);
  settle();
  EXPECT_FALSE(connected->has_value());
  clock().advance(500ms);
  ASSERT_TRUE(until([&] { return connected->has_value(); }));
  EXPECT_EQ(connected->value().error(), errc::connect_timeout)
      << connected->value().error().message();
}

TEST_F(connects, cancelling_it_closes_its_descriptor) {
  const black_hole hole = make_black_hole();
  const std::size_t before = open_descriptors();
  std::optional<errc> how;
  scope dialers(home());
  dialers.spawn([&]() -> task<void> {
    const socket_options defaults;
    auto made = co_await connect_socket(home(), hole.address, defaults, 3s);
    how = made ? errc{} : made.error().kind();
  });
  settle();
  dialers.cancel();
  ASSERT_TRUE(until([&] { return dialers.running() == 0; }));
  EXPECT_EQ(*how, errc::cancelled);
  settle();
  EXPECT_EQ(open_descriptors(), before);
}

TEST_F(connects, in_a_cancelled_scope_it_does_not_connect) {
  const raw_listener door = listen_on_loopback(8);
  std::optional<errc> how;
  scope dialers(home());
  dialers.cancel();
  dialers.spawn([&]() -> task<void> {
    const socket_options defaults;
    auto made = co_await connect_socket(home(), address_of(door), defaults, 3s);
    how = made ? errc{} : made.error().kind();
  });
  ASSERT_TRUE(until([&] { return dialers.running() == 0; }));
  EXPECT_EQ(*how, errc::cancelled);
}

TEST_F(connects, closing_the_socket_while_it_connects_ends_it) {
  const black_hole hole = make_black_hole();
  socket made(home(), home().ring().open_socket(AF_INET), "dialing");
  std::optional<errc> how;
  home().spawn([&]() -> task<void> {
    const time_point deadline = home().now() + 1h;
    auto done = co_await made->connect(hole.address.data(), hole.address.size(), deadline);
    how = done ? errc{} : done.error().kind();
  });
  settle();
  EXPECT_FALSE(how);
  made.close();
  ASSERT_TRUE(until([&] { return how.has_value(); }));
  EXPECT_EQ(*how, errc::connection_closed);
}

TEST_F(connects, a_connection_made_together_with_the_deadline_is_kept) {
  const raw_listener door = listen_on_loopback(8);
  const outcome connected = start_connect(address_of(door), 500ms);
  home().run_once(0ms);  // submitted, and on loopback answered at once
  clock().advance(1h);
  ASSERT_TRUE(until([&] { return connected->has_value(); }));
  EXPECT_TRUE(connected->value());
}

TEST_F(connects, without_free_descriptors_it_says_too_many_files) {
  const raw_listener door = listen_on_loopback(8);
  outcome connected;
  {
    const no_descriptors limited;
    connected = start_connect(address_of(door));
    EXPECT_TRUE(until([&] { return connected->has_value(); }));
  }
  const error& why = connected->value().error();
  EXPECT_EQ(why, errc::too_many_files);
  EXPECT_EQ(why.system_errno(), EMFILE);
  EXPECT_NE(why.detail().find(" open files and may raise that to "), std::string::npos)
      << why.message();
  EXPECT_NE(why.detail().find("ulimit -n"), std::string::npos) << why.message();
}

TEST_F(connects, without_free_descriptors_an_accept_waits_for_one) {
  auto door = listener::open(home(), loopback());
  ASSERT_TRUE(door);
  const unique_fd client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(::connect(client.get(), door->address().data(), door->address().size()), 0);
  std::shared_ptr<std::optional<result<socket>>> accepted;
  {
    const no_descriptors limited;
    accepted = start_on(home(), accept_one(*door));
    // It tries again after 10 ms, 20 ms and so on, and not more than five times a second.
    for (unsigned step = 0; step < 100; ++step) pass(100ms);
    EXPECT_FALSE(accepted->has_value());
    EXPECT_GE(door->shortages(), 10U);
    EXPECT_LE(door->shortages(), 10'000U / 200 + 6);
  }
  pass(200ms);
  ASSERT_TRUE(until([&] { return accepted->has_value(); }));
  EXPECT_TRUE(accepted->value());
}

TEST_F(connects, without_free_descriptors_and_without_a_client_an_accept_does_not_spin) {
  auto door = listener::open(home(), loopback());
  ASSERT_TRUE(door);
  scope servers(home());
  {
    const no_descriptors limited;
    servers.spawn([&]() -> task<void> { [[maybe_unused]] auto peer = co_await door->accept(); });
    for (unsigned turns = 0; turns < 100; ++turns) home().run_once(0ms);
    EXPECT_EQ(servers.running(), 1U);
    EXPECT_EQ(door->shortages(), 1U);
  }
  servers.cancel();
  EXPECT_TRUE(until([&] { return servers.running() == 0; }));
}

TEST_F(connects, cancelling_an_accept_that_waits_for_a_descriptor_ends_it_at_once) {
  auto door = listener::open(home(), loopback());
  ASSERT_TRUE(door);
  std::optional<errc> how;
  scope servers(home());
  {
    const no_descriptors limited;
    servers.spawn([&]() -> task<void> {
      auto peer = co_await door->accept();
      how = peer ? errc{} : peer.error().kind();
    });
    EXPECT_TRUE(until([&] { return door->shortages() > 0; }));
    servers.cancel();
    EXPECT_TRUE(until([&] { return servers.running() == 0; }));
  }
  EXPECT_EQ(how, errc::cancelled);
}

TEST_F(connects, listening_where_somebody_listens_fails_with_the_address) {
  const raw_listener door = listen_on_loopback(8);
  auto second = listener::open(home(), address_of(door));
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error(), errc::io_failed);
  EXPECT_EQ(second.error().system_errno(), EADDRINUSE);
  EXPECT_EQ(second.error().subject(), address_of(door).to_string());
  const no_descriptors limited;
  auto third = listener::open(home(), loopback());
  ASSERT_FALSE(third);
  EXPECT_EQ(third.error(), errc::too_many_files);
}

TEST_F(connects, cancelling_an_accept_ends_it_and_a_later_one_gets_the_connection) {
  auto door = listener::open(home(), loopback());
  ASSERT_TRUE(door);
  std::optional<errc> how;
  scope servers(home());
  servers.spawn([&]() -> task<void> {
    auto peer = co_await door->accept();
    how = peer ? errc{} : peer.error().kind();
    auto again = co_await door->accept();  // cancelled already: does not wait
    EXPECT_FALSE(again);
  });
  settle();
  servers.cancel();
  ASSERT_TRUE(until([&] { return servers.running() == 0; }));
  EXPECT_EQ(*how, errc::cancelled);
  const outcome connected = start_connect(door->address());
  const auto accepted = start_on(home(), accept_one(*door));
  ASSERT_TRUE(until([&] { return accepted->has_value() && connected->has_value(); }));
  EXPECT_TRUE(accepted->value());
}

TEST_F(connects, a_connection_accepted_together_with_the_cancel_is_delivered) {
  auto door = listener::open(home(), loopback());
  ASSERT_TRUE(door);
  bool delivered = false;
  scope servers(home());
  servers.spawn([&]() -> task<void> {
    auto peer = co_await door->accept();
    delivered = peer.has_value();
  });
  settle();
  const unique_fd client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(::connect(client.get(), door->address().data(), door->address().size()), 0);
  home().ring().enter(0ms);
  servers.cancel();
  ASSERT_TRUE(until([&] { return servers.running() == 0; }));
  EXPECT_TRUE(delivered);
}

TEST_F(connects, socket_options_are_set) {
  const raw_listener door = listen_on_loopback(8);
  socket_options options;
  options.keepalive = true;
  options.user_timeout = 5s;
  const auto connected = start_on(home(), connect_socket(home(), address_of(door), options, 3s));
  ASSERT_TRUE(until([&] { return connected->has_value(); }));
  ASSERT_TRUE(connected->value());
  const auto option = [&](int level, int name) {
    int value = 0;
    socklen_t length = sizeof value;
    EXPECT_EQ(::getsockopt((**connected).value()->fd(), level, name, &value, &length), 0);
    return value;
  };
  EXPECT_EQ(option(IPPROTO_TCP, TCP_NODELAY), 1);
  EXPECT_EQ(option(SOL_SOCKET, SO_KEEPALIVE), 1);
  EXPECT_EQ(option(IPPROTO_TCP, TCP_KEEPIDLE), 30);
  EXPECT_EQ(option(IPPROTO_TCP, TCP_USER_TIMEOUT), 5000);
  (**connected).value().close();
}

}  // namespace
}  // namespace conpool::test
