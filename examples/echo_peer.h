// The server of the examples. It sends back what it receives, on a shard of the same program.
//
//   conpool::scope server(home);
//   server.spawn(serve_echo, std::ref(door), std::ref(server));
//   ...
//   co_await server.close();      // ends the sessions and the accept, and waits for them
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <utility>

#include <conpool/conpool.h>

inline conpool::task<void> echo_session(conpool::socket peer) {
  std::string buffer(4096, '\0');
  for (;;) {
    auto count = co_await peer->read(std::span<char>(buffer));
    if (!count || *count == 0) co_return;  // the client has gone, or the scope was closed
    auto sent = co_await peer->write(std::string_view(buffer).substr(0, *count));
    if (!sent) co_return;
  }
}

// Both arguments must outlive the task; closing the scope ends it.
inline conpool::task<void> serve_echo(conpool::listener& door, conpool::scope& sessions) {
  for (;;) {
    auto peer = co_await door.accept();
    if (!peer) co_return;
    sessions.spawn(echo_session, std::move(*peer));
  }
}
