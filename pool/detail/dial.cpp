// Opening connections: the part of endpoint_pool that resolves, connects and says hello.
#include <algorithm>
#include <cerrno>
#include <exception>

#include <conpool/pool/acquire.h>
#include <conpool/pool/detail/endpoint_pool.h>
#include <conpool/pool/detail/pool_core.h>
#include <conpool/runtime/deadline.h>
#include <conpool/runtime/resolver.h>

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

}  // namespace

task<void> endpoint_pool::dial(core_pointer keep, endpoint_pool& self, std::uint32_t generation) {
  if (self.counts_.connecting > self.connects_wanted() && !self.shut_down_) {
    // Who asked for it has gone since, or has got another one.
    --self.counts_.connecting;
    --self.counts_.created;
    ++self.counts_.connects_spared;
    keep->place_freed();
    self.look_at_demand();
    co_return;
  }
  self.tell(pool_event_kind::created);
  const time_point deadline = self.home_->now() + keep->config().connection_timeout;
  auto work = self.connect_one(deadline);
  auto made = co_await in_context(keep->dial_context(), std::move(work));
  if (made) {
    self.established(**made, generation);
  } else {
    self.dial_failed(made.error());
  }
}

task<result<connection*>> endpoint_pool::connect_one(time_point deadline) {
  if (!supports(endpoint_)) {
    // For min_idle_per_endpoint: nothing goes out in the clear.
    co_return fail(error(errc::unsupported, phase::connect).about(endpoint_.text()));
  }
  if (fixed_address_) {
    auto only = co_await connect_to(*fixed_address_, deadline);
    co_return only;
  }
  const std::string host(endpoint_.host());
  auto found = co_await resolver::of(*home_).resolve(host, endpoint_.port(), deadline);
  if (!found) {
    const error& why = found.error();
    co_return fail(error(why.kind(), phase::resolve, why.system_errno())
                       .about(endpoint_.text())
                       .with_detail(why.detail()));
  }
  std::uint32_t tried = 0;
  std::optional<error> last;
  for (const socket_address& address : *found) {
    // Each address gets its share of the time that is left, so that one black hole among them
    // leaves time for the others.
    const auto left = static_cast<duration::rep>(found->size() - tried);
    const time_point until = home_->now() + (deadline - home_->now()) / left;
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
task<result<int>> endpoint_pool::open_socket(int family) {
  constexpr int tries_max = 5;
  int fd = -EMFILE;
  for (int tries = 0; tries < tries_max; ++tries) {
    fd = home_->ring().open_socket(family);
    if (fd >= 0) co_return fd;
    if ((fd != -EMFILE && fd != -ENFILE) || !core_->evict_coldest(nullptr)) break;
    auto slept = co_await home_->sleep_for(std::chrono::milliseconds(1));  // while it is closed
    if (!slept) break;
  }
  const bool no_room = fd == -EMFILE || fd == -ENFILE;
  co_return fail(error(no_room ? errc::too_many_files : errc::connect_failed, phase::connect, fd)
                     .about(endpoint_.text()));
}

task<result<connection*>> endpoint_pool::connect_to(socket_address to, time_point deadline) {
  ring& kernel = home_->ring();
  auto opened = co_await open_socket(to.family());
  if (!opened) co_return fail(std::move(opened.error()));
  const int fd = *opened;
  auto* const fresh = make_connection(fd);
  result<void> connected{};
  const int code = apply_socket_options(kernel, fd, to.family(), core_->sockets());
  if (code < 0) {
    connected = fail(error(errc::connect_failed, phase::connect, code).about(endpoint_.text()));
  } else {
    connected = co_await fresh->connect(to.data(), to.size(), deadline);
  }
  if (connected && (fresh->conditions() & stream::closing) != 0) {
    // It stood, and before this ran its shard began to stop and closed it.
    connected = fail(error(errc::shard_stopped, phase::connect).about(endpoint_.text()));
  }
  if (connected && connected_to_itself(kernel, fd, to)) {
    connected = fail(error(errc::connect_failed, phase::connect, ECONNREFUSED)
                         .about(endpoint_.text())
                         .with_detail("nobody listens; the socket was connected to itself"));
  }
  if (connected && endpoint_.transport() == transport::tls) {
    connected = co_await secure(*fresh, deadline);
  }
  if (connected && hooks_ != nullptr && hooks_->on_connect != nullptr) {
    connected = co_await introduce(*fresh, deadline);
  }
  if (connected) co_return fresh;
  // What on_connect left behind may still be in flight.
  fresh->begin_close();
  while (!fresh->closed()) {
    auto rested = co_await home_->sleep_for(std::chrono::milliseconds(1));
    if (!rested) co_await home_->yield();
  }
  free_connection(*fresh);
  error why = std::move(connected.error());
  if (!fixed_address_ && why.detail().empty()) {
    why = std::move(why).with_detail("at " + to.to_string());
  }
  co_return fail(std::move(why).after_attempts(1));
}

// The protocol's own hello, within what is left of connection_timeout.
task<result<void>> endpoint_pool::introduce(connection& fresh, time_point deadline) {
  const duration left = std::max(duration(1), deadline - home_->now());
  result<void> done{};
  try {
    auto hello = hooks_->on_connect(core_->protocol(), fresh);
    done = co_await with_timeout(*home_, left, std::move(hello));
  } catch (const std::exception& thrown) {
    done = fail(error(errc::connect_failed, phase::handshake).with_detail(thrown.what()));
  } catch (...) {
    done = fail(error(errc::connect_failed, phase::handshake).with_detail("on_connect threw"));
  }
  if (done && (fresh.conditions() & stream::closing) != 0) {
    done = fail(error(errc::connection_closed, phase::handshake));
  }
  if (done) {
    // What the hello sent and read was no lease's.
    fresh.clear(stream::unanswered);
    co_return done;
  }
  const error& cause = done.error();
  errc kind = cause == errc::deadline_exceeded ? errc::connect_timeout : cause.kind();
  if (kind != errc::connect_timeout && kind != errc::shard_stopped && kind != errc::cancelled &&
      kind != errc::pool_closed) {
    kind = errc::connect_failed;
  }
  co_return fail(error(kind, phase::handshake, cause.system_errno())
                     .about(endpoint_.text())
                     .with_detail("the protocol's on_connect: " + cause.message()));
}

// A connection that stands joins the pool, counted as active.
void endpoint_pool::take_in(connection& fresh, std::uint32_t generation) noexcept {
  const time_point now = home_->now();
  const duration lifetime = core_->config().max_connection_lifetime;
  fresh.created_at_ = now;
  fresh.last_used_ = now;
  fresh.generation_ = generation;
  if (lifetime > duration::zero()) {
    const duration jitter = lifetime * core_->config().lifetime_jitter_percent / 100;
    fresh.retire_at_ = now + lifetime - home_->random().up_to(jitter);
  }
  if (supervised_) fresh.mark(stream::supervised);
  members_.push_back(fresh);
  core_->add_reference();
  ++counts_.active;
  fresh.state_ = state::reserved;
  if (shares_) {
    const access mode = hooks_->access_mode(core_->protocol(), fresh);
    managed(fresh).shared_ = mode.is_shared;
    managed(fresh).lease_limit_ = mode.is_shared ? std::max(1U, mode.leases) : 1;
    expected_leases_ = managed(fresh).lease_limit_;
  }
  next_retirement_ = std::min(next_retirement_, replaced_at(fresh));
  schedule_upkeep();
  look_at_demand();  // more may be needed than this one, or somebody waited for it to stand
}

void endpoint_pool::established(connection& fresh, std::uint32_t generation) noexcept {
  --counts_.connecting;
  take_in(fresh, generation);
  event_queue::record event;
  event.kind = pool_event_kind::connected;
  event.connection = fresh.id();
  tell(std::move(event));
  if (gate_.stood()) tell(pool_event_kind::breaker_closed);
  if (hooks_ != nullptr && hooks_->run != nullptr) begin_run(fresh);
  place(fresh, false);
}

result<void> endpoint_pool::adopt(int fd) {
  const auto refuse = [this](errc why, int system_errno, const char* detail) {
    return fail(
        error(why, phase::configure, system_errno).about(endpoint_.text()).with_detail(detail));
  };
  ring& kernel = home_->ring();
  if (shut_down_) return fail(error(core_->closed_because()).about(endpoint_.text()));
  if (endpoint_.transport() == transport::tls) {
    return refuse(errc::unsupported, 0, "a descriptor does not carry the state of TLS");
  }
  sockaddr_storage address{};
  socklen_t length = 0;
  if (const int code = kernel.peer_address(fd, address, length); code < 0) {
    return refuse(errc::invalid_argument, code, "not a connected socket; it is still yours");
  }
  if (total() >= core_->config().max_connections_per_endpoint ||
      counts_.idle >= core_->config().idle_limit() || !core_->may_open(*this, false)) {
    return refuse(errc::queue_full, 0, "the pool is at its limit; the descriptor is still yours");
  }
  // Its watch begins with the next submission; what has happened before is to be asked for.
  if (const int there = kernel.peek(fd); there == 0 || (there < 0 && there != -EAGAIN)) {
    return refuse(there == 0 ? errc::connection_closed : errc::connection_reset, there,
                  "its peer has ended it; the descriptor is still yours");
  }
  // io_uring answers EAGAIN on a non-blocking descriptor instead of waiting.
  int code = kernel.set_blocking(fd);
  if (code >= 0) {
    code = apply_socket_options(kernel, fd, address.ss_family, core_->sockets());
  }
  if (code < 0) return refuse(errc::invalid_argument, code, "its options cannot be set");
  ++counts_.created;
  core_->opened();
  connection& fresh = *make_connection(fd);
  take_in(fresh, generation_);
  tell(pool_event_kind::connected, &fresh);
  if (hooks_ != nullptr && hooks_->run != nullptr) begin_run(fresh);
  place(fresh);
  return {};
}

}  // namespace conpool
