#!/usr/bin/env python3
"""judge.py on tiny runs: what it complains of, and what it lets pass."""

import pathlib
import sys
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).parent))
import judge  # noqa: E402

KNOWN = """# Words.
reason: too old
shows: VERSION
Old-.*

reason: odd
shows: strange
Odd
"""


def complaints(log, all_run=False):
    return list(judge.complaints(judge.cases(log), judge.known(KNOWN), all_run))


class a_run(unittest.TestCase):
    def test_lets_pass_what_is_known(self):
        self.assertEqual(complaints("PASSED (New)\nFAILED (Old-1)\nsaid VERSION\n\n"
                                    "FAILED (Odd)\nstrange\nPASSED (Last)\n", True), [])

    def test_complains_of_a_new_failure(self):
        self.assertEqual(complaints("FAILED (New)\nlocal error\nPASSED (A)\n"),
                         ["New failed: local error"])

    def test_complains_of_another_reason(self):
        self.assertEqual(complaints("FAILED (Old-1)\nstrange\n"),
                         ["Old-1 failed for another reason than 'too old': strange"])

    def test_complains_of_a_known_one_that_passes(self):
        self.assertEqual(complaints("PASSED (Odd)\n"),
                         ["Odd passed: known.txt says that it does not: odd"])

    def test_complains_of_a_pattern_without_a_case_if_all_were_run(self):
        log = "FAILED (Odd)\nstrange\nUNIMPLEMENTED (Old-2)\n"
        self.assertEqual(complaints(log, True), ["known.txt: no case is of Old-.*"])
        self.assertEqual(complaints(log), [])


if __name__ == "__main__":
    unittest.main()
