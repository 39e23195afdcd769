#include <bench/progress.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstdio>
#include <string>

namespace {

using namespace std::chrono_literals;
using conpool::bench::progress;
using conpool::bench::run_plan;

run_plan counted() {
  return conpool::bench::plan_of(conpool::bench::default_preset());
}

std::string written_with(progress::style style) {
  std::FILE* const file = std::tmpfile();
  progress bar(file, style);
  bar.begin(counted());
  bar.show(1'000, 0);
  bar.end();
  std::string all(static_cast<std::size_t>(std::ftell(file)), '\0');
  std::rewind(file);
  all.resize(std::fread(all.data(), 1, all.size(), file));
  std::fclose(file);
  return all;
}

TEST(progress, shows_what_is_done_of_what_there_is) {
  const std::string text = progress::text(counted(), 1'000, 0, 500ms, true);
  EXPECT_NE(text.find("high_reuse"), std::string::npos);
  EXPECT_NE(text.find("[============            ]"), std::string::npos) << text;
  EXPECT_NE(text.find(" 50 %"), std::string::npos) << text;
  EXPECT_NE(text.find("1,000 of 2,000 requests, 2,000/s"), std::string::npos) << text;
  EXPECT_EQ(text.find("failed"), std::string::npos) << text;
}

TEST(progress, shows_failures_as_soon_as_there_are_any) {
  const std::string text = progress::text(counted(), 1'000, 1'000, 500ms, false);
  EXPECT_NE(text.find("1,000 failed"), std::string::npos) << text;
  EXPECT_EQ(text.find('['), std::string::npos) << text;
}

TEST(progress, follows_the_time_if_that_is_what_ends_the_run) {
  run_plan timed = counted();
  timed.duration = 10s;
  EXPECT_NE(progress::text(timed, 77, 0, 2s, true).find(" 20 %"), std::string::npos);
  EXPECT_NE(progress::text(timed, 77, 0, 60s, true).find("100 %"), std::string::npos);
}

TEST(progress, is_a_bar_that_leaves_no_trace_or_nothing_for_a_short_run) {
  EXPECT_TRUE(written_with(progress::style::bar).ends_with("\r\x1b[K"));
  EXPECT_EQ(written_with(progress::style::lines), "");
  EXPECT_EQ(written_with(progress::style::none), "");
}

}  // namespace
