#!/usr/bin/env python3
"""The recipes of docs/EMBEDDING.md for Meson and CMake, and a program that links OpenSSL as well.

  embedding_test.py BUILD_FOLDER [SOURCE...] [--whole]

The sources that it compiles are named so that Meson knows them. A recipe is run as it stands in the page, with install/consumer.cpp for its main.cpp. Of conpool as Meson's subproject only the program's own object is compiled, unless --whole
asks for the rest, which takes minutes; scripts/check_install does.
"""

import os
import pathlib
import shutil
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "install"))
sys.dont_write_bytecode = True
import kit  # noqa: E402
from kit import run  # noqa: E402

WRAP = """[wrap-file]
directory = conpool
source_filename = conpool.tar

[provide]
dependency_names = conpool
"""


class embedding(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.shared_work = pathlib.Path(tempfile.mkdtemp(prefix="conpool-embedding-"))
        cls.addClassCleanup(shutil.rmtree, cls.shared_work)
        cls.built = kit.build_folder(BUILD, cls.shared_work)

    def setUp(self):
        """The program's own folder."""
        self.work = self.shared_work / self.id().rsplit(".", 1)[1]
        self.work.mkdir()
        shutil.copy(kit.SOURCES / "consumer.cpp", self.work / "main.cpp")

    def expect_hello(self, program):
        self.assertEqual(run(program), "hello\n")

    def test_the_readme_shows_the_same_recipes(self):
        shown = (kit.ROOT / "README.md").read_text()
        for name in ("meson", "pkg-config"):
            self.assertIn(f"\n{kit.recipe(name)}```", shown)
        self.assertIn("\n" + kit.recipe("cmake").split("\n\n", 1)[1] + "```", shown)

    # --- Meson

    def meson(self, *options, **more):
        (self.work / "meson.build").write_text(kit.recipe("meson"))
        run("meson", "setup", self.work / "build", self.work, "--buildtype=debug", *options, **more)

    def meson_installed(self, kind):
        self.meson(f"-Db_sanitize={self.built.options['b_sanitize']}", "-Db_lundef=false",
                   "--wrap-mode=nofallback", env=self.built.environment(kind))
        run("ninja", "-C", self.work / "build")
        self.expect_hello(self.work / "build/service")

    def test_meson_finds_a_static_conpool(self):
        self.meson_installed("static")
        self.assertNotIn("libconpool.so", run("readelf", "-d", self.work / "build/service"))

    def test_meson_finds_a_shared_conpool(self):
        self.meson_installed("shared")
        self.assertIn("libconpool.so.", run("readelf", "-d", self.work / "build/service"))

    def test_meson_builds_conpool_as_a_subproject(self):
        packages = self.work / "subprojects/packagefiles"
        packages.mkdir(parents=True)
        if not kit.archive(packages / "conpool.tar"):
            self.skipTest("no git repository to make an archive of")
        (self.work / "subprojects/conpool.wrap").write_text(WRAP)
        self.meson("-Dconpool:boringssl=debian")
        if WHOLE:
            run("ninja", "-C", self.work / "build")
            self.expect_hello(self.work / "build/service")
        else:
            run("ninja", "-C", self.work / "build", "service.p/main.cpp.o")

    # --- CMake

    def cmake(self, recipe, *options, **more):
        (self.work / "CMakeLists.txt").write_text(kit.recipe(recipe))
        run("cmake", "-G", "Ninja", "-S", self.work, "-B", self.work / "build", *options, **more)
        run("cmake", "--build", self.work / "build")
        self.expect_hello(self.work / "build/service")

    def cmake_installed(self, kind, *options):
        self.cmake("cmake", f"-DCMAKE_PREFIX_PATH={self.built.prefix(kind)}",
                   f"-DCMAKE_CXX_FLAGS={' '.join(self.built.sanitizers())}", *options)

    def test_cmake_finds_a_static_conpool(self):
        self.cmake_installed("static", "-DCMAKE_LINK_WHAT_YOU_USE=ON")
        self.assertNotIn("libconpool.so", run("readelf", "-d", self.work / "build/service"))

    def test_cmake_finds_a_shared_conpool(self):
        self.cmake_installed("shared")
        self.assertIn("libconpool.so.", run("readelf", "-d", self.work / "build/service"))

    def test_cmake_refuses_a_version_that_conpool_does_not_have(self):
        (self.work / "CMakeLists.txt").write_text(
            kit.recipe("cmake").replace("find_package(conpool", "find_package(conpool 0.999"))
        with self.assertRaisesRegex(AssertionError, 'compatible with requested\\s+version "0.999"'):
            run("cmake", "-S", self.work, "-B", self.work / "build",
                f"-DCMAKE_PREFIX_PATH={self.built.prefix('static')}")

    def test_cmake_builds_conpool_from_what_meson_dist_made(self):
        """The commit, if the tree has changes."""
        made = self.work / "dist"
        if not (kit.ROOT / ".git").exists():
            self.skipTest("no git repository to make an archive of")
        run("meson", "setup", made, kit.ROOT, "-Dboringssl=debian", "-Dtests=false",
            "-Dbenchmarks=false", "-Dexamples=false")
        run("meson", "dist", "-C", made, "--no-tests", "--allow-dirty")
        [archive] = (made / "meson-dist").glob("*.tar.xz")
        digest = archive.with_name(archive.name + ".sha256sum").read_text().split()[0]
        # The optimizer is not what is tried here.
        self.cmake("cmake-fetch", f"-DCONPOOL_ARCHIVE={archive}", f"-DCONPOOL_SHA256={digest}",
                   "-DCONPOOL_OPTIONS=-Dboringssl=debian", env={**os.environ, "CXXFLAGS": "-O0"})

    # --- OpenSSL in the same program

    def test_a_program_that_links_openssl_lends_over_tls(self):
        if not self.built.has_tls:
            self.skipTest("a build without TLS")
        for kind, flags in (("static", ["--static"]), ("shared", [])):
            with self.subTest(kind):
                made = self.work / kind
                described = run("pkg-config", "--cflags", "--libs", *flags, "conpool",
                                env=self.built.environment(kind)).split()
                # OpenSSL first: what is looked up in the order of linking is OpenSSL's.
                run("g++", kit.STANDARD, "-Wall", "-Wextra", *self.built.sanitizers(),
                    kit.SOURCES / "openssl_too.cpp", "-lssl", "-lcrypto", *described,
                    f"-Wl,-rpath,{self.built.libdir(kind)}", "-o", made)
                openssl, boringssl, *lent = run(made).splitlines()
                self.assertTrue(openssl.startswith("OpenSSL 3."), openssl)
                self.assertTrue(boringssl.startswith("BoringSSL, API "), boringssl)
                self.assertEqual(lent, ["hello over TLS 1.3", "hello over TLS 1.3",
                                        "2 lends, 1 connection"])


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    BUILD = pathlib.Path(sys.argv[1]).resolve()
    WHOLE = "--whole" in sys.argv
    unittest.main(argv=sys.argv[:1], verbosity=2)
