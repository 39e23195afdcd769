#include <tests/support/server_process.h>

#include <charconv>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <random>
#include <stdexcept>

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

constexpr int silence_ms_max = 20'000;
constexpr int pause_ms = 5;  // between two looks at a port
constexpr unsigned ports_max = 64;

sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

int try_port(std::uint16_t port, int (*call)(int, const sockaddr*, socklen_t)) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const sockaddr_in address = loopback(port);
  const int code = call(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address);
  ::close(fd);
  return code;
}

// Only calls that are allowed between fork and exec of a program with threads.
[[noreturn]] void become(char* const* words, int input, int output, pid_t parent) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(1);
  ::dup2(input, STDIN_FILENO);
  ::dup2(output, STDOUT_FILENO);
  ::dup2(output, STDERR_FILENO);
  ::execvp(words[0], words);
  constexpr std::string_view complaint = "not installed: scripts/deps test\n";
  static_cast<void>(!::write(STDERR_FILENO, complaint.data(), complaint.size()));
  ::_exit(127);
}

}  // namespace

server_process::server_process(const std::vector<std::string>& words, const std::string& log) {
  int input[2];
  int output[2];
  if (::pipe2(input, O_CLOEXEC) != 0 || ::pipe2(output, O_CLOEXEC) != 0) {
    throw std::runtime_error("no pipe for " + words.front());
  }
  if (!log.empty()) {
    ::close(output[1]);
    output[1] = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  }
  std::vector<char*> arguments;
  arguments.reserve(words.size() + 1);
  for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  const pid_t parent = ::getpid();
  child_ = ::fork();
  if (child_ == 0) become(arguments.data(), input[0], output[1], parent);
  ::close(input[0]);
  ::close(output[1]);
  input_ = input[1];
  output_ = output[0];
  if (child_ < 0) throw std::runtime_error(words.front() + " could not be forked");
}

server_process::~server_process() {
  if (child_ > 0) {
    ::kill(child_, SIGKILL);
    ::waitpid(child_, nullptr, 0);
  }
  ::close(input_);
  ::close(output_);
}

void server_process::signal(int what) const {
  if (child_ > 0) ::kill(child_, what);
}

bool server_process::has_ended() {
  if (child_ > 0 && ::waitpid(child_, nullptr, WNOHANG) == child_) child_ = -1;
  return child_ < 0;
}

int server_process::wait_for_end() {
  for (int waited_ms = 0; waited_ms < silence_ms_max; waited_ms += pause_ms) {
    int status = 0;
    if (::waitpid(child_, &status, WNOHANG) == child_) {
      child_ = -1;
      return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }
    ::poll(nullptr, 0, pause_ms);
  }
  throw std::runtime_error("the server does not end");
}

void server_process::read_more(std::string_view wanted) {
  pollfd waiting{output_, POLLIN, 0};
  char chunk[4096];
  const ssize_t count =
      ::poll(&waiting, 1, silence_ms_max) == 1 ? ::read(output_, chunk, sizeof chunk) : ssize_t{0};
  if (count <= 0) {
    throw std::runtime_error("the server did not print '" + std::string(wanted) + "' but:\n" +
                             printed_);
  }
  printed_.append(chunk, static_cast<std::size_t>(count));
}

std::uint16_t server_process::wait_for(std::string_view text) {
  std::size_t at = 0;
  std::size_t end = 0;
  while ((at = printed_.find(text, seen_)) == printed_.npos) read_more(text);
  while ((end = printed_.find('\n', at)) == printed_.npos) read_more(text);
  seen_ = at + text.size();
  std::uint16_t number = 0;
  std::from_chars(printed_.data() + seen_, printed_.data() + end, number);
  return number;
}

void server_process::wait_for_port(std::uint16_t port) {
  for (int waited_ms = 0; waited_ms < silence_ms_max; waited_ms += pause_ms) {
    if (try_port(port, ::connect) == 0) return;
    ::poll(nullptr, 0, pause_ms);
  }
  throw std::runtime_error("nobody listens on port " + std::to_string(port));
}

void server_process::say(std::string_view text) {
  if (::write(input_, text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
    throw std::runtime_error("the server does not listen; it printed:\n" + printed_);
  }
}

// Below the ports that the kernel gives to clients, which could be connected to themselves there.
std::uint16_t free_port() {
  std::random_device random;
  std::uniform_int_distribution<std::uint16_t> some_port(10'000, 29'999);
  for (unsigned attempt = 0; attempt < ports_max; ++attempt) {
    const std::uint16_t port = some_port(random);
    if (try_port(port, ::bind) == 0) return port;
  }
  throw std::runtime_error("no free port");
}

temporary_folder::temporary_folder() {
  std::string name = (std::filesystem::temp_directory_path() / "conpool-XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("no folder " + name);
  path_ = name;
}

temporary_folder::~temporary_folder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::string temporary_folder::file(std::string_view name, std::string_view content) const {
  const std::filesystem::path to = path_ / name;
  std::ofstream(to) << content;
  return to.string();
}

}  // namespace conpool::test
