#include <conpool/tls/secure.h>

#include <algorithm>
#include <memory>
#include <utility>

#include <conpool/runtime/deadline.h>
#include <conpool/tls/connection_codec.h>
#include <conpool/tls/service.h>
#include <conpool/tls/shard_context.h>

namespace conpool::tls {
namespace {

using const_bytes = std::span<const std::byte>;

// The memory of one handshake, given back when it is over.
struct handshake_memory {
  explicit handshake_memory(service& home)
      : from(&home.memory()),
        received(from->take(record_memory::small_bytes)),
        said(from->take(record_memory::small_bytes)) {}
  ~handshake_memory() {
    from->give_back(std::move(received));
    from->give_back(std::move(said));
  }
  handshake_memory(const handshake_memory&) = delete;
  handshake_memory& operator=(const handshake_memory&) = delete;

  record_memory* from;
  record_memory::block received;
  record_memory::block said;
  const_bytes input;  // of received
  const_bytes output;
};

// One call of the engine, between enter() and leave() of the budget.
handshake_step take_step(tls::stream& session, handshake_memory& memory) {
  slab out(memory.said.bytes());
  const handshake_step step = session.handshake(memory.input, out);
  memory.output = out.filled();
  return step;
}

task<result<void>> shake(conpool::stream& raw, service& here, tls::stream& session,
                         handshake_memory& memory) {
  for (;;) {
    auto turn = co_await here.handshakes().enter();
    if (!turn) co_return fail(std::move(turn.error()));
    const handshake_step step = take_step(session, memory);
    here.handshakes().leave();
    if (!memory.output.empty()) {
      auto sent = co_await raw.write(memory.output);
      if (!sent && step != handshake_step::failed) co_return fail(std::move(sent.error()));
    }
    if (step == handshake_step::failed) co_return fail(session.failure());
    if (step == handshake_step::open) co_return result<void>{};
    if (step == handshake_step::wants_output) continue;
    auto count = co_await raw.read(memory.received.bytes());
    if (!count) co_return fail(std::move(count.error()));
    if (*count == 0) co_return session.end_of_input();
    memory.input = memory.received.bytes().first(*count);
  }
}

error what_it_means(const error& cause, const conpool::stream& raw, bool too_late) {
  if (cause.where() == phase::handshake && cause.kind() >= errc::trust_unavailable) return cause;
  errc kind = cause.kind();
  if (kind == errc::deadline_exceeded && too_late) kind = errc::handshake_timeout;
  if (kind == errc::read_timeout || kind == errc::write_timeout) kind = errc::handshake_timeout;
  if (kind == errc::connection_reset || kind == errc::io_failed) kind = errc::connect_failed;
  error made = error(kind, phase::handshake, cause.system_errno()).about(*raw.name());
  if (kind == errc::handshake_timeout) {
    made = std::move(made).with_detail("the peer accepted and did not end the handshake");
  }
  return made;
}

task<result<void>> secure(conpool::stream& raw, context_base& context,
                          std::shared_ptr<const void> owner, time_point deadline) {
  CONPOOL_ASSERT(raw.name() != nullptr, "TLS needs the name of its peer");
  shard& home = raw.home();
  service& here = service::of(home);
  auto made = std::make_unique<connection_codec>(here, context, std::move(owner), *raw.name());
  handshake_memory memory(here);
  if (!memory.received || !memory.said) {
    co_return fail(error(errc::out_of_memory, phase::handshake).about(*raw.name()));
  }
  auto work = shake(raw, here, made->session(), memory);
  const duration left = std::max(duration(1), deadline - home.now());
  auto done = co_await with_timeout(home, left, std::move(work));
  if (done && (raw.conditions() & conpool::stream::closing) != 0) {
    done = fail(error(errc::connection_closed, phase::handshake));
  }
  if (!done) co_return fail(what_it_means(done.error(), raw, home.now() >= deadline));
  raw.use_codec(std::move(made), memory.input);
  co_return result<void>{};
}

}  // namespace

task<result<void>> connect(conpool::stream& raw, profile_ptr as, time_point deadline) {
  auto context = service::of(raw.home()).engine().context_for(as);
  if (!context) co_return fail(std::move(context.error()));
  auto work = secure(raw, **context, std::move(as), deadline);
  co_return co_await work;
}

task<result<void>> accept(conpool::stream& raw, std::shared_ptr<server_context> as,
                          time_point deadline) {
  server_context& context = *as;
  return secure(raw, context, std::move(as), deadline);
}

const tls::stream* of(const conpool::stream& secured) noexcept {
  const auto* const codec = dynamic_cast<const connection_codec*>(secured.current_codec());
  return codec != nullptr ? &codec->session() : nullptr;
}

}  // namespace conpool::tls
