// Whether a finished handshake is what the runner said that it would be.
#pragma once

#include <string>

#include <conpool/tls/detail/channel.h>
#include <tests/bogo/flags.h>

namespace conpool::bogo {

// What is known of it beside the channel.
struct circumstances {
  bool resumption = false;   // not the first connection
  bool got_session = false;  // during the handshake
};

// What is wrong with it; empty if nothing is.
std::string wrong_with(const tls::channel& finished, const settings& asked,
                       const circumstances& known);

}  // namespace conpool::bogo
