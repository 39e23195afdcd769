#include <tests/sim/fuzz/plan.h>

#include <algorithm>
#include <chrono>

namespace conpool::sim::fuzz {
namespace {

using namespace std::chrono_literals;
using std::chrono::milliseconds;

bool one_in(random_source& dice, std::uint64_t many) {
  return dice.below(many) == 0;
}

std::uint32_t between(random_source& dice, std::uint32_t least, std::uint32_t most) {
  return least + static_cast<std::uint32_t>(dice.below(most - least + 1));
}

milliseconds ms_between(random_source& dice, std::uint32_t least, std::uint32_t most) {
  return milliseconds(between(dice, least, most));
}

double up_to(random_source& dice, double most) {
  return most * static_cast<double>(dice.below(1'000)) / 1'000;
}

server_plan moody_server(random_source& dice) {
  server_plan made;
  made.refuse = up_to(dice, 0.1);
  made.black_hole = up_to(dice, 0.03);
  made.unreachable = up_to(dice, 0.03);
  made.close_at_accept = up_to(dice, 0.05);
  made.reset_at_accept = up_to(dice, 0.03);
  made.connections_max = one_in(dice, 4) ? between(dice, 1, 4) : 1U << 20;
  made.think_most = ms_between(dice, 0, 5);
  made.swallow = up_to(dice, 0.02);
  made.cut_off = up_to(dice, 0.02);
  made.close_after_reply = up_to(dice, 0.05);
  made.reset_after_reply = up_to(dice, 0.05);
  made.idle_most = ms_between(dice, 1, 80);
  made.close_idle = up_to(dice, 0.2);
  made.reset_idle = up_to(dice, 0.1);
  made.stray_idle = up_to(dice, 0.1);
  made.forget_idle = up_to(dice, 0.05);
  if (one_in(dice, 3)) {
    made.up_most = 1s;
    made.down_most = 200ms;
  }
  return made;
}

fault_plan draw_faults(random_source& dice) {
  fault_plan made;
  made.punted = up_to(dice, 0.6);
  made.short_receive = up_to(dice, 0.4);
  made.partial_send = up_to(dice, 0.3);
  made.split_segment = up_to(dice, 0.4);
  made.cancel_loses = up_to(dice, 0.6);
  made.cancel_is_late = up_to(dice, 0.6);
  made.wait_cut_short = up_to(dice, 0.1);
  made.submits_less = one_in(dice, 3) ? 0.05 : 0;
  // Without it a task that only yields would stop time.
  made.call_most = 1us + dice.up_to(3us);
  made.no_buffer = up_to(dice, 0.05);
  made.no_descriptor = up_to(dice, 0.03);
  made.ended_by_itself = up_to(dice, 0.01);
  made.interrupted = up_to(dice, 0.01);
  made.send_fails = up_to(dice, 0.02);
  made.descriptors_max = one_in(dice, 4) ? between(dice, 8, 20) : 1U << 20;
  return made;
}

void draw_limits(random_source& dice, pool_config& made) {
  made.max_connections_per_endpoint = between(dice, 1, 6);
  made.max_connections = one_in(dice, 3) ? between(dice, 1, 8) : 0;
  made.max_connecting_per_endpoint = between(dice, 1, 4);
  made.max_idle_per_endpoint =
      one_in(dice, 3) ? between(dice, 1, made.max_connections_per_endpoint) : 0;
  made.min_idle_per_endpoint = one_in(dice, 3) ? between(dice, 0, made.idle_limit()) : 0;
  made.max_waiters_per_endpoint = one_in(dice, 3) ? between(dice, 1, 10) : 0;
  made.max_connection_uses = one_in(dice, 4) ? between(dice, 1, 6) : 0;
  made.probe_candidates = between(dice, 1, 4);
  made.max_releasing_per_endpoint = between(dice, 1, 3);
  made.breaker_failures = one_in(dice, 3) ? 0 : between(dice, 1, 6);
  made.lifetime_jitter_percent = between(dice, 0, 90);
}

// Where nothing goes wrong nothing takes longer than it may.
void draw_times(random_source& dice, pool_config& made, bool storm) {
  const std::uint32_t enough = storm ? 1 : 50;
  made.connection_timeout = ms_between(dice, std::max(5U, enough), 300);
  made.acquire_timeout = ms_between(dice, 1, 400);
  made.read_timeout = ms_between(dice, enough, 200);
  made.write_timeout = ms_between(dice, enough, 200);
  made.max_idle_time = one_in(dice, 3) ? ms_between(dice, 1, 100) : 60s;
  made.max_connection_lifetime = one_in(dice, 3) ? ms_between(dice, 1, 300) : 0ms;
  made.refill_jitter = ms_between(dice, 0, 50);
  made.trim_interval = one_in(dice, 3) ? ms_between(dice, 1, 100) : 0ms;
  made.max_endpoint_idle_time = one_in(dice, 3) ? ms_between(dice, 1, 100) : 5min;
  made.ping_window = ms_between(dice, 0, 20);
  made.ping_timeout = ms_between(dice, enough, 50);
  made.release_timeout = ms_between(dice, enough, 50);
  made.connect_backoff_min = ms_between(dice, 1, 20);
  made.connect_backoff_max = made.connect_backoff_min + ms_between(dice, 0, 100);
  made.leak_threshold = one_in(dice, 3) ? ms_between(dice, 1, 50) : 0ms;
}

void draw_socket_options(random_source& dice, pool_config& made) {
  made.tcp_nodelay = one_in(dice, 2);
  made.tcp_keepalive = one_in(dice, 2);
  made.keepalive_idle = std::chrono::seconds(between(dice, 1, 60));
  made.keepalive_interval = std::chrono::seconds(between(dice, 1, 10));
  made.keepalive_probes = between(dice, 1, 9);
  made.tcp_user_timeout = one_in(dice, 3) ? 0ms : ms_between(dice, 1, 60'000);
}

}  // namespace

pool_config draw_config(random_source& dice, const plan& within) {
  pool_config made;
  draw_limits(dice, made);
  draw_times(dice, made, within.storm());
  if (within.sky == weather::outages) {
    made.max_connections_per_endpoint = between(dice, 2, 12);
    made.max_connecting_per_endpoint = between(dice, 1, 10);
    made.max_idle_per_endpoint = 0;
    made.min_idle_per_endpoint = std::min(made.min_idle_per_endpoint, 2U);
  }
  draw_socket_options(dice, made);
  made.validation = static_cast<validation_policy>(dice.below(4));
  const bool may_ping = within.pings();
  if (made.validation == validation_policy::ping && !may_ping) {
    made.validation = validation_policy::watch;
  }
  const bool asks = may_ping || made.validation == validation_policy::probe;
  if (asks && one_in(dice, 2)) {
    made.validation_interval = ms_between(dice, 1, one_in(dice, 2) ? 60 : 300);
  }
  // Once: what its answers mean has to hold for the whole run.
  made.reuse_unanswered = within.config.reuse_unanswered;
  made.server_speaks_first = !within.server.greeting.empty();
  return made;
}

plan::plan(std::uint64_t seed) {
  random_source dice(seed * 7919 + 1);
  spoken = one_in(dice, 2) ? speech::none : static_cast<speech>(dice.below(5));
  sky = one_in(dice, 2) ? weather::storm : static_cast<weather>(dice.below(3));
  servers = between(dice, 1, 4);
  clients = between(dice, 2, 24);
  steps = between(dice, 600, 1'800);
  // Some have little to do: then connections rest, are asked, and expire.
  rest_most = one_in(dice, 3) ? 800ms : 20ms;
  by_shard_stop = one_in(dice, 3);
  config.reuse_unanswered = one_in(dice, 6);
  if (storm()) {
    server = moody_server(dice);
    faults = draw_faults(dice);
    if (spoken == speech::none && one_in(dice, 6)) server.greeting = "220 welcome\r\n";
  } else if (sky == weather::restless) {
    server.idle_least = 20ms;  // nobody is in the middle of a hello
    server.idle_most = ms_between(dice, 30, 200);
    server.close_idle = up_to(dice, 1);
    server.stray_idle = up_to(dice, 1);
  } else if (sky == weather::outages) {
    server.up_most = 1s;
    server.down_most = 300ms;
  }
  // Tiny rings: what is prepared does not always fit, and what arrives finds no buffer.
  if (one_in(dice, 3)) {
    ring.sq_entries = 1U << dice.below(4);
    ring.cq_entries = 1U << (3 + dice.below(3));
    ring.receive_buffers = 1U << dice.below(4);
    ring.receive_buffer_bytes = 64U << dice.below(4);
  }
  config = draw_config(dice, *this);
}

}  // namespace conpool::sim::fuzz
