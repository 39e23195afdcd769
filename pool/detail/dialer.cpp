#include <conpool/pool/detail/dialer.h>

#include <algorithm>
#include <cerrno>
#include <exception>
#include <string>
#include <utility>

#include <conpool/runtime/deadline.h>
#include <conpool/runtime/detail/descriptor_failure.h>
#include <conpool/runtime/resolver.h>
#include <conpool/runtime/socket.h>
#include <conpool/tls/detail/resumption.h>

namespace conpool {
namespace {

// While nobody listens on a loopback port of the ephemeral range, the kernel may choose that very
// port as the source of a connect to it, and TCP's simultaneous open connects the socket to itself
// (RFC 9293, 3.5). To lend it would be an echo of the caller's own bytes, and would keep the server
// from binding its port again.
bool connected_to_itself(ring& kernel, int fd, const socket_address& to) noexcept {
  if (to.family() != AF_INET && to.family() != AF_INET6) return false;
  sockaddr_storage local{};
  socklen_t length = 0;
  if (kernel.local_address(fd, local, length) < 0) return false;
  const auto from = socket_address::from(reinterpret_cast<const sockaddr*>(&local), length);
  return from && *from == to;
}

// What a handshake that on_connect began has failed with. Its end by the peer is not told from
// others.
bool is_of_handshake(const error& why) noexcept {
  return why.where() == phase::handshake && why.kind() >= errc::trust_unavailable &&
         why.kind() <= errc::record_limit;
}

std::optional<socket_address> address_without_resolving(const endpoint& to) {
  result<socket_address> made = fail(error(errc::invalid_argument));
  if (to.transport() == transport::unix_socket) {
    made = socket_address::unix_path(to.path());
  } else if (to.is_numeric()) {
    made = socket_address::ip(to.host(), to.port());
  }
  if (!made) return std::nullopt;
  return *made;
}

}  // namespace

dialer::dialer(endpoint_facts& facts)
    : facts_(&facts), fixed_address_(address_without_resolving(facts.peer)) {}

task<result<pooled_connection*>> dialer::connect(time_point deadline) {
  if (!supports(facts_->peer)) {
    // For min_idle_per_endpoint: nothing goes out in the clear.
    co_return fail(error(errc::unsupported, phase::connect).about(facts_->peer.text()));
  }
  if (fixed_address_) {
    auto only = co_await connect_to(*fixed_address_, deadline);
    co_return only;
  }
  const std::string host(facts_->peer.host());
  auto found = co_await resolver::of(*facts_->home).resolve(host, facts_->peer.port(), deadline);
  if (!found) {
    const error& why = found.error();
    co_return fail(error(why.kind(), phase::resolve, why.system_errno())
                       .about(facts_->peer.text())
                       .with_detail(why.detail()));
  }
  std::uint32_t tried = 0;
  std::optional<error> last;
  for (const socket_address& address : *found) {
    if (last && facts_->now() >= deadline) break;  // what the last one said is the answer
    // Each address gets its share of the time that is left, so that one black hole among them
    // leaves time for the others.
    const auto left = static_cast<duration::rep>(found->size() - tried);
    const time_point until = facts_->now() + (deadline - facts_->now()) / left;
    ++tried;
    auto made = co_await connect_to(address, until);
    if (made) co_return *made;
    last = std::move(made.error());
    if (*last == errc::cancelled || *last == errc::shard_stopped || *last == errc::pool_closed) {
      break;
    }
  }
  co_return fail(std::move(*last).after_attempts(tried));
}

// Out of descriptors, an idle connection of any endpoint gives up its own.
task<result<int>> dialer::open_socket(int family) {
  constexpr int tries_max = 5;
  int fd = -EMFILE;
  for (int tries = 0; tries < tries_max; ++tries) {
    fd = facts_->home->ring().open_socket(family);
    if (fd >= 0) co_return fd;
    if ((fd != -EMFILE && fd != -ENFILE) || !facts_->pool->cap().evict_coldest(nullptr)) break;
    auto slept =
        co_await facts_->home->sleep_for(std::chrono::milliseconds(1));  // while it is closed
    if (!slept) break;
  }
  co_return fail(not_opened(fd));
}

// Why no socket could be opened, or set up.
error dialer::not_opened(int code) const {
  return descriptor_failure(code, errc::connect_failed, phase::connect).about(facts_->peer.text());
}

// Its state's constructor is the protocol's, and may throw.
result<pooled_connection*> dialer::make_connection(int fd) {
  std::string thrown = "the protocol's state threw";
  try {
    return facts_->make_connection(fd);
  } catch (const std::exception& why) {
    thrown.append(": ").append(why.what());
  } catch (...) {
    thrown.append(" something");
  }
  facts_->home->ring().close(fd);
  return fail(
      error(errc::connect_failed, phase::connect).about(facts_->peer.text()).with_detail(thrown));
}

task<result<pooled_connection*>> dialer::connect_to(socket_address to, time_point deadline) {
  tls::resumption earlier;
  std::optional<error> in_vain;  // what came of offering an earlier session
  for (;;) {
    auto attempt = try_once(to, deadline, earlier);
    auto made = co_await attempt;
    if (made) co_return made;
    const bool may_go_on = !facts_->shut_down && facts_->now() < deadline;
    if (!earlier.failed || !earlier.offer || !may_go_on) {
      error why = std::move(made.error());
      co_return fail(describe(std::move(why), to, in_vain).after_attempts(in_vain ? 2 : 1));
    }
    // A peer that does not like the session gets a full handshake, on a connection of its own.
    ++facts_->counts.resumptions_failed;
    in_vain.emplace(std::move(made.error()));
    earlier.offer = false;
  }
}

task<result<pooled_connection*>> dialer::try_once(const socket_address& to, time_point deadline,
                                                  tls::resumption& earlier) {
  auto opened = co_await open_socket(to.family());
  if (!opened) co_return fail(std::move(opened.error()));
  const int fd = *opened;
  auto made = make_connection(fd);
  if (!made) co_return fail(std::move(made.error()));
  pooled_connection* const fresh = *made;
  result<void> connected{};
  const int code = apply_socket_options(facts_->home->ring(), fd, to.family(), facts_->sockets);
  if (code < 0) {
    connected = fail(not_opened(code));
  } else if (facts_->now() >= deadline) {
    // The look-up, or the wait for a descriptor, took all of the time.
    connected = fail(error(errc::connect_timeout, phase::connect).about(facts_->peer.text()));
  } else {
    connected = co_await fresh->connect(to.data(), to.size(), deadline);
  }
  if (connected) connected = check_connected(*fresh, fd, to);
  if (connected && facts_->peer.transport() == transport::tls) {
    connected = co_await shake_hands(*fresh, deadline, earlier);
    // An offer in vain is followed by a full handshake, which counts.
    const bool goes_on = earlier.failed && earlier.offer;
    if (!connected && !goes_on) ++facts_->counts.handshakes_failed;
  }
  const protocol_hooks* const hooks = facts_->hooks();
  if (connected && hooks != nullptr && hooks->on_connect != nullptr) {
    connected = co_await greet(*fresh, deadline);
  }
  if (connected) co_return fresh;
  // What on_connect left behind may still be in flight.
  fresh->begin_close();
  while (!fresh->closed()) {
    auto rested = co_await facts_->home->sleep_for(std::chrono::milliseconds(1));
    if (!rested) co_await facts_->home->yield();
  }
  facts_->free_connection(*fresh);
  co_return fail(std::move(connected.error()));
}

result<void> dialer::check_connected(const pooled_connection& fresh, int fd,
                                     const socket_address& to) const {
  if ((fresh.conditions() & stream::closing) != 0) {
    // It stood, and before this ran its shard began to stop and closed it.
    return fail(error(errc::shard_stopped, phase::connect).about(facts_->peer.text()));
  }
  if (connected_to_itself(facts_->home->ring(), fd, to)) {
    return fail(error(errc::connect_failed, phase::connect, ECONNREFUSED)
                    .about(facts_->peer.text())
                    .with_detail("nobody listens; the socket was connected to itself"));
  }
  return {};
}

error dialer::describe(error why, const socket_address& to,
                       const std::optional<error>& in_vain) const {
  std::string detail(why.detail());
  if (!fixed_address_ && detail.empty()) detail = "at " + to.to_string();
  if (in_vain) {
    if (!detail.empty()) detail += "; ";
    detail += "before that, an earlier session was offered in vain: " + in_vain->message();
  }
  if (detail.empty()) return why;
  return std::move(why).with_detail(detail);
}

// The protocol's own hello (on_connect), within what is left of connection_timeout.
task<result<void>> dialer::greet(pooled_connection& fresh, time_point deadline) {
  const duration left = std::max(duration(1), deadline - facts_->now());
  result<void> done{};
  try {
    auto hello = facts_->hooks()->on_connect(facts_->pool->protocol(), fresh);
    done = co_await with_timeout(*facts_->home, left, std::move(hello));
  } catch (const std::exception& thrown) {
    done = fail(error(errc::connect_failed, phase::handshake).with_detail(thrown.what()));
  } catch (...) {
    done = fail(error(errc::connect_failed, phase::handshake).with_detail("on_connect threw"));
  }
  if (done && (fresh.conditions() & stream::closing) != 0) {
    done = fail(error(errc::connection_closed, phase::handshake));
  }
  if (done) done = check_greeted(fresh);
  // It may have put TLS on the connection, as protocols do that begin in the clear.
  const bool upgrades = facts_->peer.transport() != transport::tls;
  if (done) {
    // What the hello sent and read was no lease's; and if a read of it was in vain, the protocol
    // has gone on all the same.
    fresh.clear(stream::wrote_last | stream::interrupted);
    if (upgrades && fresh.has_codec()) facts_->count_handshake(fresh);
    co_return done;
  }
  if (upgrades && is_of_handshake(done.error())) ++facts_->counts.handshakes_failed;
  co_return fail(said_by_protocol(done.error()));
}

// What a hello leaves would be taken for an answer by the first user. To run() it may be what that
// begins with.
result<void> dialer::check_greeted(const pooled_connection& fresh) const {
  if (facts_->hooks()->run != nullptr) return {};
  if ((fresh.conditions() & stream::read_ahead) != 0 && !facts_->server_speaks_first()) {
    return fail(error(errc::unsolicited_data, phase::handshake)
                    .with_detail("it left bytes unread that its buffered_reader had received"));
  }
  if ((fresh.conditions() & stream::owes_answers) != 0) {
    return fail(error(errc::unsolicited_data, phase::handshake)
                    .with_detail("it left answers owed, or read more than it had expected"));
  }
  return {};
}

// The kind, the errno and the text are the protocol's own, so that a caller can tell a wrong
// password from a port that is closed.
error dialer::said_by_protocol(const error& cause) const {
  const errc kind = cause == errc::deadline_exceeded ? errc::connect_timeout : cause.kind();
  const std::string text(cause.detail());
  error made =
      error(kind, phase::handshake, cause.system_errno())
          .about(facts_->peer.text())
          .with_detail("the protocol's on_connect: " + (text.empty() ? cause.message() : text));
  return cause.is_permanent() ? std::move(made).permanent() : std::move(made);
}

}  // namespace conpool
