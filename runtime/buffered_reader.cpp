#include <conpool/runtime/buffered_reader.h>

#include <span>
#include <string>
#include <utility>

namespace conpool {

// Receives at least one byte behind what is there. Never more at a time: a read that is cut short
// after its first byte hands over what it has, so nothing is lost.
class buffered_reader::receiving : private stream::read_awaiter {
 public:
  receiving(stream& from, std::span<std::byte> into, duration timeout) noexcept
      : read_awaiter(from, into, 1, timeout, true, purpose::fill_ahead) {}

  using read_awaiter::await_ready;
  using read_awaiter::await_suspend;
  result<std::size_t> await_resume() {
    auto count = read_awaiter::await_resume();
    if (!count || *count == 0) return count;
    // It was closed meanwhile, and may be gone.
    if (source_ == nullptr) return fail(error(errc::connection_closed, phase::read));
    source_->ahead_.add(*count);
    source_->mark(stream::read_ahead);
    return count;
  }
};

task<result<void>> buffered_reader::fill(buffered_reader from, detail::sought& what, look_fn look) {
  stream& source = *from.from_;
  for (;;) {
    // Under a read that is refused, another one may be using the memory.
    std::byte unused{};
    std::span<std::byte> room(&unused, 1);
    if ((source.conditions() & (stream::reading | stream::closing)) == 0) {
      if (!source.ahead_.make_room(std::max(what.least, from.buffered().size() + 1))) {
        co_return fail(source.describe(errc::out_of_memory, phase::read, 0));
      }
      room = source.ahead_.room();
    }
    auto count = co_await receiving(source, room, from.timeout_);
    if (!count) co_return fail(std::move(count.error()));
    if (*count == 0) co_return fail(failure(source, detail::look::missing, what));
    const detail::look found = look(what, from.buffered());
    if (found == detail::look::whole) co_return result<void>{};
    if (found != detail::look::missing) co_return fail(failure(source, found, what));
  }
}

error buffered_reader::failure(const stream& of, detail::look found, const detail::sought& what) {
  const std::string there = std::to_string(of.ahead_.view().size());
  switch (found) {
    case detail::look::too_long:
      return of.describe(errc::message_too_long, phase::read, 0)
          .with_detail("it is larger than the reader's limit of " + std::to_string(what.limit) +
                       " bytes; if such messages are to be expected, raise reader_options::limit");
    case detail::look::malformed:
      return of.describe(errc::io_failed, phase::read, 0)
          .with_detail("a frame says that it is smaller than its header");
    default:
      return of.describe(errc::connection_closed, phase::read, 0)
          .with_detail(of.ahead_.empty()
                           ? "the stream ended between two messages"
                           : "the stream ended after " + there + " bytes of a message");
  }
}

result<void> buffered_reader::put_back(std::string_view bytes) {
  if ((from_->conditions() & stream::reading) != 0) {
    return fail(from_->describe(errc::invalid_argument, phase::read, 0)
                    .with_detail("bytes cannot be put back while a read is under way"));
  }
  if (!from_->ahead_.put_back(bytes)) {
    return fail(from_->describe(errc::out_of_memory, phase::read, 0));
  }
  if (!bytes.empty()) from_->mark(stream::read_ahead);
  return {};
}

}  // namespace conpool
