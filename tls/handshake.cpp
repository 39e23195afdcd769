#include <conpool/tls/handshake.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>

#include <conpool/runtime/deadline.h>
#include <conpool/tls/detail/connection_codec.h>
#include <conpool/tls/detail/profile_on_shard.h>
#include <conpool/tls/detail/shard_tls.h>

namespace conpool::tls {
namespace {

using const_bytes = std::span<const std::byte>;

// What one handshake needs: the codec, which stays, and memory that goes back when it is over.
struct handshake {
  handshake(shard_tls& here, turn_budget::entry& first) noexcept
      : from(&here.memory()), entry(std::move(first)) {}
  ~handshake() {
    from->give_back(std::move(received));
    from->give_back(std::move(said));
  }
  handshake(const handshake&) = delete;
  handshake& operator=(const handshake&) = delete;

  // One call into BoringSSL, in this handshake's entry of the budget, which ends with the call. The
  // first step makes the channel, too, since a thousand of these take milliseconds. Nothing if
  // there is no memory.
  std::optional<handshake_step> take_step(shard_tls& here, ssl_config& config,
                                          std::shared_ptr<const void>& owner,
                                          const std::string& peer) {
    const turn_budget::entry held = *std::exchange(entry, std::nullopt);
    if (!codec) {
      codec = std::make_unique<connection_codec>(here, config, std::move(owner), peer);
      received = from->take(record_memory::small_bytes);
      said = from->take(record_memory::small_bytes);
      if (!received || !said) return std::nullopt;
    }
    record_buffer out(said.bytes());
    const handshake_step step = codec->channel().handshake(input, out);
    output = out.filled();
    return step;
  }

  record_memory* from;
  std::optional<turn_budget::entry> entry;
  std::unique_ptr<connection_codec> codec;
  record_memory::block received;
  record_memory::block said;
  const_bytes input;  // of received
  const_bytes output;
};

task<result<void>> shake(conpool::stream& raw, shard_tls& here, ssl_config& config,
                         std::shared_ptr<const void> owner, time_point deadline, handshake& state) {
  for (;;) {
    if (!state.entry) {
      auto next = co_await here.handshakes().enter(deadline);
      if (!next) co_return fail(std::move(next.error()));
      state.entry.emplace(std::move(*next));
    }
    const auto step = state.take_step(here, config, owner, *raw.name());
    if (!step) co_return fail(error(errc::out_of_memory, phase::handshake).about(*raw.name()));
    if (!state.output.empty()) {
      auto sent = co_await raw.write(state.output);
      if (!sent && *step != handshake_step::failed) co_return fail(std::move(sent.error()));
    }
    tls::channel& channel = state.codec->channel();
    if (*step == handshake_step::failed) co_return fail(channel.failure());
    if (*step == handshake_step::open) co_return result<void>{};
    if (*step == handshake_step::wants_output) continue;
    auto count = co_await raw.read(state.received.bytes());
    if (!count) co_return fail(std::move(count.error()));
    if (*count == 0) co_return channel.end_of_input();
    state.input = state.received.bytes().first(*count);
  }
}

std::unexpected<error> ended_by(const error& cause, const conpool::stream& raw, bool too_late,
                                std::string_view why_late) {
  if (cause.where() == phase::handshake && cause.kind() >= errc::trust_unavailable) {
    return fail(cause);
  }
  errc kind = cause.kind();
  if (kind == errc::deadline_exceeded && too_late) kind = errc::handshake_timeout;
  if (kind == errc::read_timeout || kind == errc::write_timeout) kind = errc::handshake_timeout;
  if (kind == errc::connection_reset || kind == errc::io_failed) kind = errc::connect_failed;
  error made = error(kind, phase::handshake, cause.system_errno()).about(*raw.name());
  if (kind == errc::handshake_timeout) {
    made = std::move(made).with_detail(why_late);
  }
  return fail(std::move(made));
}

// From the first step on, which is made before anything is waited for.
task<result<void>> shake_in_time(conpool::stream& raw, ssl_config& config,
                                 std::shared_ptr<const void> owner, time_point deadline,
                                 turn_budget::entry& first) {
  shard& home = raw.home();
  shard_tls& here = shard_tls::of(home);
  handshake state(here, first);
  auto work = shake(raw, here, config, std::move(owner), deadline, state);
  const duration left = std::max(duration(1), deadline - home.now());
  auto done = co_await with_timeout(home, left, std::move(work));
  if (done && (raw.conditions() & conpool::stream::closing) != 0) {
    done = fail(error(errc::connection_closed, phase::handshake));
  }
  if (!done) {
    co_return ended_by(done.error(), raw, home.now() >= deadline,
                       "the peer accepted and did not finish the handshake");
  }
  raw.use_codec(std::move(state.codec), state.input);
  co_return result<void>{};
}

// While a handshake waits for its first turn it has only this frame, as small as can be: a thousand
// handshakes that begin in one turn are paid for in that turn, and memory that is touched for the
// first time is dear.
task<result<void>> wait_and_shake(conpool::stream& raw, ssl_config& config,
                                  std::shared_ptr<const void> owner, time_point deadline) {
  CONPOOL_ASSERT(raw.name() != nullptr, "TLS needs the name of its peer");
  auto entry = co_await shard_tls::of(raw.home()).handshakes().enter(deadline);
  if (!entry) {
    co_return ended_by(entry.error(), raw, raw.home().now() >= deadline,
                       "the shard was busy with other handshakes");
  }
  auto work = shake_in_time(raw, config, std::move(owner), deadline, *entry);
  co_return co_await work;
}

task<result<void>> failed(error why) {
  co_return fail(std::move(why));
}

}  // namespace

task<result<void>> connect(conpool::stream& raw, profile_ptr as, time_point deadline) {
  auto config = shard_tls::of(raw.home()).resources().config_for(as);
  if (!config) return failed(std::move(config.error()));
  return wait_and_shake(raw, **config, std::move(as), deadline);
}

task<result<void>> accept(conpool::stream& raw, std::shared_ptr<server_profile> as,
                          time_point deadline) {
  server_profile& config = *as;
  return wait_and_shake(raw, config, std::move(as), deadline);
}

const connection_info* of(const conpool::stream& secured) noexcept {
  const auto* const codec = dynamic_cast<const connection_codec*>(secured.current_codec());
  return codec != nullptr ? &codec->channel() : nullptr;
}

}  // namespace conpool::tls
