#!/usr/bin/env python3
"""Prints the figures that conpool is judged by: scripts/figures.py FOLDER_OF_CONPOOL_MICRO

Times are client CPU time: the lower quartile of repetitions that alternate with those of the
baseline, so that a busy machine disturbs both alike. The exit status is 1 if something could not be
measured, or if the hit path locks, allocates or enters the kernel.
"""

import json
import os
import pathlib
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
from callgrind_difference import difference, forbidden_instructions  # noqa: E402

REPETITIONS = 15
HIT_ITERATIONS = 2_000_000
REQUEST_ITERATIONS = 40_000
PROBE_ITERATIONS = 5_000


def measure(program, name, iterations):
    """Makes one run and returns Google Benchmark's JSON object for it."""
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
    """{name: its runs}, which take turns: a, b, c, a, b, c, ..."""
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
    pooled, held = "request_pooled/64", "request_held/64"
    exchanged, bare = "request_exchanged/64", "floor_request_bare_ring/64"
    runs = alternate(program, REQUEST_ITERATIONS, [pooled, held, exchanged, bare])
    for name in (pooled, held, exchanged, bare):
        row(f"{name}: client CPU", f"{cpu_ns(runs[name]):.0f}", "ns")
        row("  entries in a request", f"{mean(runs[name], 'sqes_per_request'):.3f}")
        row("  io_uring_enter calls in a request",
            f"{mean(runs[name], 'enters_per_request'):.4f}")
    row("ratio of the two, lower quartiles", f"{cpu_ns(runs[pooled]) / cpu_ns(runs[bare]):.3f}")
    pairs = [a["cpu_time"] / b["cpu_time"] for a, b in zip(runs[pooled], runs[bare])]
    row("ratio of the two, median of pairs", f"{statistics.median(pairs):.3f}")
    totals = {}
    for name in (pooled, exchanged, bare):
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


def print_memory(program, what, *options):
    done = subprocess.run([program, *options, "10000"], stdout=subprocess.PIPE, text=True,
                          check=True, timeout=120)
    values = dict(line.split() for line in done.stdout.splitlines())
    row(f"an idle {what} connection, of 10,000: heap", values["heap_bytes_per_connection"], "bytes")
    row("  with the ring's queues and buffers", values["bytes_per_connection"], "bytes")


def print_records(program):
    """Compares records with the bare AEAD, and with bare BoringSSL over a span BIO."""
    for size, iterations in ((64, 500_000), (1024, 300_000), (16384, 30_000)):
        writing, reading = f"tls_record_encrypt/{size}", f"tls_record_decrypt/{size}"
        bare_writing, bare_reading = f"floor_span_bio_write/{size}", f"floor_span_bio_read/{size}"
        floor = f"floor_aead/{size}"
        runs = alternate(program, iterations,
                         [writing, bare_writing, reading, bare_reading, floor])
        aead = cpu_ns(runs[floor])
        row(floor, f"{aead:.0f}", "ns")
        for name, bare in ((writing, bare_writing), (reading, bare_reading)):
            cost, least = cpu_ns(runs[name]), cpu_ns(runs[bare])
            row(name, f"{cost:.0f}", "ns",
                f"{cost / aead:.2f} x floor_aead; bare BoringSSL {least / aead:.2f} x, "
                f"conpool {100 * (cost / least - 1):+.1f} %")
    good = True
    for name in ("tls_record_encrypt/64", "tls_record_decrypt/64"):
        one = measure(program, name, 10_000)
        counted = difference(program, name, 10_000, 60_000).instructions
        # What runs less than once in two records is left out: it stops the clock between batches.
        found = forbidden_instructions({at: count for at, count in counted.items() if count > 0.5})
        row(f"{name}: allocations of conpool", f"{one['allocations_per_iteration']:g}", "",
            f"locked instructions and system calls, BoringSSL's included: {len(found)}")
        good = good and one["allocations_per_iteration"] == 0 and not found
    gathered = [measure(program, "tls_write_gathered", 200_000) for _ in range(REPETITIONS)]
    row("32 writes of 64 bytes, one record", f"{cpu_ns(gathered):.0f}", "ns")
    return good


