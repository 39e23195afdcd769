// Chooses the CPU that a thread of the benchmarks runs on, so that client and peer do not share
// one.
//
// The client's threads run on the first CPU that the process may use, the peers' on the second.
// With a single CPU nothing is pinned.
#pragma once

namespace conpool::micro {

void pin_to_client_cpu() noexcept;
void pin_to_peer_cpu() noexcept;

}  // namespace conpool::micro
