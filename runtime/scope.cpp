#include <conpool/runtime/scope.h>

#include <system_error>

#include <conpool/runtime/shard.h>

namespace conpool {

scope::scope(shard& home) noexcept : home_(&home) {
  context_.attach(&home.root_context());
}

void scope::throw_forked() {
  throw std::system_error(make_error_code(errc::forked));
}

void scope::check_process() const {
  if (home_->ring().forked()) [[unlikely]]
    throw_forked();
}

void scope::child_started(ready_node& node) noexcept {
  home_->assert_owner();
  ++running_;
  home_->task_started();
  home_->ready().push(node);
}

void scope::child_ended() noexcept {
  home_->task_ended();
  CONPOOL_ASSERT(running_ > 0, "a task ended twice");
  if (--running_ == 0 && joiner_ != nullptr) std::exchange(joiner_, nullptr)->wake();
}

}  // namespace conpool
