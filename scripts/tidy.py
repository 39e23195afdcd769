#!/usr/bin/env python3
"""conpool's own style check: what a compiler or clang-tidy does not see.

  scripts/tidy.py [ROOT]     prints `file:line: message [rule]` and exits 1 if it found any

It reads include/, runtime/, pool/, tls/, loops/, tests/, bench/ and examples/, the build files and
scripts, and the C++ in the pages of the top level and of docs/. A line is excepted from a rule by a
comment at its end, which must give a reason:

  // tidy: allow RULE (reason)

tests/tidy_test.py shows each rule on tiny inputs.
"""

import importlib.machinery
import importlib.util
import pathlib
import re
import sys

sys.dont_write_bytecode = True
import tidy_types  # noqa: E402


def script(name):
    """A script of this folder that has no .py, as a module."""
    path = str(pathlib.Path(__file__).parent / name)
    loader = importlib.machinery.SourceFileLoader(name.replace("-", "_"), path)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


# Users have this one, too: it knows statements that await.
check_coroutines = script("conpool-check-coroutines")
AWAIT = check_coroutines.AWAIT
awaiting_statements = check_coroutines.awaiting_statements
blank, line_of, strip = check_coroutines.blank, check_coroutines.line_of, check_coroutines.strip
strip_preprocessor = check_coroutines.strip_preprocessor
without_control = check_coroutines.without_control
without_lambdas = check_coroutines.without_lambdas

COLUMNS_MAX = 100
FILE_LINES_MAX = 600
FUNCTION_LINES_MAX = 70
PUBLIC_METHODS_MAX = 25
METHODS_MAX = 40
MEMBERS_MAX = 20
LIBRARY_FOLDERS = ("include", "runtime", "pool", "tls", "loops")
SOURCE_FOLDERS = (*LIBRARY_FOLDERS, "tests", "bench", "examples")
LIBRARY = rf"^({'|'.join(LIBRARY_FOLDERS)})/"

# (rule, files it is for, files it is not for, pattern, what to use instead)
BANNED = [
    ("stop-token", r"", r"$^", r"\bstd::(stop_token|stop_source|stop_callback)\b",
     "cancellation travels in the shard's context, runtime/detail/context.h"),
    ("format", r"", r"$^", r"\bstd::(v?format\w*|print|println)\b|#\s*include\s*<(format|print)>",
     "g++ 12 has none: append to a std::string, or fmt outside of the library"),
    ("locks", r"^pool/", r"$^",
     r"\bstd::(mutex|\w+_mutex|lock_guard|unique_lock|scoped_lock|shared_lock)\b",
     "a pool belongs to one shard: it needs no lock"),
    ("atomic-rmw", r"^pool/", r"$^",
     r"(\.|->)(fetch_\w+|compare_exchange_\w+|exchange)\s*\(|\bstd::atomic_(fetch|exchange)\w*",
     "a pool belongs to one shard: a plain integer will do"),
    ("sleep", r"^tests/", r"$^",
     r"\bthis_thread::sleep_\w+|(?<![\w.>:])(?:::)?(?:u|nano)?sleep\s*\((?!\s*\))",
     "time in tests is the shard's clock: advance it, or wait for the event"),
    ("wall-clock", LIBRARY, r"^tls/detail/wall_clock\.h$",
     r"\bsystem_clock\b|\bCLOCK_REALTIME\w*|\bgettimeofday\b|(?<![\w.>])(?:std::|::)?time\s*\("
     r"\s*(?:nullptr|NULL|0)\s*\)",
     "it jumps when somebody sets it: shard::now(), which never goes back"),
    ("std-function", LIBRARY, r"$^", r"\bstd::function\b",
     "a template parameter, or a function pointer and a context: no allocation"),
    ("exit", LIBRARY, r"/assert\.cpp$",
     r"(?<![\w.>])(?<!void )(?:std::|::)?(?:_exit|exit|quick_exit|abort)\s*\(",
     "CONPOOL_ASSERT for what cannot be, an error value for what can"),
    ("stdout", LIBRARY, r"/assert\.cpp$",
     r"\b(printf|fprintf|vprintf|vfprintf|puts|fputs|perror)\s*\(|\bstd::(cout|cerr|clog)\b",
     "a library does not print: return it, or count it"),
]

