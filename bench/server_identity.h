// Certificates made at start, for the embedded TLS servers of harness and micro-benchmarks.
//
// A chain of the usual length: for 127.0.0.1 and localhost, by an intermediate, by a root; all EC
// P-256, valid for a day. The server sends the first two, clients trust exactly this root. Ends the
// process if the library cannot make it.
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
