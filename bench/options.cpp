#include <bench/options.h>
#include <bench/tls.h>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <string_view>
#include <utility>

namespace conpool::bench {
namespace {

constexpr int bad_arguments = 2;

constexpr std::uint64_t shards_max = 256;
constexpr std::uint64_t clients_max = 100'000;
constexpr std::uint64_t messages_max = 1'000'000'000'000;
constexpr std::uint64_t message_bytes_max = 16 << 20;
constexpr std::uint64_t pool_size_max = 65'536;
constexpr double duration_max_s = 86'400;
constexpr double rate_max_per_s = 1e9;
// Each client that runs at once keeps a message to send and one to receive.
constexpr std::uint64_t memory_max_bytes = std::uint64_t{1} << 30;

constexpr std::string_view description =
    "Runs clients against servers through a connection pool, and prints what the pool did: how\n"
    "long it took to acquire a connection, how often an idle one could be reused, how fast the\n"
    "requests were, and whether any failed.";

constexpr std::string_view footer =
    "Each shard has a thread and a pool of its own, so a server may see --pool-size connections\n"
    "from each shard. For each message, a client picks a random server, acquires a connection,\n"
    "writes, reads and compares the answer, and gives the connection back. Without --preset, any\n"
    "of --endpoint, --clients, --messages, --message-size, --pool-size and --shards makes a run\n"
    "named custom, whose clients all run at once; the other numbers are those of high_reuse. With\n"
    "--preset, they replace the preset's numbers. Times are measured from the call of acquire to\n"
    "the lease (acquire) and to its release (request). With --rate, a request that could not\n"
    "start when it was due, because its client was still busy, is measured from the time when it\n"
    "was due.\n"
    "With --protocol redis a message is a SET and a GET of the same key; servers given by\n"
    "--endpoint keep the keys, one for each client that runs at once (conpool-bench:...).\n"
    "An endpoint is tcp://host:port, tls://host:port, unix:/path or unix:@name.\n"
    "\n"
    "Exit status: 0 if every request succeeded, 1 if not, 2 for bad arguments.";

// What the command line said, before it is turned into runs.
struct arguments {
  std::string preset_name;
  bool list_presets = false;
  std::vector<std::string> endpoints;
  std::string protocol = "echo";
  bool tls = false;
  std::string ca_path;
  bool insecure = false;
  std::string validation = "watch";
  std::optional<std::uint64_t> shards;
  std::optional<std::uint64_t> clients;
  std::optional<std::uint64_t> messages;
  std::optional<std::uint64_t> message_bytes;
  std::optional<std::uint64_t> pool_size;
  std::optional<double> duration_s;
  std::optional<double> rate_per_s;
  options output;

