// One request over an open connection: send, receive, compare.
//
// Each running client has one of these. It holds the client's message and the memory for the
// answer, so a request allocates nothing but coroutine frames from the shard's own store. From 16
// bytes on, no two messages of a run are alike, so an answer to another client or to an earlier
// message is noticed.
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
  // `number` must differ from that of every other exchange of the run.
  exchange(wire_protocol protocol, std::uint32_t message_bytes, std::uint64_t number);

  // Errors: those of the connection's reads and writes, and io_failed for a wrong answer.
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
