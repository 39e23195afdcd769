#!/usr/bin/env python3
"""Prints the figures that conpool is judged by: scripts/figures.py FOLDER_OF_CONPOOL_MICRO

Times are client CPU time, the lower quartile of repetitions that alternate with what they are
compared with, so that a busy machine disturbs both alike. Exit status: 1 if something could not be
measured, or if the hit path locks, allocates or enters the kernel.
"""

import json
import os
import pathlib
import statistics
import subprocess
import sys

sys.dont_write_bytecode = True
from callgrind_difference import difference, forbidden_instructions  # noqa: E402

REPETITIONS = 15
HIT_ITERATIONS = 2_000_000
REQUEST_ITERATIONS = 40_000
PROBE_ITERATIONS = 5_000


def measure(program, name, iterations):
    """One run: Google Benchmark's JSON object for it."""
    environment = dict(os.environ, CONPOOL_MICRO_ITERATIONS=str(iterations))
    command = [program, f"--benchmark_filter={name}", "--benchmark_format=json"]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, text=True, timeout=300, check=True)
    result = json.loads(done.stdout)["benchmarks"][0]
    if result["iterations"] != iterations or "error_message" in result:
        raise RuntimeError(f"{name}: {result}")
    return result


def lower_quartile(values):
    return statistics.quantiles(values, n=4)[0]


def alternate(program, iterations, names):
    """{name: its runs}, taken in turns: a, b, c, a, b, c, ..."""
    runs = {name: [] for name in names}
    for _ in range(REPETITIONS):
        for name in names:
            runs[name].append(measure(program, name, iterations))
    return runs


def cpu_ns(runs):
    return lower_quartile([run["cpu_time"] for run in runs])


def mean(runs, counter):
    return statistics.fmean(run[counter] for run in runs)


def row(what, value, unit="", note=""):
    print(f"{what:<58} {value:>10} {unit:<14} {note}".rstrip(), flush=True)


def print_hits(program):
    names = ["acquire_hit", "acquire_hit_unvalidated", "acquire_hit_16_endpoints",
             "baseline_peek_syscall", "baseline_mutex_pool"]
    runs = alternate(program, HIT_ITERATIONS, names)
    hit = cpu_ns(runs["acquire_hit"])
    for name in names:
        cost = cpu_ns(runs[name])
        row(name, f"{cost:.1f}", "ns", f"{cost / hit:.2f} x acquire_hit")
    allocations = mean(runs["acquire_hit"], "allocations_per_iteration")
    enters = mean(runs["acquire_hit"], "enters_per_acquire")
    row("allocations in an acquire and release", f"{allocations:g}")
    row("io_uring_enter calls in an acquire and release", f"{enters:g}")
    return allocations == 0 and enters == 0


def print_hit_instructions(program):
    good = True
    for name in ("acquire_hit", "baseline_mutex_pool"):
        counted = difference(program, name, 10_000, 110_000)
        row(f"instructions of {name}", f"{counted.total:.1f}")
        if name == "acquire_hit":
            found = forbidden_instructions(counted.instructions)
            row("  locked instructions and system calls among them", len(found))
            for line in found:
                print(f"    {line}")
            good = not found
        for count, function in counted.by_function()[:8]:
            print(f"    {count:8.1f}  {function[:100]}")
    return good


def print_requests(program):
    pooled, bare = "request_pooled/64", "floor_request_bare_ring/64"
    runs = alternate(program, REQUEST_ITERATIONS, [pooled, bare])
    for name in (pooled, bare):
        row(f"{name}: client CPU", f"{cpu_ns(runs[name]):.0f}", "ns")
        row("  entries in a request", f"{mean(runs[name], 'sqes_per_request'):.3f}")
        row("  io_uring_enter calls in a request",
            f"{mean(runs[name], 'enters_per_request'):.4f}")
    row("ratio of the two, lower quartiles", f"{cpu_ns(runs[pooled]) / cpu_ns(runs[bare]):.3f}")
    pairs = [a["cpu_time"] / b["cpu_time"] for a, b in zip(runs[pooled], runs[bare])]
    row("ratio of the two, median of pairs", f"{statistics.median(pairs):.3f}")
    totals = {}
    for name in (pooled, bare):
        counted = difference(program, name, 4_000, 24_000)
        totals[name] = counted.total
        row(f"user-space instructions of {name}", f"{counted.total:.0f}")
        for count, function in counted.by_function()[:14]:
            print(f"    {count:8.1f}  {function[:100]}")
    row("instructions that the pool adds to a request", f"{totals[pooled] - totals[bare]:.0f}")


def print_probes(program):
    asked, bare = "probe_batch/64", "floor_probe_batch/64"
    runs = alternate(program, PROBE_ITERATIONS, [asked, bare])
    for name in (asked, bare):
        row(f"{name}: client CPU of one probe", f"{cpu_ns(runs[name]) / 64:.0f}", "ns")
    row("ratio of the two, lower quartiles", f"{cpu_ns(runs[asked]) / cpu_ns(runs[bare]):.3f}")


def print_dials(program):
    for count in (1, 16, 64, 256):
        runs = [measure(program, f"dial_batch/{count}", 100) for _ in range(5)]
        each = cpu_ns(runs) / count
        row(f"dial_batch/{count}: client CPU of one dial", f"{each / 1000:.1f}", "us",
            f"{mean(runs, 'enters_per_batch'):.1f} enters, "
            f"{mean(runs, 'sqes_per_batch'):.0f} entries in a batch")


def print_memory(program):
    done = subprocess.run([program, "10000"], stdout=subprocess.PIPE, text=True, check=True,
                          timeout=120)
    values = dict(line.split() for line in done.stdout.splitlines())
    row("an idle connection, of 10,000: heap", values["heap_bytes_per_connection"], "bytes")
    row("  with the ring's queues and buffers", values["bytes_per_connection"], "bytes")


def main(folder):
    micro = str(pathlib.Path(folder) / "conpool-micro")
    print(f"Lower quartile of {REPETITIONS} alternating runs of each\n")
    good = print_hits(micro)
    good = print_hit_instructions(micro) and good
    print()
    print_requests(micro)
    print()
    print_probes(micro)
    print()
    print_dials(micro)
    print()
    print_memory(str(pathlib.Path(folder) / "conpool-idle-memory"))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
