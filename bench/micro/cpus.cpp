#include <bench/micro/cpus.h>

#include <sched.h>

namespace conpool::micro {
namespace {

// The CPUs that the process was given, before anything was pinned. They are read once, because they
// are a static.
const cpu_set_t& allowed() noexcept {
  static const cpu_set_t at_start = [] {
    cpu_set_t set;
    CPU_ZERO(&set);
    sched_getaffinity(0, sizeof set, &set);
    return set;
  }();
  return at_start;
}

void pin_to(int position) noexcept {
  const cpu_set_t& set = allowed();
  if (CPU_COUNT(&set) < 2) return;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &set) || position-- > 0) continue;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    sched_setaffinity(0, sizeof one, &one);  // this thread; if it fails, only noise grows
    return;
  }
}

}  // namespace

void pin_to_client_cpu() noexcept {
  pin_to(0);
}
void pin_to_peer_cpu() noexcept {
  pin_to(1);
}

}  // namespace conpool::micro
