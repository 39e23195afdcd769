// Puts TLS on a connected socket: the handshake, and from then on encryption.
//
//   auto profile = tls::profile::make(std::move(options));
//   auto peer = co_await connect_socket(home, address, {}, 3s);
//   auto secured = co_await tls::connect(**peer, *profile, home.now() + 3s);
//   ...
//   auto sent = co_await (*peer)->write("GET / HTTP/1.1\r\n...");     // encrypted
//
// A server calls accept() with its server_profile. The connections keep that alive, so the server
// may let go of it at any time before the shard ends. After the handshake, reads and writes carry
// plain bytes; an end of the stream without TLS's own end is the error `truncated`; closing the
// socket sends close_notify. The pool does all this for tls:// endpoints.
//
// Errors: those of tls/ (errc::trust_unavailable and what follows it); handshake_timeout at the
// deadline; connect_failed if the peer closed or reset; cancelled and the like; unsupported in a
// build without TLS. All have phase::handshake and are about the socket's name. After an error the
// socket is only good for closing; the alert that tells the peer why has been sent.
//
// The socket's name and the profile are the key of its sessions. If a session was offered and the
// handshake failed, another attempt needs another socket: it offers none, and neither do others of
// that key for a minute or more. The pool makes that attempt by itself. Both functions and of() are
// used on the socket's shard's thread.
#pragma once

#include <memory>

#include <conpool/runtime/detail/export.h>
#include <conpool/runtime/error.h>
#include <conpool/runtime/stream.h>
#include <conpool/runtime/task.h>
#include <conpool/tls/connection_info.h>
#include <conpool/tls/profile.h>
#include <conpool/tls/server_profile.h>

namespace conpool::tls {

// Preconditions of both: the socket is connected and named, nothing is under way on it, and no
// receive is posted.
CONPOOL_API task<result<void>> connect(conpool::stream& raw, profile_ptr as, time_point deadline);
CONPOOL_API task<result<void>> accept(conpool::stream& raw, std::shared_ptr<server_profile> as,
                                      time_point deadline);

// The facts about the connection; null without TLS, and once it is closed.
CONPOOL_API const connection_info* of(const conpool::stream& secured) noexcept;

}  // namespace conpool::tls
