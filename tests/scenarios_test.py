#!/usr/bin/env python3
"""Names of tests: one style for all, and a row in SCENARIOS.md for each T-number.

  TEST_F(waiters, T5_an_acquire_times_out_at_its_deadline_and_not_before)

A suite is the thing under test, in snake_case. A test is a sentence that states a behaviour, in
snake_case; the number of its scenario stands in front where it has one.
"""

import collections
import pathlib
import re
import sys
import unittest

TESTS = pathlib.Path(__file__).resolve().parent
TEST = re.compile(r"^(?:TYPED_)?TEST(?:_[FP])?\(\s*(\w+),\s*(\w+)\)", re.M)
SUITE = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
SENTENCE = re.compile(r"(T\d+_)?[a-z][a-z0-9]*(_[a-z0-9]+)+")
NUMBER = re.compile(r"T(\d+)_")
ROW = re.compile(r"^\| T(\d+) \|.*$", re.M)
NAMED = re.compile(r"`(\w+\.\w+)`")
NO_TEST = "not covered: "


def tests_in(text):
    """[(suite, test)] of one file."""
    return TEST.findall(text)


def name_complaints(suite, test):
    """What is wrong with a name."""
    found = []
    if not SUITE.fullmatch(suite) or suite.endswith(("_test", "_tests", "_fixture")):
        found.append(f"{suite}: a suite is the thing under test, in snake_case")
    if not SENTENCE.fullmatch(test):
        found.append(f"{suite}.{test}: a test is a sentence in snake_case")
    return found


def table_complaints(table, names):
    """Where the table of scenarios and the names of tests disagree."""
    rows = [(int(match[1]), match[0]) for match in ROW.finditer(table)]
    numbers = [number for number, _ in rows]
    found = [f"T{number} has two rows" for number, count in collections.Counter(numbers).items()
             if count > 1]
    tested = set()
    for name in names:
        number = NUMBER.match(name.split(".")[1])
        if number:
            tested.add(int(number[1]))
            if int(number[1]) not in numbers:
                found.append(f"{name} has no row")
    for number, row in rows:
        named = NAMED.findall(row)
        for name in named:
            if name not in names:
                found.append(f"T{number} names {name}, which is no test")
            elif not name.split(".")[1].startswith(f"T{number}_"):
                found.append(f"T{number} names {name}, which is of another scenario")
        if (NO_TEST in row) == (number in tested) or bool(named) != (number in tested):
            found.append(f"T{number} must name a test, or say that it is not covered")
    return found


class the_tree(unittest.TestCase):
    def setUp(self):
        self.folders = collections.defaultdict(set)  # of a suite
        self.tests = []
        for path in sorted(TESTS.rglob("*.cpp")):
            for suite, test in tests_in(path.read_text()):
                self.tests.append((suite, test))
                self.folders[suite].add(str(path.parent.relative_to(TESTS)))

    def test_every_name_has_the_one_style(self):
        self.assertEqual([said for one in self.tests for said in name_complaints(*one)], [])

    def test_a_suite_lies_in_one_folder(self):
        self.assertEqual([suite for suite, where in self.folders.items() if len(where) > 1], [])

    def test_scenarios_and_tests_agree(self):
        names = {f"{suite}.{test}" for suite, test in self.tests}
        self.assertTrue(any(".T1_" in name for name in names))
        self.assertEqual(table_complaints((TESTS / "SCENARIOS.md").read_text(), names), [])


class the_check_itself(unittest.TestCase):
    def test_reads_tests_of_every_kind(self):
        text = "TEST(a, b_c) {\nTEST_F(d,\n       e_f) {\n  TEST(not_at, the_margin)\nTEST_P(g, h_i) {"
        self.assertEqual(tests_in(text), [("a", "b_c"), ("d", "e_f"), ("g", "h_i")])

    def test_takes_sentences_with_and_without_a_number(self):
        for test in ("a_waiter_waits", "T5_a_waiter_waits", "tls_1_2_is_offered"):
            self.assertEqual(name_complaints("waiters", test), [])

    def test_refuses_other_styles(self):
        for suite, test in (("Waiters", "a_b"), ("waiter_test", "a_b"), ("waiter_fixture", "a_b"),
                            ("waiters", "FiresOnce"), ("waiters", "pins"), ("waiters", "T5"),
                            ("waiters", "T5_Waits_on"), ("waiters", "a__b")):
            self.assertEqual(len(name_complaints(suite, test)), 1, (suite, test))

    def test_finds_where_table_and_tests_disagree(self):
        good = "| T1 | a | `s.T1_a_b` |\n| T2 | b | not covered: it is to come |\n"
        names = {"s.T1_a_b", "s.c_d"}
        self.assertEqual(table_complaints(good, names), [])
        for table, tests, count in (
                (good, names | {"s.T3_a_b"}, 1),          # no row
                (good + "| T1 | a | `s.T1_a_b` |\n", names, 1),   # twice
                (good, {"s.T1_x_y"}, 1),                  # renamed
                (good, names | {"s.T2_a_b"}, 1),          # covered by now
                ("| T1 | a | none |\n", names, 1),        # names none
                ("| T1 | a | `s.c_d` |\n", names, 1)):    # names another
            self.assertEqual(len(table_complaints(table, tests)), count, table)


if __name__ == "__main__":
    sys.exit(unittest.main())
