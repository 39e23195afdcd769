// A stream and its peer's bare socket, plain or with a codec, for tests of what must be the same
// over both.
//
//   TEST_P(gathered, ...) { far_sends("answer"); ... drain_far() ... }
//   INSTANTIATE_TEST_SUITE_P(wire, gathered, over_both, name_of_wire);
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>

#include <tests/support/pair_fixture.h>
#include <tests/support/raw_sockets.h>
#include <tests/support/toy_codec.h>

namespace conpool::test {

class wire_fixture : public pair_fixture, public ::testing::WithParamInterface<bool> {
 protected:
  static bool has_codec() { return GetParam(); }

  void connect(bool small_buffer = false) override {
    pair_fixture::connect(small_buffer);
    received_.clear();
    framed_.clear();
    if (!has_codec()) return;
    auto made = std::make_unique<toy_codec>();
    codec_ = made.get();
    near()->use_codec(std::move(made));
  }

  toy_codec& coder() { return *codec_; }

  void far_sends(std::string_view text) {
    send_all(far(), has_codec() ? toy_codec::frames(text) : std::string(text));
  }
  // The plain bytes that have come to the far end so far, all of them.
  const std::string& far_received() {
    for (std::string more = receive_now(far()); !more.empty(); more = receive_now(far())) {
      if (has_codec()) {
        unframe(more);
      } else {
        received_ += more;
      }
    }
    return received_;
  }
  // Turns until the far end has so many.
  bool far_receives(std::size_t bytes) {
    return until([&] { return far_received().size() >= bytes; });
  }

 private:
  void unframe(std::string_view more) {
    framed_ += more;
    std::string_view wire = framed_;
    while (wire.size() >= toy_codec::header) {
      const std::size_t size = static_cast<unsigned char>(wire[1]) +
                               std::size_t{256} * static_cast<unsigned char>(wire[2]);
      if (wire.size() < toy_codec::header + size) break;
      for (const char each : wire.substr(toy_codec::header, size)) {
        received_ += static_cast<char>(each ^ 0x5A);
      }
      wire.remove_prefix(toy_codec::header + size);
    }
    framed_.erase(0, framed_.size() - wire.size());
  }

  std::string received_;
  std::string framed_;  // of which the rest has not come
  toy_codec* codec_ = nullptr;
};

inline const auto over_both = ::testing::Bool();
inline std::string name_of_wire(const ::testing::TestParamInfo<bool>& which) {
  return which.param ? "with_a_codec" : "plain";
}

}  // namespace conpool::test
