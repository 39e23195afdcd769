// What the measurements were taken on.
#pragma once

#include <cstdint>
#include <string>

namespace conpool::bench {

struct machine_info {
  std::string kernel;  // release, as uname -r says
  unsigned cpus = 0;   // that this process may use
  std::string cpu;     // the model's name, "unknown" if the kernel does not tell
};

machine_info this_machine();

// Lets the process open so many files at once, as far as it may. Returns how many it may then.
std::uint64_t raise_file_limit(std::uint64_t needed) noexcept;

}  // namespace conpool::bench
