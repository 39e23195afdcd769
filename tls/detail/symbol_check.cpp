#include <dlfcn.h>

#include <string>
#include <string_view>

#include <conpool/tls/detail/boringssl.h>
#include <conpool/tls/detail/symbol_check.h>

namespace conpool::tls {
namespace {

struct bound {
  const char* name;
  void* address;
};

template <typename Function>
bound bound_to(const char* name, Function* function) noexcept {
  return {name, reinterpret_cast<void*>(function)};
}

// The file that an address was loaded from; null if the loader does not know.
const char* file_of(void* address, void*& base) noexcept {
  Dl_info info;
  if (address == nullptr || ::dladdr(address, &info) == 0) return nullptr;
  base = info.dli_fbase;
  return info.dli_fname;
}

std::string clash(const char* name, const char* file, const char* anchor, const char* anchor_file) {
  return std::string(name) + " is bound to " + file + ", but " + anchor + " to " + anchor_file +
         ": the program also links OpenSSL, whose functions have the same names. Build conpool "
         "with a BoringSSL whose names have a prefix, as without -Dboringssl (docs/TLS.md, "
         "\"Which BoringSSL\"), or leave OpenSSL out.";
}

// Whether a function comes from the file that has the one only BoringSSL has. Both ways of looking
// count: what this code was bound to, and what the loader finds first, which is what BoringSSL's
// own libraries were bound to.
std::string compare(const bound& looked_at, const bound& anchor) {
  void* base = nullptr;
  void* anchor_base = nullptr;
  const char* file = file_of(looked_at.address, base);
  const char* anchor_file = file_of(anchor.address, anchor_base);
  if (file != nullptr && anchor_file != nullptr && base != anchor_base) {
    return clash(looked_at.name, file, anchor.name, anchor_file);
  }
  void* found = ::dlsym(RTLD_DEFAULT, looked_at.name);
  void* anchor_found = ::dlsym(RTLD_DEFAULT, anchor.name);
  if (found == nullptr || anchor_found == nullptr) return {};  // linked statically and hidden
  file = file_of(found, base);
  anchor_file = file_of(anchor_found, anchor_base);
  if (file != nullptr && anchor_file != nullptr && base != anchor_base) {
    return clash(looked_at.name, file, anchor.name, anchor_file);
  }
  return {};
}

// Where all of it comes from one file, or nobody knows from which: what it calls itself.
std::string compare_name() {
  const std::string_view name = OpenSSL_version(OPENSSL_VERSION);
  if (name.find("BoringSSL") != std::string_view::npos) return {};
  void* base = nullptr;
  const bound asked = bound_to("OpenSSL_version", &OpenSSL_version);
  const char* file = file_of(asked.address, base);
  return std::string(asked.name) + " is bound to " + (file != nullptr ? file : "an unknown file") +
         ", which calls itself " + std::string(name) + " and is not BoringSSL";
}

std::string fault() {
  const bound ssl_anchor = bound_to("TLS_with_buffers_method", &TLS_with_buffers_method);
  const bound crypto_anchor = bound_to("CRYPTO_BUFFER_new", &CRYPTO_BUFFER_new);
  const bound of_ssl[] = {bound_to("SSL_new", &SSL_new), bound_to("SSL_CTX_new", &SSL_CTX_new),
                          bound_to("SSL_read", &SSL_read), bound_to("SSL_free", &SSL_free)};
  const bound of_crypto[] = {
      bound_to("BIO_new", &BIO_new), bound_to("X509_verify_cert", &X509_verify_cert),
      bound_to("ERR_clear_error", &ERR_clear_error), bound_to("EVP_PKEY_free", &EVP_PKEY_free)};
  for (const bound& looked_at : of_ssl) {
    if (std::string found = compare(looked_at, ssl_anchor); !found.empty()) return found;
  }
  for (const bound& looked_at : of_crypto) {
    if (std::string found = compare(looked_at, crypto_anchor); !found.empty()) return found;
  }
  return compare_name();
}

}  // namespace

result<void> symbol_check() {
  static const std::string found = fault();
  if (found.empty()) return {};
  return fail(error(errc::unsupported, phase::configure).about("BoringSSL").with_detail(found));
}

}  // namespace conpool::tls
