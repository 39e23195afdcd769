// A record of range(0) bytes, written or read by a channel in memory; beside it bare BoringSSL and
// the bare AEAD.

#include <algorithm>
#include <array>
#include <cstring>
#include <span>
#include <vector>

#include <bench/micro/measured_run.h>
#include <bench/micro/micro.h>
#include <bench/micro/tls_pair.h>
#include <conpool/tls/detail/boringssl.h>

namespace conpool::micro {
namespace {

using bytes = std::vector<std::byte>;
using const_bytes = std::span<const std::byte>;

// Received records are in the cache, like bytes that the kernel has just copied.
constexpr std::size_t received_bytes = std::size_t{256} * 1024;

constexpr std::size_t gathered_parts = 32;
constexpr std::size_t gathered_bytes = 64;
constexpr std::size_t record_header_and_tag = 5 + 1 + 16;

// The records for many reads are made at once, outside of the measured time.
template <typename Make, typename Read>
void measure_reads(benchmark::State& state, Make make, Read read) {
  const bytes plain(static_cast<std::size_t>(state.range(0)));
  bytes into(plain.size());
  std::vector<bytes> records(std::clamp<std::size_t>(received_bytes / plain.size(), 1, 256));
  measured_run run(state);
  run.begin();
  for (std::int64_t left = run.iterations(); left > 0;) {
    const auto now = std::min(records.size(), static_cast<std::size_t>(left));
    run.pause();
    for (bytes& record : std::span(records).first(now)) {
      const const_bytes made = make(plain);
      if (made.empty()) return run.fail("write failed");
      record.assign(made.begin(), made.end());
    }
    run.resume();
    for (const bytes& record : std::span(records).first(now)) {
      if (!read(record, into)) [[unlikely]]
        return run.fail("read failed");
    }
    left -= static_cast<std::int64_t>(now);
  }
  run.end();
}

// Two BoringSSL connections that made their handshake as conpool's channels do, and were then given
// a BIO of their own.
class bare_boringssl {
 public:
  bare_boringssl() : client(pair_.client()), server(pair_.server()), memory_(pair_.memory()) {
    pair_.shake(client, server, nullptr);
    BIO_meth_set_read(method_.get(), &take);
    BIO_meth_set_write(method_.get(), &append);
    BIO_meth_set_ctrl(method_.get(), [](BIO*, int command, long, void*) {
      return command == BIO_CTRL_FLUSH ? 1L : 0L;
    });
    for (const tls::channel* each : {&client, &server}) {
      BIO* const bio = BIO_new(method_.get());
      BIO_set_init(bio, 1);
      BIO_set_data(bio, this);
      BIO_up_ref(bio);
      SSL_set0_rbio(each->native(), bio);
      SSL_set0_wbio(each->native(), bio);
    }
  }
  // Returns the record; empty if it failed.
  const_bytes write(const tls::channel& by, const_bytes plain) noexcept {
    used_ = 0;
    const int size = static_cast<int>(plain.size());
    return SSL_write(by.native(), plain.data(), size) == size ? memory_.first(used_)
                                                              : const_bytes();
  }
  bool read(const_bytes record, std::span<std::byte> into) noexcept {
    input_ = record;
    const int size = static_cast<int>(into.size());
    return SSL_read(client.native(), into.data(), size) == size;
  }

 private:
  tls_pair pair_{{}};
  // Before the channels: their BIOs look into it until they are freed.
  bssl::UniquePtr<BIO_METHOD> method_{BIO_meth_new(BIO_get_new_index(), "bare span")};

 public:
  tls::channel client;
  tls::channel server;

 private:
  static int take(BIO* bio, char* into, int size) {
    BIO_clear_retry_flags(bio);
    const_bytes& input = static_cast<bare_boringssl*>(BIO_get_data(bio))->input_;
    const std::size_t count = std::min(input.size(), static_cast<std::size_t>(size));
    if (count == 0) return -1;
    std::memcpy(into, input.data(), count);
    input = input.subspan(count);
    return static_cast<int>(count);
  }
  static int append(BIO* bio, const char* from, int size) {
    BIO_clear_retry_flags(bio);
    auto& self = *static_cast<bare_boringssl*>(BIO_get_data(bio));
    const std::size_t count =
        std::min(self.memory_.size() - self.used_, static_cast<std::size_t>(size));
    if (count == 0) return -1;
    std::memcpy(self.memory_.data() + self.used_, from, count);
    self.used_ += count;
    return static_cast<int>(count);
  }

