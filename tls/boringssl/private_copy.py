#!/usr/bin/env python3
"""Copies a shared library and gives what it defines names of its own.

  private_copy.py PREFIX OUTPUT LIBRARY...

Debian has BoringSSL as shared libraries only, whose functions have the names of OpenSSL's and no
versions. In a program that links both, the loader would bind some calls to the one and some to the
other. In the copies SSL_new is PREFIX_SSL_new, and libssl.so.0 is libPREFIX_ssl.so.0, so they share
a program with anything. The LIBRARYs use each other, and are all named whatever is made:

- If OUTPUT ends in .h, it is what BoringSSL's headers include if BORINGSSL_PREFIX is defined.
- Otherwise it is the copy of the library that has this name with the prefix, and beside it a link
  without the version, for linkers.

Nothing of the code changes, only the table of names: the longer one does not fit where the old one
was, so it goes behind the rest of the file, into a segment that takes the place of the build's note
in the table of segments. The System V hash table is made anew in place; GNU's, which demands
another order of the symbols, is dropped.

It knows 64-bit little-endian ELF, and refuses what it does not know.
"""

import pathlib
import re
import struct
import sys

PT_LOAD, PT_NOTE = 1, 4
SHT_PROGBITS, SHT_STRTAB, SHT_DYNSYM, SHT_GNU_HASH = 1, 3, 11, 0x6FFFFFF6
DT_NULL, DT_NEEDED, DT_HASH, DT_STRTAB, DT_SYMTAB, DT_STRSZ = 0, 1, 4, 5, 6, 10
DT_SONAME, DT_RPATH, DT_RUNPATH, DT_GNU_HASH = 14, 15, 29, 0x6FFFFEF5
STB_LOCAL = 0

HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
SEGMENT = struct.Struct("<IIQQQQQQ")
SECTION = struct.Struct("<IIQQQQIIQQ")
SYMBOL = struct.Struct("<IBBHQQ")
DYNAMIC = struct.Struct("<QQ")


def refuse(library, why):
    sys.exit(f"private_copy.py: {library}: {why}")


def hash_of(name):
    """As the System V ABI has it."""
    value = 0
    for byte in name:
        value = (value << 4) + byte
        high = value & 0xF0000000
        value = (value ^ (high >> 24)) & ~high & 0xFFFFFFFF
    return value


