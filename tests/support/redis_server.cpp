#include <tests/support/redis_server.h>

#include <csignal>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

namespace conpool::test {
namespace {

constexpr unsigned ports_max = 64;    // ports tried: other programs have some
constexpr unsigned connects_max = 8;  // connects tried, once it says that it is ready
constexpr int silence_ms_max = 10'000;
constexpr int not_installed = 127;

sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

// Below the ports that the kernel gives to clients: while nobody listens on one of those, a client
// that tries again and again may be given the very port it connects to, and is connected to itself.
constexpr std::uint16_t first_port = 10'000;
constexpr std::uint16_t last_port = 29'999;

bool is_free(std::uint16_t port) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const sockaddr_in address = loopback(port);
  const int code = ::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address);
  ::close(fd);
  return code == 0;
}

// Only calls that are allowed between fork and exec of a program with threads.
[[noreturn]] void become_server(const char* port, int log, pid_t parent) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(1);
  ::dup2(log, STDOUT_FILENO);
  ::dup2(log, STDERR_FILENO);
  ::execlp("redis-server", "redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "",
           "--appendonly", "no", "--dir", "/tmp", "--daemonize", "no", nullptr);
  ::_exit(not_installed);
}

// Reads the log until the server says that it accepts connections; false if it ends first.
bool says_it_is_ready(int log) {
  std::string said;
  char chunk[512];
  for (;;) {
    pollfd waiting{log, POLLIN, 0};
    if (::poll(&waiting, 1, silence_ms_max) <= 0) return false;
    const ssize_t count = ::read(log, chunk, sizeof chunk);
    if (count <= 0) return false;
    said.append(chunk, static_cast<std::size_t>(count));
    if (said.find("Ready to accept connections") != said.npos) return true;
  }
}

bool answers(std::uint16_t port) {
  const sockaddr_in address = loopback(port);
  for (unsigned attempt = 0; attempt < connects_max; ++attempt) {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const timeval patience{silence_ms_max / 1000, 0};
    ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    constexpr std::string_view ping = "PING\r\n";
    char answer[8] = {};
    const bool good =
        ::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 &&
        ::send(fd, ping.data(), ping.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(ping.size()) &&
        ::recv(fd, answer, 7, MSG_WAITALL) == 7 && std::string_view(answer) == "+PONG\r\n";
    ::close(fd);
    if (good) return true;
  }
  return false;
}

}  // namespace

redis_server::redis_server() {
  std::random_device random;
  std::uniform_int_distribution<std::uint16_t> some_port(first_port, last_port);
  for (unsigned attempt = 0; attempt < ports_max; ++attempt) {
    port_ = some_port(random);
    if (is_free(port_) && start()) return;
  }
  throw std::runtime_error("redis-server did not start on any of " + std::to_string(ports_max) +
                           " ports");
}

redis_server::~redis_server() {
  end(SIGKILL);
}

endpoint redis_server::at() const {
  return endpoint::parse("tcp://127.0.0.1:" + std::to_string(port_)).value();
}

bool redis_server::start() {
  int log[2];
  if (::pipe2(log, O_CLOEXEC) != 0) throw std::runtime_error("no pipe for redis-server");
  const std::string port = std::to_string(port_);
  const pid_t parent = ::getpid();
  child_ = ::fork();
  if (child_ == 0) become_server(port.c_str(), log[1], parent);
  ::close(log[1]);
  log_ = log[0];
  if (child_ < 0) throw std::runtime_error("redis-server could not be forked");
  if (says_it_is_ready(log_) && answers(port_)) return true;
  int status = 0;
  const bool over = ::waitpid(child_, &status, WNOHANG) == child_;
  if (over) child_ = -1;
  end(SIGKILL);
  if (over && WIFEXITED(status) && WEXITSTATUS(status) == not_installed) {
    throw std::runtime_error("redis-server is not installed: scripts/deps test");
  }
  return false;
}

void redis_server::end(int signal) noexcept {
  if (child_ > 0) {
    ::kill(child_, signal);
    ::waitpid(child_, nullptr, 0);
  }
  if (log_ >= 0) ::close(log_);
  child_ = -1;
  log_ = -1;
}

void redis_server::pause() const {
  ::kill(child_, SIGSTOP);
}

void redis_server::resume() const {
  ::kill(child_, SIGCONT);
}

void redis_server::kill() {
  end(SIGKILL);
}

void redis_server::restart() {
  if (child_ > 0) throw std::logic_error("the server still runs");
  if (!start()) throw std::runtime_error("redis-server did not start again on its port");
}

}  // namespace conpool::test
