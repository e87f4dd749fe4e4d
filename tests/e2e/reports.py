"""The reports of the command line against the guest: info, log, modules, symbol, translate."""
import functools
import re

from lib import differ, lacks, text

SAMPLE = 400


def check_info(env, dump):
    crash, info = dump.crash, env.json("info", dump)
    yield from differ("release", info["release"], crash.release)
    yield from differ("paging", info["paging"], "5-level" if crash.name.startswith("qemu5") else "4-level")
    yield from differ("arch", info["arch"], "x86_64")
    yield from differ("panic", info["panic"], "Kernel panic - not syncing: sysrq triggered crash")
    yield from differ("panic task", (info["panic_task"] or {}).get("comm"), "truth")
    yield from differ("modules", info["modules"], len(crash.lines("modules")))
    possible = crash.lines("cpus")[1].split()[1]
    yield from differ("cpus", info["cpus"], int(possible.split("-")[-1]) + 1)
    # Where Linux says it is: the first address of the kernel's code, and where that lies in physical memory.
    start = next(address for address, _, name, _ in crash.kallsyms() if name == "_text")
    yield from differ("slide", int(info["slide"], 16), start - 0xFFFFFFFF81000000)
    code = next(line for line in crash.lines("iomem") if line.endswith("Kernel code"))
    physical = int(code.split("-")[0], 16)
    yield from differ("phys base", int(info["phys_base"], 16), (physical - (start - 0xFFFFFFFF80000000)) % 2**64)
    yield from differ("remarks", info["remarks"], [])
    if crash.name.endswith("nonote") and "VMCOREINFO note" in info["source"]:
        yield "the dump has no VMCOREINFO note"


def log_line(raw):
    """`<6>[    1.000001] words` -> (level, seconds, words)."""
    level, seconds, words = re.match(r"<(\d+)>\[ *(\d+\.\d+)\] ?(.*)", raw).groups()
    return int(level) & 7, seconds, words


def check_log(env, dump):
    """All that the guest's log held; then come the lines of the panic, as on the console."""
    wanted = [log_line(raw) for raw in dump.crash.lines("dmesg")]
    rows = env.json("log", dump)
    got = [(row["level"], f"{row['nanoseconds'] // 10**9}.{row['nanoseconds'] % 10**9 // 1000:06}", line)
           for row in rows for line in row["text"].split("\n")]
    for number, (ours, theirs) in enumerate(zip(got, wanted)):
        yield from differ(f"line {number + 1}", ours, theirs)
    yield from lacks("the rest", "\n".join(line for _, _, line in got[len(wanted):]), "sysrq: Trigger a crash",
                     "Kernel panic - not syncing: sysrq triggered crash", "Call Trace:")
    shown = text(env.ask("log", dump).stdout).splitlines()
    yield from lacks("the text", "\n".join(shown[:3]), "[    0.000000] Linux version " + dump.crash.release)
    console = (dump.crash.folder / "console.log").read_text(errors="replace")
    for _, _, line in got[len(wanted):]:
        yield from lacks("the console", console, line.strip()) if line.strip() not in console else ()


def check_modules(env, dump):
    wanted = [(words[0], int(words[1]), int(words[-1], 16)) for words in map(str.split, dump.crash.lines("modules"))]
    rows = env.json("modules", dump)
    yield from differ("modules", [(row["name"], row["size"], int(row["base"], 16)) for row in rows], wanted)
    yield from lacks("the text", text(env.ask("modules", dump).stdout), *(row["name"] for row in rows))


