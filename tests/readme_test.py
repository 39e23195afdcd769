#!/usr/bin/env python3
"""The pages' programs are pieces of the examples, which are compiled and run; their links lead
somewhere, and the files that they name are there; and the README's figures are those of
docs/FIGURES.md.

A block of C++ stands under a mark that names the file it is from:

  <!-- examples/http_get.cpp -->
  ```cpp
  ...
  ```

Its lines must stand in that file, one after the other; the whole block may be indented less. Every
other block says in another language's name that it is no C++ to copy; `c++` is for code that is
shown as wrong, under "Bad:".
"""

import pathlib
import re
import sys
import textwrap
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
README_LINES_MAX = 200

BLOCK = re.compile(r"^(?P<before>[^\n]*)\n(?P<gap>\n?)"
                   r"^```(?P<language>[^\n]*)\n(?P<code>.*?)^```$", re.M | re.S)
MARK = re.compile(r"<!-- (examples/\S+) -->$")
OTHER_LANGUAGES = ("text", "sh", "meson", "ini", "cmake")
LINK = re.compile(r"\]\(([^()\s]+)\)")
FILE = re.compile(r"`((?:conpool|runtime|pool|tls|loops|tests|bench|examples|scripts|docs)/[\w./-]+"
                  r"\.(?:h|cpp|py|txt|md|build))`")
PARTS = re.compile(r"^\| part \|[^\n]*pool/detail/ \|\n(?P<rows>(?:\|[^\n]*\n)+)", re.M)
HEADERS = re.compile(r"^(?P<layer>runtime|pool|tls|loops)_headers = \[(?P<names>[^\]]*)\]", re.M)
LAYERS = ("runtime", "pool", "tls", "loops")


def is_part_of(block, text):
    """Whether the block's lines stand in the text, all indented by the same more or none."""
    wanted = textwrap.dedent(block).strip("\n")
    lines = text.split("\n")
    size = wanted.count("\n") + 1
    return any(textwrap.dedent("\n".join(lines[at:at + size])) == wanted
               for at in range(len(lines) - size + 1))


def wrong_blocks(page, root):
    """What is wrong with the code of a page, one line each."""
    for block in BLOCK.finditer("\n" + page):
        first = block["code"].split("\n", 1)[0]
        if block["language"] == "cpp":
            mark = MARK.match(block["before"]) if not block["gap"] else None
            if not mark:
                yield f"no mark says where this is from: {first}"
            elif not (root / mark.group(1)).is_file():
                yield f"there is no {mark.group(1)}: {first}"
            elif not is_part_of(block["code"], (root / mark.group(1)).read_text()):
                yield f"not in {mark.group(1)} as it stands: {first}"
        elif block["language"] == "c++":
            if block["before"] != "Bad:":
                yield f"c++ is for what stands under \"Bad:\": {first}"
        elif block["language"] not in OTHER_LANGUAGES:
            yield f"a block in no known language ({block['language']}): {first}"


