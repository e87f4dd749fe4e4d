#!/usr/bin/env python3
"""Does an image's call-frame information, made of the kernel's code, say what the compiler says of the same code?

usage: code_unwind.py IMAGE VMLINUX SLIDE

llvm-dwarfdump decodes both.  The canonical frame address may be told by another register: what counts is where, from there, the
caller's frame pointer and the return address are.  The running kernel's code is not the file's: alternatives and static keys
are patched, and of what can be reached only through them the image must guess.  So a few addresses in a hundred differ, none of
them behind a call in more than a few functions.
"""
import bisect
import collections
import re
import subprocess
import sys

MOST_DIFFERENT = 0.015  # of all addresses of code
MOST_DIFFERENT_CALLS = 0.0005  # of those behind a call, which are what a backtrace meets
# Power's compiler saves a register where it is first used, which of code that no way leads to cannot be known; and it fills up with
# instructions that nobody executes.
POWERS_DIFFERENT, POWERS_DIFFERENT_CALLS = 0.025, 0.003


class Machine:
    """As llvm-dwarfdump names the frame pointer's column and the return address's; a call, as llvm-objdump writes it."""

    def __init__(self, fp, ra, call, fp_is_record=False, options=(), most=(MOST_DIFFERENT, MOST_DIFFERENT_CALLS)):
        self.fp, self.ra, self.call, self.fp_is_record, self.options, self.most = fp, ra, call, fp_is_record, options, most


MACHINES = {"AArch64": Machine("W29", "W30", r"blr?", True),
            "RISC-V": Machine("X8", "X1", r"jalr?"),
            "IBM S/390": Machine("R11D", "R14D", r"brasl|basr", options=("--mcpu=z13",)),
            "PowerPC64": Machine("X31", "LR8", r"(bctrl|blrl|bl)\b", most=(POWERS_DIFFERENT, POWERS_DIFFERENT_CALLS))}


def rows(path, machine):
    """Sorted [(first, end, cfa, frame pointer, return address)]."""
    dump = subprocess.Popen(["llvm-dwarfdump-19", "--debug-frame", path], stdout=subprocess.PIPE, text=True)
    found, end = [], 0
    for line in dump.stdout:
        if match := re.match(r"[0-9a-f]+ [0-9a-f]+ [0-9a-f]+ FDE cie=\S+ pc=[0-9a-f]+\.\.\.([0-9a-f]+)", line):
            end = int(match[1], 16)
        elif match := re.match(r"\s+0x([0-9a-f]+): CFA=([^:\n]+)(?:: (.*))?$", line):
            rules = dict(rule.split("=", 1) for rule in (match[3] or "").split(", ") if "=" in rule)
            found.append((int(match[1], 16), end, match[2], rules.get(machine.fp, "same"), rules.get(machine.ra, "same").replace("X0", "same")))
    if dump.wait():
        sys.exit(f"llvm-dwarfdump: {dump.returncode}")
    return sorted(found)


def same(machine, ours, theirs, later):
    """Compilers say late, with the next change, that a register was saved or restored: until then its value is in both places."""
    if any(our not in (their, after) for our, their, after in zip(ours[1:], theirs[1:], later[1:])):
        return False
    ours_by, theirs_by = ours[0].partition("+"), theirs[0].partition("+")
    if not machine.fp_is_record or ours_by[0] == theirs_by[0] or theirs[1] == "same":
        return ours[0] == theirs[0]
    return theirs[1] == f"[CFA-{ours_by[2]}]"  # the frame pointer leads to where its predecessor is saved


def behind_calls(vmlinux, machine):
    """Addresses, in order."""
    words = ["llvm-objdump-19", "-d", "-j", ".text", "--no-show-raw-insn", *machine.options, vmlinux]
    code, found, call = subprocess.Popen(words, stdout=subprocess.PIPE, text=True), [], False
    for line in code.stdout:
        if match := re.match(r"\s*([0-9a-f]+):\s+(.*)", line):
            if call:
                found.append(int(match[1], 16))
            call = re.match(machine.call, match[2]) is not None
    if code.wait():
        sys.exit(f"llvm-objdump: {code.returncode}")
    return found


def main():
    header = subprocess.run(["readelf", "-hSW", sys.argv[2]], stdout=subprocess.PIPE, text=True, check=True).stdout
    text, size = (int(n, 16) for n in re.search(r" \.text +PROGBITS +(\w+) \w+ (\w+)", header).groups())
    machine = MACHINES[re.search(r"Machine: +(.*)", header)[1]]
    image, slide = rows(sys.argv[1], machine), int(sys.argv[3], 0)
    starts, calls = [row[0] - slide & (1 << 64) - 1 for row in image], behind_calls(sys.argv[2], machine)
    count = different = different_calls = 0
    kinds, shown = collections.Counter(), "-v" in sys.argv
    compiled = [row for row in rows(sys.argv[2], machine) if text <= row[0] < text + size]
    for (at, end, *theirs), after in zip(compiled, [*compiled[1:], (0, 0, "", "", "")]):
        later = after[2:] if after[1] == end else theirs
        end = after[0] if after[1] == end else end
        count += max(end - at, 0)
        while at < end:  # from row to row of the image
            index = bisect.bisect_right(starts, at)
            until = min([end, *starts[index:index + 1]])
            found = image[index - 1]
            if not same(machine, found[2:], theirs, later):
                different += until - at
                wrong = bisect.bisect_left(calls, until) - bisect.bisect_left(calls, at)
                different_calls += wrong
                if shown:
                    print(f"{at:#x}, {until - at} bytes, {wrong} calls: the compiler says {theirs}, the image {found[2:]}")
                elif wrong and different_calls <= 20:
                    print(f"{at:#x}: the compiler says {theirs}, the image {found[2:]}")
            at = until
    print(f"{count} bytes of code, {different} differ ({different / count:.3%}); {len(calls)} calls, {different_calls} differ ({different_calls / len(calls):.4%})")
    sys.exit(different > machine.most[0] * count or different_calls > machine.most[1] * len(calls) or count < 1_000_000)


main()
