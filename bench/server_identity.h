// Certificates that are made at start, for the TLS servers of the harness and the micro-benchmarks.
//
// The chain has the usual length: a certificate for 127.0.0.1 and localhost, an intermediate that
// issued it, and a root. All are EC P-256 and valid for a day. The server sends the first two, and
// clients trust exactly this root. If BoringSSL cannot make them, the process ends.
#pragma once

#include <string>

namespace conpool::bench {

struct server_identity {
  std::string chain_pem;  // the server's own and the intermediate
  std::string key_pem;    // the server's
  std::string root_pem;
};

server_identity make_server_identity();

}  // namespace conpool::bench