  const_bytes input_;
  std::span<std::byte> memory_;
  std::size_t used_ = 0;
};

}  // namespace

void tls_record_encrypt(benchmark::State& state) {
  tls_pair pair({});
  tls::channel client = pair.client();
  tls::channel server = pair.server();
  pair.shake(client, server, nullptr);
  const bytes plain(static_cast<std::size_t>(state.range(0)));
  measured_run run(state);
  run.begin();
  for (std::int64_t i = 0; i < run.iterations(); ++i) {
    tls::record_buffer out(pair.memory());
    const auto taken = client.write(plain, out);
    if (!taken || *taken != plain.size()) [[unlikely]]
      return run.fail("write failed");
  }
  run.end();
}

void tls_record_decrypt(benchmark::State& state) {
  tls_pair pair({});
  tls::channel client = pair.client();
  tls::channel server = pair.server();
  pair.shake(client, server, nullptr);
  measure_reads(
      state,
      [&](const_bytes plain) {
        tls::record_buffer out(pair.memory());
        return server.write(plain, out) ? out.filled() : const_bytes();
      },
      [&](const_bytes record, std::span<std::byte> into) {
        const auto count = client.read(record, into);
        return count && *count == into.size();
      });
}

void tls_write_gathered(benchmark::State& state) {
  tls_pair pair({});
  tls::channel client = pair.client();
  tls::channel server = pair.server();
  pair.shake(client, server, nullptr);
  const std::array<std::byte, gathered_bytes> plain{};
  std::array<const_bytes, gathered_parts> parts;
  parts.fill(plain);
  constexpr std::size_t one_record = gathered_parts * gathered_bytes + record_header_and_tag;
  measured_run run(state);
  run.begin();
  for (std::int64_t i = 0; i < run.iterations(); ++i) {
    tls::record_buffer out(pair.memory());
    const auto taken = client.write(parts, out);
    if (!taken || out.size() != one_record) [[unlikely]]
      return run.fail("not one record");
  }
  run.end();
}

// BoringSSL with the smallest possible BIO under it and nothing around it. The channel's cost is
// what comes on top of this.
void floor_span_bio_write(benchmark::State& state) {
  bare_boringssl bare;
  const bytes plain(static_cast<std::size_t>(state.range(0)));
  measured_run run(state);
  run.begin();
  for (std::int64_t i = 0; i < run.iterations(); ++i) {
    if (bare.write(bare.client, plain).empty()) [[unlikely]]
      return run.fail("write failed");
  }
  run.end();
}

void floor_span_bio_read(benchmark::State& state) {
  bare_boringssl bare;
  measure_reads(
      state, [&](const_bytes plain) { return bare.write(bare.server, plain); },
      [&](const_bytes record, std::span<std::byte> into) { return bare.read(record, into); });
}

// One seal of AES-128-GCM: no record can cost less than this.
void floor_aead(benchmark::State& state) {
  measured_run run(state);
  const std::array<std::uint8_t, 16> key{};
  std::array<std::uint8_t, 12> nonce{};
  const std::array<std::uint8_t, 5> extra{};
  bssl::ScopedEVP_AEAD_CTX aead;
  if (EVP_AEAD_CTX_init(aead.get(), EVP_aead_aes_128_gcm_tls13(), key.data(), key.size(),
                        EVP_AEAD_DEFAULT_TAG_LENGTH, nullptr) != 1) {
    return run.fail("no AEAD");
  }
  const auto size = static_cast<std::size_t>(state.range(0));
  const std::vector<std::uint8_t> plain(size);
  std::vector<std::uint8_t> sealed(size + EVP_AEAD_MAX_OVERHEAD);
  run.begin();
  // The sequence begins at 0: BoringSSL takes the first nonce of a key for its mask, and each later
  // one must be above the last, or nothing is sealed.
  for (std::int64_t sequence = 0; sequence < run.iterations(); ++sequence) {
    const std::uint64_t big_endian = __builtin_bswap64(static_cast<std::uint64_t>(sequence));
    std::memcpy(nonce.data() + nonce.size() - sizeof big_endian, &big_endian, sizeof big_endian);
    std::size_t written = 0;
    if (EVP_AEAD_CTX_seal(aead.get(), sealed.data(), &written, sealed.size(), nonce.data(),
                          nonce.size(), plain.data(), plain.size(), extra.data(),
                          extra.size()) != 1) [[unlikely]] {
      return run.fail("nothing was sealed");
    }
    benchmark::ClobberMemory();
  }
  run.end();
}

}  // namespace conpool::micro
