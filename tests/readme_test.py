#!/usr/bin/env python3
"""The README's programs are pieces of the examples, which are compiled and run.

A block of C++ stands under a mark that names the file it is from:

  <!-- examples/http_get.cpp -->
  ```cpp
  ...
  ```

Its lines must stand in that file, one after the other; the whole block may be indented less.
"""

import pathlib
import re
import sys
import textwrap
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent
BLOCK = re.compile(r"^(?:<!-- (examples/\S+) -->\n)?```cpp\n(.*?)^```", re.M | re.S)


def is_part_of(block, text):
    """Whether the block's lines stand in the text, all indented by the same more or none."""
    wanted = textwrap.dedent(block).strip("\n")
    lines = text.split("\n")
    size = wanted.count("\n") + 1
    return any(textwrap.dedent("\n".join(lines[at:at + size])) == wanted
               for at in range(len(lines) - size + 1))


class readme_blocks(unittest.TestCase):
    def test_each_block_of_code_stands_in_the_example_it_names(self):
        blocks = BLOCK.findall((ROOT / "README.md").read_text())
        self.assertTrue(any(name == "examples/http_get.cpp" for name, _ in blocks))
        for name, block in blocks:
            first = block.split("\n", 1)[0]
            self.assertTrue(name, f"no mark says where this is from: {first}")
            self.assertTrue(is_part_of(block, (ROOT / name).read_text()),
                            f"not in {name} as it stands: {first}")


class the_check_itself(unittest.TestCase):
    text = "int a;\n\nvoid f() {\n  g();\n  if (h()) {\n    i();\n  }\n}\n"

    def test_finds_a_part_at_any_depth(self):
        self.assertTrue(is_part_of("int a;\n", self.text))
        self.assertTrue(is_part_of("g();\nif (h()) {\n  i();\n}\n", self.text))

    def test_refuses_what_differs(self):
        self.assertFalse(is_part_of("int b;\n", self.text))
        self.assertFalse(is_part_of("g();\ni();\n", self.text))
        self.assertFalse(is_part_of("g();\nif (h()) {\ni();\n}\n", self.text))


if __name__ == "__main__":
    sys.exit(unittest.main())
