// Writes the secrets of TLS connections to a file for Wireshark. Only by explicit choice.
//
// Whoever can read the file can read the traffic. So the environment alone never turns it on: a
// program must ask for it, by a path or by from_env().
//
//   auto keys = tls::keylog::from_env();          // null unless SSLKEYLOGFILE is set
//   if (!keys) return fail(keys.error());
//   options.keys = *keys;
//
// The file is made with mode 0600, or opened for appending if it is a file of this user that nobody
// else may read or write. A symbolic link is not followed. A line is one write(2), so several
// processes of one user may share the file. TLS 1.3 writes five lines for a connection, when it is
// made. A line that could not be written is counted in failures() and otherwise ignored.
//
// Shared by shared_ptr; may be used on any thread. The write blocks as any write to a file does.
// The format: "The SSLKEYLOGFILE Format for TLS", IETF.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include <conpool/runtime/detail/export.h>
#include <conpool/runtime/error.h>

namespace conpool::tls {

class CONPOOL_API keylog {
 public:
  // Errors: io_failed, phase::configure, about the path, with the errno of open(2), or with the
  // reason why what is there is not written to.
  static result<std::shared_ptr<const keylog>> open(const std::string& path);
  // The file that SSLKEYLOGFILE names (secure_getenv); null if it is not set. Errors: open()'s.
  static result<std::shared_ptr<const keylog>> from_env();

  keylog(const keylog&) = delete;
  keylog& operator=(const keylog&) = delete;
  ~keylog();

  // Writes one line; BoringSSL's callbacks call it.
  void write_line(std::string_view line) const noexcept;
  // How many lines could not be written.
  std::uint64_t failures() const noexcept { return failures_.load(std::memory_order_relaxed); }

 private:
  explicit keylog(int fd) noexcept : fd_(fd) {}

  int fd_;
  mutable std::atomic<std::uint64_t> failures_ = 0;
};

}  // namespace conpool::tls
