// conpool-micro: measures what the parts of the pool cost, with Google Benchmark.
//
//   conpool-micro [--benchmark_filter=NAME] [any other --benchmark_ option]
//
// A filter that is the name of a benchmark (`acquire_hit`), or of a family with arguments
// (`dial_batch`), runs just that one or that family; any other filter is a regular expression. With
// CONPOOL_MICRO_ITERATIONS=N in the environment every benchmark makes exactly N iterations, so that
// an instruction counter can take the difference of two runs. The exit status is 1 if a benchmark
// failed or none was chosen and 2 for bad arguments, and otherwise 0.

#include <benchmark/benchmark.h>

#include <cstdio>
#include <initializer_list>
#include <string>
#include <vector>

#include <bench/micro/cpus.h>
#include <bench/micro/measured_run.h>
#include <bench/micro/micro.h>

namespace conpool::micro {
namespace {

struct entry {
  const char* name;
  void (*function)(benchmark::State&);
  std::initializer_list<std::int64_t> arguments;
};

constexpr std::initializer_list<std::int64_t> none{};
constexpr std::initializer_list<std::int64_t> probe_sizes{1, 16, 64};
constexpr std::initializer_list<std::int64_t> dial_sizes{1, 16, 64, 256};
constexpr std::initializer_list<std::int64_t> endpoint_counts{100, 16'000};
constexpr std::initializer_list<std::int64_t> request_connections{1, 16, 64};
#ifdef CONPOOL_MICRO_TLS
constexpr std::initializer_list<std::int64_t> record_bytes{64, 1024, 16384};
constexpr std::initializer_list<std::int64_t> storm_sizes{100, 1000};
#endif

const entry entries[] = {
    {"acquire_hit", &acquire_hit, none},
    {"acquire_hit_16_endpoints", &acquire_hit_16_endpoints, none},
    {"acquire_hit_unvalidated", &acquire_hit_unvalidated, none},
    {"baseline_peek_syscall", &baseline_peek_syscall, none},
    {"baseline_mutex_pool", &baseline_mutex_pool, none},
    {"probe_batch", &probe_batch, probe_sizes},
    {"floor_probe_batch", &floor_probe_batch, probe_sizes},
    {"dial_batch", &dial_batch, dial_sizes},
    {"miss_at_cap", &miss_at_cap, endpoint_counts},
    {"request_pooled", &request_pooled, request_connections},
    {"request_held", &request_held, request_connections},
    {"request_exchanged", &request_exchanged, request_connections},
    {"floor_request_bare_ring", &floor_request_bare_ring, request_connections},
#ifdef CONPOOL_MICRO_TLS
    {"acquire_hit_tls", &acquire_hit_tls, none},
    {"tls_record_encrypt", &tls_record_encrypt, record_bytes},
    {"tls_record_decrypt", &tls_record_decrypt, record_bytes},
    {"tls_write_gathered", &tls_write_gathered, none},
    {"floor_span_bio_write", &floor_span_bio_write, record_bytes},
    {"floor_span_bio_read", &floor_span_bio_read, record_bytes},
    {"floor_aead", &floor_aead, record_bytes},
    {"tls_handshake_full", &tls_handshake_full, none},
    {"tls_handshake_full_known_chain", &tls_handshake_full_known_chain, none},
    {"tls_handshake_resumed", &tls_handshake_resumed, none},
    {"tls_verify_known_chain", &tls_verify_known_chain, none},
    {"tls_storm", &tls_storm, storm_sizes},
    {"tls_churn", &tls_churn, none},
#endif
};

void register_all() {
  for (const entry& each : entries) {
    auto* const registered = benchmark::RegisterBenchmark(each.name, each.function);
    for (const std::int64_t argument : each.arguments) registered->Arg(argument);
  }
}

// Google Benchmark looks for its filter anywhere in a name, so "acquire_hit" would also run
// "acquire_hit_unvalidated". Here a whole name stands for itself alone.
std::string anchored(const std::string& filter) {
  for (const entry& each : entries) {
    const std::string name = each.name;
    if (filter == name) return "^" + name + "(/|$)";
    for (const std::int64_t argument : each.arguments) {
      if (filter == name + "/" + std::to_string(argument)) return "^" + filter + "$";
    }
  }
  return filter;
}

}  // namespace
}  // namespace conpool::micro

int main(int argc, char** argv) {
  namespace micro = conpool::micro;
  std::vector<char*> arguments(argv, argv + argc);
  // This makes one run of one batch, without a suffix in the names; see measured_run.h.
  std::string once = "--benchmark_min_time=0";
  if (micro::exact_iterations()) arguments.push_back(once.data());
  int count = static_cast<int>(arguments.size());
  arguments.push_back(nullptr);
  benchmark::Initialize(&count, arguments.data());
  if (benchmark::ReportUnrecognizedArguments(count, arguments.data())) return 2;

  micro::pin_to_client_cpu();
  micro::register_all();
  const std::string filter = benchmark::GetBenchmarkFilter();
  const std::size_t run = benchmark::RunSpecifiedBenchmarks(micro::anchored(filter));
  benchmark::Shutdown();
  if (run == 0) {
    std::fprintf(stderr, "conpool-micro: no benchmark matches \"%s\"\n", filter.c_str());
    return 1;
  }
  return micro::any_failed() ? 1 : 0;
}
