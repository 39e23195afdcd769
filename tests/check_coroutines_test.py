#!/usr/bin/env python3
"""scripts/conpool-check-coroutines on small files: what it finds, and what it lets pass."""

import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))
import tidy  # noqa: E402

check = tidy.check_coroutines
PROGRAM = ROOT / "scripts/conpool-check-coroutines"


def rules(text):
    return [rule for _, rule, _, _ in check.findings(text)]


def coroutine(*lines):
    return "task<void> f() {\n" + "\n".join("  " + line for line in lines) + "\n}\n"


def run(*words):
    done = subprocess.run([sys.executable, str(PROGRAM), *map(str, words)], text=True,
                          capture_output=True, check=False)
    return done.returncode, done.stdout, done.stderr


class findings(unittest.TestCase):
    def good(self, *lines):
        self.assertEqual(rules(coroutine(*lines)), [], lines)

    def bad(self, rule, *lines):
        self.assertEqual(rules(coroutine(*lines)), [rule], lines)

    def test_lets_safe_statements_pass(self):
        self.good("auto x = co_await f(a, b);", "co_await g();", "co_return co_await h();")
        self.good("auto x = co_await f() + co_await g();", "h(co_await f());")
        self.good("auto [a, b] = co_await f();", 'co_await f("?{[a]");')
        self.good("auto x = a ? b : c;", "record r{.a = 1};", "auto l = [a] { return a; };")
        self.good("std::string chunk(4096, 'x');", "char small[64];", "co_await f(small);")

    def test_a_condition_must_declare_a_variable(self):
        self.bad("condition", "if (co_await f()) g();")
        self.bad("condition", "if (!co_await f()) g();")
        self.bad("condition", "if (a) { g(); } else if (co_await f()) { h(); }")
        self.bad("condition", "while (co_await f() == 3) {", "  g();", "}")
        self.bad("condition", "do { g(); } while (co_await f());")
        self.bad("condition", "switch (co_await f()) { case 1: break; }")
        self.bad("condition", "for (; co_await f();) g();")
        self.good("if (auto x = co_await f(); x) {", "  g();", "}")
        self.good("if (const conpool::result<int> x = co_await f()) {", "  g();", "}")
        self.good("while (auto x = co_await f()) {", "  g();", "}")
        self.good("if (int n = 1; co_await f(n)) {", "  g();", "}")
        self.bad("lambda", "if (auto x = co_await f([key] { return key; }); x) g();")

    def test_a_lambda_must_capture_by_reference(self):
        self.bad("lambda", "auto x = co_await f(to, [key](connection& c) { return g(c, key); });")
        self.bad("lambda", "auto x = co_await f([=] { return key; });")
        self.bad("lambda", "auto x = co_await f([&a, k = std::move(b)] { return k; });")
        self.bad("lambda", "auto x = co_await f([*this] { return key; });")
        self.good("auto x = co_await f([&key](connection& c) { return g(c, key); });")
        self.good("auto x = co_await f([&, this] { return options{.a = 1}; });")
        self.good("auto x = co_await f([](int x) { return x ? 1 : 2; });")
        self.good("s.spawn([key]() -> task<void> {", "  auto x = co_await f(key);", "});")

    def test_nothing_in_braces_and_no_conditional_stands_beside_it(self):
        self.bad("braces", "auto x = co_await f(record{.a = 1});")
        self.bad("braces", "auto x = co_await f({1, 2});")
        self.bad("braces", "all.push_back(record{co_await f()});")
        self.good("auto x = co_await p.acquire(to, acquire_options{.try_only = true});")
        self.bad("conditional", "auto x = co_await f(a ? b : c);")
        self.bad("conditional", "auto x = a ? co_await f() : b;")

    def test_a_result_must_be_looked_at(self):
        self.bad("ignored-result", "co_await peer->write(x);")
        self.bad("ignored-result", "if (a) co_await (*lease)->read_exactly(std::span(b));")
        self.good("auto sent = co_await peer->write(x);", "co_await home.yield();")
        declared = "task<conpool::result<int>> own(int a);\ntask<int> other();\n"
        self.assertEqual(rules(declared + coroutine("co_await own(g(1));")), ["ignored-result"])
        self.assertEqual(rules(declared + coroutine("co_await other();")), [])
        self.assertEqual(rules("task<void> write(int);\n" + coroutine("co_await write(1);")), [])

    def test_frames_stay_small_and_captures_alive(self):
        self.bad("large-local", "char chunk[65536];", "co_await f(chunk);")
        self.bad("large-local", "for (;;) {", "std::array<std::byte, 4'096> chunk;",
                 "co_await f(chunk);", "}")
        self.assertEqual(rules("int f() {\n  char chunk[65536];\n  return g(chunk);\n}\n"), [])
        self.bad("dying-captures", "auto w = [&b, to]() -> task<void> { co_await f(b, to); }();")
        self.good("co_await [&b]() -> task<void> { co_await f(b); }();")
        self.good("auto w = [](pool& b) -> task<void> { co_await f(b); }(b);")
        self.good("auto w = [&b] { return f(b); }();")

    def test_an_exception_names_the_rule(self):
        self.good("if (co_await f()) g();  // NOLINT(conpool-condition): a local comes first")
        self.bad("condition", "if (co_await f()) g();  // NOLINT(conpool-lambda)")


