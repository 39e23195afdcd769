#include <conpool/tls/detail/turn_budget.h>

namespace conpool::tls {

bool turn_budget::has_room() noexcept {
  if (turn_ != home_->now()) {
    turn_ = home_->now();
    used_ = duration::zero();
  }
  return line_.empty() && !called_ && used_ < each_turn_;
}

void turn_budget::leave() noexcept {
  used_ += home_->read_clock() - entered_;
  called_ = false;
  call_next();
}

// The first in line runs after what is ready now, if there is time left; else the turn after this.
void turn_budget::call_next() noexcept {
  if (line_.empty() || called_) return;
  if (used_ < each_turn_) {
    called_ = true;
    line_.pop_front().wake();
  } else if (!calls_next_turn_) {
    calls_next_turn_ = true;
    home_->run_next_turn(*this);
  }
}

void turn_budget::next_turn(ready_node& node) noexcept {
  auto& self = static_cast<turn_budget&>(node);
  self.calls_next_turn_ = false;
  self.turn_ = self.home_->now();
  self.used_ = duration::zero();
  self.call_next();
}

bool turn_budget::awaiter::join(std::coroutine_handle<> handle, context* where) noexcept {
  if (!park(handle, where, deadline_)) return false;
  ++of_->times_waited_;
  of_->line_.push_back(*this);
  if (!of_->called_ && !of_->calls_next_turn_) {
    of_->calls_next_turn_ = true;
    of_->home_->run_next_turn(*of_);
  }
  return true;
}

void turn_budget::awaiter::interrupt(wait_point& waiting, errc) noexcept {
  auto& self = static_cast<awaiter&>(waiting);
  self.of_->line_.remove(self);
  self.wake();
}

}  // namespace conpool::tls
