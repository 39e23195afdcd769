// The shim's TCP connection to the runner: plain and blocking, so that nothing but the channel is
// tested. Ends as the runner wants it: says that no more comes, and takes what the runner still
// says.
#pragma once

#include <cstddef>
#include <span>

namespace conpool::bogo {

class connection {
 public:
  // To the runner on this machine, over IPv6 or else IPv4.
  explicit connection(int port);
  connection(const connection&) = delete;
  connection& operator=(const connection&) = delete;
  ~connection();

  bool good() const noexcept { return descriptor_ >= 0; }
  // What fits of what is there; 0 at the end, and after an error, which to the channel is the same.
  std::size_t receive(std::span<std::byte> into) noexcept;
  // A runner that closed has heard enough: not an error.
  void send(std::span<const std::byte> bytes) noexcept;

 private:
  int descriptor_ = -1;
};

}  // namespace conpool::bogo
