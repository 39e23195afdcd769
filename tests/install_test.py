#!/usr/bin/env python3
"""What users get: the installed tree, and conpool as a subproject from a tar archive.

  install_test.py BUILD_FOLDER CONSUMER [--whole]

It installs the build folder's library into a folder of its own and looks at what lies there, then
compiles CONSUMER, tests/install/consumer.cpp, against it with the flags that pkg-config gives, links it and
runs it. Of the subproject it compiles the consumer's own object; with --whole all of it, which
takes minutes, and runs it. scripts/check_install does that, in a build without sanitizers: there
a program of clang++ is linked with the library of g++, too.
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent
CLANG = "clang++-19"
STANDARD = "--std=c++23"

SUBPROJECT_BUILD = """project('consumer', 'cpp')
add_project_arguments('--std=c++23', language: 'cpp')
executable('consumer', 'consumer.cpp', dependencies: dependency('conpool'))
"""
WRAP = """[wrap-file]
directory = conpool
source_filename = conpool.tar

[provide]
dependency_names = conpool
"""


def run(*command, **options):
    """Its output; an error with all that it said if it fails."""
    done = subprocess.run([str(word) for word in command], text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, check=False, **options)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, command))}\n{done.stdout}")
    return done.stdout


def options_of(build):
    listed = json.loads(run("meson", "introspect", "--buildoptions", build))
    return {option["name"]: option["value"] for option in listed}


class installed(unittest.TestCase):
    """`meson install` into a folder: headers, library, pkg-config."""

    @classmethod
    def setUpClass(cls):
        cls.work = pathlib.Path(tempfile.mkdtemp(prefix="conpool-install-"))
        cls.addClassCleanup(shutil.rmtree, cls.work)
        cls.options = options_of(BUILD)
        run("meson", "install", "-C", BUILD, "--no-rebuild", "--destdir", cls.work / "dest")
        cls.prefix = cls.work / "dest" / cls.options["prefix"].lstrip("/")
        cls.headers = cls.prefix / cls.options["includedir"] / "conpool"
        described = cls.prefix / cls.options["libdir"] / "pkgconfig" / "conpool.pc"
        moved = re.sub(r"^prefix=.*", f"prefix={cls.prefix}", described.read_text(), flags=re.M)
        (cls.work / "conpool.pc").write_text(moved)
        # What users include, all of it but what needs another library, in one file.
        names = sorted(str(header.relative_to(cls.headers.parent))
                       for header in cls.headers.rglob("*.h")
                       if not {"detail", "loops"} & set(header.parts))
        cls.public = cls.work / "public.h"
        cls.public.write_text("".join(f"#include <{name}>\n" for name in names))

    def flags(self, *kinds):
        return run("pkg-config", *kinds, "conpool",
                   env={**os.environ, "PKG_CONFIG_PATH": str(self.work)}).split()

    def sanitizers(self):
        chosen = self.options["b_sanitize"]
        return [] if chosen == "none" else [f"-fsanitize={chosen}"]

    def compiled(self, compiler, name):
        made = self.work / name
        run(compiler, STANDARD, "-Wall", "-Wextra", "-Werror", *self.sanitizers(),
            *self.flags("--cflags"), "-include", self.public, "-c", CONSUMER, "-o", made)
        return made

    def linked_and_run(self, compiler, object_file):
        program = object_file.with_suffix(".program")
        run(compiler, *self.sanitizers(), object_file, *self.flags("--libs", "--static"),
            *self.rpath(), "-o", program)
        self.assertEqual(run(program), "hello\n")

    def rpath(self):
        """To Debian's BoringSSL, which lies where the loader does not look."""
        folders = [flag[2:] for flag in self.flags("--libs", "--static") if flag.startswith("-L")]
        folders += [str(pathlib.Path(flag).parent)
                    for flag in self.flags("--libs", "--static") if flag.endswith(".so")]
        return [f"-Wl,-rpath,{folder}" for folder in folders]

    def test_the_headers_lie_as_in_the_tree_and_are_no_links(self):
        found = {str(file.relative_to(self.headers)) for file in self.headers.rglob("*")
                 if file.is_file()}
        self.assertIn("conpool.h", found)
        for folder in ("runtime", "runtime/detail", "pool", "pool/detail", "loops"):
            self.assertTrue(any(str(pathlib.Path(name).parent) == folder for name in found), folder)
        for name in found - {"conpool.h"}:
            self.assertTrue((ROOT / name).is_file(), f"{name} is not so called in the tree")
            self.assertEqual((ROOT / name).read_bytes(), (self.headers / name).read_bytes())
        links = [str(file) for file in self.headers.rglob("*") if file.is_symlink()]
        self.assertEqual(links, [])

    def test_the_consumer_names_public_headers_only(self):
        self.assertNotIn("detail/", CONSUMER.read_text().split("#include", 1)[1])
        self.assertNotIn("detail/", self.public.read_text())

    def test_a_program_is_built_with_the_compiler_of_the_library(self):
        compiler = os.environ.get("CXX", "c++")
        self.linked_and_run(compiler, self.compiled(compiler, "consumer.o"))

    def test_the_checker_of_coroutines_is_a_program(self):
        checker = self.prefix / self.options["bindir"] / "conpool-check-coroutines"
        self.assertEqual(run(checker, CONSUMER), "")

    @unittest.skipUnless(shutil.which(CLANG), f"no {CLANG}")
    def test_a_program_is_built_with_clang(self):
        made = self.compiled(CLANG, "consumer_clang.o")
        if not self.sanitizers():  # those of two compilers do not go together
            self.linked_and_run(CLANG, made)


class subproject(unittest.TestCase):
    """A tar archive of the tree, unpacked by Meson as a wrap file says."""

    def setUp(self):
        self.work = pathlib.Path(tempfile.mkdtemp(prefix="conpool-subproject-"))
        self.addCleanup(shutil.rmtree, self.work)

    def archive(self, to):
        """The files that git knows, as they are now; links stay links."""
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
        if listed.returncode != 0 or not listed.stdout:
            self.skipTest("no git repository to make an archive of")
        with tarfile.open(to, "w") as tar:
            for name in filter(None, listed.stdout.split("\0")):
                if os.path.lexists(ROOT / name):
                    tar.add(ROOT / name, f"conpool/{name}", recursive=False)

    def test_a_program_is_built_with_it(self):
        packages = self.work / "subprojects" / "packagefiles"
        packages.mkdir(parents=True)
        self.archive(packages / "conpool.tar")
        (self.work / "subprojects" / "conpool.wrap").write_text(WRAP)
        (self.work / "meson.build").write_text(SUBPROJECT_BUILD)
        shutil.copy(CONSUMER, self.work)
        build = self.work / "build"
        run("meson", "setup", build, self.work, "--buildtype=debug")
        if WHOLE:
            run("ninja", "-C", build)
            self.assertEqual(run(build / "consumer"), "hello\n")
        else:
            run("ninja", "-C", build, "consumer.p/consumer.cpp.o")


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    BUILD, CONSUMER = (pathlib.Path(argument).resolve() for argument in sys.argv[1:3])
    WHOLE = "--whole" in sys.argv[3:]
    unittest.main(argv=sys.argv[:1], verbosity=2)
