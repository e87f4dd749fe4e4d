#!/usr/bin/env python3
"""Does an image's call-frame information say what the kernel's ORC tables say, at every ORC entry?

usage: unwind.py IMAGE VMLINUX SLIDE

The tables are read from the vmlinux file, not from a dump; readelf decodes the image's .debug_frame.  Typed from
arch/x86/include/asm/orc_types.h and arch/x86/kernel/unwind_orc.c.
"""
import bisect
import re
import struct
import subprocess
import sys


def section(path, name):
    """Address and contents; None when there is no such section."""
    with open(path, "rb") as file:
        header = file.read(64)
        at, = struct.unpack_from("<Q", header, 0x28)
        size, count, names = struct.unpack_from("<HHH", header, 0x3A)
        file.seek(at)
        table = file.read(size * count)
        rows = [struct.unpack_from("<IIQQQQ", table, i * size) for i in range(count)]
        file.seek(rows[names][4])
        strings = file.read(rows[names][5])
        for row in rows:
            if strings[row[0]:strings.index(b"\0", row[0])].decode() == name:
                file.seek(row[4])
                return row[3], file.read(row[5])
    return None


BASE_V3 = {5: "rsp", 4: "rbp", 2: "rdx", 3: "rdi", 6: "r10", 7: "r13", 9: "*rsp", 8: "*rbp"}


def orc_entries(vmlinux):
    """{address: (cfa, return address, frame pointer)} as text; an address that occurs twice has its last entry."""
    ip_at, ips = section(vmlinux, ".orc_unwind_ip")
    _, entries = section(vmlinux, ".orc_unwind")
    has_header = section(vmlinux, ".orc_header") is not None  # since v6.4
    expected = {}
    for i in range(len(ips) // 4):
        address = ip_at + 4 * i + struct.unpack_from("<i", ips, 4 * i)[0] & (1 << 64) - 1
        sp_offset, bp_offset, flags = struct.unpack_from("<hhH", entries, 6 * i)
        base, bp = flags & 15, flags >> 4 & 15
        kind = flags >> 8 & (7 if has_header else 3)
        if not has_header:
            kind += 2  # CALL, REGS, REGS_PARTIAL
        if base == 0 or kind < 2:
            expected[address] = ("-", "none", "-")
            continue
        name = BASE_V3[base]
        if name == "*rsp":
            cfa = f"*(rsp+0)+{sp_offset}"
        elif name == "*rbp":
            cfa = f"*(rbp+{sp_offset})"
        else:
            cfa = f"{name}+{sp_offset if base in (4, 5) else 0}"
        ra = {2: "c-8", 3: "c+128", 4: "c+0"}[kind]
        saved = {0: "c+32" if kind == 3 else "same", 1: f"c{bp_offset:+}", 4: f"*rbp{bp_offset:+}"}[bp]
        expected[address] = (cfa, ra, saved)
    return expected


def expression(text):
    """readelf's words for an expression, in ours."""
    ops = [op.strip() for op in text.split(";")]
    first = re.match(r"DW_OP_breg\d+ \((\w+)\): (-?\d+)", ops[0])
    register, offset = first.group(1), int(first.group(2))
    if len(ops) == 1:
        return f"{register}+{offset}"
    if ops[1:] == ["DW_OP_deref"]:
        return f"*({register}+{offset})"
    constant = re.match(r"DW_OP_consts: (-?\d+)", ops[2])
    if ops[1] == "DW_OP_deref" and constant and ops[3] == "DW_OP_plus":
        return f"*({register}+{offset})+{constant.group(1)}"
    return text


class State:
    def __init__(self, other=None):
        self.cfa, self.rules = (other.cfa, dict(other.rules)) if other else ("-", {})

    def apply(self, line):
        if match := re.match(r"DW_CFA_def_cfa: r\d+ \((\w+)\) ofs (-?\d+)", line):
            self.cfa = f"{match.group(1)}+{match.group(2)}"
        elif match := re.match(r"DW_CFA_def_cfa_expression \((.*)\)$", line):
            self.cfa = expression(match.group(1))
        elif match := re.match(r"DW_CFA_(?:offset|offset_extended_sf): r\d+ \((\w+)\) at cfa([+-]\d+)", line):
            self.rules[match.group(1)] = "c" + match.group(2)
        elif match := re.match(r"DW_CFA_same_value: r\d+ \((\w+)\)", line):
            self.rules[match.group(1)] = "same"
        elif match := re.match(r"DW_CFA_undefined: r\d+ \((\w+)\)", line):
            self.rules[match.group(1)] = "none"
        elif match := re.match(r"DW_CFA_expression: r\d+ \((\w+)\) \((.*)\)$", line):
            self.rules[match.group(1)] = "*" + expression(match.group(2)).replace("+-", "-")
        elif not line.startswith("DW_CFA_nop"):
            raise ValueError("not understood: " + line)

    def row(self):
        if self.rules["rip"] == "none":
            return "-", "none", "-"
        return self.cfa, self.rules["rip"], self.rules["rbp"]


def frame_rows(image):
    """Sorted [(first, end, row)]."""
    dump = subprocess.Popen(["readelf", "--debug-dump=frames", image], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    cies, rows, state, at, end, cie = {}, [], None, None, None, None

    def close():
        if at is not None and state is not None:
            rows.append((at, end, state.row()))

    for line in dump.stdout:
        line = line.strip()
        if match := re.match(r"([0-9a-f]+) [0-9a-f]+ [0-9a-f]+ CIE", line):
            close()
            cie, at, state = match.group(1), None, State()
            cies[int(cie, 16)] = state
        elif match := re.match(r"[0-9a-f]+ [0-9a-f]+ [0-9a-f]+ FDE cie=([0-9a-f]+) pc=([0-9a-f]+)\.\.([0-9a-f]+)", line):
            close()
            state, at, end = State(cies[int(match.group(1), 16)]), int(match.group(2), 16), int(match.group(3), 16)
        elif match := re.match(r"DW_CFA_advance_loc\d?: \d+ to ([0-9a-f]+)", line):
            to = int(match.group(1), 16)
            rows.append((at, to, state.row()))
            at = to
        elif line.startswith("DW_CFA_"):
            state.apply(line)
    close()
    errors = dump.stderr.read()
    if dump.wait() or errors:
        sys.exit(f"readelf: {errors[:500]}")
    return sorted(rows)


def main():
    image, vmlinux, slide = sys.argv[1], sys.argv[2], int(sys.argv[3], 0)
    rows = frame_rows(image)
    starts = [row[0] for row in rows]
    expected = orc_entries(vmlinux)
    wrong = 0
    for address, wanted in sorted(expected.items()):
        at = address + slide & (1 << 64) - 1
        found = bisect.bisect_right(starts, at) - 1
        got = rows[found][2] if found >= 0 and at < rows[found][1] else None
        if got != wanted:
            wrong += 1
            if wrong <= 20:
                print(f"{at:#x}: ORC says {wanted}, the image says {got}")
    print(f"{len(expected)} ORC entries, {wrong} differ")
    sys.exit(1 if wrong or len(expected) < 100000 else 0)


main()
