// The secrets of TLS connections, written to a file for Wireshark. Only by explicit choice.
//
// Whoever can read the file can read the traffic, and it is never on by the environment alone: a
// program must ask for it, by a path or by from_env().
//
//   options.keys = tls::keylog::from_env();       // null unless SSLKEYLOGFILE is set
//
// The file is opened for appending with mode 0600; a line is one write(2), so that several
// processes may share it. TLS 1.3 writes five lines a connection, when it is made. A line that
// could not be written is counted in failures() and otherwise ignored.
//
// Shared by shared_ptr; may be used on any thread. The format: "The SSLKEYLOGFILE Format for TLS",
// IETF.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include <conpool/runtime/error.h>

namespace conpool::tls {

class keylog {
 public:
  // Errors: io_failed with the errno of open(2).
  static result<std::shared_ptr<const keylog>> open(const std::string& path);
  // The file that SSLKEYLOGFILE names (secure_getenv); null if it is not set.
  static result<std::shared_ptr<const keylog>> from_env();

  keylog(const keylog&) = delete;
  keylog& operator=(const keylog&) = delete;
  ~keylog();

  void write_line(std::string_view line) const noexcept;
  std::uint64_t failures() const noexcept { return failures_.load(std::memory_order_relaxed); }

 private:
  explicit keylog(int fd) noexcept : fd_(fd) {}

  int fd_;
  mutable std::atomic<std::uint64_t> failures_ = 0;
};

}  // namespace conpool::tls
