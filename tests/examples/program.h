// A running example. What it prints on both outputs is kept together.
//
//   program get("http_get", {"127.0.0.1:80"});
//   EXPECT_EQ(get.finish(), 0) << get.printed();
//
// The programs are in the folder that CONPOOL_EXAMPLES names; Meson sets it.
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

namespace conpool::test {

class program {
 public:
  explicit program(const std::string& name, const std::vector<std::string>& words = {}) {
    const char* const folder = std::getenv("CONPOOL_EXAMPLES");
    if (folder == nullptr) {
      ADD_FAILURE() << "CONPOOL_EXAMPLES is not set: run this by `meson test examples`";
      return;
    }
    const std::string path = std::string(folder) + "/" + name;
    std::array<int, 2> outputs;
    EXPECT_EQ(::pipe2(outputs.data(), O_CLOEXEC), 0);
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, outputs[1], STDOUT_FILENO);
    ::posix_spawn_file_actions_adddup2(&actions, outputs[1], STDERR_FILENO);
    std::vector<char*> arguments{const_cast<char*>(path.c_str())};
    for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
    arguments.push_back(nullptr);
    const int code =
        ::posix_spawn(&child_, path.c_str(), &actions, nullptr, arguments.data(), environ);
    EXPECT_EQ(code, 0) << path;
    if (code != 0) child_ = -1;
    ::posix_spawn_file_actions_destroy(&actions);
    ::close(outputs[1]);
    output_ = outputs[0];
  }
  ~program() {
    if (child_ > 0) finish();
    if (output_ >= 0) ::close(output_);
  }
  program(const program&) = delete;
  program& operator=(const program&) = delete;

  // Reads all that it prints, waits for its end, and returns its exit status (-1 after a signal).
  int finish() {
    std::array<char, 4096> chunk;
    for (;;) {
      const ssize_t count = ::read(output_, chunk.data(), chunk.size());
      if (count <= 0) break;
      printed_.append(chunk.data(), static_cast<std::size_t>(count));
    }
    int status = -1;
    if (child_ > 0) ::waitpid(child_, &status, 0);
    child_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  const std::string& printed() const { return printed_; }
  bool prints(std::string_view text) const { return printed_.find(text) != printed_.npos; }

 private:
  pid_t child_ = -1;
  int output_ = -1;
  std::string printed_;
};

}  // namespace conpool::test
