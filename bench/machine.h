// The machine that the measurements were taken on.
#pragma once

#include <cstdint>
#include <string>

namespace conpool::bench {

struct machine_info {
  std::string kernel;  // the release, as uname -r prints it
  unsigned cpus = 0;   // how many of them this process may use
  std::string cpu;     // the model's name; "unknown" if the kernel does not give it
};

machine_info this_machine();

// Raises the process's limit of open files to `needed`, as far as it is allowed to. Returns the
// limit that is then in force.
std::uint64_t raise_file_limit(std::uint64_t needed) noexcept;

}  // namespace conpool::bench
