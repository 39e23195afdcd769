// One connection of a case: the handshake, the runner's bytes sent back inverted, the end.
//
// Drives the channel as a connection of conpool's does: spans of what was received in, record
// buffers out. An asynchronous case gets its input byte by byte, and record buffers that the
// handshake does not fit in.
#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include <conpool/tls/detail/channel.h>
#include <tests/bogo/connection.h>
#include <tests/bogo/flags.h>

namespace conpool::bogo {

class exchange {
 public:
  exchange(tls::ssl_config& config, const std::string& peer, connection& runner,
           const settings& asked, bool is_resumption);

  // Whether all went as the runner wanted; if not, problem() says what did not, in its words.
  bool run();
  const std::string& problem() const noexcept { return problem_; }

 private:
  using const_bytes = std::span<const std::byte>;

  bool shake();
  bool talk();
  bool answer(std::span<std::byte> received);
  bool export_secrets();
  bool write_sizes();
  bool end();

  // More input, if there is none; false at the runner's end.
  bool receive();
  // What the next call of the channel is given of it.
  const_bytes offer() const noexcept;
  void taken(std::size_t count) noexcept { unread_ = unread_.subspan(count); }
  bool write(const_bytes bytes);
  void send();
  bool fails_with(const error& why);
  bool fails(std::string why);
  std::size_t sessions() const;

  tls::channel channel_;
  connection& runner_;
  const settings& asked_;
  bool is_resumption_;
  std::string problem_;
  std::size_t sessions_then_ = 0;  // kept when the handshake was done
  std::vector<std::byte> memory_;
  tls::record_buffer out_;
  std::array<std::byte, 16 * 1024> received_;
  const_bytes unread_;
};

}  // namespace conpool::bogo
