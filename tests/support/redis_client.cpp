#include <tests/support/redis_client.h>

#include <span>
#include <string_view>
#include <utility>

#include <bench/resp.h>

namespace conpool::test {
namespace {

constexpr std::size_t reply_bytes_max = 16 * 1024;

std::string spell(const redis_words& command) {
  const std::vector<std::string_view> views(command.begin(), command.end());
  std::string spelled;
  bench::append_command(spelled, views);
  return spelled;
}

error bad_reply(const endpoint& from, std::string_view text) {
  return error(errc::io_failed, phase::read).about(from.text()).with_detail(text);
}

}  // namespace

task<result<redis_reply>> redis_command(pool& backends, endpoint to, redis_words command) {
  const std::string request = spell(command);
  auto taken = co_await backends.acquire(to);
  if (!taken) co_return fail(std::move(taken.error()));
  auto sent = co_await (*taken)->write(request);
  if (!sent) co_return fail(std::move(sent.error()));

  std::string buffer(reply_bytes_max, '\0');
  std::size_t filled = 0;
  for (;;) {
    const std::span<char> room = std::span<char>(buffer).subspan(filled);
    auto count = co_await (*taken)->read(room);
    if (!count) co_return fail(std::move(count.error()));
    if (*count == 0) {
      co_return fail(error(errc::connection_closed, phase::read).about(to.text()));
    }
    filled += *count;
    const auto reply = bench::parse_reply(std::string_view(buffer).substr(0, filled));
    if (reply.status == bench::resp_status::incomplete && filled < buffer.size()) continue;
    if (reply.status != bench::resp_status::complete || reply.size != filled) {
      taken->discard();
      co_return fail(bad_reply(to, "not one whole reply"));
    }
    if (reply.kind == '-') co_return fail(bad_reply(to, reply.text));
    redis_reply made;
    if (!reply.null) made.emplace(reply.text);
    co_return made;
  }
}

}  // namespace conpool::test
