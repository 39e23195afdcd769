// TLS for simulated servers: certificate, server profile, and a session for each connection.
//
//   sim::tls_side as;                                    // outlives the network
//   server_plan plan;
//   plan.make_wire = as.maker();
//   endpoint to = as.at(net().add_server("10.0.0.1", 443, plan));
//
// Sizes of handshakes differ by a byte or two from run to run, as signatures do: a seed repeats
// what the network does, and not each of these.
#pragma once

#include <functional>
#include <memory>

#include <conpool/pool/endpoint.h>
#include <conpool/tls/detail/shard_resources.h>
#include <conpool/tls/server_profile.h>

#include <tests/sim/kernel/server.h>
#include <tests/sim/kernel/wire.h>
#include <tests/tls/certificates.h>

namespace conpool::sim {

class tls_side {
 public:
  tls_side();

  std::function<std::unique_ptr<wire>()> maker();
  // While `on`, clients who offer an earlier session meet a FIN, a reset or silence.
  void dislike_sessions(bool on) noexcept { dislikes_sessions_ = on; }
  // tls://address, under a profile that trusts it.
  endpoint at(const server& to) const;

 private:
  tls::manual_wall_clock time_of_day_{test::test_epoch_s};
  tls::shard_resources resources_;
  std::unique_ptr<tls::server_profile> profile_;
  bool dislikes_sessions_ = false;
};

}  // namespace conpool::sim