def print_tls(program):
    names = ["acquire_hit", "acquire_hit_tls"]
    runs = alternate(program, HIT_ITERATIONS, names)
    plain, secured = (cpu_ns(runs[name]) for name in names)
    row("acquire_hit_tls", f"{secured:.2f}", "ns", f"{secured / plain:.2f} x acquire_hit")
    names = ["tls_handshake_full", "tls_handshake_full_known_chain", "tls_handshake_resumed"]
    runs = alternate(program, 500, names)
    full = cpu_ns(runs[names[0]])
    for name in names:
        cost = cpu_ns(runs[name])
        row(name, f"{cost / 1000:.0f}", "us", f"{cost / full:.2f} x tls_handshake_full")
    known = [measure(program, "tls_verify_known_chain", 500_000) for _ in range(5)]
    row("verification of a chain that is known", f"{cpu_ns(known):.0f}", "ns")
    churn = [measure(program, "tls_churn", 2_000) for _ in range(3)]
    row("steady churn: handshakes that resumed a session",
        f"{100 * min(run['resumed_ratio'] for run in churn):.2f}", "%")
    storms = [measure(program, "tls_storm/1000", 2) for _ in range(5)]
    first = max(run["longest_turn_us"] for run in storms)
    row("1,000 full handshakes at once: others wait at most", f"{first:.0f}", "us",
        "the worst of 5 processes, with the memory that is touched for the first time")
    later = max(run["longest_later_turn_us"] for run in storms)
    row("  the second time in a process", f"{later:.0f}", "us", "the worst of 5")


NGINX = """
daemon off; worker_processes 1; pid {0}/pid; error_log {0}/error.log;
events {{ worker_connections 1024; }}
http {{
  access_log off; client_body_temp_path {0}/body; proxy_temp_path {0}/proxy;
  fastcgi_temp_path {0}/fastcgi; uwsgi_temp_path {0}/uwsgi; scgi_temp_path {0}/scgi;
  server {{
    listen 127.0.0.1:{1}; listen 127.0.0.1:{2} ssl; root {0}/pages;
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_certificate {0}/cert.pem; ssl_certificate_key {0}/key.pem;
  }}
}}
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(port):
    for _ in range(100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError("nginx does not answer")


def print_https(program):
    nginx = shutil.which("nginx", path="/usr/sbin:/usr/bin")
    if nginx is None or shutil.which("openssl") is None:
        print("nginx or openssl is not installed: requests over HTTPS are left out")
        return True
    with tempfile.TemporaryDirectory() as folder:
        plain, secured = free_port(), free_port()
        os.chmod(folder, 0o755)
        (pathlib.Path(folder) / "pages").mkdir()
        (pathlib.Path(folder) / "pages" / "index.html").write_text("x" * 1024)
        (pathlib.Path(folder) / "nginx.conf").write_text(NGINX.format(folder, plain, secured))
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                        "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{folder}/key.pem",
                        "-out", f"{folder}/cert.pem", "-subj", "/CN=localhost", "-addext",
                        "subjectAltName=IP:127.0.0.1", "-days", "2"], check=True,
                       stderr=subprocess.DEVNULL)
        server = subprocess.Popen([nginx, "-c", f"{folder}/nginx.conf", "-e",
                                   f"{folder}/error.log"])
        try:
            wait_for(plain)
            wait_for(secured)
            return compare_https(program, folder, plain, secured)
        finally:
            server.terminate()
            server.wait()


def compare_https(program, folder, plain, secured):
    commands = {"HTTP": [f"tcp://127.0.0.1:{plain}"],
                "HTTPS": [f"tls://127.0.0.1:{secured}", "--ca", f"{folder}/cert.pem"]}
    runs = {name: [] for name in commands}
    for _ in range(9):
        for name, arguments in commands.items():
            done = subprocess.run([program, *arguments, "--clients", "64"], check=True, text=True,
                                  stdout=subprocess.PIPE, timeout=120)
            runs[name].append({key: float(value) for key, value in
                               (line.split() for line in done.stdout.splitlines())})
    cost = {name: lower_quartile([run["cpu_us_per_request"] for run in found])
            for name, found in runs.items()}
    good = True
    for name, found in runs.items():
        errors = sum(run["errors"] for run in found)
        hits = min(run["hit_ratio"] for run in found)
        row(f"nginx, 64 connections: a GET of 1 KiB over {name}", f"{cost[name]:.2f}", "us of CPU",
            f"{cost[name] / cost['HTTP']:.2f} x HTTP; {errors:.0f} errors, hit ratio {hits:.4f}")
        good = good and errors == 0 and hits > 0.99
    return good


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
    memory = str(pathlib.Path(folder) / "conpool-idle-memory")
    print_memory(memory, "TCP")
    if "tls_churn" in subprocess.run([micro, "--benchmark_list_tests"], stdout=subprocess.PIPE,
                                     text=True, check=True).stdout:
        print_memory(memory, "TLS", "--tls")
        print()
        print_tls(micro)
        print()
        good = print_records(micro) and good
        print()
        good = print_https(str(pathlib.Path(folder) / "conpool-http-get")) and good
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
