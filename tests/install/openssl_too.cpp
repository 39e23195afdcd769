// A user's program that links OpenSSL and conpool, for embedding_test.py: a TLS server by OpenSSL
// on a thread, and a pool that lends a connection to it twice. Prints what each library calls
// itself.
#include <openssl/bio.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <memory>
#include <string>
#include <string_view>
#include <thread>

#include <conpool/conpool.h>

namespace {

struct free_openssl {
  void operator()(EVP_PKEY* key) const noexcept { EVP_PKEY_free(key); }
  void operator()(X509* certificate) const noexcept { X509_free(certificate); }
  void operator()(SSL_CTX* context) const noexcept { SSL_CTX_free(context); }
  void operator()(SSL* connection) const noexcept { SSL_free(connection); }
  void operator()(BIO* memory) const noexcept { BIO_free(memory); }
};
template <typename T>
using owned = std::unique_ptr<T, free_openssl>;

owned<X509> self_signed(EVP_PKEY* key) {
  owned<X509> made(X509_new());
  X509_set_version(made.get(), X509_VERSION_3);
  ASN1_INTEGER_set(X509_get_serialNumber(made.get()), 1);
  X509_gmtime_adj(X509_getm_notBefore(made.get()), -60);
  X509_gmtime_adj(X509_getm_notAfter(made.get()), 3600);
  X509_set_pubkey(made.get(), key);
  X509_NAME* const name = X509_get_subject_name(made.get());
  X509_NAME_add_entry_by_txt(name, "O", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>("conpool tests"), -1, -1, 0);
  X509_set_issuer_name(made.get(), name);
  X509_EXTENSION* const names =
      X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name, "DNS:localhost");
  X509_add_ext(made.get(), names, -1);
  X509_EXTENSION_free(names);
  X509_sign(made.get(), key, EVP_sha256());
  return made;
}

std::string pem_of(X509* certificate) {
  const owned<BIO> memory(BIO_new(BIO_s_mem()));
  PEM_write_bio_X509(memory.get(), certificate);
  char* text = nullptr;
  const long length = BIO_get_mem_data(memory.get(), &text);
  return {text, static_cast<std::size_t>(length)};
}

// One connection: what it reads, it writes.
void serve(int listening, SSL_CTX* context) {
  const int accepted = ::accept(listening, nullptr, nullptr);
  const owned<SSL> connection(SSL_new(context));
  SSL_set_fd(connection.get(), accepted);
  char buffer[64];
  if (SSL_accept(connection.get()) == 1) {
    for (int count = 0; (count = SSL_read(connection.get(), buffer, sizeof(buffer))) > 0;) {
      SSL_write(connection.get(), buffer, count);
    }
  }
  ::close(accepted);
}

conpool::task<conpool::result<void>> ask(conpool::pool& backends, conpool::endpoint to) {
  auto lease = co_await backends.acquire(to);
  if (!lease) co_return conpool::fail(lease.error());
  auto sent = co_await (*lease)->write("hello");
  if (!sent) co_return conpool::fail(sent.error());
  std::string answer(5, '\0');
  auto received = co_await (*lease)->read_exactly(std::span<char>(answer));
  if (!received) co_return conpool::fail(received.error());
  const std::string_view version = conpool::tls::to_string((*lease)->tls()->version());
  std::printf("%s over %.*s\n", answer.c_str(), static_cast<int>(version.size()), version.data());
  co_return sent;
}

conpool::task<conpool::result<void>> lend_twice(int port, std::string pem) {
  conpool::tls::profile_options options;
  options.verify_name = "localhost";
  auto roots = conpool::tls::trust_store::from_pem(pem);
  if (!roots) co_return conpool::fail(roots.error());
  options.trust = *roots;
  auto profile = conpool::tls::profile::make(options);
  if (!profile) co_return conpool::fail(profile.error());
  auto to = conpool::endpoint::parse("tls://127.0.0.1:" + std::to_string(port));
  if (!to) co_return conpool::fail(to.error());
  auto server = to->with_profile(*profile);
  if (!server) co_return conpool::fail(server.error());
  auto backends = conpool::pool::create(*conpool::shard::current());
  if (!backends) co_return conpool::fail(backends.error());
  auto first = co_await ask(*backends, *server);
  if (!first) co_return conpool::fail(first.error());
  auto second = co_await ask(*backends, *server);
  const auto totals = backends->totals();
  std::printf("%d lends, %d connection\n", static_cast<int>(totals.hits + totals.created),
              static_cast<int>(totals.created));
  auto closed = co_await backends->close();
  if (!closed) co_return conpool::fail(closed.error());
  co_return second;
}

}  // namespace

int main() {
  std::printf("%s\n%s\n", OpenSSL_version(OPENSSL_VERSION),
              std::string(conpool::version().tls).c_str());
  const owned<EVP_PKEY> key(EVP_EC_gen("P-256"));
  const owned<X509> certificate = self_signed(key.get());
  const owned<SSL_CTX> context(SSL_CTX_new(TLS_server_method()));
  SSL_CTX_use_certificate(context.get(), certificate.get());
  SSL_CTX_use_PrivateKey(context.get(), key.get());

  const int listening = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof(address);
  if (::bind(listening, reinterpret_cast<sockaddr*>(&address), length) != 0 ||
      ::listen(listening, 4) != 0 ||
      ::getsockname(listening, reinterpret_cast<sockaddr*>(&address), &length) != 0) {
    std::perror("listen");
    return 1;
  }
  std::thread server(serve, listening, context.get());
  auto runtime = conpool::runtime::create({.shards = 1});
  if (!runtime) return 1;
  auto done = (*runtime)->run(lend_twice, int{ntohs(address.sin_port)}, pem_of(certificate.get()));
  if (!done) std::printf("%s\n", done.error().message().c_str());
  ::shutdown(listening, SHUT_RDWR);  // if nobody connected
  server.join();
  ::close(listening);
  return done ? 0 : 1;
}
