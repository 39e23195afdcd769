#include <tests/sim/kernel/tcp.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include <tests/sim/kernel/network.h>

namespace conpool::sim {

tcp_connection::tcp_connection(network& net, const path& along) noexcept : net_(net), path_(along) {
  for (std::size_t side = 0; side < ends_.size(); ++side) {
    ends_[side].link_ = this;
    ends_[side].peer_ = &ends_[1 - side];
  }
}

std::shared_ptr<tcp_connection> tcp_connection::make(network& net, const path& along,
                                                     time_point stands_at) {
  std::shared_ptr<tcp_connection> made(new tcp_connection(net, along));
  made->ends_[0].last_arrival_ = stands_at;
  return made;
}

duration tcp_connection::latency() {
  return path_.latency_least + net_.up_to(path_.latency_most - path_.latency_least);
}

// --- what its owner does

int tcp_end::receive(std::span<std::byte> into) {
  if (!received_.empty()) {
    const std::size_t count = std::min(into.size(), received_.size());
    const auto last = received_.begin() + static_cast<std::ptrdiff_t>(count);
    std::copy(received_.begin(), last, into.begin());
    received_.erase(received_.begin(), last);
    make_room();
    return static_cast<int>(count);
  }
  if (fin_in_) return 0;
  if (error_ != 0) return -std::exchange(error_, 0);
  if (dead_ || shut_in_) return 0;
  return -EAGAIN;
}

int tcp_end::peek() {
  if (!received_.empty()) return 1;
  return receive({});
}

int tcp_end::send(std::span<const std::byte> from) {
  if (error_ != 0) return -std::exchange(error_, 0);
  if (dead_ || fin_out_) return -EPIPE;
  const std::size_t count = std::min(from.size(), room());
  wants_room_ = count < from.size();
  if (count == 0 && !from.empty()) return -EAGAIN;
  network& net = link_->net_;
  std::size_t first = count;
  if (count > 1 && net.chance(net.faults().split_segment)) first = 1 + net.below(count - 1);
  const auto middle = from.begin() + static_cast<std::ptrdiff_t>(first);
  const auto last = from.begin() + static_cast<std::ptrdiff_t>(count);
  peer_->put(kind::bytes, {from.begin(), middle});
  if (first < count) peer_->put(kind::bytes, {middle, last});
  return static_cast<int>(count);
}

void tcp_end::send_all(std::span<const std::byte> from) {
  if (!dead_ && !fin_out_) peer_->put(kind::bytes, {from.begin(), from.end()});
}

void tcp_end::finish() {
  if (fin_out_ || dead_) return;
  fin_out_ = true;
  peer_->put(kind::fin);
}

void tcp_end::shut_down() {
  finish();
  shut_in_ = true;
  changed();
}

void tcp_end::close(bool with_reset) {
  if (closed_) return;
  closed_ = true;
  on_change = nullptr;
  if (dead_) return;
  if (with_reset || !received_.empty()) {
    // A reset throws away what was not sent yet, and nobody can tell how much that is.
    auto& way = peer_->inbound_;
    while (!way.empty() && way.back().what == kind::bytes && link_->net_.chance(0.5)) {
      peer_->inbound_bytes_ -= way.back().bytes.size();
      way.pop_back();
    }
    send_rst();
  } else {
    finish();
  }
}

void tcp_end::forget() {
  closed_ = true;
  on_change = nullptr;
}

void tcp_end::break_off() {
  segment reset{kind::rst, {}, {}};
  peer_->put(kind::rst);
  apply(reset);
}

// --- the way between

// Sending to a peer that has gone is possible: it answers with a RST.
std::size_t tcp_end::room() const noexcept {
  const std::size_t window = link_->path_.window;
  if (peer_->closed_) return window;
  const std::size_t used = peer_->received_.size() + peer_->inbound_bytes_;
  return used < window ? window - used : 0;
}

void tcp_end::make_room() {
  if (!peer_->wants_room_) return;
  peer_->wants_room_ = false;
  network& net = link_->net_;
  net.after(link_->latency(),
            [kept = link_->shared_from_this(), sender = peer_] { sender->changed(); });
}

void tcp_end::put(kind what, std::vector<std::byte> bytes) {
  network& net = link_->net_;
  const time_point arrives = std::max(net.now() + link_->latency(), last_arrival_ + duration(1));
  last_arrival_ = arrives;
  inbound_bytes_ += bytes.size();
  inbound_.push_back({what, arrives, std::move(bytes)});
  net.at(arrives, [kept = link_->shared_from_this(), this] { arrive(); });
}

void tcp_end::send_rst() {
  dead_ = true;
  peer_->put(kind::rst);
}

void tcp_end::arrive() {
  const time_point now = link_->net_.now();
  while (!inbound_.empty() && inbound_.front().arrives <= now) {
    segment one = std::move(inbound_.front());
    inbound_.pop_front();
    inbound_bytes_ -= one.bytes.size();
    apply(one);
  }
}

void tcp_end::hurry() {
  for (segment& one : inbound_) one.arrives = std::min(one.arrives, link_->net_.now());
  arrive();
}

void tcp_end::apply(segment& one) {
  if (received_.empty() && !fin_in_ && !dead_) unread_since_ = one.arrives;
  if (one.what == kind::rst) {
    if (dead_) return;
    dead_ = true;
    error_ = fin_in_ ? EPIPE : ECONNRESET;
    inbound_.clear();
    inbound_bytes_ = 0;
  } else if (dead_) {
    return;
  } else if (closed_ || (shut_in_ && one.what == kind::bytes)) {
    // Nobody is there to take them. A FIN to a closed end is the ordinary end of both.
    if (one.what == kind::bytes) send_rst();
    if (!closed_) error_ = ECONNRESET;
  } else if (one.what == kind::fin) {
    fin_in_ = true;
  } else {
    received_.insert(received_.end(), one.bytes.begin(), one.bytes.end());
  }
  changed();
}

}  // namespace conpool::sim
