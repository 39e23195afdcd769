// conpool's configuration of a client or server, from the runner's flags.
#pragma once

#include <expected>
#include <string>

#include <conpool/tls/profile.h>
#include <conpool/tls/server_profile.h>
#include <tests/bogo/flags.h>

namespace conpool::bogo {

// Or why conpool does not offer what is asked for.
//
// The runner's certificates are signed by themselves, and out of date: the client is `insecure`.
// One that shall refuse them has a pin that no key has.
std::expected<tls::profile_options, refusal> client_options(const settings& asked);
std::expected<tls::server_options, refusal> server_options(const settings& asked);

// What conpool has no option for, and a user sets on the channel's SSL.
bool set_on_ssl(ssl_st* ssl, const settings& asked);

// All of a file; empty if it cannot be read.
std::string contents(const std::string& path);

}  // namespace conpool::bogo