  bool make_a_custom_run() const {
    return preset_name.empty() &&
           (!endpoints.empty() || shards || clients || messages || message_bytes || pool_size);
  }
};

std::unexpected<early_exit> refuse(std::string text) {
  return std::unexpected(early_exit{bad_arguments, std::move(text)});
}

template <typename T>
bool parse_number(std::string_view text, T& into) {
  const char* const begin = text.data();
  const char* const end = begin + text.size();
  const auto parsed = std::from_chars(begin, end, into);
  return parsed.ec == std::errc{} && parsed.ptr == end;
}

// These validators look at the text itself, so that their messages quote what was typed.
CLI::Validator whole_number(std::uint64_t most) {
  return CLI::Validator(
      [most](std::string& text) {
        std::uint64_t value = 0;
        if (parse_number(text, value) && value >= 1 && value <= most) return std::string();
        return fmt::format("'{}' is not a whole number from 1 to {}", text, most);
      },
      "N");
}

CLI::Validator positive_number(double most) {
  return CLI::Validator(
      [most](std::string& text) {
        double value = 0;
        if (parse_number(text, value) && value > 0 && value <= most) return std::string();
        return fmt::format("'{}' is not a number above 0 and up to {}", text, most);
      },
      "X");
}

CLI::Validator known_preset() {
  return CLI::Validator(
      [](std::string& name) {
        if (name == "all" || find_preset(name) != nullptr) return std::string();
        std::string names = "all";
        for (const preset& each : all_presets()) names.append(", ").append(each.name);
        return fmt::format("there is no preset '{}'; the presets are {}", name, names);
      },
      "NAME");
}

CLI::Validator known_protocol() {
  return CLI::Validator(
      [](std::string& name) {
        if (name == "echo" || name == "redis") return std::string();
        if (name == "http1")
          return std::string("http1 comes in a later version; use echo or redis");
        return fmt::format("there is no protocol '{}'; use echo or redis", name);
      },
      "NAME");
}

CLI::Validator known_validation() {
  return CLI::Validator(
      [](std::string& name) {
        if (name == "watch" || name == "probe" || name == "none") return std::string();
        if (name == "ping") {
          return std::string(
              "ping needs a protocol with a ping, and the harness's protocols have none; use "
              "watch, probe or none");
        }
        return fmt::format("there is no validation '{}'; use watch, probe or none", name);
      },
      "NAME");
}

void declare(CLI::App& app, arguments& given) {
  const auto names = [](CLI::Option* option, const char* value) {
    option->type_name(value)->option_text(value);
  };
  names(app.add_option("--preset", given.preset_name,
                       "The preset to run, or all of them one after the other [high_reuse]")
            ->check(known_preset()),
        "NAME|all");
  app.add_flag("--list-presets", given.list_presets, "Print the presets and their numbers");
  names(app.add_option("--endpoint", given.endpoints,
                       "A server to use instead of the embedded ones; repeat for more")
            ->allow_extra_args(false),
        "URI");
  names(app.add_option("--protocol", given.protocol, "echo, redis [echo]")->check(known_protocol()),
        "NAME");
  app.add_flag("--tls", given.tls,
               "Use TLS with the embedded servers, under a certificate made at start");
  names(app.add_option("--ca", given.ca_path,
                       "Certificates that tls:// endpoints are checked against [the system's]"),
        "FILE");
  app.add_flag("--insecure", given.insecure, "Accept any certificate of tls:// endpoints");
  names(
      app.add_option("--shards", given.shards, "Threads that run clients [half of the processors]")
          ->check(whole_number(shards_max)),
      "N");
  names(app.add_option("--clients", given.clients, "Clients over all shards")
            ->check(whole_number(clients_max)),
        "N");
  names(app.add_option("--messages", given.messages, "Messages that each client sends")
            ->check(whole_number(messages_max)),
        "N");
  names(app.add_option("--duration", given.duration_s,
                       "Run for this many seconds, whatever the number of messages")
            ->check(positive_number(duration_max_s)),
        "S");
  names(app.add_option("--rate", given.rate_per_s,
                       "Requests per second of all clients together [as fast as they can]")
            ->check(positive_number(rate_max_per_s)),
        "R");
  names(app.add_option("--message-size", given.message_bytes, "Size of a message in bytes")
            ->check(whole_number(message_bytes_max)),
        "BYTES");
  names(app.add_option("--pool-size", given.pool_size,
                       "Maximum number of connections to one server on each shard")
            ->check(whole_number(pool_size_max)),
        "N");
  names(app.add_option("--validation", given.validation,
                       "How idle connections are checked: watch, probe, none [watch]")
            ->check(known_validation()),
        "NAME");
  names(app.add_option("--json", given.output.json_path,
                       "Write the report as JSON; - means standard output"),
        "FILE|-");
  names(app.add_option("--html", given.output.html_path, "Write the report as one HTML page"),
        "FILE");
  app.add_flag("--quiet", given.output.quiet, "Show no progress");
}

std::string preset_list() {
  std::string text =
      fmt::format("{:<18}{:>8}{:>9}{:>10}{:>10}{:>7}{:>6}{:>12}\n", "preset", "servers", "clients",
                  "messages", "parallel", "bytes", "pool", "requests");
  for (const preset& each : all_presets()) {
    text += fmt::format("{:<18}{:>8}{:>9}{:>10}{:>10}{:>7}{:>6}{:>12}\n", each.name, each.servers,
                        each.clients_per_server, each.messages_per_client, each.parallel_clients,
                        each.message_bytes, each.pool_size, each.requests());
  }
  text +=
      "clients: for each server; messages: for each client; parallel: clients at once;\n"
      "pool: connections to one server, on each shard\n";
  return text;
}

// Puts the numbers of the command line in place of the preset's.
run_plan plan_with(run_plan plan, const arguments& given, unsigned cores) {
  if (given.make_a_custom_run()) plan.name = "custom";
  plan.protocol = given.protocol == "redis" ? wire_protocol::redis : wire_protocol::echo;
  plan.validation = parse_validation_policy(given.validation).value();
  if (given.clients) {
    const auto clients = static_cast<std::uint32_t>(*given.clients);
    plan.clients = clients;
    plan.parallel = given.preset_name.empty() ? clients : std::min(clients, plan.parallel);
  }
  if (given.messages) plan.messages = *given.messages;
  if (given.message_bytes) plan.message_bytes = static_cast<std::uint32_t>(*given.message_bytes);
  if (given.pool_size) plan.pool_size = static_cast<std::uint32_t>(*given.pool_size);
  if (given.rate_per_s) plan.rate_per_s = *given.rate_per_s;
  if (given.duration_s) {
    plan.duration = std::chrono::nanoseconds(std::llround(*given.duration_s * 1e9));
    plan.clients = std::min(plan.clients, plan.parallel);  // the first clients never end
  }
  plan.parallel = std::min(plan.parallel, plan.clients);
  plan.shards = given.shards ? static_cast<unsigned>(*given.shards) : std::max(1U, cores / 2);
  plan.server_shards = cores > plan.shards ? cores - plan.shards : 1;
  plan.server_shards = std::min(plan.server_shards, plan.servers);
  return plan;
}

std::expected<std::vector<endpoint>, early_exit> parse_endpoints(const arguments& given) {
  std::vector<endpoint> parsed;
  for (const std::string& text : given.endpoints) {
    result<endpoint> one = endpoint::parse(text);
    if (!one) return refuse("--endpoint: " + one.error().message());
    if (one->transport() == transport::tls) {
      one = verified_by(*one, given.ca_path, given.insecure);
      if (!one) return refuse("--endpoint: " + text + ": " + one.error().message());
    }
    parsed.push_back(std::move(*one));
  }
  return parsed;
}

std::expected<options, early_exit> decide(const arguments& given, unsigned cores) {
  if (given.tls && !has_tls()) return refuse("--tls: this build has no TLS");
  if (given.tls && !given.endpoints.empty()) {
    return refuse("--tls: is for the embedded servers; write --endpoint tls://host:port");
  }
  if (given.output.html_path == "-") return refuse("--html: needs the name of a file");
  if (given.duration_s && *given.duration_s < 1e-3) {
    return refuse("--duration: must be at least 0.001 seconds");
  }
  auto endpoints = parse_endpoints(given);
  if (!endpoints) return std::unexpected(endpoints.error());

  options made = given.output;
  const preset* const named = find_preset(given.preset_name);
  for (const preset& each : all_presets()) {
    const preset& wanted = named == nullptr ? default_preset() : *named;
    if (given.preset_name != "all" && &each != &wanted) continue;
    run_plan plan = plan_with(plan_of(each), given, cores);
    plan.endpoints = *endpoints;
    plan.tls = given.tls || std::ranges::any_of(*endpoints, [](const endpoint& one) {
                 return one.transport() == transport::tls;
               });
    if (std::uint64_t{plan.parallel} * plan.message_bytes > memory_max_bytes) {
      return refuse(
          fmt::format("--message-size: {} bytes for each of {} clients at once is more "
                      "than 1 GiB",
                      plan.message_bytes, plan.parallel));
    }
    made.runs.push_back(std::move(plan));
  }
  return made;
}

}  // namespace

int early_exit::print() const {
  if (status == 0) {
    std::fputs(text.c_str(), stdout);
  } else {
    fmt::print(stderr, "conpool-bench: {}\n", text);
  }
  return status;
}

std::expected<options, early_exit> parse_options(int argc, const char* const* argv,
                                                 unsigned cores) {
  arguments given;
  CLI::App app(std::string(description), "conpool-bench");
  app.footer(std::string(footer));
  app.get_formatter()->column_width(26);
  declare(app, given);
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    return std::unexpected(early_exit{0, app.help()});
  } catch (const CLI::ParseError& wrong) {
    std::string text = wrong.what();
    std::replace(text.begin(), text.end(), '\n', ' ');
    return refuse(std::move(text));
  }
  if (given.list_presets) return std::unexpected(early_exit{0, preset_list()});
  return decide(given, cores);
}

}  // namespace conpool::bench
