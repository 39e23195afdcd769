// libFuzzer on tls::channel, as a client and as a server.
//
//   channel-fuzz --corpus FOLDER        writes the first inputs: good recordings, scripts
//   channel-fuzz FOLDER ...             libFuzzer's own command line
//
// An input is a kind of session (world.h) and how to play it, then either
//   - what the peer sends, in chunks: a recording, and what the fuzzer makes of it; or
//   - a script for a live peer, whose messages are cut, changed, repeated, dropped, injected.
// Whatever comes, the channel must not touch memory that is not its own (sanitizers), must take its
// input or say why not, and must never hand over a byte that the peer did not send at that place.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <string_view>

#include <tests/tls/fuzz/world.h>

namespace conpool::test {
namespace {

using tls::channel_state;

void check(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "channel-fuzz: broken: %s\n", what);
  std::abort();
}

// The rest of the input, byte by byte; zeros at its end.
class script {
 public:
  explicit script(std::span<const std::uint8_t> bytes) : left_(bytes) {}
  bool over() const noexcept { return left_.empty(); }
  std::uint8_t byte() noexcept {
    if (left_.empty()) return 0;
    const std::uint8_t first = left_.front();
    left_ = left_.subspan(1);
    return first;
  }
  std::span<const std::byte> some(std::size_t count) noexcept {
    const auto taken = left_.first(std::min(count, left_.size()));
    left_ = left_.subspan(taken.size());
    return std::as_bytes(taken);
  }

 private:
  std::span<const std::uint8_t> left_;
};

// The attacked end, and all that must hold for it.
class victim {
 public:
  victim(rigged_session& both, pattern& expected) : both_(&both), expected_(&expected) {}

  end& it() noexcept { return both_->target(); }
  channel_state state() noexcept { return it().channel.state(); }

  // The handshake, as far as it goes with record buffers of this size.
  void shake(std::size_t buffer_bytes) {
    const rigged_random::scope drawn(both_->of(it()));
    for (int calls = 0; state() == channel_state::handshaking; ++calls) {
      check(calls < 20'000, "a handshake that does not stop asking for slabs");
      const std::size_t before = it().inbox.size();
      switch (it().step(buffer_bytes)) {
        case tls::handshake_step::wants_output:
          continue;
        case tls::handshake_step::wants_input:
          check(it().inbox.empty() || before == 0, "input was left, and more is wanted");
          return;
        case tls::handshake_step::open:
          check(state() == channel_state::open, "open, but not so");
          break;
        case tls::handshake_step::failed:
          check(state() == channel_state::failed, "failed, but not so");
          break;
      }
    }
    expect_sound();
  }
  void read(std::size_t most) {
    if (state() == channel_state::handshaking) return;
    const rigged_random::scope drawn(both_->of(it()));
    for (int calls = 0; calls < 64; ++calls) {
      const auto heard = it().read(most);
      check(heard || state() == channel_state::failed, "an error without a failure");
      if (heard) check(expected_->continues(*heard), "bytes that the peer did not send there");
      if (!heard) break;
      if (!heard->empty()) continue;
      const bool hears = state() == channel_state::open || state() == channel_state::closing;
      check(!hears || it().inbox.empty(), "input that is never taken");
      break;
    }
    expect_sound();
  }
  void idle() {
    if (state() != channel_state::open || it().channel.has_plain()) return;
    const rigged_random::scope drawn(both_->of(it()));
    const tls::idle_outcome verdict = it().idle();
    check((verdict == tls::idle_outcome::keep) == (state() == channel_state::open), "the verdict");
    expect_sound();
  }
  void write(std::size_t size) {
    if (state() == channel_state::handshaking) return;
    const rigged_random::scope drawn(both_->of(it()));
    const bool writable = state() == channel_state::open || state() == channel_state::peer_closed;
    const auto written = it().write(std::string(size, 'w'));
    check(writable || !written || size == 0, "written after the end");
    expect_sound();
  }
  void close() {
    const rigged_random::scope drawn(both_->of(it()));
    it().close();
    expect_sound();
  }
  result<void> end_of_input() {
    auto ended = it().channel.end_of_input();
    check(ended || state() == channel_state::failed, "an end without a failure");
    expect_sound();
    return ended;
  }

 private:
  void expect_sound() {
    if (state() == channel_state::failed) {
      check(!it().channel.failure().message().empty(), "a failure without words");
      check(!it().channel.reusable(), "failed, and to be used again");
    }
    if (it().channel.has_output()) it().flush();
    check(!it().channel.has_output(), "something waits though there was room");
  }

  rigged_session* both_;
  pattern* expected_;
};

// --- what the peer sends, in chunks

void feed(const session_kind& kind, script from) {
  static constexpr std::size_t slabs[] = {7, 100, 4096, tls::record_buffer_size};
  static constexpr std::size_t chunks[] = {1, 5, 64, 1 << 20};
  const std::uint8_t how = from.byte();
  rigged_random sizes(how);
  const auto both = world::get().open(kind);
  pattern expected;
  victim target(*both, expected);
  const std::size_t buffer_bytes = slabs[how & 3U];
  const std::size_t chunk_max = chunks[(how >> 2U) & 3U];
  target.shake(buffer_bytes);
  while (!from.over() && target.state() != channel_state::failed) {
    append(target.it().inbox, from.some(1 + sizes.next() % chunk_max));
    target.shake(buffer_bytes);
    if ((how & 16U) != 0) target.idle();
    target.read((how & 32U) != 0 ? 3 : 2000);  // zeroes its memory each time
    if ((how & 64U) != 0) target.write(sizes.next() % 100);
    if ((how & 128U) != 0 && sizes.next() % 16 == 0) target.close();
  }
  target.end_of_input();
  check(expected.heard() <= world::get().recorded_text(kind), "more than there is");
}

// --- a live peer

class live_game {
 public:
  explicit live_game(const session_kind& kind)
      : both_(world::get().open(kind)), target_(*both_, sent_) {}

