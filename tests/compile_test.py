#!/usr/bin/env python3
"""What a compiler says of a user's program: what it must refuse, and of what it must warn.

  compile_test.py INCLUDE_FOLDER COMPILER...     the compiler as Meson calls it

The same is tried with clang++-19, where that is installed.
"""

import pathlib
import re
import shutil
import subprocess
import sys
import unittest

CLANG = "clang++-19"
FLAGS = ("--std=c++23", "-Wall", "-Wextra", "-Wno-unused-lambda-capture", "-fsyntax-only", "-x", "c++", "-")

# Each line that is marked must be complained about, and no other.
OWNING_LAMBDAS = """#include <string>
#include <conpool/conpool.h>
using namespace conpool;
struct getter { std::string key; task<result<int>> operator()(connection&); };
task<void> f(pool& p, sharded<pool>& all, shard& other, endpoint to, std::string key, int n) {
  auto a = co_await p.with_connection(to, [&key](connection&) -> task<result<int>> { co_return 1; });
  auto b = co_await p.with_connection(to, [n](connection&) -> task<result<int>> { co_return n; });
  auto c = co_await p.with_connection(to, [key](connection&) -> task<result<int>> { co_return 1; });  // bad
  auto d = co_await p.with_connection(to, getter{key});  // bad
  getter named{key};
  auto e = co_await p.with_connection(to, named);
  auto g = co_await submit_to(other, [key]() -> task<int> { co_return 1; });  // bad
  auto h = co_await submit_to(other, [](std::string) -> task<int> { co_return 1; }, key + "x");
  auto j = co_await all.gather([key](pool&) { return 1; });  // bad
  auto k = co_await all.gather([&key](pool&) { return 1; });
}
"""
IGNORED = """#include <conpool/conpool.h>
using namespace conpool;
task<result<int>> own();
task<void> nothing();
task<void> f(connection& peer, shard& home, listener& door, pool& p, endpoint to, event& e) {
  co_await peer.write("x");  // bad
  co_await p.acquire(to);  // bad
  co_await own();  // bad
  co_await home.sleep_for(duration(1));  // bad
  co_await door.accept();  // bad
  co_await p.close();  // bad
  co_await e.wait();  // bad
  co_await with_timeout(home, duration(1), own());  // bad
  co_await nothing();
  co_await home.yield();
  scope s(home);
  co_await s.join();
  auto sent = co_await peer.write("x");
  static_cast<void>(sent);
}
"""


def complaints(compiler, program, what):
    """(the lines of the program about which the compiler says `what`, all else that it says)."""
    run = subprocess.run([*compiler, *FLAGS, "-I", include], input=program, text=True,
                         capture_output=True, check=False)
    lines = set()
    others = []
    led_here = set()  # where g++ comes from when it says something of a header
    for line in run.stderr.split("\n"):
        at = re.match(r"<stdin>:(\d+):", line)
        if line.endswith("required from here"):
            led_here.add(int(at.group(1)))
        elif re.search(r"\b(error|warning): ", line):
            if what in line:
                lines.update({int(at.group(1))} if at else led_here)
            else:
                others.append(line)
            led_here.clear()
    return sorted(lines), others


def marked(program):
    return [number for number, line in enumerate(program.split("\n"), 1) if line.endswith("// bad")]


def is_gcc_12(compiler):
    macros = subprocess.run([*compiler, "-dM", "-E", "-x", "c++", "-"], input="", text=True,
                            stdout=subprocess.PIPE, check=True).stdout
    return "__clang__" not in macros and bool(re.search(r"__GNUC__ (\d|1[012])\n", macros))


class programs(unittest.TestCase):
    def compilers(self):
        yield given
        if shutil.which(CLANG):
            yield [CLANG]

    def test_what_would_be_destroyed_twice_is_refused_by_the_compiler_that_does_it(self):
        for compiler in self.compilers():
            with self.subTest(compiler):
                lines, others = complaints(compiler, OWNING_LAMBDAS, "destroys this temporary twice")
                self.assertEqual(lines, marked(OWNING_LAMBDAS) if is_gcc_12(compiler) else [])
                self.assertEqual(others, [])

    def test_an_ignored_result_is_warned_of(self):
        for compiler in self.compilers():
            with self.subTest(compiler):
                lines, others = complaints(compiler, IGNORED, "ignoring return value")
                # g++ 12 looks at no attribute of an await_resume(): conpool-check-coroutines does
                # it there, as tests/check_coroutines_test.py shows.
                self.assertEqual(lines, [] if is_gcc_12(compiler) else marked(IGNORED))
                self.assertEqual(others, [])


if __name__ == "__main__":
    include, given = sys.argv[1], sys.argv[2:]
    unittest.main(argv=sys.argv[:1])