# Types that may be larger, by file and name: how large (public methods, methods, members), and why
# that is one idea all the same. One that is no longer needed is an error.
LARGE_TYPES = {
    ("pool/pool.h", "pool"): (35, 41, 1,
                              "the facade: what users, operators and tests call, each in a line"),
    ("runtime/detail/ring.h", "ring"): (
        34, 49, 21, "the one door to the kernel: a method an operation, and who else is told"),
    ("runtime/stream.h", "stream"): (25, 47, 12,
                                     "one socket's reads, writes and watch, which share its state"),
    ("pool/detail/dial_demand.h", "dial_demand"): (
        26, 40, 20, "one decision, and a method for each fact that it depends on"),
    ("tls/detail/channel.h", "channel"): (
        28, 40, 21, "one TLS connection: what its codec and its handshake ask of it"),
    ("pool/detail/endpoint_pool.h", "endpoint_pool"): (
        25, 46, 15, "the whole of an endpoint: a method for each event that it routes"),
}

# (rule, files it is for, files it is not for, included path, why)
INCLUDES = [
    ("layers", r"^runtime/", r"$^", r"conpool/(pool|tls)/|conpool/conpool\.h",
     "runtime/ knows nothing of pool/ and tls/"),
    ("layers", r"^loops/", r"$^", r"conpool/(pool|tls)/|conpool/conpool\.h",
     "loops/ knows nothing of pool/ and tls/"),
    ("layers", r"^(include|runtime|pool|tls)/", r"$^", r"conpool/loops/|boost/|uv\.h",
     "only programs that have the other loop include loops/"),
    ("layers", r"^tls/", r"$^", r"conpool/pool/|conpool/conpool\.h",
     "tls/ knows nothing of pool/"),
    ("layers", LIBRARY, r"$^", r"(tests|bench|examples)/",
     "the library knows nothing of what uses it"),
    ("spelling", r"", r"$^", r"(\.\./)*(runtime|pool|tls|loops)/",
     "a header of the library is <conpool/...> everywhere, also in the library"),
    ("liburing", LIBRARY, r"^runtime/detail/ring(\.cpp|_\w+\.(h|cpp))$", r"liburing",
     "the kernel is behind one door: only runtime/detail/ring.cpp and ring_* include liburing"),
    ("c-ares", LIBRARY, r"^runtime/(detail/)?resolver(_\w+)?\.cpp$", r"ares",
     "only resolver.cpp and resolver_channel.cpp include c-ares"),
    ("openssl", LIBRARY, r"^tls/", r"openssl/",
     "only tls/ includes BoringSSL"),
    ("libraries", LIBRARY, r"$^", r"(fmt|CLI|nlohmann|gtest|benchmark)/",
     "the library itself uses liburing, c-ares and BoringSSL only"),
]

INCLUDE = re.compile(r"^\s*#\s*include\s*[<\"]([^>\"]+)[>\"]")
ALLOW = re.compile(r"//.*\btidy: allow ([\w-]+) \([^)]+\)")
# --- functions ------------------------------------------------------------------------------

NOT_A_FUNCTION = re.compile(
    r"^\s*(template\s*<.*>\s*)?(inline\s+)?(namespace|class|struct|union|enum|extern|concept)\b",
    re.S)


def closing(code, opening):
    depth = 0
    for position in range(opening, len(code)):
        if code[position] == "{":
            depth += 1
        elif code[position] == "}":
            depth -= 1
            if depth == 0:
                return position
    return None


def functions(code):
    """(first, last) position of every function that is not inside another one."""
    code = strip_preprocessor(code)
    head = 0
    position = 0
    while position < len(code):
        here = code[position]
        if here in ";}":
            head = position + 1
        elif here == "{":
            before = code[head:position]
            end = closing(code, position)
            if end is None:
                return
            if NOT_A_FUNCTION.match(before) or "(" not in before:
                if "(" not in before and before.rstrip().endswith(("=", ",")):
                    position = end  # an initializer
                else:
                    head = position + 1  # go inside
            elif re.match(r"\s*[,{]", code[end + 1:]):
                position = end  # a member's initializer: the body comes later
            else:
                start = head + len(before) - len(before.lstrip())
                if not before.rstrip().endswith("="):
                    yield start, end
                position = end
                head = end + 1
        position += 1


# --- co_await -------------------------------------------------------------------------------

AWAIT_FORM = re.compile(
    r"^((const )?auto ?&{0,2} ?\w+ = |[\w.:*>\[\]-]+ = |co_return )?co_await\b")


