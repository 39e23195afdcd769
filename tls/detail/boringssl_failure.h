// What BoringSSL's error queue says, as one of our errors. Internal to tls/.
//
// The queue is the thread's, so this is called on the thread of the call that failed, right after
// it.
#pragma once

#include <cstdint>
#include <string>

#include <conpool/runtime/error.h>

namespace conpool::tls {

struct boringssl_failure {
  errc why;
  std::string reason;  // BoringSSL's own words, the cause first, and the alert's name
};

// What was going on when it failed. It decides what an alert or an odd record means.
struct failure_circumstances {
  bool nothing_decrypted = false;     // the peer has not yet sent a whole record of TLS
  bool certificate_at_stake = false;  // the server asked for ours, and nothing was read since
  bool certificate_withheld = false;  // and we have none: what we sent was an empty list
};

// Reads the queue and leaves it empty.
boringssl_failure take_failure(const failure_circumstances& during);

}  // namespace conpool::tls
