// A shim for BoGo, BoringSSL's own test of the protocol: conpool's stream against its runner.
//
//   bogo-shim -port N [what the runner wants]       started by the runner; see scripts/bogo
//
// One process is one case: one connection, and -resume-count more with the same engine, so with
// its session cache. Exit status 0: as wanted; 1: not, and stderr has the reason; 89: the case
// needs something that conpool does not have.
#include <csignal>
#include <cstdio>
#include <ctime>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include <conpool/tls/engine.h>
#include <conpool/tls/server_context.h>
#include <conpool/tls/shard_context.h>
#include <tests/bogo/connection.h>
#include <tests/bogo/exchange.h>
#include <tests/bogo/flags.h>
#include <tests/bogo/sides.h>

namespace conpool::bogo {
namespace {

enum exit_status : int { passed = 0, failed = 1, unimplemented = 89 };

// Behind it, the runner takes what is on stderr for a sanitizer's.
struct end_of_our_words {
  ~end_of_our_words() { std::fputs("--- DONE ---\n", stderr); }
};

int complain(const std::string& why) {
  std::fprintf(stderr, "%s\n", why.c_str());
  return failed;
}

int connect_as(tls::context_base& context, const settings& asked, bool is_resumption) {
  connection runner(asked.port);
  if (!runner.good()) return complain("the runner does not answer");
  const std::string peer = "runner:" + std::to_string(asked.port);
  const auto talk = std::make_unique<exchange>(context, peer, runner, asked, is_resumption);
  return talk->run() ? passed : complain(talk->problem());
}

int run_client(tls::engine& engine, const settings& asked, bool is_resumption) {
  auto options = client_options(asked);
  if (!options) return unimplemented;
  const auto profile = tls::profile::make(*std::move(options));
  if (!profile) return complain(profile.error().message());
  const auto context = engine.context_for(*profile);
  if (!context) return complain(context.error().message());
  return connect_as(**context, asked, is_resumption);
}

int run_all(const command_line& asked) {
  tls::manual_wall_clock clock(std::time(nullptr));
  tls::engine engine({}, clock);
  std::unique_ptr<tls::server_context> server;
  if (asked.first.server) {
    auto options = server_options(asked.first);
    if (!options || !server_options(asked.resumed)) return unimplemented;
    auto made = tls::server_context::make(engine, *std::move(options));
    if (!made) return complain(made.error().message());
    server = *std::move(made);
  }
  for (int at = 0; at <= asked.first.resume_count; ++at) {
    const settings& now = at == 0 ? asked.first : asked.resumed;
    const int status = server ? connect_as(*server, now, at > 0) : run_client(engine, now, at > 0);
    if (status != passed) return status;
    clock.advance_s(now.resumption_delay);
  }
  return passed;
}

int run(std::span<char*> arguments) {
  const end_of_our_words end;
  const auto asked = parse(arguments);
  if (!asked) return unimplemented;
  if (asked->first.handshaker_asked) {
    std::puts("No");
    return passed;
  }
  return run_all(*asked);
}

}  // namespace
}  // namespace conpool::bogo

int main(int count, char** arguments) {
  return conpool::bogo::run(std::span(arguments, static_cast<std::size_t>(count)).subspan(1));
}
