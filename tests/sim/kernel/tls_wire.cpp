#include <tests/sim/kernel/tls_wire.h>

#include <array>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <conpool/tls/detail/channel.h>
#include <conpool/tls/detail/record_buffer.h>
#include <conpool/tls/profile.h>

#include <tests/support/client_hello.h>

namespace conpool::sim {
namespace {

const test::authority& root() {
  static const test::authority made("simulated root");
  return made;
}

class session final : public wire {
 public:
  session(tls::server_profile& as, bool dislikes_sessions)
      : channel_(as, name), memory_(tls::record_buffer_size), waits_for_hello_(dislikes_sessions) {}

  std::string receive(std::string_view arrived, std::string& say) override {
    input_.append(arrived);
    if (waits_for_hello_) {
      if (!has_whole_record()) return {};
      waits_for_hello_ = false;
      gives_up_ = test::offers_session(input_);
    }
    if (gives_up_) return {};
    auto input = std::as_bytes(std::span<const char>(input_));
    std::string plain;
    while (channel_.state() == tls::channel_state::handshaking) {
      tls::record_buffer out(memory_);
      const tls::handshake_step step = channel_.handshake(input, out);
      say.append(text(out));
      if (step != tls::handshake_step::wants_output) break;
    }
    std::array<char, 4096> piece;
    while (channel_.state() == tls::channel_state::open &&
           (channel_.has_plain() || !input.empty())) {
      const auto count = channel_.read(input, std::as_writable_bytes(std::span(piece)));
      if (!count || *count == 0) break;
      plain.append(piece.data(), *count);
    }
    input_.erase(0, input_.size() - input.size());
    return plain;
  }

  std::string seal(std::string_view plain) override {
    std::string sealed;
    if (channel_.state() != tls::channel_state::open) return sealed;
    auto left = std::as_bytes(std::span<const char>(plain));
    while (!left.empty()) {
      tls::record_buffer out(memory_);
      const auto taken = channel_.write(left, out);
      if (!taken || *taken == 0) break;
      left = left.subspan(*taken);
      sealed.append(text(out));
    }
    return sealed;
  }

  std::string farewell() override {
    tls::record_buffer out(memory_);
    channel_.close(out);
    return std::string(text(out));
  }
  bool gives_up() const noexcept override { return gives_up_; }

 private:
  bool has_whole_record() const noexcept {
    test::hello_reader header(input_);
    header.take(3);
    const std::size_t length = header.number(2);
    return length > 0 && input_.size() >= 5 + length;
  }
  static std::string_view text(const tls::record_buffer& of) {
    return {reinterpret_cast<const char*>(of.filled().data()), of.filled().size()};
  }
  static inline const std::string name = "a client";

  tls::channel channel_;
  std::vector<std::byte> memory_;
  std::string input_;
  bool waits_for_hello_;
  bool gives_up_ = false;
};

}  // namespace

tls_side::tls_side() : resources_(tls::shard_limits(), time_of_day_) {
  const test::certificate own = root().issue({.dns = {"server.example"}});
  tls::server_options options;
  options.certificate_chain_pem = own.chain_pem();
  options.private_key_pem = own.key_pem;
  profile_ = std::move(tls::server_profile::make(resources_, std::move(options)).value());
}

std::function<std::unique_ptr<wire>()> tls_side::maker() {
  return [this] {
    return std::make_unique<session>(*profile_, dislikes_sessions_);
  };
}

endpoint tls_side::at(const server& to) const {
  tls::profile_options options;
  options.trust = root().trust();
  options.verify_name = "server.example";
  return endpoint::parse("tls://" + to.address().to_string())
      .value()
      .with_profile(tls::profile::make(std::move(options)).value())
      .value();
}

}  // namespace conpool::sim
