"""For the tests of what users get: commands, an installed conpool, and the recipes of the docs."""

import functools
import json
import os
import pathlib
import re
import shutil
import subprocess
import tarfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
SOURCES = ROOT / "tests/install"
CLANG = "clang++-19"
STANDARD = "-std=c++23"


def run(*command, **options):
    """Its output; an error with all that it said if it fails."""
    done = subprocess.run([str(word) for word in command], text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, check=False, **options)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, command))}\n{done.stdout}")
    return done.stdout


def recipe(name):
    """The block of docs/EMBEDDING.md behind `<!-- recipe: NAME -->`."""
    text = (ROOT / "docs/EMBEDDING.md").read_text()
    found = re.search(rf"<!-- recipe: {re.escape(name)} -->\n```\w*\n(.*?)```", text, re.S)
    if not found:
        raise AssertionError(f"docs/EMBEDDING.md has no recipe {name}")
    return found.group(1)


def archive(to):
    """A tar archive of the files that git knows, as they are now; links stay links. False if this
    is no git repository."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, text=True, stdout=subprocess.PIPE,
                            stderr=subprocess.DEVNULL, check=False)
    if listed.returncode != 0 or not listed.stdout:
        return False
    with tarfile.open(to, "w") as tar:
        for name in filter(None, listed.stdout.split("\0")):
            if os.path.lexists(ROOT / name):
                tar.add(ROOT / name, f"conpool/{name}", recursive=False)
    return True


def remove_other_library(folder, kind):
    """Leaves the static or the shared libconpool."""
    for library in folder.glob("libconpool.*"):
        if kind == ("static" if ".so" in library.name else "shared"):
            library.unlink()


class build_folder:
    """A build of conpool with both libraries, and what users have of it who build it with the
    static or the shared one alone."""

    OWN_OPTIONS = ("boringssl", "boringssl_symbol_prefix", "tls")

    def __init__(self, path, work):
        self.path = path
        self.work = work
        listed = json.loads(run("meson", "introspect", "--buildoptions", path))
        self.options = {option["name"]: option["value"] for option in listed}

    @functools.cached_property
    def destination(self):
        """With the prefix in it: as a packager has it, with DESTDIR."""
        dest = self.work / "dest"
        run("meson", "install", "-C", self.path, "--no-rebuild", "--destdir", dest)
        return dest

    def prefix(self, kind):
        """The installed tree, as a private prefix of its own, and with the conpool.pc that Meson
        writes for this kind of library."""
        made = self.work / kind
        if not made.exists():
            shutil.copytree(self.destination / self.options["prefix"].lstrip("/"), made,
                            symlinks=True)
            remove_other_library(made / self.options["libdir"], kind)
            configured = self.work / f"{kind}-build"
            run("meson", "setup", configured, ROOT, f"-Ddefault_library={kind}",
                f"--prefix={made}", f"--libdir={self.options['libdir']}",
                *(f"-D{name}={self.options[name]}" for name in self.OWN_OPTIONS))
            shutil.copy(configured / "meson-private/conpool.pc",
                        made / self.options["libdir"] / "pkgconfig/conpool.pc")
        return made

    def libdir(self, kind):
        return self.prefix(kind) / self.options["libdir"]

    def environment(self, kind, **more):
        return {**os.environ, "PKG_CONFIG_PATH": str(self.libdir(kind) / "pkgconfig"), **more}

    @property
    def has_tls(self):
        return self.options["tls"] != "disabled"

    def sanitizers(self):
        chosen = self.options["b_sanitize"]
        return [] if chosen == "none" else [f"-fsanitize={chosen}"]
