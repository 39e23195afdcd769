// conpool-bench: runs what its command line asks for and reports the results. See options.h and
// --help.
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <exception>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include <bench/html.h>
#include <bench/machine.h>
#include <bench/options.h>
#include <bench/progress.h>
#include <bench/report.h>
#include <bench/run.h>

namespace {

using namespace conpool::bench;

constexpr int succeeded = 0;
constexpr int failed = 1;
constexpr int bad_arguments = 2;

// A report file is opened before anything runs, so that three minutes of work are not lost to a
// mistyped path.
class report_file {
 public:
  // An empty path means that there is no such report.
  bool open(const std::string& path) {
    path_ = path;
    if (!path.empty()) stream_.open(path, std::ios::trunc);
    return path.empty() || stream_.is_open();
  }
  // Returns false if the text was not written completely.
  bool write(const std::string& text) {
    if (path_.empty()) return true;
    stream_ << text;
    stream_.close();
    if (!stream_.fail()) return true;
    complain("could not write " + path_);
    return false;
  }
  static void complain(const std::string& text) { fmt::print(stderr, "conpool-bench: {}\n", text); }

 private:
  std::string path_;
  std::ofstream stream_;
};

// Runs all plans and prints a row for each as it ends. Returns false if one could not be run at
// all.
bool run_all(const options& wanted, const machine_info& machine, std::FILE* table,
             std::vector<run_report>& reports) {
  progress bar(stderr, wanted.quiet ? progress::style::none : progress_style_for(stderr));
  fmt::print(table, "{}{}", table_title(machine, wanted.runs.front()), table_header());
  std::fflush(table);
  for (const run_plan& plan : wanted.runs) {
    const std::uint64_t needed = descriptors_for(plan);
    const std::uint64_t allowed = raise_file_limit(needed);
    if (allowed < needed) {
      report_file::complain(
          fmt::format("{} may need {} open files and only {} are allowed; raise ulimit -n if it "
                      "fails",
                      plan.name, needed, allowed));
    }
    conpool::result<run_report> report = execute(plan, bar);
    if (!report) {
      report_file::complain(plan.name + ": " + report.error().message());
      return false;
    }
    fmt::print(table, "{}", table_row(*report));
    std::fflush(table);
    fmt::print(stderr, "{}", failure_lines(*report));
    reports.push_back(std::move(*report));
  }
  return true;
}

int run(int argc, char** argv) {
  const machine_info machine = this_machine();
  auto wanted = parse_options(argc, argv, machine.cpus);
  if (!wanted) return wanted.error().print();

  const bool json_to_stdout = wanted->json_path == "-";
  report_file json;
  report_file html;
  if (!json_to_stdout && !json.open(wanted->json_path)) {
    report_file::complain("--json: cannot write " + wanted->json_path + ": " +
                          std::strerror(errno));
    return bad_arguments;
  }
  if (!html.open(wanted->html_path)) {
    report_file::complain("--html: cannot write " + wanted->html_path + ": " +
                          std::strerror(errno));
    return bad_arguments;
  }

  std::vector<run_report> reports;
  bool good = run_all(*wanted, machine, json_to_stdout ? stderr : stdout, reports);
  const std::string json_text = to_json(machine, reports).dump(2) + "\n";
  if (json_to_stdout) {
    good = std::fputs(json_text.c_str(), stdout) >= 0 && std::fflush(stdout) == 0 && good;
  }
  good = json.write(json_text) && good;
  good = html.write(to_html(machine, reports)) && good;
  for (const run_report& report : reports) good = good && report.errors == 0;
  return good ? succeeded : failed;
}

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);  // `conpool-bench | head` ends with an error, not silently
  try {
    return run(argc, argv);
  } catch (const std::exception& thrown) {
    report_file::complain(thrown.what());
    return failed;
  }
}
