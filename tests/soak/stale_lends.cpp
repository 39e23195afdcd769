// Looks for connections that the pool lends although it should have known better.
//
//   conpool-stale-lends [--lends N] [--seed N] [--only NAME]
//
// N lends for each transport and policy, 20,000 by default, and a tenth of them against nginx. NAME
// is a part of a line's name, such as "tcp watch" or "nginx". Beside each lend an independent look
// at the socket says whether something is wrong with it ("found"), and the server's own clock says
// whether that was so for more than 50 us before the pool looked ("stale"). The exit status is 1 if
// anything was stale: there is nothing that a pool can do about the rest.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <string>

#include <tests/soak/lend_counts.h>

namespace conpool::test {
namespace {

constexpr std::uint64_t blind_lends = 2'000;

struct stale_options {
  std::uint64_t lends = 20'000;
  std::uint64_t seed = 1;
  std::string only;
};

bool parse(int count, char** words, stale_options& into) {
  for (int i = 1; i + 1 < count; i += 2) {
    const std::string name = words[i];
    if (name == "--lends") {
      into.lends = std::strtoull(words[i + 1], nullptr, 10);
    } else if (name == "--seed") {
      into.seed = std::strtoull(words[i + 1], nullptr, 10);
    } else if (name == "--only") {
      into.only = words[i + 1];
    } else {
      return false;
    }
  }
  return count % 2 == 1 && into.lends > 0;
}

// Without any checks there must be stale lends, or else this program could not see them.
bool can_see(const stale_options& asked) {
  const lend_counts sum =
      soak_faulty_server({validation_policy::none, false, blind_lends, asked.seed});
  std::fputs(line_of_counts("(tcp none)", sum).c_str(), stdout);
  return sum.stale > 0;
}

int run(const stale_options& asked) {
  std::uint64_t stale = 0;
  std::fputs(head_of_counts().c_str(), stdout);
  if (!can_see(asked)) return 1;
  for (const bool against_nginx : {false, true}) {
    for (const bool secure : {false, true}) {
      for (const auto policy : {validation_policy::watch, validation_policy::probe}) {
        const std::string name = std::string(against_nginx ? "nginx " : "") +
                                 (secure ? "tls " : "tcp ") + to_string(policy);
        if (name.find(asked.only) == name.npos) continue;
        const lend_case how{policy, secure, against_nginx ? asked.lends / 10 : asked.lends,
                            asked.seed};
        const lend_counts sum = against_nginx ? soak_nginx(how) : soak_faulty_server(how);
        std::fputs(line_of_counts(name, sum).c_str(), stdout);
        std::fflush(stdout);
        stale += sum.stale;
      }
    }
  }
  return stale == 0 ? 0 : 1;
}

}  // namespace
}  // namespace conpool::test

int main(int count, char** words) {
  try {
    conpool::test::stale_options asked;
    if (conpool::test::parse(count, words, asked)) return conpool::test::run(asked);
    std::fputs("usage: conpool-stale-lends [--lends N] [--seed N] [--only NAME]\n", stderr);
  } catch (const std::exception& why) {
    std::fprintf(stderr, "conpool-stale-lends: %s\n", why.what());
  }
  return 2;
}
