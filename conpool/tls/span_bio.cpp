#include <algorithm>
#include <cstring>

#include <conpool/runtime/assert.h>
#include <conpool/tls/boringssl.h>
#include <conpool/tls/span_bio.h>

namespace conpool::tls {
namespace {

// The library asks for the time without saying for whom.
thread_local constinit engine* served = nullptr;

}  // namespace

struct span_bio {
  using window = engine::io_window;

  static window& window_of(BIO* bio) noexcept { return *static_cast<window*>(BIO_get_data(bio)); }

  static int read(BIO* bio, char* into, int size) {
    BIO_clear_retry_flags(bio);
    window& here = window_of(bio);
    const std::size_t count = std::min(here.input.size(), static_cast<std::size_t>(size));
    if (count == 0) {
      BIO_set_retry_read(bio);
      return -1;
    }
    std::memcpy(into, here.input.data(), count);
    here.current->count_frames(here.input.first(count));
    here.input = here.input.subspan(count);
    return static_cast<int>(count);
  }

  static int write(BIO* bio, const char* from, int size) {
    BIO_clear_retry_flags(bio);
    window& here = window_of(bio);
    CONPOOL_ASSERT(here.current != nullptr, "the library writes outside of an io_scope");
    const std::span<const char> bytes(from, static_cast<std::size_t>(size));
    const std::size_t count = here.output != nullptr ? here.output->append(std::as_bytes(bytes))
                                                     : here.current->keep(std::as_bytes(bytes));
    if (count == 0) {
      BIO_set_retry_write(bio);
      return -1;
    }
    return static_cast<int>(count);
  }

  static long control(BIO*, int command, long, void*) { return command == BIO_CTRL_FLUSH ? 1 : 0; }

  static const BIO_METHOD* method() {
    static const bssl::UniquePtr<BIO_METHOD> made = [] {
      bssl::UniquePtr<BIO_METHOD> method(BIO_meth_new(BIO_get_new_index(), "conpool span"));
      if (method) {
        BIO_meth_set_read(method.get(), &read);
        BIO_meth_set_write(method.get(), &write);
        BIO_meth_set_ctrl(method.get(), &control);
      }
      return method;
    }();
    return made.get();
  }
};

handle<bio_st> make_span_bio(void* window) {
  const BIO_METHOD* method = span_bio::method();
  handle<bio_st> made(method == nullptr ? nullptr : BIO_new(method));
  if (made) {
    BIO_set_data(made.get(), window);
    BIO_set_init(made.get(), 1);
  }
  return made;
}

io_scope::io_scope(stream& of, std::span<const std::byte> input, slab* output) noexcept
    : home_(&of.context().home()) {
  CONPOOL_ASSERT(home_->window_.current == nullptr, "a stream is served inside of another's call");
  home_->window_ = {input, output, &of};
  served = home_;
}

io_scope::~io_scope() {
  CONPOOL_ASSERT(home_->window_.current != nullptr, "an io_scope ended twice");
  home_->window_ = {};
  served = nullptr;
}

engine* io_scope::serving() noexcept {
  return served;
}

}  // namespace conpool::tls
