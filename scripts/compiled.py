"""What a build folder compiles, for the checks of scripts/lint: sources, flags, and what was
already found good.

Of each source it knows the flags, without those that only concern the object file; a unit that
Meson put together (--unity=on) counts as the sources in it.
"""

import dataclasses
import hashlib
import json
import os
import pathlib
import re
import shlex
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
FOLDERS = ("include", "runtime", "pool", "tls", "loops", "bench", "examples", "tests")
INCLUDE = re.compile(r'^\s*#\s*include\s*(?:<((?:conpool|bench|tests)/[^>]+)>|"([^"]+)")', re.M)
UNITY_INCLUDE = re.compile(r"^#include\s*[<\"]([^>\"]+)[>\"]", re.M)
WITH_VALUE = ("-o", "-c", "-MF", "-MQ")


@dataclasses.dataclass(frozen=True)
class source:
    file: pathlib.Path
    directory: str
    compiler: str
    flags: tuple


def ours(suffixes=(".h", ".cpp")):
    """All of our files. A folder without any has moved, and what is in it would go unseen."""
    found = []
    for folder in FOLDERS:
        files = sorted(file for file in (ROOT / folder).rglob("*")
                       if file.suffix in (".h", ".cpp"))
        if not files:
            sys.exit(f"conpool: scripts/lint looks for sources in {folder}/, and there are none.")
        found += (file for file in files if file.suffix in suffixes)
    return found


def compiler_and_flags(command):
    """Of one command of compile_commands.json, as (compiler, flags)."""
    words = shlex.split(command)
    if pathlib.Path(words[0]).name == "ccache":
        words = words[1:]
    flags = []
    rest = iter(words[1:])
    for word in rest:
        if word in WITH_VALUE:
            next(rest)
        elif word == "-include":  # a precompiled header, which no other compiler reads
            next(rest)
        elif word != "-MD" and not re.match(r"-I.*\.p$", word):
            flags.append(word)
    return words[0], tuple(flags)


def sources(build):
    """{file: source} of what the build folder compiles of ours."""
    found = {}
    for entry in json.loads((build / "compile_commands.json").read_text()):
        directory = pathlib.Path(entry["directory"])
        file = pathlib.Path(os.path.normpath(directory / entry["file"]))
        files = [file]
        if file.is_relative_to(build) and "-unity" in file.name:
            files = [pathlib.Path(os.path.normpath(directory / included))
                     for included in UNITY_INCLUDE.findall(file.read_text())]
        compiler, flags = compiler_and_flags(entry["command"])
        for each in files:
            if each.is_relative_to(ROOT) and not each.is_relative_to(build):
                found[each] = source(each, str(directory), compiler, flags)
    return found


def with_headers(file, seen):
    """The file and every file of ours that it includes, directly or not."""
    if file in seen:
        return seen
    seen.add(file)
    for from_root, beside in INCLUDE.findall(file.read_text()):
        if from_root.startswith("conpool/"):
            header = ROOT / "include" / from_root
        elif from_root:
            header = ROOT / from_root
        else:
            header = file.parent / beside
        if not header.is_file():
            sys.exit(f"conpool: scripts/lint: {file} includes {from_root or beside}, "
                     "which is nowhere.")
        with_headers(header.resolve(), seen)
    return seen


def name_of(files):
    """A name for a list of files: the same files have the same name."""
    return hashlib.sha256("\n".join(map(str, files)).encode()).hexdigest()[:16]


class verdicts:
    """What was found good, remembered in a folder by a digest of all that the verdict rests on."""

    def __init__(self, folder):
        self.folder = folder
        self.contents = {}
        folder.mkdir(exist_ok=True)

    def mark(self, file, *said):
        """The file that stands for a good verdict on `file` under `said`; may exist."""
        content = hashlib.sha256("\n".join(said).encode())
        for each in sorted(with_headers(file, set())):
            if each not in self.contents:
                self.contents[each] = hashlib.sha256(each.read_bytes()).digest()
            content.update(str(each).encode() + self.contents[each])
        return self.folder / content.hexdigest()
