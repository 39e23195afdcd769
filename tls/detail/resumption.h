// connect() for a caller who can open another connection when an earlier session was offered in
// vain. Internal.
//
// A peer may answer a session with a FIN, a reset or silence, and only a new connection can tell
// whether it would have answered a full handshake. So the attempt to resume takes at most half of
// the time that is left, and says how it went:
//
//   tls::resumption earlier;
//   auto done = co_await tls::connect(raw, profile, deadline, earlier);
//   if (!done && earlier.failed) {
//     ...                                            // close it, open another one, and then:
//     tls::resumption full{.offer = false};
//     done = co_await tls::connect(another, profile, deadline, full);
//   }
//
// It must outlive the call. Used on the shard's thread.
#pragma once

#include <conpool/runtime/error.h>
#include <conpool/runtime/stream.h>
#include <conpool/runtime/task.h>
#include <conpool/tls/profile.h>

namespace conpool::tls {

struct resumption {
  bool offer = true;    // an earlier session, if there is one
  bool failed = false;  // one was offered, the handshake failed, and no full one had been begun
};

task<result<void>> connect(conpool::stream& raw, profile_ptr as, time_point deadline,
                           resumption& earlier);

}  // namespace conpool::tls
