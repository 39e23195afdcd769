// PostgreSQL as a protocol of the pool, as far as the tests need it: it logs in, rolls back what a
// lease left open, cancels a query whose caller has gone, and says goodbye.
//
//   postgres_protocol speaks;
//   speaks.port = server.port();
//   auto backends = pool::create(home, config, speaks);
//
//   auto asked = postgres_query(*lease, "select 1");
//   auto rows = co_await asked;              // the first column of each row
//
// A query that was cancelled leaves its connection in the middle of an answer. recover() sends the
// server's own cancel request over another socket, reads the rest, and the connection is kept.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <conpool/pool/pool.h>
#include <conpool/pool/protocol.h>
#include <conpool/runtime/task.h>
#include <conpool/tls/profile.h>

namespace conpool::test {

using postgres_rows = std::vector<std::string>;

struct postgres_protocol {
  struct state {
    char transaction = 'I';  // 'I' for none, 'T' for an open one, 'E' for one that failed
    std::int32_t process = 0;
    std::int32_t secret = 0;
  };
  // How many round trips of the pool's own there were, and how many at a time.
  struct figures {
    unsigned now = 0;
    unsigned most = 0;
    unsigned rolled_back = 0;
    unsigned recovered = 0;
    unsigned farewells = 0;
  };

  std::uint16_t port = 0;
  std::string user = "conpool";
  std::string password;
  std::string database = "postgres";
  // Asks for TLS first, and puts it on the connection; null for none.
  std::shared_ptr<const tls::profile> secured_as{};
  std::shared_ptr<figures> seen = std::make_shared<figures>();

  task<result<void>> on_connect(connection& to, state& own) const;
  bool needs_cleaning(const connection& one, const state& own) const;
  task<bool> on_release(connection& one, state& own) const;
  task<bool> recover(connection& one, state& own, close_reason why) const;
  task<void> farewell(connection& one, state& own) const;

 private:
  task<result<void>> secure(connection& to) const;
  task<bool> cancel(shard& home, std::int32_t process, std::int32_t secret) const;
};

// Errors: those of write and read; io_failed with the server's code and text if it refuses, and
// then the connection is as good as before.
task<result<postgres_rows>> postgres_query(connection& on, std::string sql);

}  // namespace conpool::test
