#include <conpool/runtime/detail/open_streams.h>

#include <conpool/runtime/shard.h>
#include <conpool/runtime/stream.h>

namespace conpool {

open_streams& open_streams::of(shard& home) {
  home.assert_owner();
  return home.extension<open_streams>();
}

void open_streams::add(stream& opened) noexcept {
  open_.push_back(opened);
}

void open_streams::remove(stream& closed) noexcept {
  intrusive_list<stream, list_hook<open_streams>>::unlink(closed);
}

bool open_streams::may_close_now(stream& ended) noexcept {
  shard& home = ended.home();
  open_streams& all = *home.find_extension<open_streams>();
  if (all.spend_close() || home.ring().forked()) return true;
  remove(ended);
  all.waiting_.push_back(ended);
  all.wait_for_next_turn();
  return false;
}

bool open_streams::spend_close() noexcept {
  if (turn_ != home_->turn()) {
    turn_ = home_->turn();
    closes_left_ = closes_max;
  }
  if (closes_left_ == 0) return false;
  --closes_left_;
  return true;
}

void open_streams::wait_for_next_turn() noexcept {
  if (queued_) return;
  queued_ = true;
  home_->run_next_turn(*this);
}

void open_streams::close_waiting(ready_node& node) noexcept {
  auto& self = static_cast<open_streams&>(node);
  self.queued_ = false;
  while (!self.waiting_.empty() && self.spend_close()) {
    stream& ended = self.waiting_.pop_front();
    self.open_.push_back(ended);  // close_descriptor() takes it off
    ended.close_descriptor();
  }
  if (!self.waiting_.empty()) self.wait_for_next_turn();
}

void open_streams::close_all() noexcept {
  for (auto it = open_.begin(); it != open_.end();) {
    stream& open = *it++;
    open.begin_close();
  }
  if (!home_->ring().forked()) return;  // the others wait for a turn
  while (!waiting_.empty()) {
    stream& ended = waiting_.pop_front();
    open_.push_back(ended);
    ended.close_descriptor();
  }
}

}  // namespace conpool
