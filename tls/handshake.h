// Puts TLS on a connected socket: the handshake, and then the codec.
//
//   auto profile = tls::profile::make(std::move(options));
//   auto peer = co_await connect_socket(home, address, {}, 3s);
//   auto secured = co_await tls::connect(**peer, *profile, home.now() + 3s);
//   ...
//   auto sent = co_await (*peer)->write("GET / HTTP/1.1\r\n...");     // encrypted
//
// A server does the same with accept() and its server_profile, which the connections keep alive, so
// that it may be let go of at any time before the shard. From then on reads and writes carry
// plain bytes; an end of the stream without TLS's own end is `truncated`; closing the socket sends
// close_notify. The pool does all this for tls:// endpoints.
//
// Errors: tls/'s own and handshake_timeout at the deadline; connect_failed if the peer closed or
// reset; cancelled and the like. All in phase::handshake, about the socket's name. After one only
// closing is left; the alert that says why was sent.
//
// What a socket is called is the key of its sessions, together with the profile.
#pragma once

#include <memory>

#include <conpool/runtime/error.h>
#include <conpool/runtime/stream.h>
#include <conpool/runtime/task.h>
#include <conpool/tls/channel.h>
#include <conpool/tls/profile.h>
#include <conpool/tls/server_profile.h>

namespace conpool::tls {

// Preconditions of both: connected and named, nothing under way on it, no receive posted.
task<result<void>> connect(conpool::stream& raw, profile_ptr as, time_point deadline);
task<result<void>> accept(conpool::stream& raw, std::shared_ptr<server_profile> as,
                          time_point deadline);

// Version, cipher, protocol and so on; null without TLS, and once it is closed.
const tls::channel* of(const conpool::stream& secured) noexcept;

}  // namespace conpool::tls
