# Protocols, shared mode, validation: (tests, file, text, replacement).
MUTANTS = [
    # Dials one for each caller, whatever a connection carries.
    ("T61_h2_single_flight", "conpool/pool/demand.cpp",
     "static_cast<std::uint32_t>((callers + expected_leases_ - 1) / expected_leases_)",
     "static_cast<std::uint32_t>(callers)"),
    # A caller that goes takes the connects with it.
    ("T62_h2_driver_cancelled", "conpool/pool/waiting.cpp",
     "  --counts_.waiting;\n  if (waiter.fresh_) --fresh_waiting_;\n",
     "  --counts_.waiting;\n  if (waiter.fresh_) --fresh_waiting_;\n"
     "  core_->dial_context().cancel(errc::cancelled);\n"),
    # The most loaded.
    ("T64_shared_full_opens_second", "conpool/pool/shared.cpp",
     "managed(candidate).leases_ < least->leases_", "managed(candidate).leases_ > least->leases_"),
    # One that drains counts as capacity.
    ("T65_goaway_drain", "conpool/pool/endpoint_pool.h",
     "counts_.idle + counts_.connecting - counts_.retiring;",
     "counts_.idle + counts_.connecting;"),
    # It takes new leases.
    ("T65_goaway_drain", "conpool/pool/shared.cpp", "return !one.retiring_ && ", "return "),
    # What was handed to a waiter stays handed.
    ("T65_goaway_drain_takes_back", "conpool/pool/shared.cpp",
     "  begin_retiring(one, why);\n  return_to_queue(one);\n", "  begin_retiring(one, why);\n"),
    # A push is dirt.
    ("T25_allowed_push_while_idle", "conpool/pool/endpoint_pool.cpp",
     "if (waiting > 0 && asks_protocol) {", "if (waiting > 99 && asks_protocol) {"),
    # Only the first piece of it is handed over.
    ("T25_allowed_push_while_idle_of_any_size", "conpool/pool/service.cpp",
     "(look_at_socket || (one.conditions() & there) != 0)) {",
     "(look_at_socket || (memory.empty() && (one.conditions() & there) != 0))) {"),
    # A lease does not know that its connection was lent before.
    ("T27_surprise_close_stress", "conpool/pool/endpoint_pool.h",
     "counts_.reused += taken.uses_++ > 0 ? 1 : 0;", "counts_.reused += taken.uses_ > 0 ? 1 : 0;"),
]