class shared_library:
    """The bytes of one, and where in them its tables are."""

    def __init__(self, path):
        self.path = path
        self.bytes = bytearray(path.read_bytes())
        if self.bytes[:6] != b"\x7fELF\x02\x01":
            refuse(path, "it is not a 64-bit little-endian ELF file")
        header = HEADER.unpack_from(self.bytes)
        self.segments_at, self.sections_at = header[5], header[6]
        self.segment_count, self.section_count = header[10], header[12]
        self.segments = [list(SEGMENT.unpack_from(self.bytes, self.segments_at + i * SEGMENT.size))
                         for i in range(self.segment_count)]
        self.sections = [list(SECTION.unpack_from(self.bytes, self.sections_at + i * SECTION.size))
                         for i in range(self.section_count)]
        dynamic = [segment for segment in self.segments if segment[0] == 2]
        if not dynamic:
            refuse(path, "it has no dynamic segment")
        self.dynamic_at, self.dynamic_size = dynamic[0][2], dynamic[0][5]
        self.entries = []
        for at in range(self.dynamic_at, self.dynamic_at + self.dynamic_size, DYNAMIC.size):
            self.entries.append(list(DYNAMIC.unpack_from(self.bytes, at)))
            if self.entries[-1][0] == DT_NULL:
                break
        found = dict(self.entries)
        if DT_HASH not in found:
            refuse(path, "it has no System V hash table")
        self.hash_at = self.offset(found[DT_HASH])
        self.buckets, count = struct.unpack_from("<II", self.bytes, self.hash_at)
        strings = self.offset(found[DT_STRTAB])
        self.strings = bytearray(self.bytes[strings:strings + found[DT_STRSZ]])
        symbols = self.offset(found[DT_SYMTAB])
        self.symbols = [(symbols + i * SYMBOL.size,
                         list(SYMBOL.unpack_from(self.bytes, symbols + i * SYMBOL.size)))
                        for i in range(count)]

    def offset(self, address):
        for kind, _, offset, virtual, _, size, _, _ in self.segments:
            if kind == PT_LOAD and virtual <= address < virtual + size:
                return offset + address - virtual
        return refuse(self.path, f"nothing is loaded at {address:#x}")

    def string(self, at):
        return bytes(self.strings[at:self.strings.index(0, at)])

    def add_string(self, text):
        at = len(self.strings)
        self.strings += text + b"\0"
        return at

    def soname(self):
        for tag, at in self.entries:
            if tag == DT_SONAME:
                return self.string(at)
        return refuse(self.path, "it has no name of its own (DT_SONAME)")

    def defined(self):
        return {self.string(fields[0]) for _, fields in self.symbols
                if fields[3] != 0 and fields[1] >> 4 != STB_LOCAL}

    def rename(self, names, files):
        """`names`: of symbols, `files`: of libraries, each from the old one to the new."""
        for _, fields in self.symbols:
            new = names.get(self.string(fields[0]))
            if new:
                fields[0] = self.add_string(new)
        for entry in self.entries:
            if entry[0] in (DT_SONAME, DT_NEEDED):
                new = files.get(self.string(entry[1]))
                if new:
                    entry[1] = self.add_string(new)
            elif entry[0] in (DT_RPATH, DT_RUNPATH):
                entry[1] = self.add_string(b"$ORIGIN")

    def place_strings(self):
        """Behind all else, in the file and in memory."""
        loaded = [segment for segment in self.segments if segment[0] == PT_LOAD]
        notes = [segment for segment in self.segments if segment[0] == PT_NOTE]
        if not notes or self.segments.index(notes[-1]) < self.segments.index(loaded[-1]):
            refuse(self.path, "it has no note behind its segments whose place could be taken")
        page = max(segment[7] for segment in loaded)
        self.bytes += bytes(-len(self.bytes) % page)
        offset = len(self.bytes)
        address = max(segment[3] + segment[6] for segment in loaded)
        address += -address % page
        size = len(self.strings)
        notes[-1][:] = [PT_LOAD, 4, offset, address, address, size, size, page]
        self.bytes += self.strings
        for section in self.sections:
            if section[1] == SHT_DYNSYM:
                self.sections[section[6]][3:6] = [address, offset, size]
            elif section[1] == SHT_GNU_HASH:
                section[1] = SHT_PROGBITS
        self.entries = [entry for entry in self.entries if entry[0] != DT_GNU_HASH]
        for entry in self.entries:
            if entry[0] == DT_STRTAB:
                entry[1] = address
            elif entry[0] == DT_STRSZ:
                entry[1] = size

    def hash_anew(self):
        buckets, chains = [0] * self.buckets, [0] * len(self.symbols)
        for index, (_, fields) in enumerate(self.symbols):
            if index > 0:
                bucket = hash_of(self.string(fields[0])) % self.buckets
                chains[index], buckets[bucket] = buckets[bucket], index
        table = [self.buckets, len(self.symbols), *buckets, *chains]
        struct.pack_into(f"<{len(table)}I", self.bytes, self.hash_at, *table)

    def write(self, to):
        self.place_strings()
        self.hash_anew()
        for at, fields in self.symbols:
            SYMBOL.pack_into(self.bytes, at, *fields)
        for index, segment in enumerate(self.segments):
            SEGMENT.pack_into(self.bytes, self.segments_at + index * SEGMENT.size, *segment)
        for index, section in enumerate(self.sections):
            SECTION.pack_into(self.bytes, self.sections_at + index * SECTION.size, *section)
        table = b"".join(DYNAMIC.pack(*entry) for entry in self.entries)
        self.bytes[self.dynamic_at:self.dynamic_at + self.dynamic_size] = (
            table.ljust(self.dynamic_size, b"\0"))
        # Never into a file that a running program may have mapped.
        fresh = to.with_name(to.name + ".part")
        fresh.write_bytes(self.bytes)
        fresh.replace(to)


def renamed(name, prefix):
    """The name that a function or object has with the prefix.

    Those of C++ get it as a namespace within bssl, as BoringSSL's headers declare it; what such a
    name says again by its number (S_, S0_, in base 36) then has the number that follows.
    """
    if not name.startswith(b"_ZN4bssl"):
        return prefix.encode() + b"_" + name
    rest = name.removeprefix(b"_ZN4bssl").decode()
    out = f"_ZN4bssl{len(prefix)}{prefix}"
    while rest:
        word = re.match(r"\d+", rest)
        again = re.match(r"S([0-9A-Z]*)_", rest)
        if word:
            size = len(word[0]) + int(word[0])
            piece = rest[:size]
        elif again:
            size = len(again[0])
            piece = f"S{base_36(int(again[1], 36) + 1 if again[1] else 0)}_"
        else:
            size, piece = 1, rest[0]
        out += piece
        rest = rest[size:]
    return out.encode()


def base_36(value):
    digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    return (base_36(value // 36) if value >= 36 else "") + digits[value % 36]


def main(prefix, output, paths):
    libraries = [shared_library(pathlib.Path(path)) for path in paths]
    names = {name: renamed(name, prefix)
             for library in libraries for name in library.defined()}
    if output.suffix == ".h":
        # Those of C++ are in a namespace that has the prefix.
        output.write_text("".join(f"#define {name} {prefix}_{name}\n" for name in sorted(
            name.decode() for name in names if not name.startswith(b"_"))))
        return
    files = {name: b"lib" + prefix.encode() + b"_" + name.removeprefix(b"lib")
             for name in (library.soname() for library in libraries)}
    for library in libraries:
        if files[library.soname()] == output.name.encode():
            library.rename(names, files)
            library.write(output)
            link = output.with_name(output.name.split(".so")[0] + ".so")
            link.unlink(missing_ok=True)
            link.symlink_to(output.name)
            return
    refuse(output, "no library has this name with the prefix")


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    main(sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3:])
