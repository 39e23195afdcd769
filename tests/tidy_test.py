#!/usr/bin/env python3
"""Each rule of scripts/tidy.py on tiny inputs: what it finds, and what it lets pass."""

import contextlib
import io
import pathlib
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "scripts"))
import tidy  # noqa: E402


def rules(text, path="tests/a_test.cpp"):
    return [rule for _, _, rule, _ in tidy.check(path, text)]


def coroutine(*lines):
    return "task<void> f() {\n" + "\n".join("  " + line for line in lines) + "\n}\n"


class text_rules(unittest.TestCase):
    def test_finds_what_is_wrong_with_a_line(self):
        self.assertEqual(rules("\tint a;\n"), ["tab"])
        self.assertEqual(rules("int a; \n"), ["trailing-space"])
        self.assertEqual(rules("int a;"), ["last-newline"])
        self.assertEqual(rules("//" + "x" * 99 + "\n"), ["columns"])
        self.assertEqual(rules("//" + "x" * 98 + "\n"), [])
        self.assertEqual(rules("// ТО, что шире в байтах" + "ы" * 70 + "\n"), [])

    def test_finds_long_files_and_leftovers(self):
        self.assertEqual(rules("int a;\n" * 600), [])
        self.assertEqual(rules("int a;\n" * 601), ["file-lines"])
        self.assertEqual(rules("// TO" "DO: more\n"), ["leftover"])

    def test_an_exception_names_its_rule_and_a_reason(self):
        self.assertEqual(rules("exit(1);  // tidy: allow exit (a child)\n", "include/a.cpp"), [])
        self.assertEqual(rules("exit(1);  // tidy: allow exit\n", "include/a.cpp"), ["exit"])
        self.assertEqual(rules("exit(1);  // tidy: allow tab (no)\n", "include/a.cpp"), ["exit"])


class header_rules(unittest.TestCase):
    def test_a_header_opens_with_a_comment_and_has_pragma_once(self):
        self.assertEqual(rules("// A.\n#pragma once\n", "include/a.h"), [])
        self.assertEqual(rules("#pragma once\n", "include/a.h"), ["header-comment"])
        self.assertEqual(rules("// A.\n", "include/a.h"), ["pragma-once"])


class include_rules(unittest.TestCase):
    def test_includes_run_downward(self):
        up = "#include <conpool/pool/pool.h>\n"
        self.assertEqual(rules(up, "runtime/detail/ring.cpp"), ["layers"])
        self.assertEqual(rules(up, "tls/stream.cpp"), ["layers"])
        self.assertEqual(rules(up, "pool/stats.cpp"), [])
        self.assertEqual(rules("#include <tests/a.h>\n", "pool/a.cpp"), ["layers"])

    def test_the_kernel_and_the_resolver_have_one_door(self):
        uring = "#include <liburing.h>\n"
        self.assertEqual(rules(uring, "runtime/shard.cpp"), ["liburing"])
        self.assertEqual(rules(uring, "runtime/detail/ring.cpp"), [])
        self.assertEqual(rules(uring, "bench/micro/floor.cpp"), [])
        self.assertEqual(rules("#include <ares.h>\n", "runtime/shard.cpp"), ["c-ares"])
        self.assertEqual(rules("#include <ares.h>\n", "runtime/resolver.cpp"), [])
        self.assertEqual(rules("#include <fmt/core.h>\n", "pool/a.cpp"), ["libraries"])


class banned_tokens(unittest.TestCase):
    def expect(self, rule, code, path="pool/a.cpp"):
        self.assertEqual(rules(code + "\n", path), [rule] if rule else [], code)

    def test_are_found_where_they_are_banned(self):
        self.expect("stop-token", "std::stop_token t;")
        self.expect("format", "auto s = std::format(x);")
        self.expect("format", "#include <format>")
        self.expect("locks", "std::lock_guard l(m);")
        self.expect("atomic-rmw", "n.fetch_add(1);")
        self.expect("sleep", "std::this_thread::sleep_for(1ms);", "tests/a_test.cpp")
        self.expect("sleep", "usleep(10);", "tests/a_test.cpp")
        self.expect("sleep", "::sleep(1);", "tests/a_test.cpp")
        self.expect("wall-clock", "auto t = std::chrono::system_clock::now();")
        self.expect("wall-clock", "::clock_gettime(CLOCK_REALTIME, &t);")
        self.expect("wall-clock", "auto t = std::time(nullptr);")
        self.expect("std-function", "std::function<void()> f;")
        self.expect("exit", "std::abort();")
        self.expect("stdout", "std::cout << 1;")
        self.expect("stdout", "std::fprintf(stderr, x);")

    def test_are_let_pass_elsewhere(self):
        self.expect(None, "std::atomic<int> a; a.fetch_add(1);", "runtime/mailbox.cpp")
        self.expect(None, "old = std::exchange(a, b);")
        self.expect(None, "::clock_gettime(CLOCK_MONOTONIC, &t);")
        self.expect(None, "std::snprintf(buffer, size, x);")
        self.expect(None, "io_uring_queue_exit(&ring); socket.abort();")
        self.expect(None, "std::abort();", "runtime/assert.cpp")
        self.expect(None, "// std::function is not used, as it allocates")
        self.expect(None, 'auto s = "std::function and // no comment";')
        self.expect(None, "n = 1'000; c = '\"'; // std::function '")
        self.expect(None, 's = R"(std::function " )";')