def anchors(page):
    """The fragments that lead to the headings of a page, as GitHub makes them."""
    prose = re.sub(r"^```.*?^```$", "", page, flags=re.M | re.S)
    titles = re.findall(r"^#+ (.+)$", prose, re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def dead_links(path, page):
    """The links of a page that lead to no file of the tree, or to no heading of a page."""
    for target in LINK.findall(re.sub(r"^```.*?^```$", "", page, flags=re.M | re.S)):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, fragment = target.partition("#")
        file = path.parent / name
        if name and not file.exists():
            yield f"{target}: there is no such file"
        elif fragment and fragment not in anchors(file.read_text() if name else page):
            yield f"{target}: there is no such heading"


def missing_files(page, root):
    """The files that a page names in backticks and that are not there. Parts of the pool are named
    without their folder."""
    named = FILE.findall(page)
    for parts in PARTS.finditer(page):
        named += [f"pool/detail/{name}" for name in re.findall(r"`(\w+\.h)`", parts["rows"])]
    for name in named:
        path = "include/" + name if name.startswith("conpool/") else name
        if not (root / path).exists():
            yield name


def public_headers(build):
    """The headers that a layer's meson.build installs for users."""
    lists = HEADERS.search(build)
    names = re.findall(r"'([\w.]+)'", lists["names"])
    return [f"conpool/{lists['layer']}/{name}" for name in names]


class pages(unittest.TestCase):
    def test_all_are_looked_at(self):
        names = [page.name for page in PAGES]
        for name in ("README.md", "CONTRIBUTING.md", "COROUTINES.md", "OPERATIONS.md"):
            self.assertIn(name, names)

    def test_each_block_of_code_stands_in_the_example_it_names(self):
        for page in PAGES:
            with self.subTest(page.name):
                self.assertEqual(list(wrong_blocks(page.read_text(), ROOT)), [])

    def test_each_link_leads_somewhere(self):
        for page in PAGES:
            with self.subTest(page.name):
                self.assertEqual(list(dead_links(page, page.read_text())), [])

    def test_each_file_that_is_named_is_there(self):
        for page in PAGES:
            if page.name != "CHANGELOG.md":  # it also names what was there before
                with self.subTest(page.name):
                    self.assertEqual(list(missing_files(page.read_text(), ROOT)), [])

    def test_every_public_header_is_listed(self):
        text = (ROOT / "docs/ARCHITECTURE.md").read_text()
        listed = re.findall(r"^\| `(conpool/\w+/\w+\.h)` \|", text, re.M)
        installed = [header for layer in LAYERS
                     for header in public_headers((ROOT / layer / "meson.build").read_text())]
        self.assertGreater(len(installed), 25)
        self.assertEqual(sorted(listed), sorted(installed))

    def test_no_page_stands_apart(self):
        linked = {(page.parent / target.partition("#")[0]).resolve()
                  for page in PAGES for target in LINK.findall(page.read_text())
                  if not re.match(r"[a-z]+:|#", target)}
        self.assertEqual([page.name for page in PAGES
                          if page.name != "README.md" and page not in linked], [])


class readme(unittest.TestCase):
    text = (ROOT / "README.md").read_text()

    def test_begins_with_a_program_and_stays_short(self):
        self.assertIn("<!-- examples/http_get.cpp -->\n```cpp", self.text)
        self.assertLessEqual(self.text.count("\n"), README_LINES_MAX)

    def test_its_picture_shows_figures_that_are_documented(self):
        figures = (ROOT / "docs/FIGURES.md").read_text()
        bars = re.findall(r"([\d,.]+) (ns|us)\s+(█[█▏▎▍▌▋▊▉]*|[▏▎▍▌▋▊▉])$", self.text, re.M)
        self.assertGreater(len(bars), 3)
        for number, unit, _ in bars:
            self.assertRegex(figures, rf"(?<![\d,.]){re.escape(number)}(?: {unit}| / )")


class the_check_itself(unittest.TestCase):
    text = "int a;\n\nvoid f() {\n  g();\n  if (h()) {\n    i();\n  }\n}\n"

    def test_finds_a_part_at_any_depth(self):
        self.assertTrue(is_part_of("int a;\n", self.text))
        self.assertTrue(is_part_of("g();\nif (h()) {\n  i();\n}\n", self.text))

    def test_refuses_what_differs(self):
        self.assertFalse(is_part_of("int b;\n", self.text))
        self.assertFalse(is_part_of("g();\ni();\n", self.text))
        self.assertFalse(is_part_of("g();\nif (h()) {\ni();\n}\n", self.text))

    def test_wants_a_mark_or_another_language_at_each_block(self):
        def wrong(page):
            return len(list(wrong_blocks(page, ROOT)))

        main = "int main(int argc, char** argv) {"
        self.assertEqual(wrong(f"<!-- examples/http_get.cpp -->\n```cpp\n{main}\n```\n"), 0)
        others = "```text\nf(x)\n```\n\n```sh\nls\n```\n\nBad:\n\n```c++\nf\n```\n"
        self.assertEqual(wrong(others), 0)
        self.assertEqual(wrong(f"```cpp\n{main}\n```\n"), 1)
        self.assertEqual(wrong(f"<!-- examples/http_get.cpp -->\n\n```cpp\n{main}\n```\n"), 1)
        self.assertEqual(wrong("<!-- examples/http_get.cpp -->\n```cpp\nint main() {\n```\n"), 1)
        self.assertEqual(wrong(f"<!-- examples/none.cpp -->\n```cpp\n{main}\n```\n"), 1)
        self.assertEqual(wrong("Good:\n\n```c++\nf\n```\n"), 1)
        self.assertEqual(wrong("```\nf(x);\n```\n\n```C++\nf(x);\n```\n"), 2)

    def test_looks_for_the_files_that_are_named(self):
        def missing(page):
            return list(missing_files(page, ROOT))

        self.assertEqual(missing("`tests/readme_test.py`, `conpool/pool/pool.h`, `a/b.h`"), [])
        self.assertEqual(missing("`tests/none.py` `conpool/none.h`"),
                         ["tests/none.py", "conpool/none.h"])
        table = "| part | what | file under pool/detail/ |\n|---|---|---|\n| a | b | `none.h` |\n"
        self.assertEqual(missing(table), ["pool/detail/none.h"])
        build = "pool_headers = [\n  'a.h',\n]\npool_detail_headers = [\n  'b.h',\n]\n"
        self.assertEqual(public_headers(build), ["conpool/pool/a.h"])

    def test_follows_links(self):
        def dead(page):
            return len(list(dead_links(ROOT / "docs" / "PAGE.md", page)))

        self.assertEqual(dead("# Why so?\n[a](../README.md) [b](#why-so) [c](https://a.b/c)"), 0)
        self.assertEqual(dead("[`a`](../README.md#why-not) [b](NONE.md) [c](#nowhere)"), 3)
        self.assertEqual(dead("```text\n[a](NONE.md)\n# Title\n```\n"), 0)
        self.assertEqual(dead("```text\n# Title\n```\n[a](#title)"), 1)


if __name__ == "__main__":
    sys.exit(unittest.main())
