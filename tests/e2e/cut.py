"""Files cut short inside each of their structures: refused with one line, or opened with a remark; never a signal."""
import functools
import json
import os
import shutil
import struct

from lib import differ, text


def inside(start, end):
    """Offsets around and in a structure."""
    return [start, start + 1, (start + end) // 2, end - 1]


def elf_offsets(path):
    """ELF header, program headers, each segment (the notes are one)."""
    with open(path, "rb") as file:
        header = file.read(64)
        table, = struct.unpack_from("<Q", header, 32)
        entry, count = struct.unpack_from("<HH", header, 54)
        file.seek(table)
        rows = [struct.unpack_from("<IIQQQQ", file.read(entry)) for _ in range(count)]
    offsets = [*range(0, 64, 9), *inside(table, table + entry * count)]
    for _, _, start, _, _, size in rows[:4] + rows[-2:]:
        offsets += inside(start, start + size) if size > 4 else []
    return offsets


def kdump_offsets(path):
    """Header, sub-header, both bitmaps, page descriptors, the pages (`disk_dump_header` of makedumpfile's diskdump_mod.h)."""
    with open(path, "rb") as file:
        header = file.read(4096)
    block, sub_header, bitmaps = struct.unpack_from("<III", header, 428)
    parts = [0, 64, 464, block, block + 200, (1 + sub_header) * block, (1 + sub_header + bitmaps // 2) * block,
             (1 + sub_header + bitmaps) * block]
    parts += [parts[-1] + 24 * 1000, os.path.getsize(path)]
    return [offset for start, end in zip(parts, parts[1:]) for offset in inside(start, end)]


def flat_offsets(path):
    """The header of the flattened form, and some of its records: 8 bytes offset, 8 bytes size, data."""
    offsets, at, number, size = [0, 9, 40, 4095, 4096], 4096, 0, os.path.getsize(path)
    with open(path, "rb") as file:
        while at + 16 < size:
            file.seek(at)
            _, length = struct.unpack(">QQ", file.read(16))
            if length > size:
                break
            if number < 12 or number % 4001 == 0:
                offsets += [at + 3, at + 15, at + 16, at + 16 + length // 2]
            at, number = at + 16 + length, number + 1
    return [*offsets, at, size - 1]


OFFSETS = {("kexec", "filtered.elf"): elf_offsets, ("kexec", "lzo.kdump"): kdump_offsets, ("kexec", "flat-lzo.kdump"): flat_offsets,
           ("qemu4", "vmcoreinfo.kdump"): flat_offsets, ("qemu4-nonote", "nonote.elf"): elf_offsets}


def verdict(what, done, output):
    """Of one run on a cut file; `output` says whether it must say that it is cut when it goes well."""
    lines = text(done.stderr).splitlines()
    if done.returncode == 1:
        if len(lines) != 1 or not lines[0].startswith("inquest: ") or len(lines[0]) > 400:
            yield f"{what}: {lines}"
    elif done.returncode == 0:
        if output and not json.loads(done.stdout)["remarks"]:
            yield f"{what}: opens as if nothing were missing"
    else:
        yield f"{what}: exit status {done.returncode}"


def check_cut(env, dump):
    """From the end to the beginning, in one copy."""
    copy = env.temp("cut" + dump.path.suffix)
    shutil.copy(dump.path, copy)
    whole = os.path.getsize(copy)
    for offset in sorted({o for o in OFFSETS[dump.crash.name, dump.name](dump.path) if 0 <= o < whole}, reverse=True):
        os.truncate(copy, offset)
        yield from verdict(f"info, {offset} of {whole} bytes", env.run("info", "--json", copy, dump.crash.vmlinux), True)
        for command in ("ps", "log"):
            yield from verdict(f"{command}, {offset} of {whole} bytes", env.run(command, copy, dump.crash.vmlinux), False)
    copy.unlink()


def check_parts(env, dump):
    """A split dump without one of its parts has a remark; a file that is no part of it is refused."""
    one, two, three = (dump.crash.folder / f"split-{number}.kdump" for number in (1, 2, 3))
    for what, words in (("one part", [one]), ("two parts", [one, "--part", two]), ("the second only", [two]),
                        ("a part twice", [one, "--part", two, "--part", two])):
        done = env.run("info", "--json", *words, dump.crash.vmlinux)
        yield from verdict(what, done, True)
    for what, words in (("another dump", [one, "--part", two, "--part", dump.crash.folder / "lzo.kdump"]),
                        ("another format", [one, "--part", dump.crash.folder / "filtered.elf"]),
                        ("no file", [one, "--part", env.temp("no-such-part")])):
        done = env.run("info", *words, dump.crash.vmlinux)
        yield from differ(f"{what}: exit status", done.returncode in (1, 2), True)
        yield from differ(f"{what}: lines", len(text(done.stderr).splitlines()), 1)
    order = env.run("ps", three, dump.crash.vmlinux, "--part", one, "--part", two)
    yield from differ("parts in another order", (order.returncode, order.stdout == env.ask("ps", dump).stdout), (0, True))


def check_noise(env, dump):
    """Bytes of the head changed one by one to something else: any answer, but an answer."""
    with open(dump.path, "rb") as file:
        head = bytearray(file.read(64 << 10))
    path = env.temp("noise" + dump.path.suffix)
    for at in [*range(0, 120, 5), *range(424, 470, 4), *range(4096, 4200, 8)]:
        changed = head.copy()
        changed[at] ^= 0xFF if at % 2 else 0x80
        path.write_bytes(changed)
        done = env.run("info", path, dump.crash.vmlinux)
        if done.returncode not in (0, 1):
            yield f"byte {at} = {changed[at]:#x}: exit status {done.returncode}"
    path.unlink()


def tests(env):
    for crash in env.crashes():
        if crash.kernel != "6.1":
            continue
        for dump in crash.dumps():
            if (crash.name, dump.name) in OFFSETS:
                yield dump.id, functools.partial(check_cut, env, dump)
            if dump.name in ("lzo.kdump", "nonote.elf"):
                yield f"noise/{dump.id}", functools.partial(check_noise, env, dump)
            if dump.name == "split-1.kdump":
                yield f"{crash.id}/parts", functools.partial(check_parts, env, dump)