  void play(script from) {
    for (int moves = 0; !from.over() && moves < moves_max; ++moves) move(from);
    if (target_.end_of_input()) check(ended_well_, "a good end that the peer did not send");
    check(sent_.heard() <= sent_.sent(), "more than was sent");
  }

 private:
  static constexpr int moves_max = 400;

  end& honest() { return both_->honest(); }
  bytes& inbox() { return target_.it().inbox; }

  void honest_step() {
    const rigged_random::scope drawn(both_->of(honest()));
    if (honest().channel.state() == channel_state::handshaking) {
      honest().step();
    } else {
      static_cast<void>(honest().read());
    }
  }
  bool honest_writes() {
    return honest().channel.state() == channel_state::open ||
           honest().channel.state() == channel_state::peer_closed;
  }
  void hand_over(std::size_t count) {
    bytes& said = honest().outbox;
    count = std::min(count, said.size());
    append(inbox(), std::span(said).first(count));
    said.erase(said.begin(), said.begin() + static_cast<std::ptrdiff_t>(count));
  }
  void to_the_end_of_the_handshake() {
    for (int round = 0; round < 6; ++round) {
      hand_over(honest().outbox.size());
      target_.shake(tls::record_buffer_size);
      both_->deliver_to_honest();
      honest_step();
    }
  }
  void honest_move(std::uint8_t which, script& from) {
    const rigged_random::scope drawn(both_->of(honest()));
    if (!honest_writes()) return;
    if (which == 0) {
      static_cast<void>(honest().write(sent_.next(from.byte())));
    } else if (which == 1) {
      static_cast<void>(honest().write(sent_.next(40'000)));
    } else if (which == 2) {
      SSL_key_update(honest().channel.native(), from.byte() & 1);
      static_cast<void>(honest().write(sent_.next(1)));
    } else {
      honest().close();
      ended_well_ = true;
    }
  }
  void tamper(std::uint8_t which, script& from) {
    bytes& at = inbox();
    const std::size_t place = at.empty() ? 0 : from.byte() * 257U % at.size();
    const auto here = at.begin() + static_cast<std::ptrdiff_t>(place);
    if (which == 0 && !at.empty()) {
      *here ^= std::byte{from.byte()};
    } else if (which == 1) {
      const auto raw = from.some(from.byte());
      at.insert(here, raw.begin(), raw.end());
    } else if (which == 2) {
      at.erase(here, here + std::min<std::ptrdiff_t>(from.byte(), at.end() - here));
    } else if (at.size() < 200'000) {
      append(at, bytes(at));
    }
  }
  void move(script& from) {
    const std::uint8_t which = from.byte() % 20;
    if (which < 2) {
      honest_step();
      both_->deliver_to_honest();
    } else if (which < 4) {
      target_.shake(which == 2 ? tls::record_buffer_size : 1 + from.byte());
      both_->deliver_to_honest();
    } else if (which == 4) {
      to_the_end_of_the_handshake();
    } else if (which == 5) {
      hand_over(from.byte() + 1);
    } else if (which == 6) {
      hand_over(honest().outbox.size());
    } else if (which < 11) {
      honest_move(which - 7, from);
    } else if (which < 15) {
      tamper(which - 11, from);
    } else if (which == 15) {
      target_.read(1 + from.byte());
    } else if (which == 16) {
      target_.read(64 * 1024);
    } else if (which == 17) {
      target_.idle();
    } else if (which == 18) {
      target_.write(from.byte() * 100U);
      both_->deliver_to_honest();
    } else {
      // Of a channel that closed itself before it was open nothing can be said.
      if (target_.state() == channel_state::handshaking) ended_well_ = true;
      target_.close();
      both_->deliver_to_honest();
    }
  }

  std::unique_ptr<rigged_session> both_;
  pattern sent_;
  victim target_;
  bool ended_well_ = false;
};

// --- the first inputs

void save(const std::filesystem::path& to, std::span<const std::uint8_t> bytes) {
  std::ofstream(to, std::ios::binary)
      .write(reinterpret_cast<const char*>(bytes.data()),
             static_cast<std::streamsize>(bytes.size()));
}

void make_corpus(const std::filesystem::path& folder) {
  std::filesystem::create_directories(folder);
  // Each one's handshake, data both ways, then something of each kind of move.
  static constexpr std::uint8_t moves[] = {4, 7, 50, 6,  16, 18, 3,  0,  8, 6, 16, 9,  1,  6, 17, 7,
                                           9, 5, 3,  15, 2,  6,  16, 11, 7, 9, 6,  16, 10, 6, 16};
  for (std::uint8_t byte = 0; byte < session_kinds; ++byte) {
    const bytes& said = world::get().recording(session_kind(byte));
    for (const std::uint8_t how : {0x0F, 0x0B, 0x4D, 0x33, 0x01, 0xEE}) {
      std::vector<std::uint8_t> input{byte, how};
      for (const std::byte one : said) input.push_back(std::to_integer<std::uint8_t>(one));
      save(folder / ("feed-" + std::to_string(byte) + "-" + std::to_string(how)), input);
    }
    std::vector<std::uint8_t> input{static_cast<std::uint8_t>(byte | live_bit)};
    input.insert(input.end(), std::begin(moves), std::end(moves));
    save(folder / ("live-" + std::to_string(byte)), input);
  }
}

// A recording must be good to its end, or the fuzz is of little worth.
void expect_good_recordings() {
  for (std::uint8_t byte = 0; byte < session_kinds; ++byte) {
    const session_kind kind(byte);
    const auto both = world::get().open(kind);
    pattern expected;
    victim target(*both, expected);
    target.shake(tls::record_buffer_size);
    target.it().inbox = world::get().recording(kind);
    target.shake(tls::record_buffer_size);
    target.read(64 * 1024);
    if (!kind.can_be_replayed()) continue;
    if (target.state() != channel_state::peer_closed) {
      std::fprintf(stderr, "channel-fuzz: kind %u: %s\n", byte, target.it().why().c_str());
    }
    check(target.state() == channel_state::peer_closed, "a recording that is not good");
    check(expected.heard() == world::get().recorded_text(kind), "a recording's text");
  }
}

}  // namespace
}  // namespace conpool::test

extern "C" int LLVMFuzzerInitialize(int* count, char*** words) {
  conpool::test::expect_good_recordings();
  if (*count == 3 && std::string_view((*words)[1]) == "--corpus") {
    conpool::test::make_corpus((*words)[2]);
    std::exit(0);
  }
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  conpool::test::script from({data, size});
  const std::uint8_t first = from.byte();
  const conpool::test::session_kind kind(first & (conpool::test::session_kinds - 1U));
  if ((first & conpool::test::live_bit) != 0) {
    conpool::test::live_game(kind).play(from);
  } else {
    conpool::test::feed(kind, from);
  }
  return 0;
}
