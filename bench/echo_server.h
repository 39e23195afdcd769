// The servers that are built into conpool-bench. They listen on loopback and have a runtime of
// their own, so that the measured shards do nothing but the clients' work.
//
// With the echo protocol, a server reads whole messages of the size that the run's clients send,
// and writes them back. With redis, it keeps values in memory and answers PING, SET and GET.
//
//   auto servers = embedded_servers::start(plan);      // on free ports, listening when it returns
//   (*servers)->endpoints();
//
// Start and destroy them on a thread that runs no shard. The destructor ends all connections.
#pragma once

#include <memory>
#include <vector>

#include <bench/plan.h>
#include <conpool/pool/endpoint.h>
#include <conpool/runtime/error.h>
#include <conpool/runtime/runtime.h>

namespace conpool::bench {

struct key_value_store;

class embedded_servers {
 public:
  // Opens plan.servers listeners, spread over plan.server_shards shards. Errors: those of
  // runtime::create and listener::open.
  static result<std::unique_ptr<embedded_servers>> start(const run_plan& plan);
  ~embedded_servers();
  embedded_servers(const embedded_servers&) = delete;
  embedded_servers& operator=(const embedded_servers&) = delete;

  const std::vector<endpoint>& endpoints() const noexcept { return endpoints_; }

 private:
  embedded_servers() = default;

  std::vector<endpoint> endpoints_;
  // One for each server, used on its shard only. They outlive the runtime, whose tasks refer to
  // them.
  std::vector<std::unique_ptr<key_value_store>> stores_;
  std::unique_ptr<runtime> runtime_;
};

}  // namespace conpool::bench
