#!/usr/bin/env python3
"""Does an image's call-frame information, made of the kernel's code, say what the compiler says of the same code?

usage: code_unwind.py IMAGE VMLINUX SLIDE

llvm-dwarfdump decodes both.  The canonical frame address may be told by another register: what counts is where, from there, the
caller's frame pointer and the return address are.  The running kernel's code is not the file's: alternatives and static keys
are patched, and of what can be reached only through them the image must guess.  So a few instructions in a hundred differ, none of
them behind a call in more than a few functions.
"""
import bisect
import re
import subprocess
import sys

MOST_DIFFERENT = 0.015  # of all instructions
MOST_DIFFERENT_CALLS = 0.0005  # of those behind a call, which are what a backtrace meets


def rows(path):
    """Sorted [(first, end, cfa, frame pointer, return address)]."""
    dump = subprocess.Popen(["llvm-dwarfdump-19", "--debug-frame", path], stdout=subprocess.PIPE, text=True)
    found, end = [], 0
    for line in dump.stdout:
        if match := re.match(r"[0-9a-f]+ [0-9a-f]+ [0-9a-f]+ FDE cie=\S+ pc=[0-9a-f]+\.\.\.([0-9a-f]+)", line):
            end = int(match[1], 16)
        elif match := re.match(r"\s+0x([0-9a-f]+): CFA=([^:\n]+)(?:: (.*))?$", line):
            rules = dict(rule.split("=", 1) for rule in (match[3] or "").split(", ") if "=" in rule)
            found.append((int(match[1], 16), end, match[2], rules.get("W29", "same"), rules.get("W30", "same")))
    if dump.wait():
        sys.exit(f"llvm-dwarfdump: {dump.returncode}")
    return sorted(found)


def same(ours, theirs):
    if ours[1:] != theirs[1:]:
        return False
    ours_by, theirs_by = ours[0].partition("+"), theirs[0].partition("+")
    if ours_by[0] == theirs_by[0] or theirs[1] == "same":
        return ours[0] == theirs[0]
    return theirs[1] == f"[CFA-{ours_by[2]}]"  # the frame pointer leads to where its predecessor is saved


def calls(vmlinux):
    """Addresses behind a call."""
    code = subprocess.run(["aarch64-linux-gnu-objdump", "-d", "-j", ".text", "--no-show-raw-insn", vmlinux], stdout=subprocess.PIPE, text=True)
    return {int(address, 16) + 4 for address in re.findall(r"^([0-9a-f]+):\s+blr?\s", code.stdout, re.M)}


def main():
    image, vmlinux, slide = rows(sys.argv[1]), sys.argv[2], int(sys.argv[3], 0)
    header = subprocess.run(["readelf", "-SW", vmlinux], stdout=subprocess.PIPE, text=True, check=True).stdout
    text, size = (int(n, 16) for n in re.search(r" \.text +PROGBITS +(\w+) \w+ (\w+)", header).groups())
    starts, behind = [row[0] for row in image], calls(vmlinux)
    count = different = different_calls = 0
    compiled = [row for row in rows(vmlinux) if text <= row[0] < text + size]
    for (at, end, *theirs), after in zip(compiled, [*compiled[1:], (0, 0)]):
        for address in range(at, after[0] if after[1] == end else end, 4):
            found = image[bisect.bisect_right(starts, address + slide & (1 << 64) - 1) - 1]
            count += 1
            if same(list(found[2:]), theirs):
                continue
            different += 1
            if address in behind:
                different_calls += 1
                if different_calls <= 20:
                    print(f"{address:#x}: the compiler says {theirs}, the image {found[2:]}")
    print(f"{count} instructions, {different} differ; {len(behind)} calls, {different_calls} differ")
    sys.exit(different > MOST_DIFFERENT * count or different_calls > MOST_DIFFERENT_CALLS * len(behind) or count < 1_000_000)


main()
