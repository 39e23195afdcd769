// A shim for BoGo, BoringSSL's own test of the protocol: conpool's channel against its runner.
//
//   bogo-shim -port N [what the runner wants]       started by the runner; see scripts/bogo
//
// One process is one case: one connection, and -resume-count more with the same resources, so with
// its session cache. Exit status 0: as wanted; 1: not, and stderr has the reason; 89: the case
// needs something that conpool does not have.
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <fstream>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include <conpool/tls/detail/profile_on_shard.h>
#include <conpool/tls/detail/shard_resources.h>
#include <conpool/tls/server_profile.h>
#include <tests/bogo/connection.h>
#include <tests/bogo/exchange.h>
#include <tests/bogo/flags.h>
#include <tests/bogo/sides.h>

namespace conpool::bogo {
namespace {

enum exit_status : int { passed = 0, failed = 1, unimplemented = 89 };

struct outcome {
  exit_status status = passed;
  std::string why{};
};

outcome declined(const refusal& because) {
  return {because.is_error ? failed : unimplemented, because.why};
}

outcome connect_as(tls::ssl_config& config, const settings& asked, bool is_resumption) {
  connection runner(asked.port);
  if (!runner.good()) return {failed, "the runner does not answer"};
  const std::string peer = "runner:" + std::to_string(asked.port);
  exchange talk(config, peer, runner, asked, is_resumption);
  if (talk.run()) return {};
  return {failed, talk.problem()};
}

outcome run_client(tls::shard_resources& resources, const settings& asked, bool is_resumption) {
  auto options = client_options(asked);
  if (!options) return declined(options.error());
  const auto profile = tls::profile::make(*std::move(options));
  if (!profile) return {failed, profile.error().message()};
  const auto config = resources.config_for(*profile);
  if (!config) return {failed, config.error().message()};
  return connect_as(**config, asked, is_resumption);
}

outcome run_all(const command_line& asked) {
  tls::manual_wall_clock clock(std::time(nullptr));
  tls::shard_resources resources({}, clock);
  std::unique_ptr<tls::server_profile> server;
  if (asked.first.server) {
    // One server profile for all connections: the flags of the first are its.
    auto options = server_options(asked.first);
    if (!options) return declined(options.error());
    auto made = tls::server_profile::make(resources, *std::move(options));
    if (!made) return {failed, made.error().message()};
    server = *std::move(made);
  }
  for (int at = 0; at <= asked.first.resume_count; ++at) {
    const settings& now = at == 0 ? asked.first : asked.resumed;
    outcome one = server ? connect_as(*server, now, at > 0) : run_client(resources, now, at > 0);
    if (one.status != passed) return one;
    clock.advance_s(now.resumption_delay);
  }
  return {};
}

// With -transcript-dir the runner says where to write what is to be known of a case: the beginning
// of a path, which has the side and the name in it. It keeps to itself what is on stderr.
void note_reason(std::span<char*> arguments, const std::string& why) {
  const auto found = std::ranges::find(arguments, std::string_view("-write-settings"));
  if (found == arguments.end() || found + 1 == arguments.end()) return;
  std::ofstream(std::string(*(found + 1)) + "not-offered") << why << '\n';
}

int run(std::span<char*> arguments) {
  const auto asked = parse(arguments);
  if (asked && asked->first.handshaker_asked) {
    std::puts("No");
    return passed;
  }
  const outcome all = asked ? run_all(*asked) : declined(asked.error());
  if (all.status == unimplemented) note_reason(arguments, all.why);
  if (all.status != passed) std::fprintf(stderr, "%s\n", all.why.c_str());
  // What comes behind it, the runner takes for a sanitizer's words.
  std::fputs("--- DONE ---\n", stderr);
  return all.status;
}

}  // namespace
}  // namespace conpool::bogo

int main(int count, char** arguments) {
  // The runner waits for ever for a shim that hangs.
  ::alarm(60);
  return conpool::bogo::run(std::span(arguments, static_cast<std::size_t>(count)).subspan(1));
}
