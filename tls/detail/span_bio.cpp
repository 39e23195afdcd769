#include <algorithm>
#include <cstring>

#include <conpool/runtime/detail/assert.h>
#include <conpool/tls/detail/boringssl.h>
#include <conpool/tls/detail/span_bio.h>

namespace conpool::tls {
namespace {

// BoringSSL asks for the time without saying for whom.
thread_local constinit shard_resources* served = nullptr;

}  // namespace

struct span_bio {
  using window = shard_resources::io_window;

  // Not by BIO_get_data(), which would be a call into BoringSSL for every read and write.
  static window& current_window() noexcept { return served->window(); }

  static int read(BIO*, char* into, int size) {
    CONPOOL_ASSERT(served != nullptr, "BoringSSL reads outside of an io_scope");
    window& here = current_window();
    const std::size_t count = std::min(here.input.size(), static_cast<std::size_t>(size));
    if (count == 0) return -1;
    std::memcpy(into, here.input.data(), count);
    here.current->position_.advance(here.input.first(count));
    here.input = here.input.subspan(count);
    return static_cast<int>(count);
  }

  static int write(BIO*, const char* from, int size) {
    CONPOOL_ASSERT(served != nullptr, "BoringSSL writes outside of an io_scope");
    window& here = current_window();
    const std::span<const char> bytes(from, static_cast<std::size_t>(size));
    const std::size_t count = here.output != nullptr
                                  ? here.output->append(std::as_bytes(bytes))
                                  : here.current->held_.keep(std::as_bytes(bytes));
    return count == 0 ? -1 : static_cast<int>(count);
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

boringssl_ptr<bio_st> make_span_bio() {
  const BIO_METHOD* method = span_bio::method();
  boringssl_ptr<bio_st> made(method == nullptr ? nullptr : BIO_new(method));
  if (made) {
    // Set once for all calls: its only failure is that there is nothing to read, or no room to
    // write. BoringSSL looks at the flag of the direction in which it has just failed.
    BIO_set_flags(made.get(), BIO_FLAGS_READ | BIO_FLAGS_WRITE | BIO_FLAGS_SHOULD_RETRY);
    BIO_set_init(made.get(), 1);
  }
  return made;
}

io_scope::io_scope(channel& of, std::span<const std::byte> input, record_buffer* output) noexcept
    : home_(&of.config().home()) {
  CONPOOL_ASSERT(home_->window().current == nullptr,
                 "a channel is served inside of another's call");
  home_->window() = {input, output, &of};
  served = home_;
}

io_scope::~io_scope() {
  CONPOOL_ASSERT(home_->window().current != nullptr, "an io_scope ended twice");
  home_->window() = {};
  served = nullptr;
}

shard_resources* io_scope::serving() noexcept {
  return served;
}

}  // namespace conpool::tls
