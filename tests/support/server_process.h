// A server program that a test runs: its process, its standard input, and what it prints.
//
//   server_process server({"openssl", "s_server", "-accept", "127.0.0.1:0", ...});
//   const auto port = server.wait_for("ACCEPT 127.0.0.1:");   // and the number that follows
//   server.say("K\n");
//
// The destructor kills the program and waits for its end; the kernel kills it if the thread that
// started it ends before. If the program does not do its part, std::runtime_error is thrown, with
// what the program printed.
//
// A program that prints much for a long time is given a file to print into. Nobody reads its pipe
// then, and it would stand still once that is full.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace conpool::test {

class server_process {
 public:
  // With a `log`, what the program prints goes to the end of that file, and wait_for() has nothing
  // to look at.
  explicit server_process(const std::vector<std::string>& words, const std::string& log = {});
  ~server_process();
  server_process(const server_process&) = delete;
  server_process& operator=(const server_process&) = delete;

  // Reads what the program prints until `text` is there, behind everything that was waited for
  // before. Returns the number that follows on the line, or 0 if there is none.
  std::uint16_t wait_for(std::string_view text);
  // Waits until somebody listens on the port.
  void wait_for_port(std::uint16_t port);
  void say(std::string_view text);
  void signal(int what) const;
  // Waits until the program has ended by itself or by a signal. Returns its exit status, or 128 and
  // the signal's number.
  int wait_for_end();
  bool has_ended();
  pid_t id() const noexcept { return child_; }
  const std::string& printed() const noexcept { return printed_; }

 private:
  void read_more(std::string_view wanted);

  pid_t child_ = -1;
  int input_ = -1;
  int output_ = -1;
  std::string printed_;
  std::size_t seen_ = 0;
};

// Returns a loopback port that nobody has, for a server that cannot choose one itself.
std::uint16_t free_port();

// A folder for a server's files, which is gone with the object.
class temporary_folder {
 public:
  temporary_folder();
  ~temporary_folder();
  temporary_folder(const temporary_folder&) = delete;
  temporary_folder& operator=(const temporary_folder&) = delete;

  const std::filesystem::path& path() const noexcept { return path_; }
  // Writes a new file and returns its path.
  std::string file(std::string_view name, std::string_view content) const;

 private:
  std::filesystem::path path_;
};

}  // namespace conpool::test
