#!/usr/bin/env python3
"""The tables of docs/CONFIGURATION.md say what the headers say.

A table of options stands under a mark that names the struct whose fields it lists:

  <!-- struct pool_config -->
  | field | default | range | meaning |

A struct may have several tables; together they must list each of its fields once. The default is
compared with the initializer. For pool_config it is also compared with the comment at the field in
pool/config.h, and the range must be the words of that comment.

docs/OPERATIONS.md is held to the headers in the same way: it explains every kind of error and every
reason to close a connection.
"""

import pathlib
import re
import sys
import unittest
from typing import NamedTuple

ROOT = pathlib.Path(__file__).resolve().parent.parent
STRUCTS = ("pool_config", "acquire_options", "runtime_options", "shard_options", "ring_options")

# --- headers --------------------------------------------------------------------------------

FIELD = re.compile(r"^\s*(?P<type>[\w:]+\s*\*?)\s*\b(?P<name>\w+)\s*"
                   r"(?:\{(?P<braced>[^{}]*)\}|=\s*(?P<assigned>[^;]+))?;")
BOUND = r"(?:\d+(?: (?:ms|s|min|h))?|[a-z]+_[a-z_]+(?:\(\))?)"
RANGE = re.compile(rf"(?P<range>{BOUND}(?: \([^)]*\))? to {BOUND}"
                   r"(?:, or 0 for [^.]*|, in whole seconds)?)(?:\.|, default )")
DEFAULT = re.compile(r"\b[Dd]efault (?P<default>.+?)\.(?=\s|$)")


class field(NamedTuple):
    type: str
    initializer: str
    comment: str


def fields(header, struct):
    """{name: field} of the struct's members, in their order; nothing if the header lacks it."""
    start = re.search(rf"^struct {struct} {{$", header, re.M)
    if not start:
        return {}
    found = {}
    comment = []
    depth = 1
    for line in header[start.end():].split("\n")[1:]:
        if line.strip().startswith("//"):
            comment.append(line.strip()[2:].strip())
            continue
        code = line.split("//", 1)[0]
        match = FIELD.match(code) if depth == 1 else None
        if match:
            initializer = match["braced"] if match["braced"] is not None else match["assigned"]
            found[match["name"]] = field(match["type"].replace(" ", ""),
                                         (initializer or "").strip(), " ".join(comment))
        comment = []
        depth += code.count("{") - code.count("}")
        if depth == 0:
            break
    return found


def enumerators(header, enum):
    """The names in an enum class, in their order."""
    body = re.search(rf"^enum class {enum} : [^{{]*{{$(.*?)^}};", header, re.M | re.S)
    code = re.sub(r"//[^\n]*", "", body.group(1)) if body else ""
    return re.findall(r"^\s*(\w+)\s*(?:=[^,]*)?,?\s*$", code.replace(",", ",\n"), re.M)


# --- pages ----------------------------------------------------------------------------------

MARK = re.compile(r"^<!-- struct (\w+) -->\n(?P<table>(?:\|[^\n]*\n)+)", re.M)


def cells(line):
    return [cell.strip().replace("`", "") for cell in line.strip().strip("|").split("|")]


def rows(page, struct):
    """[(name, {heading: cell})] of all tables that are marked with the struct's name."""
    found = []
    for mark in MARK.finditer(page):
        if mark.group(1) == struct:
            head, _, *body = map(cells, mark["table"].strip("\n").split("\n"))
            found += [(row[0], dict(zip(head, row, strict=True))) for row in body]
    return found


# --- comparing ------------------------------------------------------------------------------

UNIT_NS = {"us": 1_000, "ms": 1_000_000, "s": 1_000_000_000, "min": 60_000_000_000,
           "h": 3_600_000_000_000}
DURATIONS = {"std::chrono::milliseconds": "ms", "std::chrono::microseconds": "us", "duration": "ms"}
SPELLED = {"nullptr": "null", "time_point::max()": "none", "": ""}