class pages_and_examples(unittest.TestCase):
    def test_every_bad_example_of_the_page_is_found_and_no_good_one(self):
        page = (ROOT / "docs/COROUTINES.md").read_text()
        bad = re.findall(r"^Bad:\n\n```c\+\+\n(.*?)^```", page, re.M | re.S)
        self.assertGreaterEqual(len(bad), 7)
        found = set()
        for block in bad:
            # A block without a function is a part of one.
            text = block if re.match(r"task<", block) else coroutine(*block.split("\n"))
            statements = max(1, len(re.findall(r"co_await.*;", block)) if text != block else 1)
            self.assertGreaterEqual(len(rules(text)), statements, block)
            found.update(rules(text))
        self.assertEqual(found, set(check.INSTEAD))
        for block in re.findall(r"^```cpp\n(.*?)^```", page, re.M | re.S):
            self.assertEqual(rules(block), [], block)

    def test_the_examples_pass(self):
        examples = sorted((ROOT / "examples").glob("*.cpp"))
        self.assertGreater(len(examples), 7)
        self.assertEqual(run(*examples), (0, "", ""))


class the_program(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def file(self, name, text):
        path = self.folder / name
        path.write_text(text)
        return path

    def test_says_where_and_what_to_write_instead(self):
        bad = self.file("bad.cpp", coroutine("auto x = co_await f(a ? b : c);"))
        good = self.file("good.cpp", coroutine("co_await g();"))
        code, said, _ = run(good, bad)
        self.assertEqual(code, 1)
        self.assertEqual(said.split(": ")[:2], [f"{bad}:2", "conditional"])
        self.assertIn("use if and else", said)
        self.assertEqual(run(good), (0, "", ""))

    def test_does_not_pass_what_it_could_not_read(self):
        self.assertEqual(run(self.folder / "none.cpp")[0], 2)
        good = self.file("good.cpp", coroutine("co_await g();"))
        self.assertEqual(run("--build", self.folder, good)[0], 2)

    @unittest.skipUnless(any(map(shutil.which, check.CLANG_QUERIES)), "no clang-query")
    def test_asks_clang_where_it_depends_on_a_type(self):
        head = ("#include <string>\n#include <conpool/runtime/task.h>\nusing conpool::task;\n"
                "struct number { int n; };\nstruct record { std::string s; };\n"
                "task<void> f(number);\ntask<void> g(record);\n"
                "template <typename F> task<void> h(F);\n"
                "task<void> all(std::string s, int n, bool b) {\n")
        safe = self.file("safe.cpp", head + "  co_await f({n});\n  co_await h([n] { return n; });\n"
                         "  co_await f(number{b ? 1 : 2});\n}\n")
        bad = self.file("bad.cpp", head + "  co_await g({s});\n  co_await h([s] { return s; });\n"
                        "  co_await h(\n      b ? s + '1' : s);\n}\n")
        commands = [{"directory": str(self.folder), "file": str(file),
                     "command": f"clang++-19 --std=c++23 -I{ROOT}/include -c {file}"}
                    for file in (safe, bad)]
        self.file("compile_commands.json", json.dumps(commands))
        self.assertEqual(run(safe)[0], 1)
        self.assertEqual(run("--build", self.folder, safe), (0, "", ""))
        code, said, _ = run("--build", self.folder, bad)
        self.assertEqual((code, re.findall(r":(\d+): ([a-z-]+):", said)),
                         (1, [("10", "braces"), ("11", "lambda"), ("12", "conditional")]))


if __name__ == "__main__":
    unittest.main()
