#include <tests/soak/lend_counts.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>

#include <sys/socket.h>

namespace conpool::test {
namespace {

constexpr std::uint64_t described_max = 3;

}  // namespace

lend_counts& lend_counts::operator+=(const lend_counts& other) noexcept {
  lends += other.lends;
  reused += other.reused;
  refused += other.refused;
  faults += other.faults;
  found += other.found;
  stale += other.stale;
  return *this;
}

std::string look_at_socket(int fd) {
  char byte = 0;
  const ssize_t count = ::recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  if (count > 0) return "bytes";
  if (count == 0) return "end";
  return errno == EAGAIN ? "nothing" : "reset";
}

// When the pool has looked is not seen from outside. It was not before the acquire, and not before
// the turn in which the caller was resumed; so the later of the two is a moment before the look.
bool judge_lend(lend_counts& sum, const lease& lent, time_point broke, time_point asked) {
  ++sum.lends;
  if (lent.reused()) ++sum.reused;
  const time_point before_look = std::max(asked, lent->home().now());
  const std::string seen = look_at_socket(lent->fd());
  // An older one is of another connection that had the same port.
  const bool is_broken = broke > lent->created_at();
  if (seen == "nothing" && !is_broken) return true;
  if (seen != "nothing") ++sum.found;
  if (!is_broken || before_look - broke <= known_after) return false;
  if (sum.stale++ < described_max && !sum.expects_stale) {
    std::fprintf(stderr,
                 "stale: broke %lld ns before, the socket has %s, lend %llu, conditions %#x, %s\n",
                 static_cast<long long>((before_look - broke).count()), seen.c_str(),
                 static_cast<unsigned long long>(lent->uses()), lent->conditions(),
                 asked < lent->home().now() ? "handed over in a later turn" : "in the same turn");
  }
  return false;
}

std::string head_of_counts() {
  return "                          lends     reused    refused     faults      found      stale\n";
}

std::string line_of_counts(const std::string& name, const lend_counts& sum) {
  std::string line = name + std::string(20 - std::min<std::size_t>(name.size(), 20), ' ');
  for (const std::uint64_t count :
       {sum.lends, sum.reused, sum.refused, sum.faults, sum.found, sum.stale}) {
    const std::string text = std::to_string(count);
    line += std::string(11 - std::min<std::size_t>(text.size(), 10), ' ') + text;
  }
  return line + "\n";
}

}  // namespace conpool::test
