#!/usr/bin/env python3
"""conpool-bench from outside: harness_test.py PATH_OF_CONPOOL_BENCH"""

import json
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import threading
import unittest

PROGRAM = None
TIMEOUT_S = 60


def bench(*arguments):
    return subprocess.run([PROGRAM, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, timeout=TIMEOUT_S, check=False)


def closed_port():
    """A port of this machine where nobody listens, kept bound so that nobody will."""
    holder = socket.socket()
    holder.bind(("127.0.0.1", 0))
    return holder


class one_answer_server(threading.Thread):
    """Echoes the first message of each connection, and closes it when the second one comes: to
    the client that is a connection that had ended before it was lent."""

    def __init__(self):
        super().__init__(daemon=True)
        self.door = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"tcp://127.0.0.1:{self.door.getsockname()[1]}"

    def run(self):
        while True:
            try:
                peer, _ = self.door.accept()
            except OSError:
                return
            with peer:
                peer.sendall(peer.recv(4096))
                peer.recv(4096)


class good_runs(unittest.TestCase):
    def check(self, run, requests):
        self.assertEqual(run["requests"], requests)
        self.assertEqual(run["errors"], 0)
        self.assertEqual(run["stale_errors"], 0)
        self.assertEqual(run["acquire_ns"]["count"], requests)
        self.assertEqual(run["request_ns"]["count"], requests)
        self.assertGreater(run["throughput_rps"], 0)
        self.assertAlmostEqual(run["throughput_rps"] * run["duration_s"], requests, delta=1)
        self.assertTrue(0 <= run["hit_ratio"] <= 1)
        self.assertLessEqual(run["connections"]["closed"], run["connections"]["created"])
        self.assertLess(run["connections"]["reused"], requests)
        for latency in (run["acquire_ns"], run["request_ns"]):
            values = [latency[key] for key in ("min", "p50", "p90", "p99", "p999", "max")]
            self.assertEqual(values, sorted(values))

    def test_a_custom_run_reports_json_on_standard_output_alone(self):
        done = bench("--clients", "12", "--messages", "50", "--pool-size", "2", "--shards", "2",
                     "--json", "-")
        self.assertEqual(done.returncode, 0, done.stderr)
        report = json.loads(done.stdout)
        self.assertEqual(len(report["runs"]), 1)
        run = report["runs"][0]
        self.check(run, 600)
        self.assertEqual((run["preset"], run["shards"], run["clients"]), ("custom", 2, 12))
        self.assertLessEqual(run["connections"]["created"], 2 * 2 * 2)
        self.assertIn("custom", done.stderr)

    def test_a_preset_prints_a_table_and_writes_its_files(self):
        with tempfile.TemporaryDirectory() as folder:
            report, page = pathlib.Path(folder, "r.json"), pathlib.Path(folder, "r.html")
            done = bench("--preset", "many_endpoints", "--protocol", "redis", "--quiet",
                         "--json", str(report), "--html", str(page))
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(done.stderr, "")
            self.assertIn("many_endpoints", done.stdout)
            run = json.loads(report.read_text())["runs"][0]
            self.check(run, 1000)
            self.assertEqual((run["preset"], run["protocol"]), ("many_endpoints", "redis"))
            self.assertIn("<svg", page.read_text())

    def test_with_probes_or_no_validation_all_is_well_too_with_servers_that_stay(self):
        for validation in ("probe", "none"):
            done = bench("--validation", validation, "--json", "-")
            self.assertEqual(done.returncode, 0, done.stderr)
            run = json.loads(done.stdout)["runs"][0]
            self.check(run, 2000)
            self.assertEqual((run["preset"], run["validation"]), ("high_reuse", validation))


class bad_runs(unittest.TestCase):
    def test_a_server_that_is_not_there_fails_every_request_and_is_named(self):
        with closed_port() as holder:
            endpoint = f"tcp://127.0.0.1:{holder.getsockname()[1]}"
            done = bench("--endpoint", endpoint, "--clients", "3", "--messages", "4", "--json", "-")
        self.assertEqual(done.returncode, 1, done.stderr)
        run = json.loads(done.stdout)["runs"][0]
        self.assertEqual((run["requests"], run["errors"], run["stale_errors"]), (12, 12, 0))
        self.assertEqual(run["acquire_ns"]["count"], 0)
        self.assertEqual(run["throughput_rps"], 0)
        self.assertIn(endpoint, done.stderr)
        # Refused at first; once the breaker is open, told so at once.
        failed = re.findall(r"custom: (\d+) requests? failed", done.stderr)
        self.assertEqual(sum(map(int, failed)), 12, done.stderr)

    def test_connections_that_their_peer_has_closed_are_counted_apart(self):
        server = one_answer_server()
        server.start()
        done = bench("--endpoint", server.endpoint, "--clients", "1", "--messages", "20",
                     "--json", "-")
        server.door.close()
        self.assertEqual(done.returncode, 1, done.stderr)
        run = json.loads(done.stdout)["runs"][0]
        self.assertEqual((run["requests"], run["errors"], run["stale_errors"]), (20, 10, 10))
        self.assertEqual((run["acquire_ns"]["count"], run["request_ns"]["count"]), (20, 10))
        self.assertEqual(run["connections"], {"created": 10, "reused": 10, "closed": 10})
        self.assertEqual(run["hit_ratio"], 0.5)
        self.assertIn("10 of them over a connection that its peer had closed", done.stderr)

    def test_bad_arguments_are_told_in_one_line(self):
        for arguments in (["--clients", "0"], ["--preset", "no"], ["--what"],
                          ["--tls", "--endpoint", "tcp://127.0.0.1:1"],
                          ["--protocol", "http1"], ["--validation", "ping"],
                          ["--endpoint", "tcp://x"], ["--json", "/no/such/folder/r.json"]):
            done = bench(*arguments)
            self.assertEqual(done.returncode, 2, arguments)
            self.assertEqual(done.stdout, "", arguments)
            self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
            self.assertTrue(done.stderr.startswith("conpool-bench: "), done.stderr)


if __name__ == "__main__":
    PROGRAM = sys.argv.pop(1)
    unittest.main()
