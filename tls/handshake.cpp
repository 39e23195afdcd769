#include <conpool/tls/handshake.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>

#include <conpool/runtime/deadline.h>
#include <conpool/tls/detail/connection_codec.h>
#include <conpool/tls/detail/profile_on_shard.h>
#include <conpool/tls/detail/resumption.h>
#include <conpool/tls/detail/shard_tls.h>

namespace conpool::tls {
namespace {

using const_bytes = std::span<const std::byte>;

// What one handshake needs: the codec, which stays, and memory that goes back when it is over.
struct handshake {
  explicit handshake(shard_tls& here) noexcept : from(&here.memory()) {}
  ~handshake() {
    from->give_back(std::move(received));
    from->give_back(std::move(said));
  }
  handshake(const handshake&) = delete;
  handshake& operator=(const handshake&) = delete;

  // Each is one call into BoringSSL, in an entry of the budget that ends with the call. The first
  // makes the channel, too, since a thousand of these take milliseconds. Nothing if there is no
  // memory.
  std::optional<handshake_step> begin(turn_budget::entry first, shard_tls& here, ssl_config& config,
                                      std::shared_ptr<const void> owner, const std::string& peer,
                                      bool may_offer_session) {
    codec = std::make_unique<connection_codec>(here, config, std::move(owner), peer);
    if (!may_offer_session) codec->channel().offer_no_session();
    received = from->take(record_memory::small_bytes);
    said = from->take(record_memory::small_bytes);
    if (!received || !said) return std::nullopt;
    return go_on(std::move(first));
  }
  handshake_step go_on(turn_budget::entry) {
    record_buffer out(said.bytes());
    const handshake_step step = codec->channel().handshake(input, out);
    output = out.filled();
    return step;
  }

  record_memory* from;
  std::unique_ptr<connection_codec> codec;
  record_memory::block received;
  record_memory::block said;
  const_bytes input;  // of received
  const_bytes output;
  bool peers_turn = false;
};

task<result<void>> shake(conpool::stream& raw, shard_tls& here, time_point deadline,
                         handshake& state, handshake_step step) {
  for (;;) {
    tls::channel& channel = state.codec->channel();
    state.peers_turn = true;
    if (!state.output.empty()) {
      auto sent = co_await raw.write(state.output);
      if (!sent && step != handshake_step::failed) co_return fail(std::move(sent.error()));
    }
    if (step == handshake_step::failed) co_return fail(channel.failure());
    if (step == handshake_step::open) co_return result<void>{};
    if (step == handshake_step::wants_input) {
      auto count = co_await raw.read(state.received.bytes());
      if (!count) co_return fail(std::move(count.error()));
      if (*count == 0) co_return channel.end_of_input();
      state.input = state.received.bytes().first(*count);
    }
    state.peers_turn = false;
    auto next = co_await here.handshakes().enter(deadline);
    if (!next) co_return fail(std::move(next.error()));
    step = state.go_on(std::move(*next));
  }
}

// Whether it was the peer or the network that did not go on, and nobody here who gave up.
bool peer_is_to_blame(errc why) noexcept {
  return why == errc::deadline_exceeded || why == errc::read_timeout ||
         why == errc::write_timeout || why == errc::connection_reset || why == errc::io_failed;
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

// From the first step on, which is made before anything is waited for. `earlier` is null if the
// caller has no other connection to try.
task<result<void>> shake_in_time(conpool::stream& raw, ssl_config& config,
                                 std::shared_ptr<const void> owner, time_point deadline,
                                 resumption* earlier, turn_budget::entry& first) {
  shard& home = raw.home();
  shard_tls& here = shard_tls::of(home);
  handshake state(here);
  const auto step = state.begin(std::move(first), here, config, std::move(owner), *raw.name(),
                                earlier == nullptr || earlier->offer);
  if (!step) co_return fail(error(errc::out_of_memory, phase::handshake).about(*raw.name()));
  tls::channel& channel = state.codec->channel();
  duration left = std::max(duration(1), deadline - home.now());
  // The other half is for a full handshake on another connection.
  if (earlier != nullptr && channel.offered_session()) left = std::max(duration(1), left / 2);
  const time_point until = home.now() + left;
  auto work = shake(raw, here, until, state, *step);
  auto done = co_await with_timeout(home, left, std::move(work));
  if (done && (raw.conditions() & conpool::stream::closing) != 0) {
    done = fail(error(errc::connection_closed, phase::handshake));
  }
  if (!done) {
    if (state.peers_turn && peer_is_to_blame(done.error().kind())) channel.handshake_given_up();
    if (earlier != nullptr) earlier->failed = channel.resumption_failed();
    co_return ended_by(done.error(), raw, home.now() >= until,
                       "the peer accepted and did not finish the handshake");
  }
  raw.use_codec(std::move(state.codec), state.input);
  co_return result<void>{};
}

// While a handshake waits for its first turn it has only this frame, as small as can be: a thousand
// handshakes that begin in one turn are paid for in that turn, and memory that is touched for the
// first time is dear.
task<result<void>> wait_and_shake(conpool::stream& raw, ssl_config& config,
                                  std::shared_ptr<const void> owner, time_point deadline,
                                  resumption* earlier) {
  CONPOOL_ASSERT(raw.name() != nullptr, "TLS needs the name of its peer");
  auto entry = co_await shard_tls::of(raw.home()).handshakes().enter(deadline);
  if (!entry) {
    co_return ended_by(entry.error(), raw, raw.home().now() >= deadline,
                       "the shard was busy with other handshakes");
  }
  auto work = shake_in_time(raw, config, std::move(owner), deadline, earlier, *entry);
  co_return co_await work;
}

task<result<void>> failed(error why) {
  co_return fail(std::move(why));
}

}  // namespace

task<result<void>> connect(conpool::stream& raw, profile_ptr as, time_point deadline) {
  auto config = shard_tls::of(raw.home()).resources().config_for(as);
  if (!config) return failed(std::move(config.error()));
  return wait_and_shake(raw, **config, std::move(as), deadline, nullptr);
}

task<result<void>> connect(conpool::stream& raw, profile_ptr as, time_point deadline,
                           resumption& earlier) {
  auto config = shard_tls::of(raw.home()).resources().config_for(as);
  if (!config) return failed(std::move(config.error()));
  return wait_and_shake(raw, **config, std::move(as), deadline, &earlier);
}

task<result<void>> accept(conpool::stream& raw, std::shared_ptr<server_profile> as,
                          time_point deadline) {
  server_profile& config = *as;
  return wait_and_shake(raw, config, std::move(as), deadline, nullptr);
}

const connection_info* of(const conpool::stream& secured) noexcept {
  const auto* const codec = dynamic_cast<const connection_codec*>(secured.current_codec());
  return codec != nullptr ? &codec->channel() : nullptr;
}

}  // namespace conpool::tls
