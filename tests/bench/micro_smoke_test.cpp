// conpool-micro from outside: that every benchmark of the contract is there, runs as often as it is
// told to, and alone when it is named. Figures are not judged here, but for allocations: these do
// not depend on how fast the machine is.

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <nlohmann/json.hpp>

#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>
#include <vector>

namespace {

struct outcome {
  int status = -1;  // the exit status
  std::string output;
};

// Runs conpool-micro with `environment` ("NAME=value ...") and `arguments`, by the shell.
outcome run_micro(const std::string& environment, const std::string& arguments) {
  outcome done;
  const char* const program = std::getenv("CONPOOL_MICRO");
  const std::string command = environment + " '" + program + "' " + arguments + " 2>/dev/null";
  FILE* const pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) return done;
  char piece[4096];
  while (const std::size_t count = std::fread(piece, 1, sizeof piece, pipe)) {
    done.output.append(piece, count);
  }
  const int status = pclose(pipe);
  if (WIFEXITED(status)) done.status = WEXITSTATUS(status);
  return done;
}

std::map<std::string, nlohmann::json> results(const std::string& output) {
  std::map<std::string, nlohmann::json> by_name;
  const nlohmann::json all = nlohmann::json::parse(output, nullptr, false);
  if (!all.is_object() || !all.contains("benchmarks")) return by_name;
  for (const nlohmann::json& one : all["benchmarks"]) {
    by_name.emplace(one.at("name").get<std::string>(), one);
  }
  return by_name;
}

class micro : public testing::Test {
 protected:
  void SetUp() override {
    if (std::getenv("CONPOOL_MICRO") == nullptr) GTEST_SKIP() << "built without benchmarks";
  }
};

const std::vector<std::string> hits{"acquire_hit", "acquire_hit_16_endpoints",
                                    "acquire_hit_unvalidated"};
const std::vector<std::string> others{"baseline_peek_syscall",
                                      "baseline_mutex_pool",
                                      "dial_batch/1",
                                      "dial_batch/16",
                                      "dial_batch/64",
                                      "dial_batch/256",
                                      "miss_at_cap/100",
                                      "miss_at_cap/16000",
                                      "request_pooled/1",
                                      "request_pooled/16",
                                      "request_pooled/64",
                                      "request_held/1",
                                      "request_held/16",
                                      "request_held/64",
                                      "request_exchanged/1",
                                      "request_exchanged/16",
                                      "request_exchanged/64",
                                      "floor_request_bare_ring/1",
                                      "floor_request_bare_ring/16",
                                      "floor_request_bare_ring/64"};

// Absent in a build without TLS, and then all of them.
const std::vector<std::string> of_tls{"acquire_hit_tls",
                                      "tls_record_encrypt/64",
                                      "tls_record_encrypt/1024",
                                      "tls_record_encrypt/16384",
                                      "tls_record_decrypt/64",
                                      "tls_record_decrypt/1024",
                                      "tls_record_decrypt/16384",
                                      "tls_write_gathered",
                                      "floor_span_bio_write/64",
                                      "floor_span_bio_read/64",
                                      "floor_aead/64",
                                      "floor_aead/1024",
                                      "floor_aead/16384",
                                      "tls_handshake_full",
                                      "tls_handshake_full_known_chain",
                                      "tls_handshake_resumed",
                                      "tls_verify_known_chain",
                                      "tls_storm/100",
                                      "tls_churn"};

TEST_F(micro, runs_every_benchmark_exactly_as_often_as_it_is_told_to) {
  // Without the storm of a thousand, which takes a second each time.
  const outcome done = run_micro("CONPOOL_MICRO_ITERATIONS=50",
                                 "--benchmark_format=json '--benchmark_filter=-tls_storm/1000'");
  ASSERT_EQ(done.status, 0);
  const auto found = results(done.output);
  std::vector<const std::vector<std::string>*> lists{&hits, &others};
  if (found.contains("floor_aead/64")) lists.push_back(&of_tls);
  for (const auto* names : lists) {
    for (const std::string& name : *names) {
      const auto one = found.find(name);
      ASSERT_NE(one, found.end()) << name;
      EXPECT_EQ(one->second.at("iterations"), 50) << name;
      EXPECT_FALSE(one->second.contains("error_message")) << name;
    }
  }
}

