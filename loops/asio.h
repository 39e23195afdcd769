// conpool in a Boost.Asio program: a shard that an io_context turns, and tasks that Asio's
// coroutines await.
//
//   boost::asio::io_context io;
//   auto home = shard::create().value();
//   auto loop = loops::asio_loop::start(io, *home).value();
//   auto backends = pool::create(*home).value();
//
//   asio::awaitable<void> client(...) {     // a coroutine of Asio's
//     auto answer = co_await loops::as_asio(loop, backends.with_connection(to, ask));
//
// From start() on, io.run() turns the shard, and everything of conpool may be used between its
// turns, by any handler or coroutine of this io_context. io.run() returns when its other work is
// done and the shard has ended after shard::stop(), or the asio_loop was destroyed.
//
// The io_context must be run by one thread, which becomes the shard's owner. It must outlive the
// shard, and the shard the asio_loop: make them in that order, as above.
//
// This header needs Boost.Asio (1.74 or later; Debian's libboost-dev), and conpool itself does not.
// as_asio() is there where Asio has coroutines. Boost 1.74 does not know that clang has them,
// unless it is told by -DBOOST_ASIO_HAS_CO_AWAIT=1. Each awaited task costs a few allocations and
// one pass through the io_context.
#pragma once

#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <system_error>
#include <type_traits>
#include <utility>

#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <conpool/loops/detail/turns.h>
#include <conpool/runtime/error.h>
#include <conpool/runtime/shard.h>
#include <conpool/runtime/task.h>

namespace conpool::loops {

namespace detail {

// What waits in the io_context. Handlers share it, because they may come after the asio_loop.
class asio_turner : public std::enable_shared_from_this<asio_turner> {
 public:
  asio_turner(boost::asio::io_context& io, shard& home)
      : io_(&io), home_(&home), readable_(io, home.fd()), due_(io) {}

  shard* home() const noexcept { return home_; }

  void turn_soon() {
    if (std::exchange(posted_, true)) return;
    boost::asio::post(*io_, [self = shared_from_this()] {
      self->posted_ = false;
      self->turn();
    });
  }

  // No turn follows. The descriptor stays the shard's.
  void let_go() noexcept {
    if (home_ == nullptr) return;
    home_ = nullptr;
    readable_.release();
    due_.cancel();
  }

 private:
  void turn() {
    if (home_ == nullptr) return;
    const due next = detail::turn(*home_);
    if (home_ == nullptr) return;  // a task has destroyed the asio_loop
    if (next.ended) {
      let_go();
      return;
    }
    if (next.now) turn_soon();
    watch();
    wait_until(next.at);
  }

  void watch() {
    if (std::exchange(watching_, true)) return;
    readable_.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                         [self = shared_from_this()](const boost::system::error_code& failed) {
                           self->watching_ = false;
                           if (!failed) self->turn();
                         });
  }

  void wait_until(std::optional<time_point> moment) {
    if (moment == awaited_) return;
    awaited_ = moment;
    if (!moment) {
      due_.cancel();
      return;
    }
    due_.expires_at(*moment);
    due_.async_wait([self = shared_from_this()](const boost::system::error_code& failed) {
      if (failed) return;
      self->awaited_.reset();
      self->turn();
    });
  }

  boost::asio::io_context* io_;
  shard* home_;  // null once it is turned no more
  boost::asio::posix::stream_descriptor readable_;
  boost::asio::steady_timer due_;
  std::optional<time_point> awaited_;  // what due_ is set to
  bool watching_ = false;
  bool posted_ = false;
};

}  // namespace detail

class [[nodiscard]] asio_loop {
 public:
  // To be called on the thread that runs `io`. Errors: those of shard::attach(); too_many_files if
  // the shard can have no descriptor, and io_failed if Asio cannot watch it.
  static result<asio_loop> start(boost::asio::io_context& io, shard& home) {
    if (auto attached = home.attach(); !attached) return fail(std::move(attached.error()));
    if (home.fd() < 0) return fail(error(errc::too_many_files, phase::start, -home.fd()));
    try {
      asio_loop made(std::make_shared<detail::asio_turner>(io, home));
      made.turner_->turn_soon();
      return made;
    } catch (const boost::system::system_error& why) {
      return fail(error(errc::io_failed, phase::start, why.code().value()));
    }
  }
  asio_loop(asio_loop&&) noexcept = default;
  asio_loop& operator=(asio_loop&&) = delete;
  ~asio_loop() {
    if (turner_) turner_->let_go();
  }

  // The shard; null once it has been stopped and has ended.
  shard* home() const noexcept { return turner_->home(); }

 private:
  explicit asio_loop(std::shared_ptr<detail::asio_turner> turner) noexcept
      : turner_(std::move(turner)) {}

  std::shared_ptr<detail::asio_turner> turner_;
};

#ifdef BOOST_ASIO_HAS_CO_AWAIT

namespace detail {

// Where a task leaves what it returned or threw.
template <typename T>
struct asio_outcome {
  std::optional<T> value;
  std::exception_ptr thrown;

  T take() {
    if (thrown) std::rethrow_exception(thrown);
    return std::move(*value);
  }
};
template <>
struct asio_outcome<void> {
  std::exception_ptr thrown;

  void take() const {
    if (thrown) std::rethrow_exception(thrown);
  }
};

// Runs the task and then, outside of the turn, the handler, which owns the coroutine that awaits.
template <typename T, typename Handler>
task<void> run_for_asio(task<T> work, asio_outcome<T>& into, Handler handler) {
  try {
    if constexpr (std::is_void_v<T>) {
      co_await work;
    } else {
      auto value = co_await work;
      into.value.emplace(std::move(value));
    }
  } catch (...) {
    into.thrown = std::current_exception();
  }
  auto executor = boost::asio::get_associated_executor(handler);
  boost::asio::post(executor, std::move(handler));
}

template <typename T>
class asio_initiation {
 public:
  asio_initiation(shard& home, task<T>& work, asio_outcome<T>& into) noexcept
      : home_(&home), work_(&work), into_(&into) {}
  template <typename Handler>
  void operator()(Handler&& handler) const {
    home_->spawn(&run_for_asio<T, std::decay_t<Handler>>, std::move(*work_), std::ref(*into_),
                 std::forward<Handler>(handler));
  }

 private:
  shard* home_;
  task<T>* work_;
  asio_outcome<T>* into_;
};

}  // namespace detail

// Runs a task on the loop's shard, and gives to the Asio coroutine that awaits it what the task
// returned, or throws what it threw. The task has no deadline but its own; use with_timeout() for
// one. Cancelling the Asio coroutine does not reach it, stopping the shard does. Throws
// std::system_error(errc::shard_stopped) if the shard has ended. Both coroutines run on the
// io_context's thread.
template <typename T>
boost::asio::awaitable<T> as_asio(asio_loop& loop, task<T> work) {
  if (loop.home() == nullptr) throw std::system_error(make_error_code(errc::shard_stopped));
  detail::asio_outcome<T> outcome;
  detail::asio_initiation<T> begin(*loop.home(), work, outcome);
  co_await boost::asio::async_initiate<const boost::asio::use_awaitable_t<>, void()>(
      begin, boost::asio::use_awaitable);
  co_return outcome.take();
}

#endif  // BOOST_ASIO_HAS_CO_AWAIT

}  // namespace conpool::loops
