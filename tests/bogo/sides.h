// conpool's configuration of a client or server, from the runner's flags.
#pragma once

#include <memory>
#include <optional>

#include <conpool/runtime/error.h>
#include <conpool/tls/engine.h>
#include <conpool/tls/profile.h>
#include <conpool/tls/server_context.h>
#include <tests/bogo/flags.h>

namespace conpool::bogo {

// Nothing: conpool does not offer what is asked for, such as versions below TLS 1.2 only.
//
// The runner's certificates are signed by themselves, and out of date: the client is `insecure`.
// One that shall refuse them has a pin that no key has.
std::optional<tls::profile_options> client_options(const settings& asked);
std::optional<tls::server_options> server_options(const settings& asked);

// All of a file; empty if it cannot be read.
std::string contents(const std::string& path);

}  // namespace conpool::bogo
