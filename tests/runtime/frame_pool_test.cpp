#include <conpool/runtime/detail/frame_pool.h>

#include <gtest/gtest.h>

#include <coroutine>
#include <cstdint>
#include <cstring>
#include <set>
#include <thread>
#include <vector>

namespace conpool {
namespace {

// Each test runs on a thread of its own, so it starts with an empty cache.
template <typename Test>
void on_new_thread(Test test) {
  std::thread(test).join();
}

TEST(frame_pool, memory_is_usable_aligned_and_distinct_for_every_size) {
  on_new_thread([] {
    for (std::size_t bytes = 1; bytes <= 2 * pooled_frame_bytes_max; bytes += 13) {
      void* one = allocate_frame(bytes);
      void* two = allocate_frame(bytes);
      ASSERT_EQ(reinterpret_cast<std::uintptr_t>(one) % __STDCPP_DEFAULT_NEW_ALIGNMENT__, 0u);
      std::memset(one, 0x11, bytes);
      std::memset(two, 0x22, bytes);
      ASSERT_EQ(static_cast<unsigned char*>(one)[bytes - 1], 0x11);
      ASSERT_EQ(static_cast<unsigned char*>(two)[0], 0x22);
      deallocate_frame(one, bytes);
      deallocate_frame(two, bytes);
    }
  });
}

TEST(frame_pool, a_freed_frame_is_reused_for_its_size_class_only) {
  if (!frames_are_cached) GTEST_SKIP() << "nothing is cached under AddressSanitizer";
  on_new_thread([] {
    void* frame = allocate_frame(65);
    deallocate_frame(frame, 65);
    EXPECT_EQ(thread_frame_stats().cached_bytes, 128u);

    void* smaller_class = allocate_frame(64);
    void* larger_class = allocate_frame(129);
    EXPECT_NE(smaller_class, frame);
    EXPECT_NE(larger_class, frame);
    EXPECT_EQ(thread_frame_stats().reused, 0u);

    EXPECT_EQ(allocate_frame(128), frame);
    EXPECT_EQ(thread_frame_stats().reused, 1u);
    EXPECT_EQ(thread_frame_stats().from_system, 3u);
    EXPECT_EQ(thread_frame_stats().cached_bytes, 0u);
    deallocate_frame(frame, 128);
    deallocate_frame(smaller_class, 64);
    deallocate_frame(larger_class, 129);
    EXPECT_EQ(thread_frame_stats().cached_bytes, 64u + 128u + 192u);
  });
}

TEST(frame_pool, large_and_empty_frames_are_not_cached) {
  on_new_thread([] {
    for (std::size_t bytes : {std::size_t{0}, pooled_frame_bytes_max + 1, std::size_t{1} << 20}) {
      deallocate_frame(allocate_frame(bytes), bytes);
    }
    EXPECT_EQ(thread_frame_stats().cached_bytes, 0u);
    EXPECT_EQ(thread_frame_stats().from_system, 3u);
    EXPECT_EQ(thread_frame_stats().reused, 0u);
  });
}

TEST(frame_pool, under_address_sanitizer_nothing_is_cached) {
  if (frames_are_cached) GTEST_SKIP() << "only where frames are not cached";
  on_new_thread([] {
    for (int round = 0; round < 3; ++round) deallocate_frame(allocate_frame(100), 100);
    EXPECT_EQ(thread_frame_stats().from_system, 3u);
    EXPECT_EQ(thread_frame_stats().cached_bytes, 0u);
  });
}

TEST(frame_pool, a_list_holds_at_most_its_share_of_bytes) {
  if (!frames_are_cached) GTEST_SKIP() << "nothing is cached under AddressSanitizer";
  on_new_thread([] {
    const std::size_t blocks_max = frame_cache_bytes_max / 1024;
    std::vector<void*> frames;
    for (std::size_t n = 0; n < blocks_max + 10; ++n) frames.push_back(allocate_frame(1000));
    for (void* frame : frames) deallocate_frame(frame, 1000);
    EXPECT_EQ(thread_frame_stats().cached_bytes, frame_cache_bytes_max);

    // All of them come back, each once.
    std::set<void*> reused;
    for (std::size_t n = 0; n < blocks_max; ++n) reused.insert(allocate_frame(1000));
    EXPECT_EQ(reused.size(), blocks_max);
    EXPECT_EQ(thread_frame_stats().reused, blocks_max);
    EXPECT_EQ(thread_frame_stats().cached_bytes, 0u);
    for (void* frame : reused) deallocate_frame(frame, 1000);
  });
}

TEST(frame_pool, a_frame_freed_on_another_thread_joins_that_threads_list) {
  if (!frames_are_cached) GTEST_SKIP() << "nothing is cached under AddressSanitizer";
  on_new_thread([] {
    void* frame = allocate_frame(200);
    on_new_thread([frame] {
      deallocate_frame(frame, 200);
      EXPECT_EQ(thread_frame_stats().cached_bytes, 256u);
      EXPECT_EQ(allocate_frame(200), frame);
      deallocate_frame(frame, 200);
    });
    EXPECT_EQ(thread_frame_stats().cached_bytes, 0u);
    EXPECT_EQ(thread_frame_stats().from_system, 1u);
  });
}

TEST(frame_pool, releasing_gives_all_back_and_caching_goes_on) {
  if (!frames_are_cached) GTEST_SKIP() << "nothing is cached under AddressSanitizer";
  on_new_thread([] {
    release_cached_frames();
    deallocate_frame(allocate_frame(64), 64);
    deallocate_frame(allocate_frame(640), 640);
    EXPECT_EQ(thread_frame_stats().cached_bytes, 704u);
    release_cached_frames();
    EXPECT_EQ(thread_frame_stats().cached_bytes, 0u);
    deallocate_frame(allocate_frame(64), 64);
    EXPECT_EQ(thread_frame_stats().cached_bytes, 64u);
  });
}

// Frees a frame when its thread ends: constructed before the pool's own clean-up is registered, so
// destroyed after it ran. What a list took then would be given out again, or leak.
struct frees_late {
  void* frame = nullptr;
  std::uint64_t* reused = nullptr;
  std::size_t* cached_bytes = nullptr;
  ~frees_late() {
    const std::uint64_t reused_before = thread_frame_stats().reused;
    deallocate_frame(frame, 64);
    deallocate_frame(allocate_frame(64), 64);
    *reused = thread_frame_stats().reused - reused_before;
    *cached_bytes = thread_frame_stats().cached_bytes;
  }
};

TEST(frame_pool, a_frame_freed_after_the_threads_clean_up_is_not_cached) {
  std::uint64_t reused = 1;
  std::size_t cached_bytes = 1;
  on_new_thread([&] {
    static thread_local frees_late late;
    late.reused = &reused;
    late.cached_bytes = &cached_bytes;
    late.frame = allocate_frame(64);
    deallocate_frame(allocate_frame(64), 64);
  });
  EXPECT_EQ(reused, 0u);
  EXPECT_EQ(cached_bytes, 0u);
}

// The use it is made for.
struct pooled_coroutine {
  struct promise_type {
    static void* operator new(std::size_t bytes) { return allocate_frame(bytes); }
    static void operator delete(void* frame, std::size_t bytes) { deallocate_frame(frame, bytes); }
    pooled_coroutine get_return_object() noexcept { return {}; }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() noexcept {}
    void unhandled_exception() noexcept {}
  };
};

pooled_coroutine increment(int& counter) {
  ++counter;
  co_return;
}

TEST(frame_pool, coroutines_of_one_size_share_a_frame) {
  on_new_thread([] {
    int counter = 0;
    for (int n = 0; n < 100; ++n) increment(counter);
    EXPECT_EQ(counter, 100);
    const frame_stats stats = thread_frame_stats();
    if (frames_are_cached) {
      EXPECT_LE(stats.from_system, 1u);  // 0 where the compiler elides the frame
    }
    EXPECT_LE(stats.from_system + stats.reused, 100u);
  });
}

}  // namespace
}  // namespace conpool
