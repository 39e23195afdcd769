# Protocols, shared mode, validation: (tests, file, text, replacement).
MUTANTS = [
    # Dials one for each caller, whatever a connection carries.
    ("T61_h2_single_flight", "pool/detail/demand.cpp",
     "static_cast<std::uint32_t>((callers + expected_leases_ - 1) / expected_leases_)",
     "static_cast<std::uint32_t>(callers)"),
    # A caller that goes takes the connects with it.
    ("T62_h2_driver_cancelled", "pool/detail/waiting.cpp",
     "  --counts_.waiting;\n  if (waiter.fresh_) --fresh_waiting_;\n",
     "  --counts_.waiting;\n  if (waiter.fresh_) --fresh_waiting_;\n"
     "  core_->dial_context().cancel(errc::cancelled);\n"),
    # The most loaded.
    ("T64_shared_full_opens_second", "pool/detail/shared.cpp",
     "managed(candidate).leases_ < least->leases_", "managed(candidate).leases_ > least->leases_"),
    # One that drains counts as capacity.
    ("T65_goaway_drain", "pool/detail/endpoint_pool.h",
     "counts_.idle + counts_.connecting - counts_.retiring;",
     "counts_.idle + counts_.connecting;"),
    # It takes new leases.
    ("T65_goaway_drain", "pool/detail/shared.cpp", "return !one.retiring_ && ", "return "),
    # What was handed to a waiter stays handed.
    ("T65_goaway_drain_takes_back", "pool/detail/shared.cpp",
     "  begin_retiring(one, why);\n  return_to_queue(one);\n", "  begin_retiring(one, why);\n"),
    # A push is dirt.
    ("T25_allowed_push_while_idle", "pool/detail/endpoint_pool.cpp",
     "if (waiting > 0 && asks_protocol) {", "if (waiting > 99 && asks_protocol) {"),
    # Only the first piece of it is handed over.
    # A lease does not know that its connection was lent before.
    ("T27_surprise_close_stress", "pool/detail/endpoint_pool.h",
     "counts_.reused += taken.uses_++ > 0 ? 1 : 0;", "counts_.reused += taken.uses_ > 0 ? 1 : 0;"),
    # Half a message on the wire does not matter.
    ("a_write_that_ended_in_the_middle", "runtime/detail/stream_write.cpp",
     "if (code != 0 && done_ > 0) source_->mark(stream::torn);", ";"),
    # run() outlives its connection.
    ("protocol_ends.while_it_is_suspended", "pool/detail/closing.cpp",
     "  if (unwanted.managed_) managed(unwanted).life_.cancel(errc::connection_closed);\n", ""),
    # retire() is forgotten by the fast return.
    ("run_that_ends_by_itself_retires", "pool/detail/shared.cpp",
     "  one.mark(stream::supervised);  // it is to be looked at when it comes back\n", ""),
    # A handed over connection is not offered to the protocol.
    ("on_acquire_is_asked_once_for_each_lease", "pool/detail/shared.cpp",
     "} else if (!protocol_wants(reserved)) {", "} else if (false) {"),
    # What is being checked at an interval does not count as supply.
    ("a_caller_during_pings_at_an_interval", "pool/detail/checks.cpp",
     "  candidate.checking_ = true;\n  ++checking_;\n", ""),
    ("while_pings_fail_a_caller_waits_for_a_connect", "pool/detail/demand.cpp",
     "(pings_all_ ? counts_.waiting - fresh_waiting_ : callers_left_by_checks())",
     "callers_left_by_checks()"),
    ("a_failed_ping_makes_the_next_lends_ping", "pool/detail/service.cpp",
     "    pings_all_ = bad;\n", ""),
    ("a_validation_that_is_cancelled_lets_the_next", "pool/detail/checks.cpp",
     "std::exchange(batch_, nullptr)->done.set();", "batch_ = nullptr;"),
]
