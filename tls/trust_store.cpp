#include <dirent.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <limits>
#include <mutex>
#include <utility>
#include <vector>

#include <conpool/tls/detail/boringssl.h>
#include <conpool/tls/detail/file_text.h>
#include <conpool/tls/detail/symbol_check.h>
#include <conpool/tls/detail/x509_time.h>
#include <conpool/tls/trust_store.h>

namespace conpool::tls {

struct trust_store::parsed {
  std::vector<bssl::UniquePtr<X509>> roots;
  std::vector<bssl::UniquePtr<X509_CRL>> lists;
  revocation_scope scope = revocation_scope::chain;
};

namespace {

constexpr const char* bundles[] = {
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
};

error no_trust(std::string_view source, std::string_view why) {
  return error(errc::trust_unavailable, phase::configure).about(source).with_detail(why);
}

// Reads the objects of one kind from a PEM text, with BoringSSL's reader for that kind. False if
// there is one that it cannot parse, and `skip_unknown` is not set.
template <typename T, typename Reader>
bool read_pem(std::string_view pem, Reader* reader, bool skip_unknown,
              std::vector<bssl::UniquePtr<T>>& into) {
  const bssl::UniquePtr<BIO> text = reader_of(pem);
  if (!text) return false;
  bool good = true;
  for (;;) {
    ERR_clear_error();
    // BoringSSL's own callback takes this pointer for the password, so nobody is ever asked for
    // one.
    char no_password[] = "";
    if (T* one = reader(text.get(), nullptr, nullptr, no_password)) {
      into.emplace_back(one);
      continue;
    }
    const std::uint32_t why = ERR_peek_last_error();
    if (ERR_GET_LIB(why) == ERR_LIB_PEM && ERR_GET_REASON(why) == PEM_R_NO_START_LINE) break;
    good = good && skip_unknown;
    if (BIO_eof(text.get()) != 0 || !good) break;
  }
  ERR_clear_error();
  return good;
}

// The files in the folder that SSL_CERT_DIR names, one after the other. They are read once, and
// never looked up by hash.
std::string folder_text(const char* path) {
  std::string all;
  DIR* folder = ::opendir(path);
  if (folder == nullptr) return all;
  std::vector<std::string> names;
  while (const dirent* entry = ::readdir(folder)) {
    if (entry->d_name[0] != '.') names.emplace_back(entry->d_name);
  }
  ::closedir(folder);
  std::ranges::sort(names);
  for (const std::string& name : names) {
    if (auto text = file_text(std::string(path) + "/" + name)) all.append(*text).append("\n");
  }
  return all;
}

// A folder may hold a certificate under several names, and in a bundle too.
void drop_duplicates(std::vector<bssl::UniquePtr<X509>>& roots) {
  const auto before = [](const auto& left, const auto& right) {
    return X509_cmp(left.get(), right.get()) < 0;
  };
  const auto same = [](const auto& left, const auto& right) {
    return X509_cmp(left.get(), right.get()) == 0;
  };
  std::ranges::sort(roots, before);
  const auto repeated = std::ranges::unique(roots, same);
  roots.erase(repeated.begin(), repeated.end());
}

std::atomic<std::uint64_t> generations = 0;
std::mutex system_lock;
trust_ptr system_store;  // under system_lock
std::atomic<std::uint64_t> generation_of_system = 0;

// Under system_lock.
void keep_for_system(const trust_ptr& loaded) noexcept {
  system_store = loaded;
  generation_of_system.store(loaded->generation(), std::memory_order_release);
}

}  // namespace

trust_store::trust_store(std::unique_ptr<parsed> content)
    : content_(std::move(content)),
      generation_(generations.fetch_add(1, std::memory_order_relaxed) + 1),
      stale_at_s_(std::numeric_limits<std::int64_t>::max()) {
  for (const auto& list : content_->lists) {
    stale_at_s_ = std::min(stale_at_s_, seconds_of(X509_CRL_get0_nextUpdate(list.get())));
  }
}

trust_store::~trust_store() = default;

result<trust_ptr> trust_store::make(std::string_view pem, const trust_options& options,
                                    bool skip_unknown, std::string_view source) {
  if (auto bound = symbol_check(); !bound) return fail(std::move(bound).error());
  auto content = std::make_unique<parsed>();
  content->scope = options.scope;
  if (!read_pem(pem, PEM_read_bio_X509, skip_unknown, content->roots)) {
    return fail(no_trust(source, "a certificate cannot be parsed"));
  }
  drop_duplicates(content->roots);
  if (content->roots.empty()) return fail(no_trust(source, "there is no certificate in it"));
  if (!options.crls_pem.empty()) {
    if (!read_pem(options.crls_pem, PEM_read_bio_X509_CRL, false, content->lists) ||
        content->lists.empty()) {
      return fail(no_trust("revocation lists", "they cannot be parsed"));
    }
  }
  return trust_ptr(new trust_store(std::move(content)));
}

result<trust_ptr> trust_store::from_pem(std::string_view pem, const trust_options& options) {
  return make(pem, options, false, "root certificates");
}

result<trust_ptr> trust_store::from_file(const std::string& path, const trust_options& options) {
  const auto text = file_text(path);
  if (!text) {
    return fail(error(errc::trust_unavailable, phase::configure, text.error()).about(path));
  }
  return make(*text, options, false, path);
}

result<trust_ptr> trust_store::load_system() {
  // Else it would pass for a bundle without certificates, and the next would be tried.
  if (auto bound = symbol_check(); !bound) return fail(std::move(bound).error());
  const char* file = ::secure_getenv("SSL_CERT_FILE");
  const char* folder = ::secure_getenv("SSL_CERT_DIR");
  if (file != nullptr || folder != nullptr) {
    std::string all;
    if (file != nullptr) {
      const auto text = file_text(file);
      if (!text) {
        return fail(error(errc::trust_unavailable, phase::configure, text.error())
                        .about("SSL_CERT_FILE " + std::string(file)));
      }
      all = *text + "\n";
    }
    if (folder != nullptr) all += folder_text(folder);
    return make(all, {}, true, "SSL_CERT_FILE and SSL_CERT_DIR");
  }
  for (const char* path : bundles) {
    if (const auto text = file_text(path)) {
      if (auto made = make(*text, {}, true, path)) return made;
    }
  }
  std::string tried = "none of these holds a certificate:";
  for (const char* path : bundles) tried.append(" ").append(path);
  return fail(no_trust("system roots", tried));
}

result<trust_ptr> trust_store::system() {
  const std::lock_guard guard(system_lock);
  if (system_store) return system_store;
  auto loaded = load_system();
  if (loaded) keep_for_system(*loaded);
  return loaded;
}

result<trust_ptr> trust_store::reload_system() {
  auto loaded = load_system();
  if (!loaded) return loaded;
  const std::lock_guard guard(system_lock);
  keep_for_system(*loaded);
  return loaded;
}

std::uint64_t trust_store::system_generation() noexcept {
  return generation_of_system.load(std::memory_order_acquire);
}

std::size_t trust_store::certificates() const noexcept {
  return content_->roots.size();
}

bool trust_store::checks_revocation() const noexcept {
  return !content_->lists.empty();
}

boringssl_ptr<x509_store_st> trust_store::make_store() const {
  boringssl_ptr<x509_store_st> store(X509_STORE_new());
  if (!store) return store;
  for (const auto& root : content_->roots) {
    if (X509_STORE_add_cert(store.get(), root.get()) != 1) return nullptr;
  }
  // Prefers a root that is trusted to a longer chain that the peer sent.
  unsigned long flags = X509_V_FLAG_TRUSTED_FIRST;
  for (const auto& list : content_->lists) {
    if (X509_STORE_add_crl(store.get(), list.get()) != 1) return nullptr;
    flags |= X509_V_FLAG_CRL_CHECK;
    if (content_->scope == revocation_scope::chain) flags |= X509_V_FLAG_CRL_CHECK_ALL;
  }
  if (X509_STORE_set_flags(store.get(), flags) != 1) return nullptr;
  return store;
}

}  // namespace conpool::tls