def await_error(statement):
    """What is wrong with a statement that awaits, by the rules of this repository, which are
    stricter than what check_coroutines finds; None if nothing is."""
    condition, rest = without_control(statement)
    if condition is not None:
        return "co_await in a condition: bind the result to a local first"
    rest = re.sub(r"\[\[[^\[\]]*\]\]", "", rest)  # attributes
    rest, copying = without_lambdas(rest)
    rest = re.sub(r"\s+", " ", rest).strip()
    if copying:
        return "co_await and a lambda that copies in one statement: name the lambda first"
    if len(AWAIT.findall(rest)) > 1:
        return "more than one co_await in a statement"
    if "?" in rest:
        return "co_await and a conditional operator in one statement: use if and else"
    if "{" in rest:
        return "co_await and a braced initializer in one statement: name the object first"
    if not AWAIT_FORM.match(rest):
        return ("co_await only as `auto x = co_await f(names);`, `x = co_await ...;`, "
                "`co_await ...;` or `co_return co_await ...;`")
    return None


def await_errors(code):
    for position, _, statement in awaiting_statements(code):
        message = await_error(statement)
        if message:
            yield line_of(code, position), message


# --- types ----------------------------------------------------------------------------------


def type_errors(path, code, large):
    """`large` as LARGE_TYPES. Fields of a record, a struct with public data only, are not limited:
    they are a table and no state."""
    for size in tidy_types.types(strip_preprocessor(code)):
        most = large.get((path, size.name), (PUBLIC_METHODS_MAX, METHODS_MAX, MEMBERS_MAX))
        members = 0 if size.record else size.members
        for count, limit, what in ((size.public, most[0], "public methods"),
                                   (size.methods, most[1], "methods"),
                                   (members, most[2], "data members")):
            if count > limit:
                yield (line_of(code, size.position),
                       f"{size.name} has {count} {what}, at most {limit}: cut it into parts")


def needless(path, code, large):
    """The exceptions of a file that its types do not need, each with the reason."""
    found = {size.name: size for size in tidy_types.types(strip_preprocessor(code))}
    for (file, name), _ in large.items():
        if file != path:
            continue
        size = found.get(name)
        if size is None or (size.public <= PUBLIC_METHODS_MAX and size.methods <= METHODS_MAX
                            and (size.record or size.members <= MEMBERS_MAX)):
            yield 1, f"{name} needs no exception: delete it from LARGE_TYPES in scripts/tidy.py"


# --- includes -------------------------------------------------------------------------------


def include_graph(texts):
    """{header: [(line, header that it includes)]} of the library's headers, {path: text}."""
    graph = {}
    for path, text in texts.items():
        graph[path] = []
        for number, line in enumerate(text.split("\n"), 1):
            include = INCLUDE.match(line)
            name = include.group(1).removeprefix("conpool/") if include else None
            if name == "conpool.h":
                name = "include/conpool/conpool.h"
            if name in texts:
                graph[path].append((number, name))
    return graph


def cycles(texts):
    """An error for each circle of headers, at the include that closes it."""
    graph = include_graph(texts)
    done = set()
    errors = []

    def visit(header, way):
        way = [*way, header]
        for number, included in graph[header]:
            if included in way:
                circle = [*way[way.index(included):], included]
                errors.append((header, number, "include-cycle",
                               "headers include each other: " + " > ".join(circle)))
            elif included not in done:
                visit(included, way)
        done.add(header)

    for header in sorted(graph):
        if header not in done:
            visit(header, [])
    return errors


# --- files ----------------------------------------------------------------------------------


def check_text(path, text):
    """Rules for any text: source, build files, scripts."""
    for number, line in enumerate(text.split("\n"), 1):
        if "\t" in line:
            yield number, "tab", "a tab: indent with spaces"
        if line != line.rstrip():
            yield number, "trailing-space", "space at the end of the line"
        if len(line) > COLUMNS_MAX and not path.endswith(".md"):
            yield number, "columns", f"{len(line)} columns, at most {COLUMNS_MAX}"
    if text and not text.endswith("\n"):
        yield text.count("\n") + 1, "last-newline", "no newline at the end of the file"


