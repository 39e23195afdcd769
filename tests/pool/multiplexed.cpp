#include <tests/pool/multiplexed.h>

#include <chrono>
#include <string_view>
#include <utility>

namespace conpool::test {

task<void> multiplexed::run(connection& to, state& own) {
  scope writer(to.home());
  writer.spawn(&multiplexed::write_all, std::ref(to), std::ref(own));
  const reader_options patient{.timeout = std::chrono::hours(10'000)};
  buffered_reader in(to, patient);
  for (;;) {
    auto line = co_await in.read_until("\n");
    if (!line) break;
    take_line(to, own, std::string(*line));
  }
  own.over = true;
  for (auto& [id, one] : own.calls) one->done.set();
  co_await writer.close();
  ++settings->ended;
}

task<void> multiplexed::write_all(connection& to, state& own) {
  for (;;) {
    if (own.outbox.empty()) {
      own.outbox_filled.emplace(to.home());
      auto woken = co_await own.outbox_filled->wait();
      own.outbox_filled.reset();
      if (!woken) co_return;
    }
    const std::string batch = std::exchange(own.outbox, {});
    auto sent = co_await to.write(batch);
    if (!sent) co_return;
  }
}

void multiplexed::take_line(connection& from, state& own, const std::string& line) {
  if (line == "GOAWAY") {
    from.retire();
  } else if (line.starts_with("MAX ")) {
    from.set_lease_limit(static_cast<std::uint32_t>(std::stoul(line.substr(4))));
  } else {
    const std::size_t bar = line.find('|');
    const auto waits = own.calls.find(static_cast<std::uint32_t>(std::stoul(line.substr(0, bar))));
    if (waits == own.calls.end()) return;  // its caller has gone
    waits->second->answer = line.substr(bar + 1);
    waits->second->done.set();
  }
}

task<result<std::string>> call_over(connection& over, std::string text) {
  auto& own = over.state<multiplexed>();
  if (own.over) co_return fail(error(errc::connection_closed, phase::write));
  multiplexed::pending mine(over.home());
  const std::uint32_t id = own.next_id++;
  own.calls[id] = &mine;
  own.outbox += std::to_string(id) + "|" + text + "\n";
  if (own.outbox_filled) own.outbox_filled->set();
  auto waited = co_await mine.done.wait();
  own.calls.erase(id);
  if (!waited) co_return fail(std::move(waited.error()));
  if (!mine.answer) co_return fail(error(errc::connection_closed, phase::read));
  co_return std::move(*mine.answer);
}

}  // namespace conpool::test
