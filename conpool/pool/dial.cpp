// Opening connections: the part of endpoint_pool that resolves and connects.
#include <cerrno>

#include <conpool/pool/acquire.h>
#include <conpool/pool/endpoint_pool.h>
#include <conpool/pool/pool_core.h>
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

void endpoint_pool::pump() noexcept {
  while (counts_.waiting > counts_.connecting &&
         total() < core_->config().max_connections_per_endpoint) {
    ++counts_.connecting;
    ++counts_.created;
    // Owned by the shard, not by a caller: whoever asked may give up.
    home_->spawn(&endpoint_pool::dial, core_pointer(*core_), std::ref(*this), generation_);
  }
}

task<void> endpoint_pool::dial(core_pointer keep, endpoint_pool& self, std::uint64_t generation) {
  const time_point deadline = self.home_->now() + keep->config().connection_timeout;
  auto work = self.connect_one(deadline);
  auto made = co_await in_context(keep->dial_context(), std::move(work));
  if (made) {
    self.established(**made, generation);
  } else {
    self.dial_failed(std::move(made.error()));
  }
}

task<result<connection*>> endpoint_pool::connect_one(time_point deadline) {
  if (fixed_address_) {
    auto only = co_await connect_to(*fixed_address_, deadline);
    co_return only;
  }
  const std::string host(endpoint_.host());
  auto found = co_await home_->resolver().resolve(host, endpoint_.port(), deadline);
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

task<result<connection*>> endpoint_pool::connect_to(socket_address to, time_point deadline) {
  ring& kernel = home_->ring();
  const int fd = kernel.open_socket(to.family());
  if (fd < 0) {
    const bool no_room = fd == -EMFILE || fd == -ENFILE;
    co_return fail(error(no_room ? errc::too_many_files : errc::connect_failed, phase::connect, fd)
                       .about(endpoint_.text()));
  }
  auto* const fresh = new connection(*this, *home_, fd, core_->next_connection_id());
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
  if (connected) co_return fresh;
  fresh->begin_close();  // nothing is in flight any more: it is closed when this returns
  CONPOOL_ASSERT(fresh->closed(), "a failed connect left an operation in flight");
  delete fresh;
  error why = std::move(connected.error());
  if (!fixed_address_ && why.detail().empty()) {
    why = std::move(why).with_detail("at " + to.to_string());
  }
  co_return fail(std::move(why).after_attempts(1));
}

void endpoint_pool::established(connection& fresh, std::uint64_t generation) noexcept {
  const time_point now = home_->now();
  const duration lifetime = core_->config().max_connection_lifetime;
  fresh.created_at_ = now;
  fresh.generation_ = generation;
  if (lifetime > duration::zero()) fresh.retire_at_ = now + lifetime;
  members_.push_back(fresh);
  core_->add_reference();
  --counts_.connecting;
  ++counts_.active;
  fresh.state_ = connection::state::reserved;
  if (fresh.retire_at_ < next_retirement_) {
    next_retirement_ = fresh.retire_at_;
    if (timer_node::armed()) arm_expiry();
  }
  place(fresh);
}

void endpoint_pool::dial_failed(error why) noexcept {
  --counts_.connecting;
  ++counts_.closed_by[static_cast<std::size_t>(close_reason::connect_failed)];
  if (why.where() == phase::resolve) {
    ++counts_.resolve_failures;
  } else if (why == errc::connect_timeout) {
    ++counts_.connect_timeouts;
  } else {
    ++counts_.connect_failures;
  }
  // It fails the one that has waited longest, and nobody else.
  if (!waiters_.empty()) {
    --counts_.waiting;
    waiters_.pop_front().fail_with(why);
  }
  last_error_ = std::move(why);
  pump();
  core_->look_if_quiet();
}

}  // namespace conpool