def check_source(path, text):
    """Rules for one .h or .cpp file."""
    code = strip(text)
    lines = text.split("\n")
    code_lines = code.split("\n")
    if len(lines) - 1 > FILE_LINES_MAX:
        yield 1, "file-lines", f"{len(lines) - 1} lines, at most {FILE_LINES_MAX}: split it"

    for number, line in enumerate(lines, 1):
        if re.search(r"\b(FIXME|TODO|XXX)\b", line):
            yield number, "leftover", "a leftover note: do it, or write an issue"
        include = INCLUDE.match(line)
        if include:
            for rule, only, but, pattern, why in INCLUDES:
                if (re.match(pattern, include.group(1)) and re.search(only, path)
                        and not re.search(but, path)):
                    yield number, rule, f"includes {include.group(1)}: {why}"
        for rule, only, but, pattern, instead in BANNED:
            subject = line if include else code_lines[number - 1]
            found = re.search(pattern, subject)
            if found and re.search(only, path) and not re.search(but, path):
                yield number, rule, f"`{found.group().strip()}`: {instead}"

    if re.match(LIBRARY, path) and path.endswith(".h"):
        if not text.startswith("//"):
            yield 1, "header-comment", "a header opens with a // comment: what it is, who owns it"
    if path.endswith(".h") and not re.search(r"^#pragma once$", text, re.M):
        yield 1, "pragma-once", "no #pragma once"

    for start, end in functions(code):
        length = line_of(code, end) - line_of(code, start) + 1
        if length > FUNCTION_LINES_MAX:
            yield (line_of(code, start), "function-lines",
                   f"a function of {length} lines, at most {FUNCTION_LINES_MAX}")
    for number, message in await_errors(code):
        yield number, "co-await", message
    if re.match(LIBRARY, path):
        for number, message in type_errors(path, code, LARGE_TYPES):
            yield number, "type-size", message
        for number, message in needless(path, code, LARGE_TYPES):
            yield number, "type-size", message


def check_readme(text):
    """The C++ in ``` blocks of a Markdown page obeys the same rules of co_await and columns."""
    for block in re.finditer(r"^```cpp\n(.*?)^```", text, re.M | re.S):
        before = text.count("\n", 0, block.start(1))
        for number, line in enumerate(block.group(1).split("\n"), before + 1):
            if len(line) > COLUMNS_MAX:
                yield number, "columns", f"{len(line)} columns, at most {COLUMNS_MAX}"
        for number, message in await_errors(strip(block.group(1))):
            yield before + number, "co-await", message


def allowed(text, number, rule):
    lines = text.split("\n")
    match = ALLOW.search(lines[number - 1]) if number <= len(lines) else None
    return match is not None and match.group(1) == rule


def check(path, text):
    """All errors of one file, as (path, line, rule, message)."""
    errors = list(check_text(path, text))
    if path.endswith((".h", ".cpp")):
        errors += check_source(path, text)
    elif path.endswith(".md"):
        errors += check_readme(text)
    return [(path, number, rule, message) for number, rule, message in sorted(errors)
            if not allowed(text, number, rule)]


def orphans(path, builds):
    """Whether a source is named in a meson.build of its folder or one above.

    `builds` maps a folder to the text of its meson.build. Examples are named without .cpp.
    """
    parts = path.split("/")
    for depth in range(len(parts)):
        build = builds.get("/".join(parts[:depth]), "")
        name = "/".join(parts[depth:])
        if f"'{name}'" in build or f"'{name.removesuffix('.cpp')}'" in build:
            return []
    return [(path, 1, "orphan", f"named neither in {parts[0]}/meson.build nor in meson.build")]


def main(root):
    root = pathlib.Path(root)
    sources = []
    for folder in SOURCE_FOLDERS:
        found = [file for file in (root / folder).rglob("*") if file.suffix in (".h", ".cpp")]
        if not found:
            print(f"{folder}: no sources here: what was in it would go unseen [folders]")
            return 1
        sources += sorted(found)
    builds = {str(file.parent.relative_to(root)): file.read_text()
              for folder in SOURCE_FOLDERS for file in (root / folder).rglob("meson.build")}
    builds[""] = (root / "meson.build").read_text()
    others = [root / "meson_options.txt", *sorted(root.glob("*.md"))]
    others += (root / folder / "meson.build" for folder in builds)
    others += sorted((root / "docs").glob("*.md")) + sorted((root / "scripts").glob("*"))

    headers = {str(file.relative_to(root)): file.read_text() for file in sources
               if file.suffix == ".h" and file.relative_to(root).parts[0] in LIBRARY_FOLDERS}
    errors = cycles(headers)
    for path, name in LARGE_TYPES:
        if path not in headers:
            errors.append(("scripts/tidy.py", 1, "type-size", f"{path} with {name} is gone: "
                           "delete it from LARGE_TYPES"))
    for file in [*sources, *(file for file in others if file.is_file())]:
        path = str(file.relative_to(root))
        errors += check(path, file.read_text())
        if file.suffix == ".cpp" or (file.suffix == ".h" and re.match(LIBRARY, path)):
            errors += orphans(path, builds)
    for path, number, rule, message in errors:
        print(f"{path}:{number}: {message} [{rule}]")
    return int(bool(errors))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent.parent))
