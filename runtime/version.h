// Which conpool this is: the version of these headers, for the preprocessor, and that of the
// library that the program runs with, for its log.
//
//   #if CONPOOL_VERSION < 200                         // before 0.2.0
//   log(std::string(conpool::version().text) + ", TLS: " + std::string(conpool::version().tls));
//
// The two differ if a shared library was replaced without building the program anew, which no
// version before 1.0 allows (docs/VERSIONING.md): `conpool::version().number == CONPOOL_VERSION`
// tells.
#pragma once

#include <string_view>

#include <conpool/runtime/detail/export.h>

// Of 1.2.3: 10203.
#define CONPOOL_VERSION_MAJOR 0
#define CONPOOL_VERSION_MINOR 1
#define CONPOOL_VERSION_PATCH 0
#define CONPOOL_VERSION \
  (CONPOOL_VERSION_MAJOR * 10000 + CONPOOL_VERSION_MINOR * 100 + CONPOOL_VERSION_PATCH)

namespace conpool {

struct version_info {
  int number;             // CONPOOL_VERSION of the library
  std::string_view text;  // "0.1.0"
  std::string_view tls;   // which BoringSSL it was built with, or "none"
};

// Any thread. The texts are valid as long as the program runs.
CONPOOL_API version_info version() noexcept;

}  // namespace conpool
