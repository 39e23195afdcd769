// conpool in a libuv program: a shard that a uv_loop_t turns.
//
//   auto home = shard::create().value();
//   auto loop = loops::uv_loop::start(*uv_default_loop(), *home).value();
//   auto backends = pool::create(*home).value();
//   home->spawn(client, std::ref(backends));     // here, or in any callback of libuv
//   uv_run(uv_default_loop(), UV_RUN_DEFAULT);
//
// From start() on, uv_run() turns the shard, and everything of conpool may be used between its
// turns, in libuv's callbacks. uv_run() returns when its other handles are closed and the shard has
// ended after shard::stop(), or the uv_loop was destroyed.
//
// The thread that runs the uv_loop_t becomes the shard's owner. The shard must outlive the uv_loop.
// The handles are closed as libuv closes any: what they are is freed when the uv_loop_t runs the
// next time, so run it once more before uv_loop_close().
//
// This header needs libuv (1.40 or later; Debian's libuv1-dev), and conpool itself does not.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <optional>
#include <utility>

#include <uv.h>

#include <conpool/loops/detail/turns.h>
#include <conpool/runtime/error.h>
#include <conpool/runtime/shard.h>

namespace conpool::loops {

namespace detail {

// Handles of libuv, which free themselves when all are closed.
class uv_turner {
 public:
  // The error is libuv's; nothing is left then.
  static std::pair<uv_turner*, int> start(uv_loop_t& loop, shard& home) {
    auto* made = new uv_turner(home);
    made->readable_.data = made->due_.data = made->more_.data = made;
    if (const int failed = uv_poll_init(&loop, &made->readable_, home.fd()); failed != 0) {
      delete made;
      return {nullptr, failed};
    }
    uv_timer_init(&loop, &made->due_);
    uv_idle_init(&loop, &made->more_);
    const int failed = uv_poll_start(&made->readable_, UV_READABLE, &uv_turner::on_readable);
    if (failed != 0) {
      made->let_go();
      return {nullptr, failed};
    }
    uv_idle_start(&made->more_, &uv_turner::on_more);
    return {made, 0};
  }

  shard* home() const noexcept { return home_; }
  // No turn follows, and the owner knows it no more.
  void let_go() noexcept {
    owned_ = false;
    end();
  }

 private:
  explicit uv_turner(shard& home) noexcept : home_(&home) {}

  void turn() {
    if (home_ == nullptr) return;
    const due next = detail::turn(*home_);
    if (home_ == nullptr) return;  // a task has destroyed the uv_loop
    if (next.ended) {
      end();
      return;
    }
    std::int64_t wait_ms = next.now ? 0 : -1;
    if (next.at) {
      const auto left = *next.at - std::chrono::steady_clock::now();
      const auto whole = std::chrono::ceil<std::chrono::milliseconds>(left).count();
      wait_ms = std::max<std::int64_t>(whole, 0);
    }
    // Not by a timer of 0 ms: libuv may serve one that is set again in its own callback for ever.
    uv_idle_stop(&more_);
    uv_timer_stop(&due_);
    if (wait_ms == 0) {
      uv_idle_start(&more_, &uv_turner::on_more);
    } else if (wait_ms > 0) {
      uv_update_time(due_.loop);  // it counts from the time that its loop has read last
      uv_timer_start(&due_, &uv_turner::on_due, static_cast<std::uint64_t>(wait_ms), 0);
    }
  }

  void end() noexcept {
    if (std::exchange(home_, nullptr) == nullptr) {
      if (open_ == 0) delete this;
      return;
    }
    uv_close(reinterpret_cast<uv_handle_t*>(&readable_), &uv_turner::on_closed);
    uv_close(reinterpret_cast<uv_handle_t*>(&due_), &uv_turner::on_closed);
    uv_close(reinterpret_cast<uv_handle_t*>(&more_), &uv_turner::on_closed);
  }

  static void on_readable(uv_poll_t* handle, int, int) {
    static_cast<uv_turner*>(handle->data)->turn();
  }
  static void on_due(uv_timer_t* handle) { static_cast<uv_turner*>(handle->data)->turn(); }
  static void on_more(uv_idle_t* handle) { static_cast<uv_turner*>(handle->data)->turn(); }
  static void on_closed(uv_handle_t* handle) {
    auto* self = static_cast<uv_turner*>(handle->data);
    if (--self->open_ == 0 && !self->owned_) delete self;
  }

  shard* home_;  // null once it is turned no more
  uv_poll_t readable_{};
  uv_timer_t due_{};
  uv_idle_t more_{};   // active while a turn is due at once
  int open_ = 3;       // handles that are not closed yet
  bool owned_ = true;  // a uv_loop refers to it
};

}  // namespace detail

class [[nodiscard]] uv_loop {
 public:
  // To be called on the thread that runs `loop`. Errors: those of shard::attach(); too_many_files
  // if the shard can have no descriptor, and io_failed if libuv cannot watch it.
  static result<uv_loop> start(uv_loop_t& loop, shard& home) {
    if (auto attached = home.attach(); !attached) return fail(std::move(attached.error()));
    if (home.fd() < 0) return fail(error(errc::too_many_files, phase::start, -home.fd()));
    const auto [made, failed] = detail::uv_turner::start(loop, home);
    if (made == nullptr) return fail(error(errc::io_failed, phase::start, -failed));
    return uv_loop(made);
  }
  uv_loop(uv_loop&& other) noexcept : turner_(std::exchange(other.turner_, nullptr)) {}
  uv_loop& operator=(uv_loop&&) = delete;
  ~uv_loop() {
    if (turner_ != nullptr) turner_->let_go();
  }

  // The shard; null once it has been stopped and has ended.
  shard* home() const noexcept { return turner_->home(); }

 private:
  explicit uv_loop(detail::uv_turner* turner) noexcept : turner_(turner) {}

  detail::uv_turner* turner_;
};

}  // namespace conpool::loops
