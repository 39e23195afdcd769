# Protocols, shared mode, validation: (tests, file, text, replacement).
MUTANTS = [
    # Dials one for each caller, whatever a connection carries.
    ("T61_", "pool/detail/dial_demand.cpp",
     "static_cast<std::uint32_t>(shared_->connections_for(callers))",
     "static_cast<std::uint32_t>(callers)"),
    # A caller that goes takes the connects with it.
    ("T62_", "pool/detail/handover.cpp",
     "  waiters_->leave(one);\n",
     "  waiters_->leave(one);\n  facts_->pool->dial_context().cancel(errc::cancelled);\n"),
    # The most loaded.
    ("T64_", "pool/detail/shared_leases.cpp",
     "as_managed(candidate).lease_count < least->lease_count",
     "as_managed(candidate).lease_count > least->lease_count"),
    # One that drains counts as capacity.
    ("T65_", "pool/detail/endpoint_facts.h",
     "counts.idle + counts.connecting - counts.retiring;",
     "counts.idle + counts.connecting;"),
    # It takes new leases.
    ("T65_", "pool/detail/shared_leases.cpp", "return !one.retiring && ", "return "),
    # What was handed to a waiter stays handed.
    ("T65_a_goaway_takes_back_what_was_handed_to_waiters_who_did_not_run",
     "pool/detail/retirement.cpp",
     "  begin_retiring(one, why);\n  return_to_queue(one);\n", "  begin_retiring(one, why);\n"),
    # A push is dirt.
    ("T25_", "pool/detail/connection_watch.cpp",
     "if (protocol_takes_idle_data()) return {kind::for_protocol, close_reason::unexpected_data};\n"
     "  if (is_greeting(source)) return {};\n  return",
     "if (protocol_takes_idle_data()) return {kind::gone, close_reason::unexpected_data};\n"
     "  if (is_greeting(source)) return {};\n  return"),
    # Only the first piece of it is handed over.
    ("T25_a_push_of_any_size", "pool/detail/protocol_tasks.cpp",
     "return look_at_socket || (one.conditions() & there) != 0;",
     "return look_at_socket || (memory.empty() && (one.conditions() & there) != 0);"),
    # A lease does not know that its connection was lent before.
    ("T27_", "pool/detail/lender.h",
     "reused += taken.times_lent++ > 0 ? 1U : 0U;", "reused += taken.times_lent > 0 ? 1U : 0U;"),
    # Half a message on the wire does not matter.
    ("a_write_that_ended_in_the_middle", "runtime/detail/stream_write.cpp",
     "if (code != 0 && passed_ + done_ > 0) source_->mark(stream::torn);", ";"),
    # run() outlives its connection.
    ("everything_may_end_while_a_hook_is_suspended", "pool/detail/retirement.cpp",
     "  if (unwanted.managed) as_managed(unwanted).life.cancel(errc::connection_closed);\n", ""),
    # retire() is forgotten by the fast return.
    ("run_that_ends_by_itself_retires", "pool/detail/retirement.cpp",
     "  one.mark(pooled_connection::supervised);  // it is to be looked at when it comes back\n",
     ""),
    # A handed over connection is not offered to the protocol.
    ("on_acquire_is_asked_once_for_each_lease", "pool/detail/handover.cpp",
     "const std::optional<close_reason> why = lender_->ask(reserved);",
     "const std::optional<close_reason> why;"),
    # What is being checked at an interval does not count as supply.
    ("a_caller_during_pings_at_an_interval", "pool/detail/health_checks.cpp",
     "  candidate.checking = true;\n  ++checking_;\n", ""),
    ("while_pings_fail_a_caller_waits_for_a_connect", "pool/detail/health_checks.cpp",
     "std::uint64_t{promising()} * shared_->expected()",
     "(std::uint64_t{checking_} + tasks_->returning()) * shared_->expected()"),
    ("a_failed_ping_makes_the_next_lends_ping", "pool/detail/health_checks.cpp",
     "  pings_all_ = failed;\n", ""),
    ("a_validation_that_is_cancelled_lets_the_next", "pool/detail/health_checks.cpp",
     "std::exchange(batch_, nullptr)->done.set();", "batch_ = nullptr;"),
]
