"""What a benchmark executes in each iteration, instruction by instruction.

Callgrind counts a benchmark twice, with different numbers of iterations (conpool-micro's
CONPOOL_MICRO_ITERATIONS); what grew with the number belongs to the iterations, everything else
to the set-up. Threads are counted apart, and only the client's, which is the first, is looked at.
"""

import collections
import os
import pathlib
import re
import subprocess
import tempfile


def run_callgrind(program, name, iterations, folder):
    out = pathlib.Path(folder) / f"{name.replace('/', '_')}.{iterations}"
    command = ["valgrind", "--tool=callgrind", "--separate-threads=yes", "--dump-instr=yes",
               f"--callgrind-out-file={out}", program, f"--benchmark_filter={name}"]
    environment = dict(os.environ, CONPOOL_MICRO_ITERATIONS=str(iterations))
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL, timeout=600)
    return pathlib.Path(f"{out}-01")


def read_profile(path):
    """{(object, address): executions} and {(object, address): function} of a callgrind file."""
    counts = collections.Counter()
    functions = {}
    names = {}

    def resolve(kind, text):
        found = re.match(r"\((\d+)\)(?: (.*))?$", text)
        if found is None:
            return text
        if found.group(2) is not None:
            names[kind, found.group(1)] = found.group(2)
        return names[kind, found.group(1)]

    binary = function = None
    address = 0
    summary = None
    call_follows = False
    for line in path.read_text(errors="replace").splitlines():
        key, equals, value = line.partition("=")
        if equals and key in ("ob", "cob"):
            named = resolve("ob", value)
            binary = named if key == "ob" else binary
        elif equals and key in ("fn", "cfn"):
            named = resolve("fn", value)
            function = named if key == "fn" else function
        elif equals and key == "calls":
            call_follows = True
        elif line.startswith("summary:"):
            summary = int(line.split()[1])
        elif re.match(r"(0x|[+*]|-\d)", line):
            parts = line.split()
            if parts[0].startswith("0x"):
                address = int(parts[0], 16)
            elif parts[0] != "*":
                address += int(parts[0])
            if not call_follows and len(parts) > 2:
                counts[binary, address] += int(parts[2])
                functions[binary, address] = function
            call_follows = False
    if sum(counts.values()) != summary:
        raise RuntimeError(f"{path}: {sum(counts.values())} of {summary} instructions were read")
    return counts, functions


class difference:
    """instructions: {(object, address): executions per iteration}; total: their sum."""

    def __init__(self, program, name, few, many):
        with tempfile.TemporaryDirectory() as folder:
            first, _ = read_profile(run_callgrind(program, name, few, folder))
            second, functions = read_profile(run_callgrind(program, name, many, folder))
        more = many - few
        grown = {where: (count - first[where]) / more for where, count in second.items()}
        self.total = (sum(second.values()) - sum(first.values())) / more
        # An instruction that runs less than once in 1,000 iterations is the set-up's noise.
        self.instructions = {where: count for where, count in grown.items() if count > 0.001}
        self.functions = functions

    def by_function(self):
        """[(instructions per iteration, function)], the largest first."""
        sums = collections.Counter()
        for where, count in self.instructions.items():
            sums[self.functions[where]] += count
        return [(count, name) for name, count in sums.most_common()]


# What must not be on a path that takes no lock, no atomic read-modify-write and no system call.
# An xchg with an operand in memory locks without saying so.
FORBIDDEN = re.compile(r"\block\b|\bsyscall\b|\bsysenter\b|\bint +\$0x80|\bmfence\b|"
                       r"\bxchg\w* .*\(.*\)")


def forbidden_instructions(instructions):
    """The lines of objdump for the executed instructions that lock or enter the kernel."""
    found = []
    binaries = {binary for binary, _ in instructions}
    # "???" is the kernel's page of functions that do not enter it; a clock is read there.
    for binary in sorted(binaries - {"???"}):
        wanted = {address for name, address in instructions if name == binary}
        text = subprocess.run(["objdump", "-d", "--no-show-raw-insn", binary], check=True,
                              stdout=subprocess.PIPE, text=True).stdout
        seen = set()
        for line in text.splitlines():
            match = re.match(r"\s*([0-9a-f]+):\t(.*)", line)
            if match is None or int(match.group(1), 16) not in wanted:
                continue
            seen.add(int(match.group(1), 16))
            if FORBIDDEN.search(match.group(2)):
                found.append(f"{binary}: {line.strip()}")
        if seen != wanted:
            raise RuntimeError(f"{binary}: {len(wanted - seen)} executed addresses are not in "
                               "its disassembly")
    return found
