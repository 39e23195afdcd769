"""Faults of 0.1, put back one at a time: the random test of the whole pool finds each of them within
the seeds that it always runs."""

MUTANTS = [
    # A lend on a receive that is only prepared.
    ("T71_the_oracle", "runtime/stream.h",
     "return of_home.submitted() >= receive_place_;", "return receive_place_ != no_receive;"),
    # Every early byte is a greeting.
    ("T71_the_oracle", "pool/detail/connection_watch.cpp",
     "source.times_lent == 0 && facts_->server_speaks_first();", "source.times_lent == 0;"),
    # The breaker opens though something stands.
    ("T71_the_oracle", "pool/detail/connect_gate.cpp",
     "if (open_ || at.stands || beside_ || config", "if (open_ || config"),
    # Only hand-overs end a row of failures.
    ("T71_the_oracle", "pool/detail/endpoint_facts.h",
     "return counts.hits + counts.misses - counts.reused;", "return counts.misses;"),
    # What the server does to unused connections counts against callers.
    ("T71_the_oracle", "pool/detail/dial_demand.cpp",
     "  if (gone.was_spare) what.whose = connect_gate::row::spare;\n", ""),
    # Those who waited when the breaker opened go on waiting.
    ("T71_the_oracle", "pool/detail/endpoint_pool.cpp",
     "if (demand_.gate().open() && !waiters_.empty()) {", "if (false) {"),
    # A caller who wants a new connection starves at the limit.
    ("T71_the_oracle", "pool/detail/dial_demand.cpp",
     "std::uint32_t dial_demand::slots_missing() const noexcept {\n",
     "std::uint32_t dial_demand::slots_missing() const noexcept {\n  return 0;\n"),
    # A state that throws wedges its endpoint.
    ("T71_the_oracle", "pool/detail/dialer.cpp",
     "  try {\n    return facts_->make_connection(fd);",
     "  return facts_->make_connection(fd);\n  try {\n    return facts_->make_connection(fd);"),
    # The count of failures is never reset.
    ("T71_the_oracle", "pool/detail/connect_gate.h",
     "return first_lends == lends_before ? count : 0;",
     "static_cast<void>(first_lends);\n      return count;"),
    # Several idle connections are closed for one fresh caller.
    ("T71_the_oracle", "pool/detail/dial_demand.cpp",
     "left(waiters_->fresh(), slots + facts_->counts.connecting)", "waiters_->fresh()"),
]
