#!/usr/bin/env python3
"""Counts the test cases of the last `meson test`: scripts/report.py DIR LINT_RESULT

Prints what failed and why, then `N passed, N failed`. A GoogleTest program counts
case by case, as its output tells: a case that started and never ended (a crash, a
timeout) failed, and so did a program that failed though all its cases passed (a
leak, say). Any other test counts as one, and so does the lint.
"""

import json
import pathlib
import re
import sys

EVENT = re.compile(r"\[( RUN      |       OK |  FAILED  |  SKIPPED )\] (\w+(?:/\w+)*\.[\w/]+)"
                   r"(?:,.*)?(?: \(\d+ ms\))?$", re.M)
OUTPUT_LINES_MAX = 200


def cases(output):
    """The cases of a GoogleTest program's output: {name: (result, its part of the output)}."""
    results = {}
    started = None
    for event in EVENT.finditer(output):
        kind, name = event.group(1).strip(), event.group(2)
        if kind == "RUN":
            if started is not None:
                results[started[0]] = ("FAILED", output[started[1]:event.start()])
            started = (name, event.start())
        elif started is not None and started[0] == name:
            results[name] = (kind, output[started[1]:event.end()])
            started = None
    if started is not None:
        results[started[0]] = ("FAILED", output[started[1]:])
    return results


def show(name, output):
    lines = output.strip().splitlines()
    if len(lines) > OUTPUT_LINES_MAX:
        half = OUTPUT_LINES_MAX // 2
        lines = lines[:half] + ["... (the whole is in meson-logs/testlog.txt)"] + lines[-half:]
    print(f"\n--- failed: {name}")
    print("\n".join(lines))


def count(test):
    """(passed, failed, skipped) of one line of Meson's testlog.json; shows what failed."""
    name = test["name"].split(" / ")[-1].strip()
    output = test.get("stdout", "")
    errors = test.get("stderr", "")
    good = test["result"] in ("OK", "EXPECTEDFAIL")
    found = cases(output)
    if not found:
        if test["result"] == "SKIP":
            return 0, 0, 1
        if not good:
            show(f"{name} ({test['result']})", output + "\n" + errors)
        return int(good), int(not good), 0

    bad = {case: text for case, (result, text) in found.items() if result == "FAILED"}
    for case, text in bad.items():
        show(f"{name}: {case}", text)
    failed = len(bad)
    if not good and not bad:
        failed = 1
        show(f"{name}: the program failed ({test['result']}) though its cases passed", output)
    if failed and errors.strip():
        show(f"{name}: standard error", errors)
    passed = sum(result == "OK" for result, _ in found.values())
    skipped = sum(result == "SKIPPED" for result, _ in found.values())
    return passed, failed, skipped


def main(folder, lint_result):
    passed = int(lint_result == "passed")
    failed = int(lint_result == "failed")
    skipped = 0
    log = pathlib.Path(folder) / "meson-logs" / "testlog.json"
    tests = []
    if log.exists():
        tests = [json.loads(line) for line in log.read_text(errors="replace").splitlines()]
    if not tests:
        failed += 1
        print("\n--- failed: no test ran; meson's message is above")
    for test in tests:
        more = count(test)
        passed, failed, skipped = passed + more[0], failed + more[1], skipped + more[2]
    if lint_result == "failed":
        print("\n--- failed: scripts/lint; its messages are above")
    if skipped:
        print(f"\n{skipped} skipped")
    print(f"{passed} passed, {failed} failed")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
