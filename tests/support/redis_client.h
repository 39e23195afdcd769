// Sends one Redis command over a pooled connection and reads its one reply.
//
//   auto reply = co_await redis_command(backends, server.at(), words("SET", key, value));
//
// Errors: those of acquire, write and read, each about the endpoint; connection_closed if the
// server closed instead of answering; io_failed for bytes that are not a reply, and for an error
// reply.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include <conpool/pool/pool.h>
#include <conpool/runtime/task.h>

namespace conpool::test {

using redis_words = std::vector<std::string>;

// The reply's line or bytes; nothing for the null reply ("no such key").
using redis_reply = std::optional<std::string>;

// This is a function because g++ 12 must not see braces in a statement that awaits.
template <typename... Words>
redis_words words(const Words&... each) {
  redis_words made;
  (made.emplace_back(each), ...);
  return made;
}

task<result<redis_reply>> redis_command(pool& backends, endpoint to, redis_words command);

}  // namespace conpool::test