def value(text):
    """A duration in nanoseconds or a number, from what a person wrote; other text as it is."""
    match = re.fullmatch(r"([\d,]+)(?: (us|ms|s|min|h))?", text)
    if not match:
        return text
    return int(match.group(1).replace(",", "")) * UNIT_NS.get(match.group(2), 1)


def initial(one):
    """What an initializer means, as value() has it."""
    digits = one.initializer.replace("'", "")
    if digits.isdigit():
        return value(f"{digits} {DURATIONS[one.type]}") if one.type in DURATIONS else int(digits)
    return SPELLED.get(one.initializer, one.initializer.rsplit("::", 1)[-1])


def stated(comment):
    """(range, default) as a comment states them; None for what it does not state."""
    limits = RANGE.search(comment)
    default = DEFAULT.search(comment)
    return limits and limits["range"], default and default["default"]


def differences(header, struct, page, with_ranges=False):
    """What the page's tables and the header's struct do not agree on, one line each."""
    declared = fields(header, struct)
    listed = rows(page, struct)
    names = [name for name, _ in listed]
    wrong = [f"{name}: no row" for name in declared if name not in names]
    wrong += [f"{name}: {names.count(name)} rows" for name in declared if names.count(name) > 1]
    wrong += [f"{name}: no such field" for name in names if name not in declared]
    for name, row in listed:
        if name not in declared:
            continue
        one = declared[name]
        shown = value(re.split(r"[:;]", row["default"])[0])
        if shown != initial(one):
            wrong.append(f"{name}: default {row['default']!r}, "
                         f"initialized with {one.initializer!r}")
        if not with_ranges:
            continue
        limits, default = stated(one.comment)
        if default is None or value(default) != initial(one):
            wrong.append(f"{name}: its comment says default {default!r}, "
                         f"initialized with {one.initializer!r}")
        if one.type == "validation_policy":
            limits = ", ".join(enumerators(header, one.type))
        if row["range"] != (limits or ""):
            wrong.append(f"{name}: range {row['range']!r}, the header says {limits!r}")
        if not limits and one.type != "bool":
            wrong.append(f"{name}: its comment states no range")
    return wrong


def header_of(struct):
    """The text of the one public or internal header that declares the struct."""
    found = [text for folder in ("pool", "runtime") for file in (ROOT / folder).rglob("*.h")
             if f"\nstruct {struct} {{\n" in (text := file.read_text())]
    return found[0] if len(found) == 1 else ""


class configuration(unittest.TestCase):
    maxDiff = None
    page = (ROOT / "docs/CONFIGURATION.md").read_text()

    def test_every_option_is_listed_with_its_default(self):
        for struct in STRUCTS:
            with self.subTest(struct):
                header = header_of(struct)
                self.assertGreater(len(fields(header, struct)), 2, "not found in one header")
                self.assertEqual(
                    differences(header, struct, self.page, struct == "pool_config"), [])

    def test_no_other_struct_is_listed(self):
        self.assertEqual({mark.group(1) for mark in MARK.finditer(self.page)}, set(STRUCTS))


class operations(unittest.TestCase):
    page = (ROOT / "docs/OPERATIONS.md").read_text()

    def explained(self):
        """The names in backticks in the first cells of the page's tables."""
        firsts = re.findall(r"^\|([^|\n]*)\|", self.page, re.M)
        return {name for first in firsts for name in re.findall(r"`(\w+)`", first)}

    def test_every_kind_of_error_is_explained(self):
        kinds = enumerators((ROOT / "runtime/error.h").read_text(), "errc")
        self.assertGreater(len(kinds), 30)
        self.assertEqual([kind for kind in kinds if kind not in self.explained()], [])

    def test_every_reason_to_close_is_explained(self):
        reasons = enumerators((ROOT / "pool/stats.h").read_text(), "close_reason")
        self.assertGreater(len(reasons), 20)
        self.assertEqual([why for why in reasons if why not in self.explained()], [])


