#!/usr/bin/env python3
"""What users get: the installed tree, and programs against it by pkg-config.

  install_test.py BUILD_FOLDER [SOURCE...] [--whole]

It installs the build folder's libraries into folders of its own and looks at what lies there, then
compiles install/consumer.cpp against it with the lines that docs/EMBEDDING.md shows, links it and
runs it. --whole adds each combination of compiler, optimization and the like in which the headers
must give no warning. scripts/check_install does that, in a build without sanitizers: there a program
of clang++ is linked with the library of g++, too.
"""

import itertools
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "install"))
sys.dont_write_bytecode = True
import kit  # noqa: E402
from kit import CLANG, ROOT, STANDARD, run  # noqa: E402

WARNINGS = ("-Wall", "-Wextra", "-Wconversion", "-Wsign-conversion", "-Wshadow", "-Werror")
NAMESPACES = re.compile(r"conpool::(?:tls::|detail::)?")


class install_test(unittest.TestCase):
    """All share one installed tree."""

    @classmethod
    def setUpClass(cls):
        cls.work = pathlib.Path(tempfile.mkdtemp(prefix="conpool-install-"))
        cls.addClassCleanup(shutil.rmtree, cls.work)
        cls.built = kit.build_folder(BUILD, cls.work)
        cls.headers = cls.built.prefix("static") / cls.built.options["includedir"] / "conpool"
        # What users include, each by itself; what is in loops/ needs another library, too.
        cls.public = sorted(str(header.relative_to(cls.headers.parent))
                            for header in cls.headers.rglob("*.h")
                            if not {"detail", "loops"} & set(header.parts))

    def pkg_config(self, *kinds):
        return run("pkg-config", *kinds, "conpool", env=self.built.environment("static")).split()


class headers(install_test):
    def test_they_lie_as_in_the_tree_and_are_no_links(self):
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
        self.assertNotIn("detail/", (kit.SOURCES / "consumer.cpp").read_text().split("#include", 1)[1])
        self.assertNotIn("detail/", "".join(self.public))

    def errors(self, compiler, header, *flags):
        said = subprocess.run(
            [compiler, *flags, *self.pkg_config("--cflags"), "-fsyntax-only", "-x", "c++", "-"],
            input=f"#include <{header}>\n", text=True, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, check=False).stderr
        return re.findall(r"error: (?:#error )?(.*)", said)

    def test_without_cpp23_or_exceptions_one_line_says_what_is_needed(self):
        for header in self.public:
            for flag, needed in (("-std=c++20", "conpool needs C++23"),
                                 ("-fno-exceptions", "conpool needs exceptions")):
                with self.subTest(header, flag=flag):
                    reason, end = self.errors("g++", header, STANDARD, flag)
                    self.assertIn(needed, reason)
                    self.assertIn("No such file", end)  # which ends the compilation
        if shutil.which(CLANG):
            reason, end = self.errors(CLANG, "conpool/conpool.h", "-std=c++20")
            self.assertIn("conpool needs C++23", reason)
            self.assertIn("file not found", end)

    def expect_no_warning(self, compiler, *flags):
        """In all public headers, in programs that use many of their templates. The headers are not
        looked up as the system's, whose warnings are silent."""
        sources = [kit.SOURCES / "consumer.cpp"]
        if WHOLE:
            sources += [ROOT / f"examples/{name}.cpp"
                        for name in ("coroutine_rules", "own_loop", "redis_protocol")]
        includes = [word for header in self.public for word in ("-include", header)]
        own = []
        if compiler == "g++":
            # g++ 12 warns wrongly of `"text" + string`, which an example has (GCC's bug 105651).
            own = ["-Wuseless-cast", "-Wno-restrict"]
        for source in sources:
            run(compiler, STANDARD, *WARNINGS, *own, *flags, "-foptimize-sibling-calls",
                "-I", self.headers.parent, *includes, "-c", source, "-o", self.work / "warned.o")

    def test_they_give_no_warning(self):
        self.expect_no_warning("g++", "-O2")
        if shutil.which(CLANG):
            self.expect_no_warning(CLANG, "-O1", "-fsanitize=address")

    def test_they_give_no_warning_in_any_combination(self):
        if not WHOLE:
            self.skipTest("takes minutes; scripts/check_install")
        compilers = ["g++"] + ([CLANG] if shutil.which(CLANG) else [])
        for compiler, level, lto, asan in itertools.product(
                compilers, ("-O0", "-O1", "-O2", "-O3"), (False, True), (False, True)):
            flags = [level] + ["-flto"] * lto + ["-fsanitize=address"] * asan
            with self.subTest(compiler=compiler, flags=flags):
                self.expect_no_warning(compiler, *flags)


