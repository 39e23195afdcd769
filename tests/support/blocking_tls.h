// A TLS client over a blocking socket: it drives a tls::channel in the simplest way there is.
//
//   blocking_tls client(config, port);
//   if (auto open = client.shake(); open) client.write("hello\n");
//   client.read_until("\n")
//
// It waits for its peer for silence_s_max at most, and then fails with deadline_exceeded.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <conpool/tls/detail/channel.h>

namespace conpool::test {

class blocking_tls {
 public:
  // Connects to 127.0.0.1. Throws std::runtime_error if nobody is there.
  blocking_tls(tls::ssl_config& config, std::uint16_t port);
  ~blocking_tls();
  blocking_tls(const blocking_tls&) = delete;
  blocking_tls& operator=(const blocking_tls&) = delete;

  result<void> shake();
  result<void> write(std::string_view text);
  // Returns what is there or comes next; empty at the end of the stream.
  result<std::string> read();
  // Reads up to and including `text`, or to the end of the stream.
  result<std::string> read_until(std::string_view text);
  // Receives once, as a pool does for an idle connection. An end without close_notify is `refused`.
  tls::idle_outcome idle();
  void close();

  tls::channel& channel() noexcept { return channel_; }

 private:
  result<void> send();
  // Returns false at the end of the peer's stream.
  result<bool> receive();

  int fd_ = -1;
  std::string name_;
  tls::channel channel_;
  std::vector<std::byte> memory_;
  std::vector<std::byte> received_;
  std::span<const std::byte> input_;  // of received_
  tls::record_buffer out_;
};

}  // namespace conpool::test
