// A certificate made at start, for the embedded TLS servers of harness and micro-benchmarks.
//
// Signed by itself, for 127.0.0.1 and localhost, EC P-256, valid for a day: clients trust exactly
// this one. Ends the process if the library cannot make it.
#pragma once

#include <string>

namespace conpool::bench {

struct self_signed {
  std::string certificate_pem;
  std::string key_pem;
};

self_signed make_self_signed();

}  // namespace conpool::bench
