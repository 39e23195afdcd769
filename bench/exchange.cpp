#include <bench/exchange.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <span>

#include <conpool/pool/pool.h>

namespace conpool::bench {
namespace {

// Room for a reply's line or the frame around a value.
constexpr std::size_t reply_bytes_extra = 256;

error wrong_answer(const connection& from, std::string_view detail) {
  return error(errc::io_failed, phase::read).about(from.peer().text()).with_detail(detail);
}

}  // namespace

exchange::exchange(wire_protocol protocol, std::uint32_t message_bytes, std::uint64_t number)
    : protocol_(protocol),
      number_(number),
      key_("conpool-bench:" + std::to_string(number)),
      message_(message_bytes, '\0') {
  for (std::size_t at = 0; at < message_.size(); ++at) {
    message_[at] = static_cast<char>('a' + at % 26);
  }
  const bool framed = protocol == wire_protocol::redis;
  answer_.resize(message_.size() + (framed ? reply_bytes_extra : 0));
}

void exchange::next_message() noexcept {
  ++sequence_;
  const std::array<std::uint64_t, 2> stamp{sequence_, number_};
  std::memcpy(message_.data(), stamp.data(), std::min(message_.size(), sizeof stamp));
}

task<result<void>> exchange::run(connection& over) {
  next_message();
  return protocol_ == wire_protocol::redis ? run_redis(over) : run_echo(over);
}

task<result<void>> exchange::run_echo(connection& over) {
  auto sent = co_await over.write(std::string_view(message_));
  if (!sent) co_return fail(std::move(sent.error()));
  auto received = co_await over.read_exactly(std::span<char>(answer_));
  if (!received) co_return fail(std::move(received.error()));
  if (answer_ != message_) co_return fail(wrong_answer(over, "the echo is not what was sent"));
  co_return result<void>();
}

// Sends a command and reads its one reply, which refers to answer_.
task<result<resp_reply>> exchange::ask(connection& over, std::string_view command) {
  auto sent = co_await over.write(command);
  if (!sent) co_return fail(std::move(sent.error()));
  std::size_t filled = 0;
  for (;;) {
    const std::span<char> room = std::span<char>(answer_).subspan(filled);
    auto received = co_await over.read(room);
    if (!received) co_return fail(std::move(received.error()));
    if (*received == 0) {
      co_return fail(error(errc::connection_closed, phase::read).about(over.peer().text()));
    }
    filled += *received;
    const resp_reply reply = parse_reply(std::string_view(answer_).substr(0, filled));
    if (reply.status == resp_status::complete && reply.size == filled) co_return reply;
    if (reply.status != resp_status::incomplete || filled == answer_.size()) {
      co_return fail(wrong_answer(over, "the reply is not one that Redis would give"));
    }
  }
}

task<result<void>> exchange::run_redis(connection& over) {
  const std::array<std::string_view, 3> set{"SET", key_, message_};
  request_.clear();
  append_command(request_, set);
  auto stored = co_await ask(over, request_);
  if (!stored) co_return fail(std::move(stored.error()));
  if (stored->kind != '+') {
    co_return fail(wrong_answer(over, "SET was answered: " + std::string(stored->text)));
  }
  const std::array<std::string_view, 2> get{"GET", key_};
  request_.clear();
  append_command(request_, get);
  auto found = co_await ask(over, request_);
  if (!found) co_return fail(std::move(found.error()));
  if (found->kind != '$') {
    co_return fail(wrong_answer(over, "GET was answered: " + std::string(found->text)));
  }
  if (found->null || found->text != message_) {
    co_return fail(wrong_answer(over, "GET did not return what was SET"));
  }
  co_return result<void>();
}

}  // namespace conpool::bench
