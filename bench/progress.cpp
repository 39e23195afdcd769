#include <bench/progress.h>

#include <unistd.h>

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include <bench/units.h>

namespace conpool::bench {
namespace {

constexpr std::chrono::seconds line_every(10);
constexpr int bar_width = 24;
constexpr std::string_view erase_line = "\r\x1b[K";

}  // namespace

progress::style progress_style_for(std::FILE* file) noexcept {
  return ::isatty(::fileno(file)) != 0 ? progress::style::bar : progress::style::lines;
}

std::string progress::text(const run_plan& plan, std::uint64_t requests, std::uint64_t errors,
                           std::chrono::nanoseconds elapsed, bool with_bar) {
  const double seconds = std::chrono::duration<double>(elapsed).count();
  const double target = plan.timed() ? std::chrono::duration<double>(plan.duration).count()
                                     : static_cast<double>(plan.requests());
  const double reached = plan.timed() ? seconds : static_cast<double>(requests);
  const double part = target > 0 ? std::clamp(reached / target, 0.0, 1.0) : 1.0;

  std::string made = fmt::format("{:<17}", plan.name);
  if (with_bar) {
    const int filled = static_cast<int>(part * bar_width);
    made += fmt::format("[{:=<{}}{:<{}}]", "", filled, "", bar_width - filled);
  }
  made += fmt::format(" {:>3} %  {}", static_cast<int>(part * 100), grouped(requests));
  if (!plan.timed()) made += " of " + grouped(plan.requests());
  made += " requests";
  if (seconds >= 0.2) {
    made += fmt::format(
        ", {}/s", grouped(static_cast<std::uint64_t>(static_cast<double>(requests) / seconds)));
  }
  if (errors > 0) made += fmt::format(", {} failed", grouped(errors));
  return made;
}

void progress::begin(const run_plan& plan) {
  plan_ = plan;
  began_ = clock::now();
  next_line_ = began_ + line_every;
}

void progress::show(std::uint64_t requests, std::uint64_t errors) {
  if (style_ == style::none) return;
  const clock::time_point now = clock::now();
  if (style_ == style::lines) {
    if (now < next_line_) return;
    next_line_ = now + line_every;
    fmt::print(to_, "{}\n", text(plan_, requests, errors, now - began_, false));
  } else {
    fmt::print(to_, "{}{}", erase_line, text(plan_, requests, errors, now - began_, true));
  }
  std::fflush(to_);
}

void progress::end() {
  if (style_ != style::bar) return;
  fmt::print(to_, "{}", erase_line);
  std::fflush(to_);
}

}  // namespace conpool::bench
