#include <tests/sim/kernel/tls_wire.h>

#include <array>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <conpool/tls/detail/slab.h>
#include <conpool/tls/profile.h>
#include <conpool/tls/stream.h>

namespace conpool::sim {
namespace {

const test::authority& root() {
  static const test::authority made("simulated root");
  return made;
}

class session final : public wire {
 public:
  explicit session(tls::server_context& as) : stream_(as, name), memory_(tls::slab_size) {}

  std::string receive(std::string_view arrived, std::string& say) override {
    input_.append(arrived);
    auto input = std::as_bytes(std::span<const char>(input_));
    std::string plain;
    while (stream_.state() == tls::stream_state::handshaking) {
      tls::slab out(memory_);
      const tls::handshake_step step = stream_.handshake(input, out);
      say.append(text(out));
      if (step != tls::handshake_step::wants_output) break;
    }
    std::array<char, 4096> piece;
    while (stream_.state() == tls::stream_state::open && (stream_.has_plain() || !input.empty())) {
      const auto count = stream_.read(input, std::as_writable_bytes(std::span(piece)));
      if (!count || *count == 0) break;
      plain.append(piece.data(), *count);
    }
    input_.erase(0, input_.size() - input.size());
    return plain;
  }

  std::string seal(std::string_view plain) override {
    std::string sealed;
    if (stream_.state() != tls::stream_state::open) return sealed;
    auto left = std::as_bytes(std::span<const char>(plain));
    while (!left.empty()) {
      tls::slab out(memory_);
      const auto taken = stream_.write(left, out);
      if (!taken || *taken == 0) break;
      left = left.subspan(*taken);
      sealed.append(text(out));
    }
    return sealed;
  }

  std::string farewell() override {
    tls::slab out(memory_);
    stream_.close(out);
    return std::string(text(out));
  }

 private:
  static std::string_view text(const tls::slab& of) {
    return {reinterpret_cast<const char*>(of.filled().data()), of.filled().size()};
  }
  static inline const std::string name = "a client";

  tls::stream stream_;
  std::vector<std::byte> memory_;
  std::string input_;
};

}  // namespace

tls_side::tls_side() : engine_(tls::engine_limits(), time_of_day_) {
  const test::certificate own = root().issue({.dns = {"server.example"}});
  tls::server_options options;
  options.certificate_chain_pem = own.chain_pem();
  options.private_key_pem = own.key_pem;
  context_ = std::move(tls::server_context::make(engine_, std::move(options)).value());
}

std::function<std::unique_ptr<wire>()> tls_side::maker() {
  return [this] {
    return std::make_unique<session>(*context_);
  };
}

endpoint tls_side::at(const server& to) const {
  tls::profile_options options;
  options.trust = root().trust();
  options.verify_name = "server.example";
  return endpoint::parse("tls://" + to.address().to_string())
      .value()
      .with_profile(tls::profile::make(std::move(options)).value());
}

}  // namespace conpool::sim