class the_check_itself(unittest.TestCase):
    header = """
enum class validation_policy : std::uint8_t {
  // Watches.
  watch,
  none,  // does not
};

struct pool_config {
  // Most of them. 1 to 65536,
  // default 32.
  std::uint32_t most = 32;

  // How long, up to this times two. 1 ms to 24 h, or 0 for
  // never. Default 1 h.
  std::chrono::milliseconds how_long{3'600'000};

  // In percent, 0 to most_of_all(), default 10.
  std::uint32_t share = 10;

  // Default watch.
  validation_policy validation = validation_policy::watch;

  // Default false.
  bool is_odd = false;

  constexpr std::uint32_t twice() const noexcept {
    return most == 0 ? 1 : 2 * most;
  }
};
"""
    page = """
<!-- struct pool_config -->
| field | default | range | meaning |
|---|---|---|---|
| `most` | 32 | 1 to 65536 | most |
| `how_long` | 1 h | 1 ms to 24 h, or 0 for never | how long |

Text between.

<!-- struct pool_config -->
| field | default | range | meaning |
|---|---|---|---|
| `share` | 10 | 0 to `most_of_all()` | a share |
| `validation` | `watch` | `watch`, `none` | how |
| `is_odd` | false | | whether |
"""

    def found(self, old="", new="", header_old="", header_new=""):
        self.assertIn(old, self.page)
        self.assertIn(header_old, self.header)
        return differences(self.header.replace(header_old, header_new) if header_old
                           else self.header, "pool_config",
                           self.page.replace(old, new) if old else self.page, with_ranges=True)

    def test_accepts_what_agrees(self):
        self.assertEqual(self.found(), [])
        self.assertEqual(list(fields(self.header, "pool_config")),
                         ["most", "how_long", "share", "validation", "is_odd"])

    def test_notices_a_wrong_default(self):
        self.assertEqual(len(self.found("| 32 |", "| 33 |")), 1)
        self.assertEqual(len(self.found("| 1 h |", "| 1 s |")), 1)
        self.assertEqual(len(self.found("| `watch` |", "| `none` |")), 1)
        self.assertEqual(len(self.found("| false |", "| true |")), 1)
        self.assertEqual(len(self.found(header_old="default 32.", header_new="default 31.")), 1)
        self.assertEqual(len(self.found(header_old="Default 1 h.", header_new="Not short.")), 1)
        self.assertEqual(len(self.found(header_old="most = 32", header_new="most = 31")), 2)

    def test_notices_a_wrong_range(self):
        self.assertEqual(len(self.found("65536", "65535")), 1)
        self.assertEqual(len(self.found("24 h, or 0 for never", "24 h")), 1)
        self.assertEqual(len(self.found("0 for never", "0 for ever")), 1)
        self.assertEqual(len(self.found("`watch`, `none`", "`watch`")), 1)
        self.assertEqual(len(self.found(header_old="1 ms to 24 h", header_new="2 ms to 24 h")), 1)
        self.assertEqual(len(self.found(header_old="1 to 65536", header_new="small")), 2)

    def test_notices_what_is_on_one_side_only(self):
        self.assertEqual(self.found("| `most` | 32 | 1 to 65536 | most |\n", ""), ["most: no row"])
        self.assertEqual(self.found("| `share` |", "| `part` |"),
                         ["share: no row", "part: no such field"])
        self.assertEqual(self.found("| `is_odd` |", "| `most` |")[:2],
                         ["is_odd: no row", "most: 2 rows"])
        self.assertEqual(self.found(header_old="bool is_odd", header_new="bool is_even"),
                         ["is_even: no row", "is_odd: no such field"])

    def test_reads_initializers(self):
        self.assertEqual(initial(field("clock_source*", "nullptr", "")), "null")
        self.assertEqual(initial(field("std::chrono::microseconds", "5", "")), value("5 us"))
        self.assertEqual(initial(field("unsigned", "4096", "")), value("4,096"))


if __name__ == "__main__":
    sys.exit(unittest.main())
