#include <utility>

#include <conpool/tls/detail/boringssl.h>
#include <conpool/tls/detail/credentials.h>

namespace conpool::tls {
namespace {

std::unexpected<error> bad(std::string_view field, std::string_view why) {
  ERR_clear_error();
  return fail(error(errc::invalid_config, phase::configure).about(field).with_detail(why));
}

}  // namespace

result<credentials> parse_credentials(std::string_view chain_pem, std::string_view key_pem,
                                      crypto_buffer_pool_st* pool) {
  credentials made;
  const bssl::UniquePtr<BIO> chain = reader_of(chain_pem);
  for (;;) {
    char* name = nullptr;
    char* header = nullptr;
    std::uint8_t* data = nullptr;
    long size = 0;
    if (!chain || PEM_read_bio(chain.get(), &name, &header, &data, &size) != 1) break;
    const bssl::UniquePtr<char> own_name(name);
    const bssl::UniquePtr<char> own_header(header);
    const bssl::UniquePtr<std::uint8_t> own_data(data);
    if (std::string_view(name) != PEM_STRING_X509) continue;
    made.chain.emplace_back(CRYPTO_BUFFER_new(data, static_cast<std::size_t>(size), pool));
    if (!made.chain.back()) return fail(error(errc::out_of_memory, phase::configure));
  }
  if (made.chain.empty()) return bad("certificate_chain_pem", "there is no certificate in it");

  const bssl::UniquePtr<BIO> key = reader_of(key_pem);
  // BoringSSL's own callback takes this pointer for the password, so nobody is ever asked for one.
  char no_password[] = "";
  if (key) made.key.reset(PEM_read_bio_PrivateKey(key.get(), nullptr, nullptr, no_password));
  if (!made.key) return bad("private_key_pem", "there is no private key in it, or it is encrypted");

  const bssl::UniquePtr<X509> leaf(X509_parse_from_buffer(made.chain.front().get()));
  if (!leaf) return bad("certificate_chain_pem", "the first certificate cannot be parsed");
  if (X509_check_private_key(leaf.get(), made.key.get()) != 1) {
    return bad("private_key_pem", "it is not the key of the first certificate");
  }
  ERR_clear_error();
  return made;
}

result<void> use_credentials(ssl_ctx_st* context, const credentials& own) {
  std::vector<CRYPTO_BUFFER*> chain;
  chain.reserve(own.chain.size());
  for (const auto& one : own.chain) chain.push_back(one.get());
  if (SSL_CTX_set_chain_and_key(context, chain.data(), chain.size(), own.key.get(), nullptr) != 1) {
    return bad("private_key_pem", "BoringSSL does not take this certificate and key");
  }
  return {};
}

}  // namespace conpool::tls
