// How a stream exchanges: a write and a read that begin together and wake their task once.
//
// Each part is the awaiter that it would be alone, with its own operation, deadline and place in
// the context. So the kernel answers for each of them, in either order, and the task runs again
// when it has answered for both. A part that fails asks the kernel to end the other one.
#include <cerrno>
#include <utility>

#include <conpool/runtime/stream.h>

namespace conpool {

bool stream::exchange_awaiter::await_ready() noexcept {
  stream& peer = *in_.source_;
  if ((peer.conditions_ & (reading | writing | closing)) != 0) {
    in_.misused_ = (peer.conditions_ & reading) != 0;
    out_.misused_ = (peer.conditions_ & writing) != 0;
    if (out_.misused_) out_.code_ = -ECANCELED;
    in_.code_ = -ECANCELED;
    return true;
  }
  // What came before this is the beginning of the answer, or its end.
  const bool known = in_.await_ready();
  return known && !in_.has_enough();
}

bool stream::exchange_awaiter::begin(std::coroutine_handle<> handle, context* where) noexcept {
  const bool writes = !out_.from_.empty();
  const bool reads = !in_.has_enough();
  under_way_ = static_cast<unsigned>(writes) + static_cast<unsigned>(reads);
  if (under_way_ == 0) return false;
  out_.part_of_ = in_.part_of_ = this;
  if (writes && !out_.begin(handle, where)) return false;
  if (!reads) return true;
  // A codec that cannot write says so at once.
  if (out_.code_ != 0) return false;
  const bool waits = in_.begin(handle, where);
  CONPOOL_ASSERT(waits || !writes, "the memory of a write would be left to the kernel");
  return waits;
}

void stream::exchange_awaiter::write_over() noexcept {
  if (--under_way_ == 0) {
    out_.wake();
    return;
  }
  out_.disarm();
  if (out_.code_ != 0 && in_.parked()) in_.stop();
}

void stream::exchange_awaiter::read_over() noexcept {
  if (--under_way_ == 0) {
    in_.wake();
    return;
  }
  in_.disarm();
  if (in_.has_enough()) return;
  out_stopped_ = true;
  out_.stop();
}

result<std::size_t> stream::exchange_awaiter::await_resume() {
  const bool answered = in_.has_enough() && in_.filled_ > 0;
  // After a reset one part is told the reason, and the other one only that it is over.
  const bool out_failed = out_.code_ != 0 && !(out_stopped_ && out_.code_ == -ECANCELED);
  if (answered || !out_failed) return in_.await_resume();
  auto failed = out_.await_resume();
  return fail(std::move(failed.error()));
}

}  // namespace conpool
