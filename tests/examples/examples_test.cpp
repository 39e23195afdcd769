// Each example is run as a user would run it: its exit status and what it prints.
//
// The programs are in the folder that CONPOOL_EXAMPLES names; Meson sets it.
#include <gtest/gtest.h>

#include <array>
#include <string>
#include <string_view>

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <tests/examples/program.h>
#include <tests/support/redis_server.h>

namespace conpool::test {
namespace {

constexpr std::string_view page = "<p>as good as any</p>";

// Answers one HTTP request on the loopback, on this thread.
class tiny_http_server {
 public:
  tiny_http_server() : door_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    EXPECT_EQ(::bind(door_, reinterpret_cast<const sockaddr*>(&address), length), 0);
    EXPECT_EQ(::listen(door_, 1), 0);
    ::getsockname(door_, reinterpret_cast<sockaddr*>(&address), &length);
    port_ = ntohs(address.sin_port);
    const timeval patience{20, 0};  // a client that never comes fails the test
    ::setsockopt(door_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  }
  ~tiny_http_server() { ::close(door_); }

  std::string at() const { return "127.0.0.1:" + std::to_string(port_); }

  // Returns the request.
  std::string serve_one() const {
    const int peer = accept();
    std::string request = request_of(peer);
    answer(peer, "HTTP/1.0 200 OK\r\n\r\n" + std::string(page));
    ::close(peer);
    return request;
  }
  // Keeps its first connection for a second request, and ends it when that has come.
  void serve_three() const {
    int peer = accept();
    EXPECT_TRUE(request_of(peer).starts_with("GET /one HTTP/1.1\r\n"));
    answer(peer, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none");
    EXPECT_TRUE(request_of(peer).starts_with("GET /two HTTP/1.1\r\n"));
    ::close(peer);
    peer = accept();
    EXPECT_TRUE(request_of(peer).starts_with("GET /two HTTP/1.1\r\n")) << "again";
    answer(peer,
           "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
           "5\r\nin tw\r\na\r\no pieces!!\r\n0\r\n\r\n");
    EXPECT_TRUE(request_of(peer).starts_with("GET /three HTTP/1.1\r\n"));
    answer(peer, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    ::close(peer);
  }

 private:
  int accept() const {
    const int peer = ::accept(door_, nullptr, nullptr);
    EXPECT_GE(peer, 0) << "nobody came";
    return peer;
  }
  static std::string request_of(int peer) {
    std::string request;
    std::array<char, 1024> chunk;
    while (request.find("\r\n\r\n") == request.npos) {
      const ssize_t count = ::recv(peer, chunk.data(), chunk.size(), 0);
      if (count <= 0) break;
      request.append(chunk.data(), static_cast<std::size_t>(count));
    }
    return request;
  }
  static void answer(int peer, const std::string& bytes) {
    EXPECT_EQ(::send(peer, bytes.data(), bytes.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(bytes.size()));
  }

  int door_;
  std::uint16_t port_ = 0;
};

// A loopback port where nobody listens: it is bound, so no other program takes it.
class closed_port {
 public:
  closed_port() : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    EXPECT_EQ(::bind(fd_, reinterpret_cast<const sockaddr*>(&address), length), 0);
    ::getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &length);
    at_ = "tcp://127.0.0.1:" + std::to_string(ntohs(address.sin_port));
  }
  ~closed_port() { ::close(fd_); }
  const std::string& at() const { return at_; }

 private:
  int fd_;
  std::string at_;
};

TEST(examples, echo_prints_three_answers_and_the_counts) {
  program echo("echo");
  EXPECT_EQ(echo.finish(), 0) << echo.printed();
  EXPECT_TRUE(echo.prints("hello\nhello\nhello\n")) << echo.printed();
  EXPECT_TRUE(echo.prints("0 active, 1 idle, 0 waiting")) << echo.printed();
  EXPECT_TRUE(echo.prints("1 opened, 0 closed, 2 hits, 1 misses, hit ratio 0.67"))
      << echo.printed();
}

TEST(examples, coroutine_rules_has_every_form_answered) {
  program rules("coroutine_rules");
  EXPECT_EQ(rules.finish(), 0) << rules.printed();
  EXPECT_EQ(rules.printed(), "ping\nkey\nasked\nSET;key;value;\none\none\n");
}

TEST(examples, operations_warms_pauses_shrinks_and_drains) {
  program operations("operations");
  EXPECT_EQ(operations.finish(), 0) << operations.printed();
  EXPECT_TRUE(operations.prints("4 idle after warm\n")) << operations.printed();
  EXPECT_TRUE(operations.prints("the pool is paused")) << operations.printed();
  EXPECT_TRUE(operations.prints("connection 2 closed: over limit\n")) << operations.printed();
  EXPECT_TRUE(operations.prints("connection 3 closed: cleared\n")) << operations.printed();
  EXPECT_TRUE(operations.prints("1 taken back by force\n")) << operations.printed();
}

TEST(examples, own_loop_has_every_request_answered) {
  program own_loop("own_loop");
  EXPECT_EQ(own_loop.finish(), 0) << own_loop.printed();
  EXPECT_TRUE(own_loop.prints("1000 answered, 0 failed")) << own_loop.printed();
  EXPECT_TRUE(own_loop.prints(" 4 connections, hit ratio 1.00")) << own_loop.printed();
}

TEST(examples, http_client_keeps_its_connection_and_asks_again_when_that_was_over) {
  const tiny_http_server server;
  program client("http_client", {server.at(), "/one", "/two", "/three"});
  server.serve_three();
  EXPECT_EQ(client.finish(), 0) << client.printed();
  EXPECT_EQ(client.printed(),
            "/one: HTTP/1.1 200 OK, 3 bytes\n/two: HTTP/1.1 200 OK, 15 bytes\n"
            "/three: HTTP/1.1 404 Not Found, 0 bytes\n2 connection(s)\n");
}

TEST(examples, http_get_prints_the_page) {
  const tiny_http_server server;
  program http_get("http_get", {server.at()});
  const std::string request = server.serve_one();
  EXPECT_EQ(http_get.finish(), 0) << http_get.printed();
  EXPECT_TRUE(request.starts_with("GET / HTTP/1.0\r\nHost: 127.0.0.1\r\n")) << request;
  EXPECT_TRUE(http_get.prints(page)) << http_get.printed();
}

TEST(examples, http_get_says_why_it_could_not_connect) {
  const closed_port nobody;
  program http_get("http_get", {nobody.at()});
  EXPECT_EQ(http_get.finish(), 1);
  EXPECT_EQ(http_get.printed(), "connect " + nobody.at() +
                                    ": connect failed (1 attempt): Connection refused "
                                    "(ECONNREFUSED)\n");
}

TEST(examples, redis_gets_what_it_set_over_one_connection) {
  const redis_server server;
  program redis("redis", {server.at().text()});
  EXPECT_EQ(redis.finish(), 0) << redis.printed();
  EXPECT_TRUE(redis.prints("PING -> +PONG\n")) << redis.printed();
  EXPECT_TRUE(redis.prints("GET conpool:example -> $5 hello\n")) << redis.printed();
  EXPECT_TRUE(redis.prints("3 requests over 1 connection(s)\n")) << redis.printed();
}

TEST(examples, redis_protocol_is_told_of_a_change_while_idle) {
  const redis_server server;
  program redis("redis_protocol", {server.at().text()});
  EXPECT_EQ(redis.finish(), 0) << redis.printed();
  EXPECT_TRUE(redis.prints("the server says: conpool:cached has changed\n")) << redis.printed();
  EXPECT_TRUE(redis.prints("2 connections idle\n")) << redis.printed();
}

TEST(examples, redis_says_why_it_could_not_connect) {
  const closed_port nobody;
  program redis("redis", {nobody.at()});
  EXPECT_EQ(redis.finish(), 1);
  EXPECT_TRUE(redis.prints("connect " + nobody.at() + ": connect failed")) << redis.printed();
}

TEST(examples, redis_refuses_an_endpoint_that_is_none) {
  program redis("redis", {"redis://localhost"});
  EXPECT_EQ(redis.finish(), 1);
  EXPECT_TRUE(redis.prints("invalid endpoint")) << redis.printed();
}

}  // namespace
}  // namespace conpool::test
