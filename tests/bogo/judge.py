#!/usr/bin/env python3
"""Compares a run of BoGo with what is known to fail: judge.py RUNNER_LOG TRANSCRIPTS [--some]

Prints what is not as known.txt says, a table of what was passed on each side, and why what was
not run was not, then `N passed, N failed, N unimplemented`. Beside the log, cases.txt has each
case, and why it did not pass. Exits with 1 if a case failed that
known.txt does not name, or for another reason than it says, or if one that it names passed, or,
unless only some cases were run, if a pattern of it is of no case.
"""

import collections
import pathlib
import re
import sys

KNOWN = pathlib.Path(__file__).with_name("known.txt")
CASE = re.compile(r"^(PASSED|FAILED|UNIMPLEMENTED) \((\S+)\)$", re.M)
SIDES = ("tls/client", "tls/server")


def cases(log):
    """{name: (result, what the runner printed of it)}"""
    found = list(CASE.finditer(log))
    ends = [case.start() for case in found[1:]] + [len(log)]
    return {case.group(2): (case.group(1), log[case.end():end].strip())
            for case, end in zip(found, ends)}


def known(text):
    """[(reason, what a failure for it shows, pattern of names)]"""
    rules = []
    reason, shows = "", ""
    for line in text.splitlines():
        if line.startswith("reason: "):
            reason = line.removeprefix("reason: ")
        elif line.startswith("shows: "):
            shows = line.removeprefix("shows: ")
        elif line and not line.startswith("#"):
            rules.append((reason, shows, line))
    return rules


def complaints(results, rules, all_run):
    """What is not as the rules say, a sentence each."""
    used = set()
    for name, (result, output) in results.items():
        if result == "UNIMPLEMENTED":
            continue
        of_name = [rule for rule in rules if re.fullmatch(rule[2], name)]
        used.update(of_name)
        if result == "PASSED":
            yield from (f"{name} passed: known.txt says that it does not: {rule[0]}"
                        for rule in of_name)
        elif not of_name:
            yield f"{name} failed: {output}"
        elif not any(re.search(rule[1], output) for rule in of_name):
            yield f"{name} failed for another reason than {of_name[0][0]!r}: {output}"
    if all_run:
        yield from (f"known.txt: no case is of {rule[2]}" for rule in rules if rule not in used)


def notes(transcripts):
    """What the folders of transcripts tell of a case: {name: side}, {name: why it was not run}.

    The side is tls/client, tls/server, or another protocol's.
    """
    sides, reasons = {}, {}
    for path in transcripts.glob("*/*/*-*"):
        if path.name.endswith("-not-offered"):
            name = path.name.removesuffix("-not-offered")
            reasons[name] = path.read_text().strip()
        elif path.name.endswith("-0"):
            name = path.name.removesuffix("-0")
        else:
            continue
        sides[name] = str(path.parent.relative_to(transcripts))
    return sides, reasons


def listed(results, rules, reasons):
    """The lines of cases.txt."""
    for name, (result, _) in sorted(results.items()):
        why = reasons.get(name, "")
        if result == "FAILED":
            why = next((rule[0] for rule in rules if re.fullmatch(rule[2], name)), "not known")
        yield f"{result} {name}: {why}" if why else f"{result} {name}"


def main(log_path, transcripts, *some):
    log_path = pathlib.Path(log_path)
    log = log_path.read_text(errors="replace")
    results = cases(log)
    if not results:
        print(log)
    rules = known(KNOWN.read_text())
    wrong = list(complaints(results, rules, not some))
    for complaint in wrong:
        print(f"conpool: {complaint}\n")

    side_of, reasons = notes(pathlib.Path(transcripts))
    log_path.with_name("cases.txt").write_text(
        "\n".join(listed(results, rules, reasons)) + "\n")
    counts = collections.Counter(result for result, _ in results.values())
    sides = collections.Counter((side_of.get(name, "no byte was exchanged"), result)
                                for name, (result, _) in results.items())
    for side in sorted({side for side, _ in sides}):
        print(f"{side}: {sides[side, 'PASSED']} passed, {sides[side, 'FAILED']} failed, "
              f"{sides[side, 'UNIMPLEMENTED']} unimplemented")
    of_tls = collections.Counter(why for name, why in reasons.items() if side_of[name] in SIDES)
    for reason, count in of_tls.most_common():
        print(f"  {count:4} not run: {reason}")
    print(f"{counts['PASSED']} passed, {counts['FAILED']} failed, "
          f"{counts['UNIMPLEMENTED']} unimplemented")
    return 1 if wrong or not results else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
