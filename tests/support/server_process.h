// A server program that a test runs: its process, its standard input, and what it prints.
//
//   server_process server({"openssl", "s_server", "-accept", "127.0.0.1:0", ...});
//   const auto port = server.wait_for("ACCEPT 127.0.0.1:");   // and the number that follows
//   server.say("K\n");
//
// Killed and waited for by the destructor, or by the kernel if the thread that started it ends
// before. Throws std::runtime_error, with what the program printed, when it does not do its part.
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
  explicit server_process(const std::vector<std::string>& words);
  ~server_process();
  server_process(const server_process&) = delete;
  server_process& operator=(const server_process&) = delete;

  // Reads what it prints until `text` is there behind all that was waited for before; the number
  // that follows on the line, 0 for none.
  std::uint16_t wait_for(std::string_view text);
  // Until somebody listens on the port.
  void wait_for_port(std::uint16_t port);
  void say(std::string_view text);
  const std::string& printed() const noexcept { return printed_; }

 private:
  void read_more(std::string_view wanted);

  pid_t child_ = -1;
  int input_ = -1;
  int output_ = -1;
  std::string printed_;
  std::size_t seen_ = 0;
};

// A port of the loopback that nobody has, for a server that cannot choose one itself.
std::uint16_t free_port();

// Files for a server, gone with the object.
class temporary_folder {
 public:
  temporary_folder();
  ~temporary_folder();
  temporary_folder(const temporary_folder&) = delete;
  temporary_folder& operator=(const temporary_folder&) = delete;

  const std::filesystem::path& path() const noexcept { return path_; }
  // The path of a new file.
  std::string file(std::string_view name, std::string_view content) const;

 private:
  std::filesystem::path path_;
};

}  // namespace conpool::test