TEST_F(micro, a_hit_allocates_nothing_and_enters_no_kernel) {
  for (const std::string& name : hits) {
    const outcome done = run_micro("CONPOOL_MICRO_ITERATIONS=5000",
                                   "--benchmark_format=json --benchmark_filter=" + name);
    ASSERT_EQ(done.status, 0) << name;
    const auto found = results(done.output);
    ASSERT_EQ(found.size(), 1U) << name;
    const nlohmann::json& one = found.at(name);
    EXPECT_EQ(one.at("hits"), 5000) << name;
    EXPECT_EQ(one.at("allocations_per_iteration"), 0) << name;
    EXPECT_EQ(one.at("enters_per_acquire"), 0) << name;
  }
}

TEST_F(micro, a_record_allocates_nothing_of_ours) {
  for (const std::string name : {"tls_record_encrypt/64", "tls_record_decrypt/64"}) {
    const outcome done = run_micro("CONPOOL_MICRO_ITERATIONS=5000",
                                   "--benchmark_format=json --benchmark_filter=" + name);
    const auto found = results(done.output);
    if (found.empty()) GTEST_SKIP() << "built without TLS";
    EXPECT_EQ(found.at(name).at("allocations_per_iteration"), 0) << name;
  }
}

TEST_F(micro, most_of_a_steady_churn_resumes_a_session) {
  const outcome done = run_micro("CONPOOL_MICRO_ITERATIONS=200",
                                 "--benchmark_format=json "
                                 "--benchmark_filter=tls_churn");
  const auto found = results(done.output);
  if (found.empty()) GTEST_SKIP() << "built without TLS";
  EXPECT_GE(found.at("tls_churn").at("resumed_ratio"), 0.95);
}

TEST_F(micro, a_request_takes_two_entries_as_a_bare_loop_does) {
  const auto entries_of = [](const std::string& name) {
    const outcome done = run_micro("CONPOOL_MICRO_ITERATIONS=5000",
                                   "--benchmark_format=json --benchmark_filter=" + name);
    const auto found = results(done.output);
    return done.status == 0 && found.contains(name)
               ? found.at(name).at("sqes_per_request").get<double>()
               : -1.0;
  };
  // The last receive is posted within the run, or after it.
  EXPECT_NEAR(entries_of("request_pooled/16"), 2.0, 0.01);
  EXPECT_NEAR(entries_of("floor_request_bare_ring/16"), 2.0, 0.01);
}

TEST_F(micro, a_name_runs_just_that_and_a_family_all_its_arguments) {
  const outcome one = run_micro("", "--benchmark_list_tests --benchmark_filter=acquire_hit");
  EXPECT_EQ(one.output, "acquire_hit\n");
  const outcome family = run_micro("", "--benchmark_list_tests --benchmark_filter=request_pooled");
  EXPECT_EQ(family.output, "request_pooled/1\nrequest_pooled/16\nrequest_pooled/64\n");
  const outcome member = run_micro("", "--benchmark_list_tests --benchmark_filter=dial_batch/1");
  EXPECT_EQ(member.output, "dial_batch/1\n");
}

TEST_F(micro, refuses_what_it_does_not_understand) {
  EXPECT_EQ(run_micro("", "--no_such_option").status, 2);
  EXPECT_EQ(run_micro("CONPOOL_MICRO_ITERATIONS=many", "").status, 2);
  EXPECT_EQ(run_micro("CONPOOL_MICRO_ITERATIONS=0", "").status, 2);
  EXPECT_EQ(run_micro("", "--benchmark_filter=no_such_benchmark").status, 1);
}

}  // namespace