class pkg_config(install_test):
    """Lines of docs/EMBEDDING.md, as they stand there."""

    def line(self, recipe, folder, before="", **more):
        """Runs the recipe in a folder of its own, with the sanitizers of the library, and then the
        program that it makes."""
        folder.mkdir(parents=True)
        shutil.copy(kit.SOURCES / "consumer.cpp", folder / "main.cpp")
        command = kit.recipe(recipe).replace("g++", shlex.join(["g++", *self.built.sanitizers()]), 1)
        run("bash", "-euc", before + command, cwd=folder, **more)
        return folder / "service"

    def test_a_static_library_in_a_private_prefix(self):
        program = self.line("pkg-config", self.work / "a", env=self.built.environment("static"))
        self.assertEqual(run(program), "hello\n")
        self.assertNotIn("libconpool.so", run("readelf", "-d", program))

    def test_a_shared_library_in_a_private_prefix(self):
        program = self.line("pkg-config-shared", self.work / "b",
                            env=self.built.environment("shared"))
        self.assertEqual(run(program), "hello\n")
        self.assertIn("libconpool.so.", run("readelf", "-d", program))

    def test_either_library_in_the_default_prefix(self):
        """Which this machine keeps for itself: the test sees another /usr/local and another cache of
        the loader, in a namespace of its own."""
        if self.built.options["prefix"] != "/usr/local":
            self.skipTest("the build has another prefix")
        mount = ["unshare", "--mount", "--propagation", "private", "bash", "-euc"]
        if subprocess.run([*mount, "mount -t tmpfs tmpfs /mnt"], check=False,
                          stderr=subprocess.DEVNULL).returncode != 0:
            self.skipTest("may not mount anything, even in a namespace of its own")
        run("cp", "-a", "/etc", self.work / "etc")
        for kind, recipe in (("static", "pkg-config"), ("shared", "pkg-config-shared")):
            with self.subTest(kind):
                local = self.work / f"local-{kind}"
                shutil.copytree(self.built.destination / "usr/local", local, symlinks=True)
                kit.remove_other_library(local / self.built.options["libdir"], kind)
                folder = self.work / f"default-{kind}"
                folder.mkdir()
                shutil.copy(kit.SOURCES / "consumer.cpp", folder / "main.cpp")
                line = kit.recipe(recipe).replace(
                    "g++", shlex.join(["g++", *self.built.sanitizers()]), 1)
                # docs/EMBEDDING.md: ldconfig instead of the rpath.
                line = re.sub(r"-Wl,-rpath,\$\([^)]*\)", "", line)
                self.assertEqual(run(*mount, f"mount --bind {self.work}/etc /etc\n"
                                     f"mount --bind {local} /usr/local\nldconfig\n{line}\n./service",
                                     cwd=folder), "hello\n")

    def test_the_libraries_are_named_as_linkers_keep_them(self):
        """Shared ones by -L and -l, behind what needs them: --as-needed drops what nobody needs."""
        said = self.pkg_config("--libs", "--static")
        self.assertEqual([word for word in said if word.endswith(".so")], [])
        self.assertLess(said.index("-lconpool"), said.index("-luring"))
        if "-lconpool_ssl" in said:
            self.assertLess(said.index("-lconpool"), said.index("-lconpool_ssl"))

    def test_the_checker_of_coroutines_is_a_program(self):
        checker = (self.built.prefix("static") / self.built.options["bindir"] /
                   "conpool-check-coroutines")
        self.assertEqual(run(checker, kit.SOURCES / "consumer.cpp"), "")

    @unittest.skipUnless(shutil.which(CLANG), f"no {CLANG}")
    def test_a_program_of_clang(self):
        made = self.work / "clang.o"
        run(CLANG, STANDARD, *self.pkg_config("--cflags"), *self.built.sanitizers(), "-c",
            kit.SOURCES / "consumer.cpp", "-o", made)
        if not self.built.sanitizers():  # those of two compilers do not go together
            run(CLANG, made, *self.pkg_config("--libs", "--static"), "-o", made.with_suffix(""))
            self.assertEqual(run(made.with_suffix("")), "hello\n")


class shared_library(install_test):
    def setUp(self):
        self.library = (self.built.libdir("shared") / "libconpool.so").resolve()

    def dynamic(self, library, tag):
        return re.findall(rf"\({tag}\).*\[(.*)\]", run("readelf", "-dW", library))

    def test_its_name_has_the_version(self):
        version = run("pkg-config", "--modversion", "conpool",
                      env=self.built.environment("shared")).strip()
        self.assertEqual(self.dynamic(self.library, "SONAME"), [f"libconpool.so.{version}"])
        self.assertEqual(self.library.name, f"libconpool.so.{version}")

    def test_it_finds_boringssl_wherever_that_lies(self):
        needed = [name for name in self.dynamic(self.library, "NEEDED") if "ssl" in name]
        if not needed:
            self.skipTest("BoringSSL is a part of it, or left out")
        self.assertNotIn("not found", run("ldd", self.library,
                                          env={k: v for k, v in os.environ.items()
                                               if k != "LD_LIBRARY_PATH"}))
        # And not by a folder of the build.
        for path in self.dynamic(self.library, "RUNPATH") + self.dynamic(self.library, "RPATH"):
            self.assertNotIn(str(BUILD), path)

    def test_it_shows_what_is_marked_and_no_more(self):
        listed = [line for line in (kit.SOURCES / "symbols.txt").read_text().splitlines()
                  if line and not line.startswith("#")]
        self.assertEqual(self.shown(), listed, "if that is meant, change tests/install/symbols.txt")

    def shown(self):
        """What programs see of conpool: classes, and functions and variables of no class. What the
        standard library's templates leave is none of ours: the loader must unite it with the
        program's."""
        found = set()
        for line in run("nm", "-DC", "--defined-only", self.library).splitlines():
            name = line.split(" ", 2)[2]
            name = re.sub(r"^(vtable|typeinfo|typeinfo name|guard variable|VTT|TLS \w+ function|"
                          r"(non-)?virtual thunk|construction vtable) (for|to) ", "", name)
            name = name.split("(")[0].split("<")[0].split(" ")[-1].split("[")[0]
            space = NAMESPACES.match(name)
            if space:
                within = name[space.end():].split("::")
                found.add(space.group() + "::".join(within[:-1] or within))
        return sorted(found)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    BUILD = pathlib.Path(sys.argv[1]).resolve()
    WHOLE = "--whole" in sys.argv
    unittest.main(argv=sys.argv[:1], verbosity=2)
