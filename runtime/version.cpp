#include <string_view>

#include <conpool/runtime/version.h>

#define CONPOOL_STRING_OF(value) #value
#define CONPOOL_STRING(value) CONPOOL_STRING_OF(value)

namespace conpool {
namespace {

constexpr std::string_view text = CONPOOL_STRING(CONPOOL_VERSION_MAJOR) "." CONPOOL_STRING(
    CONPOOL_VERSION_MINOR) "." CONPOOL_STRING(CONPOOL_VERSION_PATCH);
static_assert(text == CONPOOL_PROJECT_VERSION, "meson.build has another version than version.h");

}  // namespace

version_info version() noexcept {
  return {CONPOOL_VERSION, text, CONPOOL_BUILT_WITH_TLS};
}

}  // namespace conpool
