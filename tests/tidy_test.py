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

    def test_a_header_has_one_spelling(self):
        self.assertEqual(rules('#include "runtime/error.h"\n'), ["spelling"])
        self.assertEqual(rules("#include <pool/pool.h>\n", "pool/pool.cpp"), ["spelling"])
        self.assertEqual(rules('#include "../tls/profile.h"\n'), ["spelling"])
        self.assertEqual(rules("#include <tests/pool/scripted.h>\n"), [])

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


class type_rules(unittest.TestCase):
    def sizes(self, text):
        code = tidy.strip_preprocessor(tidy.strip(text))
        return {size.name: (size.public, size.methods, size.members)
                for size in tidy.tidy_types.types(code)}

    def size(self, *body, kind="class a"):
        return self.sizes(kind + " {\n" + "\n".join(body) + "\n};\n")["a"]

    def test_counts_methods_by_access(self):
        self.assertEqual(self.size("void f();", "public:", "void g() const;", "int h() { f(); }"),
                         (2, 3, 0))
        self.assertEqual(self.size("void f();", "private:", "void g();", kind="struct a"),
                         (1, 2, 0))
        self.assertEqual(self.size("public:", "[[nodiscard]] task<result<int>> f(int a = g());",
                                   "template <typename T> requires (b<T>) void h(T t) { t(); }",
                                   "bool operator==(const a&) const;", "int operator()(int);",
                                   "a& operator=(int);", "explicit operator bool() const {}",
                                   "friend bool operator<(a, a) { return true; }"), (6, 6, 0))

    def test_counts_constructors_but_not_what_is_deleted_or_defaulted(self):
        self.assertEqual(self.size("public:", "a();", "~a();", "a(int b) : b_{b}, c_(b) { f(); }",
                                   "a(const a&) = delete;", "a& operator=(a&&) = default;",
                                   "virtual void f() = 0;", "private:", "int b_;", "int c_;"),
                         (4, 4, 2))

    def test_counts_data_members(self):
        self.assertEqual(self.size("int a = 1;", "int b{2};", "std::array<f(int), 3> c{};",
                                   "int d[4];", "void (*e)(int) = nullptr;", "int f : 3;", "int g, h;",
                                   "mutable std::atomic<int> i = g(1);", "alignas(64) int j;",
                                   "std::uint64_t k = sizeof(int);", "b l = b{.m = 1, .n = 2};",
                                   "void (a::*o)() noexcept;"), (0, 0, 13))

    def test_passes_over_types_and_constants(self):
        self.assertEqual(self.size("using b = int;", "typedef int c;", "struct d;", "enum class e;",
                                   "enum f { g, h };", "static constexpr int i = 1;",
                                   "friend class j;", "static_assert(i(1));",
                                   "static inline int k = 2;", "static int l();", "// int m;",
                                   "#define n int o;"), (0, 1, 0))

    def test_a_nested_type_counts_for_itself(self):
        sizes = self.sizes("class a {\n struct b { int c; void d(); } e;\n int f;\n};\n"
                           "class a::g final : public h<i> { int j; };\n"
                           "template <class k> struct l { k m; };\nenum class n { o };\n")
        self.assertEqual(sizes, {"a": (0, 0, 2), "b": (1, 1, 1), "a::g": (0, 0, 1),
                                 "l": (0, 0, 1)})

    def test_finds_a_type_that_is_too_large(self):
        def found(path, text):
            return [rule for rule in rules("// A.\n#pragma once\n" + text, path)]

        def many(what, count):
            return "\n".join(what + str(i) + ("();" if what == "void f" else ";")
                             for i in range(count))

        for head, what, most in (("class a { public:", "void f", 25), ("class a {", "void f", 40),
                                 ("class a {", "int a", 20)):
            self.assertEqual(found("pool/a.h", f"{head}\n{many(what, most)}\n}};\n"), [])
            self.assertEqual(found("pool/a.h", f"{head}\n{many(what, most + 1)}\n}};\n"),
                             ["type-size"])
            self.assertEqual(found("tests/a.h", f"{head}\n{many(what, most + 1)}\n}};\n"), [])
        record = "struct a {\n" + many("int a", 50) + "\n"
        self.assertEqual(found("pool/a.h", record + "};\n"), [])
        self.assertEqual(found("pool/a.h", record + "private:\nint b;\n};\n"), ["type-size"])

    def test_an_exception_is_needed_and_has_limits(self):
        large = {("pool/a.h", "a"): (2, 50, 20, "why")}

        def found(count):
            code = "class a {\n" + "void f();\n" * count + "};\n"
            return (len(list(tidy.type_errors("pool/a.h", code, large))),
                    len(list(tidy.needless("pool/a.h", code, large))))

        self.assertEqual(found(50), (0, 0))
        self.assertEqual(found(51), (1, 0))
        self.assertEqual(found(40), (0, 1))
        self.assertEqual(len(list(tidy.needless("pool/a.h", "class b {};\n", large))), 1)


class include_cycles(unittest.TestCase):
    def found(self, **includes):
        texts = {f"pool/detail/{name}.h": "".join(f"#include <conpool/pool/detail/{each}.h>\n"
                                                  for each in what)
                 for name, what in includes.items()}
        return [(path, line, message.split(": ")[1].replace("pool/detail/", ""))
                for path, line, _, message in tidy.cycles(texts)]

    def test_finds_headers_that_include_each_other(self):
        self.assertEqual(self.found(a="b", b="a"),
                         [("pool/detail/b.h", 1, "a.h > b.h > a.h")])
        self.assertEqual(self.found(a="b", b="c", c="xb"),
                         [("pool/detail/c.h", 2, "b.h > c.h > b.h")])
        self.assertEqual(self.found(a="a"), [("pool/detail/a.h", 1, "a.h > a.h")])

    def test_lets_pass_what_meets_again_below(self):
        self.assertEqual(self.found(a="bc", b="d", c="d", d="x"), [])

    def test_the_header_of_all_may_be_in_a_circle_too(self):
        texts = {"include/conpool/conpool.h": "#include <conpool/pool/pool.h>\n",
                 "pool/pool.h": "#include <conpool/conpool.h>\n"}
        self.assertEqual(len(tidy.cycles(texts)), 1)


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
        self.bad("co_await f([=](int x) { return x; });")
        self.good("co_await f([&](int x) { return x; });", "co_await f([&a] { co_await g(a); });")
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
        builds = {"": "'include/a.h'", "runtime": "'a.cpp', 'detail/c.cpp'",
                  "examples": "'hello'", "bench/micro": "'m.cpp'"}
        self.assertEqual(tidy.orphans("runtime/a.cpp", builds), [])
        self.assertEqual(tidy.orphans("runtime/detail/c.cpp", builds), [])
        self.assertEqual(tidy.orphans("include/a.h", builds), [])
        self.assertEqual(tidy.orphans("examples/hello.cpp", builds), [])
        self.assertEqual(tidy.orphans("bench/micro/m.cpp", builds), [])
        self.assertEqual(tidy.orphans("runtime/b.cpp", builds)[0][2], "orphan")
        self.assertEqual(tidy.orphans("tests/a_test.cpp", builds)[0][2], "orphan")


class folders(unittest.TestCase):
    def test_a_folder_without_sources_is_an_error_and_not_passed_over(self):
        said = io.StringIO()
        with tempfile.TemporaryDirectory() as empty, contextlib.redirect_stdout(said):
            self.assertEqual(tidy.main(empty), 1)
        self.assertIn("include: no sources here", said.getvalue())


if __name__ == "__main__":
    unittest.main()