class function_rules(unittest.TestCase):
    def body(self, head, lines):
        return head + " {\n" + "  g();\n" * (lines - 2) + "}\n"

    def test_finds_functions_longer_than_seventy_lines(self):
        self.assertEqual(rules(self.body("int f(int a)", 70)), [])
        self.assertEqual(rules(self.body("int f(int a)", 71)), ["function-lines"])
        self.assertEqual(rules(self.body("a::a() : b_{1}, c_(2)", 71)), ["function-lines"])
        self.assertEqual(rules(self.body("TEST(a, b)", 71)), ["function-lines"])
        inner = "namespace n {\nstruct s {\n" + self.body("void f() const", 71) + "};\n}\n"
        self.assertEqual(rules(inner), ["function-lines"])

    def test_classes_and_tables_are_not_functions(self):
        self.assertEqual(rules("class c {\n" + "  void f(int) {}\n" * 90 + "};\n"), [])
        self.assertEqual(rules("int t[] = {\n" + "  1,\n" * 90 + "};\n"), [])
        short = self.body("int f()", 40)
        self.assertEqual(rules("namespace n {\n" + short + short + "}\n"), [])


class await_rules(unittest.TestCase):
    def good(self, *lines):
        self.assertEqual(rules(coroutine(*lines)), [], lines)

    def bad(self, *lines):
        self.assertEqual(rules(coroutine(*lines)), ["co-await"], lines)

    def test_lets_the_safe_forms_pass(self):
        self.good("auto x = co_await f(a, b);")
        self.good("const auto x = co_await f();", "auto& y = co_await g();")
        self.good("auto&& x = co_await f();", "const auto& y = co_await g();")
        self.good("[[maybe_unused]] auto x = co_await f();")
        self.good("x = co_await f();", "this->x_ = co_await f();", "xs[1] = co_await f();")
        self.good("co_await f();", "co_return co_await f();")
        self.good("if (a) co_await f();", "else co_await g();", "for (;;) co_await f();")
        self.good("while (a < b(c)) {", "co_await f();", "}")
        self.good("switch (a) { case n::x: co_await f(); break; default: co_await g(); }")
        self.good("auto l = [&](int a) -> task<void> { co_await f(a); };", "s.spawn(l(1));")
        self.good("do { co_await f(); } while (a);", "co_await f(xs[1]);")
        self.good("auto x =", "    co_await f(a,", "               b);")
        self.assertEqual(rules("struct a {\n  auto operator co_await() { return b{}; }\n};\n"), [])
        self.assertEqual(rules("// f(co_await g())\n"), [])

    def test_finds_an_await_in_a_condition(self):
        self.bad("if (co_await f()) g();")
        self.bad("if (auto x = co_await f(); x) {", "  g();", "}")
        self.bad("while (co_await f()) {", "  g();", "}")
        self.bad("do { g(); } while (co_await f());")
        self.bad("switch (co_await f()) { case 1: break; }")
        self.bad("for (auto x : co_await f()) g(x);")

    def test_finds_an_await_beside_what_would_be_destroyed_twice(self):
        self.bad("auto x = a ? co_await f() : b;")
        self.bad("auto x = co_await f(a ? b : c);")
        self.bad("co_await f({1, 2});")
        self.bad("co_await f(options{.a = 1});")
        self.bad("co_await f([a] { return a; });")
        self.bad("co_await f([&](int x) { return x; });")
        self.bad("auto x = point{co_await f(), 1};")

    def test_finds_an_await_within_an_expression(self):
        self.bad("auto x = co_await f() + co_await g();")
        self.bad("h(co_await f());")
        self.bad("EXPECT_EQ(co_await f(), 1);")
        self.bad("auto x = (co_await f()).value();")
        self.bad("auto [a, b] = co_await f();")
        self.bad("return_value(1), co_await f();")

    def test_reads_the_code_of_the_readme(self):
        page = "# conpool\n\n```cpp\nif (co_await f()) g();\n```\n\n```\nh(co_await f())\n```\n"
        self.assertEqual(tidy.check("README.md", page)[0][1:3], (4, "co-await"))
        self.assertEqual(len(tidy.check("README.md", page)), 1)


class orphan_rules(unittest.TestCase):
    def test_a_source_is_named_in_its_build_file(self):
        builds = {"": "'include/a.h'", "runtime": "'a.cpp', 'detail/c.cpp'", "examples": "'hello'", "bench/micro": "'m.cpp'"}
        self.assertEqual(tidy.orphans("runtime/a.cpp", builds), [])
        self.assertEqual(tidy.orphans("runtime/detail/c.cpp", builds), [])
        self.assertEqual(tidy.orphans("include/a.h", builds), [])
        self.assertEqual(tidy.orphans("examples/hello.cpp", builds), [])
        self.assertEqual(tidy.orphans("bench/micro/m.cpp", builds), [])
        self.assertEqual(tidy.orphans("runtime/b.cpp", builds)[0][2], "orphan")
        self.assertEqual(tidy.orphans("tests/a_test.cpp", builds)[0][2], "orphan")


class folders(unittest.TestCase):
    def test_a_folder_without_sources_is_an_error_and_not_passed_over(self):
        with tempfile.TemporaryDirectory() as empty, contextlib.redirect_stdout(io.StringIO()) as said:
            self.assertEqual(tidy.main(empty), 1)
        self.assertIn("include: no sources here", said.getvalue())


if __name__ == "__main__":
    unittest.main()
