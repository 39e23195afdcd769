#include <tests/sim/kernel/server.h>

#include <algorithm>
#include <array>
#include <span>
#include <utility>
#include <vector>

#include <tests/sim/kernel/network.h>

namespace conpool::sim {

server::server(network& net, const socket_address& at, server_plan plan)
    : net_(net), address_(at), plan_(std::move(plan)) {}

server::tally server::counts() const noexcept {
  tally now = counts_;
  now.open = sessions_.size();
  return now;
}

server::session* server::find(std::uint64_t number) {
  const auto found = sessions_.find(number);
  return found == sessions_.end() ? nullptr : &found->second;
}

// --- connects

void server::on_begun() noexcept {
  if (counts_.moments == 0 || net_.now() != last_begun_) ++counts_.moments;
  last_begun_ = net_.now();
}

server::answer server::on_connect() {
  ++counts_.connects;
  if (net_.chance(plan_.black_hole)) return answer::none;
  if (net_.chance(plan_.unreachable)) return answer::unreachable;
  if (down_ || sessions_.size() >= plan_.connections_max || net_.chance(plan_.refuse)) {
    return answer::refuse;
  }
  return answer::accept;
}

void server::on_accepted(std::shared_ptr<tcp_end> peer) {
  const std::uint64_t number = next_++;
  ++counts_.accepted;
  session& made = sessions_[number];
  made.end = std::move(peer);
  made.speaks_at = net_.now();
  if (plan_.make_wire) made.below = plan_.make_wire();
  made.end->on_change = [this, number] {
    on_arrival(number);
  };
  if (net_.chance(plan_.close_at_accept)) return leave(number, farewell::close);
  if (net_.chance(plan_.reset_at_accept)) return leave(number, farewell::reset);
  if (!plan_.greeting.empty()) speak(number, plan_.greeting);
  grow_idle(number, made.speaks_at);
}

// --- requests

void server::on_arrival(std::uint64_t number) {
  session* const here = find(number);
  if (here == nullptr) return;
  std::string request;
  // One that hangs leaves the bytes where they are: in the end its clients cannot write any more.
  while (!here->hangs && here->end->unread() > 0) {
    std::array<std::byte, 4096> piece;
    const int count = here->end->receive(piece);
    request.append(reinterpret_cast<const char*>(piece.data()), static_cast<std::size_t>(count));
  }
  if (here->end->broken()) {
    here->end->close(false);
    sessions_.erase(number);
    return;
  }
  if (here->below && !request.empty()) request = unwrap(number, request);
  if (!request.empty()) reply(number, request);
  session* const still = find(number);
  if (still == nullptr || !still->end->ended()) return;
  // The client has closed: so does the server, once it has said what it had to say.
  leave_at(number, std::max(net_.now(), still->speaks_at), farewell::close);
}

// What has to be said at once is; the plain bytes that came, if there are any yet.
std::string server::unwrap(std::uint64_t number, std::string_view arrived) {
  session& here = *find(number);
  std::string say;
  std::string plain = here.below->receive(arrived, say);
  if (here.below->gives_up()) {
    here.hangs = net_.chance(0.3);
    if (!here.hangs) leave(number, farewell::either);
    return {};
  }
  if (say.empty()) return plain;
  here.speaks_at = std::max(here.speaks_at, net_.now());
  if (net_.chance(plan_.cut_handshake)) {
    say.resize(net_.below(say.size()));
    leave_at(number, speak(number, say), farewell::either);
    return {};
  }
  speak(number, say);
  return plain;
}

std::string server::wrap(session& with, std::string_view plain) {
  return with.below ? with.below->seal(plain) : std::string(plain);
}

void server::reply(std::uint64_t number, std::string_view request) {
  session& here = *find(number);
  ++counts_.requests;
  counts_.bytes += request.size();
  ++here.last_heard;
  net_.say([&] {
    return address_.to_string() + " reads " + std::to_string(request.size()) +
           " bytes of connection " + std::to_string(number);
  });
  if (net_.chance(plan_.swallow)) {
    here.hangs = true;
    ++counts_.surprises;
    return;
  }
  std::string answer = wrap(here, plan_.respond ? plan_.respond(request) : std::string(request));
  here.speaks_at = std::max(here.speaks_at, net_.now() + net_.up_to(plan_.think_most));
  if (!answer.empty() && net_.chance(plan_.cut_off)) {
    answer.resize(net_.below(answer.size()));
    const time_point said = speak(number, answer);
    return leave_at(number, said, farewell::either);
  }
  const time_point said = speak(number, answer);
  if (net_.chance(plan_.close_after_reply)) return leave_at(number, said, farewell::close);
  if (net_.chance(plan_.reset_after_reply)) return leave_at(number, said, farewell::reset);
  grow_idle(number, said);
}

// Returns when the last byte leaves. A piece that finds no room is sent when there is some.
time_point server::speak(std::uint64_t number, std::string_view bytes) {
  session& here = *find(number);
  while (!bytes.empty()) {
    std::size_t count = bytes.size();
    if (count > 1 && net_.chance(plan_.in_pieces)) count = 1 + net_.below(count - 1);
    net_.at(here.speaks_at, [this, number, piece = std::string(bytes.substr(0, count))] {
      session* const speaker = find(number);
      if (speaker != nullptr) speaker->end->send_all(std::as_bytes(std::span<const char>(piece)));
    });
    bytes.remove_prefix(count);
    if (!bytes.empty()) here.speaks_at += duration(1) + net_.up_to(std::chrono::milliseconds(1));
  }
  return here.speaks_at;
}

void server::send_to_all(std::string_view bytes) {
  for (auto& [number, one] : sessions_) {
    one.speaks_at = std::max(one.speaks_at, net_.now());
    speak(number, wrap(one, bytes));
  }
}

// --- the end

void server::leave(std::uint64_t number, farewell how) {
  session* const leaving = find(number);
  if (leaving == nullptr) return;
  if (!leaving->end->ended()) ++counts_.surprises;
  if (how == farewell::either) how = net_.chance(0.5) ? farewell::close : farewell::reset;
  net_.say([&] {
    return address_.to_string() + " leaves connection " + std::to_string(number) +
           (how == farewell::close   ? " (FIN)"
            : how == farewell::reset ? " (RST)"
                                     : " silently");
  });
  if (how == farewell::forget) {
    leaving->end->forget();
  } else {
    // Behind everything that it has said, or not at all.
    const bool has_said_all = leaving->speaks_at <= net_.now();
    if (how == farewell::close && leaving->below && has_said_all &&
        !net_.chance(plan_.no_farewell)) {
      const std::string last = leaving->below->farewell();
      leaving->end->send_all(std::as_bytes(std::span<const char>(last)));
    }
    leaving->end->close(how == farewell::reset);
  }
  sessions_.erase(number);
}

void server::leave_at(std::uint64_t number, time_point when, farewell how) {
  net_.at(when, [this, number, how] { leave(number, how); });
}

void server::leave_all(farewell how) {
  while (!sessions_.empty()) leave(sessions_.begin()->first, how);
}

void server::grow_idle(std::uint64_t number, time_point since) {
  const std::uint64_t heard = find(number)->last_heard;
  const auto if_idle = [&](auto what) {
    const duration rest = plan_.idle_least + net_.up_to(plan_.idle_most - plan_.idle_least);
    net_.at(since + rest, [this, number, heard, what] {
      session* const one = find(number);
      if (one != nullptr && one->last_heard == heard) what(number);
    });
  };
  if (net_.chance(plan_.close_idle)) {
    if_idle([this](std::uint64_t who) { leave(who, farewell::close); });
  } else if (net_.chance(plan_.reset_idle)) {
    if_idle([this](std::uint64_t who) { leave(who, farewell::reset); });
  } else if (net_.chance(plan_.forget_idle)) {
    if_idle([this](std::uint64_t who) { leave(who, farewell::forget); });
  } else if (net_.chance(plan_.stray_idle)) {
    if_idle([this](std::uint64_t who) {
      ++counts_.surprises;
      speak(who, wrap(*find(who), "!"));
    });
  }
}

void server::go_down(farewell how) {
  down_ = true;
  leave_all(how);
}

void server::plan_outages() {
  if (plan_.up_most > duration::zero() && plan_.down_most > duration::zero()) schedule_outage();
}

void server::schedule_outage() {
  net_.after(net_.up_to(plan_.up_most), [this] {
    go_down();
    net_.after(net_.up_to(plan_.down_most), [this] {
      come_up();
      schedule_outage();
    });
  });
}

}  // namespace conpool::sim
