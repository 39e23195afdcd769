// One request over a connection that is there: send, receive, compare.
//
// Each client that runs at once has one of these, with its message and the memory for the answer,
// so that a request allocates nothing but coroutine frames from the shard's own store. Every
// message is unlike all others of its run (from 16 bytes on): an answer to somebody else, or to an
// earlier message, is noticed.
//
//   exchange mine(plan.protocol, plan.message_bytes, client_number);
//   auto done = co_await mine.run(*lease);
//
// Owned by the client; used on its shard only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include <bench/plan.h>
#include <bench/resp.h>
#include <conpool/pool/connection.h>
#include <conpool/runtime/error.h>
#include <conpool/runtime/task.h>

namespace conpool::bench {

class exchange {
 public:
  // `number` is unlike that of every other exchange of the run.
  exchange(wire_protocol protocol, std::uint32_t message_bytes, std::uint64_t number);

  // result<void>: what the connection's reads and writes give, and io_failed for a wrong answer.
  task<result<void>> run(connection& over);

 private:
  void next_message() noexcept;
  task<result<void>> run_echo(connection& over);
  task<result<void>> run_redis(connection& over);
  task<result<resp_reply>> ask(connection& over, std::string_view command);

  wire_protocol protocol_;
  std::uint64_t number_;
  std::uint64_t sequence_ = 0;
  std::string key_;
  std::string message_;
  std::string request_;
  std::string answer_;
};

}  // namespace conpool::bench