@functools.cache
def symbols(crash):
    """Some of kallsyms, evenly, and all of the modules' own: only names that mean one address in the kernel's own range.

    Names like .LC0 are the compiler's labels: vmlinux has many of each.  What BPF and kprobes make at run time is in no file.
    qdisc_tx_busylock_key of a module is an empty structure, alone in an empty .bss: /sys has no address for an empty section, and
    neither has the module's list of sections.
    """
    loaded = {line.split()[0] for line in crash.lines("modules")}
    count = {}
    for _, _, name, _ in crash.kallsyms():
        count[name] = count.get(name, 0) + 1
    first = 0xFFFFFFFF80000000 if crash.gdb == "gdb" else 1 << 63
    rows = [row for row in crash.kallsyms() if count[row[2]] == 1 and row[0] >= first
            and row[2][0] != "." and not (row[3] and row[2].startswith("qdisc_tx_busylock_key"))]
    kernel = [row for row in rows if not row[3]]
    return kernel[:: len(kernel) // SAMPLE] + [row for row in rows if row[3] in loaded]


def check_symbol(env, dump):
    rows = symbols(dump.crash)
    found = env.json("symbol", dump, *(name for _, _, name, _ in rows))
    yield from differ("answers", len(found), len(rows))
    for (address, _, name, module), row in zip(rows, found):
        yield from differ(name, (row["name"], int(row["address"], 16), row["module"]), (name, address, module))


def check_symbol_at(env, dump):
    """The other way: an address inside a function is of that function (or of another name for it)."""
    at = {}
    for address, _, name, module in dump.crash.kallsyms():
        at.setdefault(address, set()).add((name, module))
    rows = [row for row in symbols(dump.crash) if row[1] in "tT" and not {(row[0] + n) for n in range(1, 9)} & at.keys()]
    found = env.json("symbol", dump, *(hex(address + 4) for address, *_ in rows))
    for (address, _, name, module), row in zip(rows, found):
        if (row["name"], row["module"]) not in at[address] or row["offset"] != 4:
            yield f"{address + 4:#x}: {row['name']}+{row['offset']} [{row['module']}] instead of {name}+4 [{module}]"


def check_translate(env, dump):
    """QEMU's own page-table walker."""
    wanted = [line.split()[:2] for line in dump.crash.lines("translate")]
    rows = env.json("translate", dump, *(virtual for virtual, _ in wanted))
    yield from differ("answers", len(rows), len(wanted))
    for (virtual, physical), row in zip(wanted, rows):
        yield from differ(virtual, row["physical"], None if physical == "Unmapped" else hex(int(physical, 16)))
        yield from differ(virtual, row["status"], "not mapped" if physical == "Unmapped" else "present")


def check_file_offset(env, dump):
    """`file_offset` is where the bytes are in the file itself."""
    rows = [row for row in env.json("translate", dump, "linux_banner", "init_uts_ns") if row["file_offset"]]
    yield from differ("answers with an offset", len(rows), 2)
    with open(dump.path, "rb") as file:
        file.seek(int(rows[0]["file_offset"], 16))
        yield from differ("bytes there", file.read(14), b"Linux version ")


def check_help(env):
    """Each command has --help; --version prints one line."""
    for command in ("gdb", "serve", "info", "ps", "modules", "log", "symbol", "translate", "read"):
        done = env.run(command, "--help")
        yield from differ(f"{command} --help", (done.returncode, done.stderr), (0, b""))
        yield from lacks(f"{command} --help", text(done.stdout), f"Usage: inquest {command}", "DUMP")
    done = env.run("--version")
    yield from differ("--version", (done.returncode, len(text(done.stdout).splitlines())), (0, 1))


def tests(env):
    yield "help", functools.partial(check_help, env)
    for crash in env.crashes():
        dump = crash.dump()
        checks = {"info": check_info, "log": check_log, "modules": check_modules, "symbol": check_symbol, "symbol-at": check_symbol_at}
        for name, check in checks.items():
            yield f"{dump.id}/{name}", functools.partial(check, env, dump)
        for other in crash.dumps():
            if crash.has_truth("translate") and not other.damaged:
                yield f"{other.id}/translate", functools.partial(check_translate, env, other)
            if other.name in ("vmcoreinfo.elf", "raw.elf", "raw.img"):
                yield f"{other.id}/file-offset", functools.partial(check_file_offset, env, other)
