#include <bench/plan.h>

namespace conpool::bench {

const char* to_string(wire_protocol value) noexcept {
  switch (value) {
    case wire_protocol::echo:
      return "echo";
    case wire_protocol::redis:
      return "redis";
  }
  return "unknown";
}

run_plan plan_of(const preset& load) {
  run_plan plan;
  plan.name = load.name;
  plan.servers = load.servers;
  plan.clients = load.clients();
  plan.parallel = load.parallel_clients;
  plan.messages = load.messages_per_client;
  plan.message_bytes = load.message_bytes;
  plan.pool_size = load.pool_size;
  return plan;
}

}  // namespace conpool::bench
