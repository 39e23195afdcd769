// A simulated TCP connection: two ends, and what is on the way between them.
//
// Bytes, FIN and RST travel with a latency and keep their order in each direction. An end answers
// as Linux does, checked against it:
//   - a RST leaves readable what had come before it; then one call reports ECONNRESET (EPIPE if a
//     FIN had come), then receives find the end and sends EPIPE;
//   - after a FIN a receive returns 0 for ever, and sends go on until the peer answers with a RST;
//   - closing with unread bytes sends a RST instead of a FIN; so does whatever arrives at a closed
//     end, or at one that was shut down.
//
// Made by the simulated network; held by the two owners and by the events that carry segments.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include <conpool/runtime/clock.h>

namespace conpool::sim {

class network;
class tcp_connection;

class tcp_end {
 public:
  tcp_end() = default;
  tcp_end(const tcp_end&) = delete;
  tcp_end& operator=(const tcp_end&) = delete;

  // Called when something arrived, or room was made for a send that had to wait.
  std::function<void()> on_change;

  // A receive, or a send, would not have to wait.
  bool readable() const noexcept {
    return !received_.empty() || fin_in_ || error_ != 0 || dead_ || shut_in_;
  }
  bool writable() const noexcept { return error_ != 0 || dead_ || fin_out_ || room() > 0; }
  std::size_t unread() const noexcept { return received_.size(); }
  // When the first of what was not taken yet arrived; meaningless if nothing has.
  time_point unread_since() const noexcept { return unread_since_; }
  bool ended() const noexcept { return fin_in_; }      // a FIN arrived
  bool broken() const noexcept { return dead_; }       // a RST arrived
  bool finished() const noexcept { return fin_out_; }  // a FIN left
  bool closed() const noexcept { return closed_; }

  // A count, 0 at the end of the stream, -EAGAIN or another negative errno.
  int receive(std::span<std::byte> into);
  int peek();
  int send(std::span<const std::byte> from);
  void send_all(std::span<const std::byte> from);  // without regard to the peer's window

  void finish();     // no more is sent
  void shut_down();  // and nothing is read any more: shutdown(2), both directions
  void close(bool with_reset);
  void forget();     // closed without a word to the peer
  void break_off();  // something on the way resets the connection: this end sees it at once
  void hurry();      // what is on the way to this end arrives now

 private:
  friend class tcp_connection;
  enum class kind : std::uint8_t { bytes, fin, rst };
  struct segment {
    kind what;
    time_point arrives;
    std::vector<std::byte> bytes;
  };

  std::size_t room() const noexcept;
  void put(kind what, std::vector<std::byte> bytes = {});
  void send_rst();
  void arrive();
  void apply(segment& one);
  void make_room();
  void changed() const {
    if (on_change) on_change();
  }

  tcp_connection* link_ = nullptr;
  tcp_end* peer_ = nullptr;
  std::deque<segment> inbound_;  // on the way to this end
  std::size_t inbound_bytes_ = 0;
  time_point last_arrival_{};
  std::deque<std::byte> received_;
  time_point unread_since_{};
  int error_ = 0;  // reported once
  bool fin_in_ = false;
  bool fin_out_ = false;
  bool shut_in_ = false;
  bool dead_ = false;
  bool closed_ = false;
  bool wants_room_ = false;
};

class tcp_connection : public std::enable_shared_from_this<tcp_connection> {
 public:
  struct path {
    duration latency_least;
    duration latency_most;
    std::size_t window;
  };

  // `stands_at` is when the client learns of it: nothing arrives there before.
  static std::shared_ptr<tcp_connection> make(network& net, const path& along,
                                              time_point stands_at);

  // Each keeps the whole connection.
  std::shared_ptr<tcp_end> client() { return {shared_from_this(), &ends_[0]}; }
  std::shared_ptr<tcp_end> server() { return {shared_from_this(), &ends_[1]}; }

 private:
  friend class tcp_end;
  tcp_connection(network& net, const path& along) noexcept;
  duration latency();

  network& net_;
  path path_;
  std::array<tcp_end, 2> ends_;
};

}  // namespace conpool::sim
