"""What a user asks of gdb: values, types, tables, modules, symbols, memory.  All in the session that bt.py uses."""
import functools
import re
import shutil
import subprocess

import reports
from gdb_session import sessions
from lib import Skip, differ, lacks, text

SAMPLE = 350  # symbols looked up in gdb
COLUMNS = re.compile(r" {2,}|\s*\n")


def check_values(env, crash, session):
    banner = crash.truth("version").decode().strip()
    yield from lacks("x/s linux_banner", session.output("banner"), f'"{banner}\\n"')
    yield from lacks("init_uts_ns", session.output("uts"), f'"{crash.release}"')
    yield from lacks("saved_command_line", session.output("cmdline"), crash.truth("kernel-cmdline").decode().strip())


def check_types(env, crash, session):
    yield from lacks("ptype struct task_struct", session.output("ptype"), "struct task_struct {", "comm[16];", "struct mm_struct *mm;")
    if not shutil.which("pahole"):
        raise Skip("pahole is not installed (dwarves)")
    done = subprocess.run(["pahole", "-F", "btf", "-C", "task_struct", crash.vmlinux], capture_output=True, timeout=120)
    size = re.search(rb"/\* size: (\d+),", done.stdout)
    yield from differ("sizeof (struct task_struct)", session.output("sizeof").strip(), f"size {size[1].decode() if size else '?'}")


def rows(output):
    """The rows of `info os`, without the titles."""
    return [line.split() for line in output.splitlines()[1:] if line.strip()]


def check_tables(env, crash, session):
    tasks = crash.stat("stat2")
    processes = {task.tgid for task in tasks.values()}
    shown = session.output("os processes")
    yield from differ("info os processes", {int(row[0]) for row in rows(shown)} - {0}, processes)
    shown = session.output("os threads")
    found = {int(number) for number in re.findall(r"^.*\s(\d+) +\d+ +[a-z].*$", shown, re.M)}
    yield from differ("info os threads: missing", sorted(tasks.keys() - found)[:5], [])
    possible = int(crash.lines("cpus")[1].split()[1].split("-")[-1]) + 1
    yield from differ("info os cpus", [int(row[0]) for row in rows(session.output("os cpus"))], list(range(possible)))
    wanted = [(words[0], words[-1], words[1]) for words in map(str.split, crash.lines("modules"))]
    yield from differ("info os modules", [(row[0], f"{int(row[1], 16):#x}", row[2]) for row in rows(session.output("os modules"))],
                      [(name, f"{int(base, 16):#x}", size) for name, base, size in wanted])
    for cpu in rows(session.output("os cpus")):
        if len(cpu) < 4:
            yield f"info os cpus: CPU {cpu[0]} has no task"


def check_threads(env, crash, session):
    """Every task is a thread with its name, as `inquest ps` has it."""
    listed = session.output("threads")
    names = {int(tid): name for tid, name in re.findall(r'Thread \d+\.(\d+) "(.*?)" \([a-z]', listed)}
    for row in env.json("ps", session.dump):
        if row["tid"] and row["comm"].isprintable() and row["comm"].isascii() and row["comm"]:
            yield from differ(f"the name of thread {row['tid']}", names.get(row["tid"]), row["comm"])
    count = len(re.findall(r"^[* ]+\d+ +Thread ", listed, re.M))
    yield from differ("threads", count, len(env.json("ps", session.dump)))


@functools.cache
def functions_of(crash, module):
    """Functions in the module's .text: (address, name), the first of each address."""
    sections = crash.module_sections()[module]
    end = min(address for address in sections.values() if address > sections[".text"])
    found = {}
    for address, kind, name, owner in crash.kallsyms():
        if owner == module and kind in "tT" and sections[".text"] <= address < end and not name.startswith(("__pfx_", ".")):
            found.setdefault(address, name)
    return sorted(found.items())


def check_libraries(env, crash, session):
    listed = session.output("libraries")
    for module, sections in crash.module_sections().items():
        line = next((line for line in listed.splitlines() if line.endswith(f"/{module}.ko")), "")
        yield from lacks("info sharedlibrary", line, "Yes") if line else [f"no {module} in {listed!r}"]
        # gdb shows the lowest section; since 6.4 a module's text is apart, and its data may lie below.
        kept = [address for name, address in sections.items() if not name.startswith(".init")]
        first = int(line.split()[0], 16) if line else None
        if line and not (first in kept and first <= sections[".text"]):
            yield f"{module} begins at {first:#x}, where the kernel has none of its sections"
    yield from differ("libraries", len(re.findall(r"\.ko$", listed, re.M)), len(crash.lines("modules")))


def check_module_code(env, crash, session):
    """A function in each module, one in the middle of its text: its name and its line."""
    for module in crash.module_sections():
        functions = functions_of(crash, module)
        if not functions:
            yield f"{module} has no functions"
            continue
        address, name = functions[len(functions) // 2]
        yield from lacks(f"info symbol of {name}", session.output(f"info symbol {module}"), f"{name} + 4 in section ", f"{module}.ko")
        yield from lacks(f"info line of {name}", session.output(f"info line {module}"), "Line ", ".c\"", f"<{name}")
        yield from lacks(f"p &{name}", session.output(f"address {module}"), f"{address:#x} <{name}>")
    yield from lacks("list dummy_xmit", session[f"list dummy_xmit"].both, "drivers/net/dummy.c")
    yield from lacks("info scope", session["scope dummy_xmit"].both, "Symbol skb is")


def check_kallsyms(env, crash, session):
    """Addresses of kallsyms have their names in gdb, and names their addresses."""
    at = {}
    for address, _, name, _ in crash.kallsyms():
        at.setdefault(address, set()).add(name)
    for address, _, name, _ in samples(crash):
        shown = session.output(f"symbol {address:#x}").split(" in section")[0].strip()
        if not {shown, shown.replace(".", "__")} & at[address]:  # gdb takes a__b for a name of Ada's, and shows a.b
            yield f"info symbol {address:#x}: {shown!r} instead of {name}"
    for address, _, name, _ in samples(crash)[::10]:
        yield from lacks(f"p &{name}", session.output(f"address of {name}"), f"{address:#x} ")


def samples(crash):
    rows = [row for row in reports.symbols(crash) if row[1] in "tTdDbBrR" and "." not in row[2]]
    return rows[:: max(1, len(rows) // SAMPLE)]


def check_memory(env, crash, session):
    """find, dump memory and x against `inquest read`."""
    yield from lacks("find", session.output("find release"), "<init_uts_ns+", "1 pattern")
    yield from lacks("find", session.output("find banner"), "<linux_banner>", "pattern")
    for symbol, size in MEMORY.items():
        output = env.temp(f"ours-{symbol}")
        done = env.ask("read", session.dump, symbol, size, "--output", output)
        yield from differ(f"inquest read {symbol}", (done.returncode, text(done.stderr)), (0, ""))
        session.output(f"dump {symbol}")
        if dumped(env, crash, symbol).read_bytes() != output.read_bytes():
            yield f"dump memory {symbol}: other bytes than inquest read"
    yield from lacks("x of nothing", session["nothing"].both, "Cannot access memory at address 0x10")


MEMORY = {"init_uts_ns": 400, "_text": 1 << 20, "init_task": 4096}


def dumped(env, crash, symbol):
    return env.temp(f"gdb-{crash.kernel}-{crash.name}-{symbol}")


def check_monitor(env, crash, session):
    """The same reports as on the command line."""
    yield from lacks("monitor help", session.output("monitor help"), "info", "ps", "modules", "log", "translate", "symbol")
    for report in ("info", "ps", "modules", "log"):
        ours = env.ask(report, session.dump).stdout.decode("utf-8", "replace")
        yield from differ(f"monitor {report} as inquest {report}", session.output(f"monitor {report}") == ours, True)
    for report in ("translate", "symbol"):
        ours = text(env.ask(report, session.dump, "init_uts_ns").stdout)
        yield from differ(f"monitor {report}", session.output(f"monitor {report}").strip(), ours)
    yield from lacks("monitor nonsense", session["monitor nonsense"].both, "No such command: nonsense")
    yield from lacks("monitor symbol nonesuch", session["monitor symbol nonesuch"].both, "'nonesuch' is neither an address nor a known symbol")


def plan(env, crash, session):
    want = session.want
    want("print elements", "set print elements 0")
    for key, command in (("banner", "x/s linux_banner"), ("uts", "p init_uts_ns.name.release"), ("cmdline", "x/s saved_command_line"),
                         ("ptype", "ptype struct task_struct"), ("sizeof", 'printf "size %d\\n", sizeof(struct task_struct)'),
                         ("threads", "info threads"), ("libraries", "info sharedlibrary"), ("nothing", "x/x 0x10"),
                         ("list dummy_xmit", "list dummy_xmit"), ("scope dummy_xmit", "info scope dummy_xmit"),
                         ("find release", f'find &init_uts_ns, +sizeof(init_uts_ns), "{crash.release}"'),
                         ("find banner", "find __start_rodata, __end_rodata, 'L', 'i', 'n', 'u', 'x', ' ', 'v', 'e', 'r', 's', 'i', 'o', 'n'")):
        want(key, command)
    for table in ("processes", "threads", "cpus", "modules"):
        want(f"os {table}", f"info os {table}")
    for report in ("help", "info", "ps", "modules", "log", "nonsense", "symbol nonesuch"):
        want(f"monitor {report}", f"monitor {report}")
    for report in ("translate", "symbol"):
        want(f"monitor {report}", f"monitor {report} init_uts_ns")
    for symbol, size in MEMORY.items():
        want(f"dump {symbol}", f"dump binary memory {dumped(env, crash, symbol)} (char*)&{symbol} (char*)&{symbol}+{size}")
    for module in crash.module_sections():
        functions = functions_of(crash, module)
        if functions:
            address, name = functions[len(functions) // 2]
            want(f"info symbol {module}", f"info symbol {address + 4:#x}")
            want(f"info line {module}", f"info line *{address:#x}")
            want(f"address {module}", f"p &{name}")
    for address, *_ in samples(crash):
        want(f"symbol {address:#x}", f"info symbol {address:#x}")
    for address, _, name, _ in samples(crash)[::10]:
        want(f"address of {name}", f'printf "%#lx \\n", &{name}')


def tests(env):
    checks = {"values": check_values, "types": check_types, "tables": check_tables, "threads": check_threads,
              "libraries": check_libraries, "module-code": check_module_code, "kallsyms": check_kallsyms, "memory": check_memory,
              "monitor": check_monitor}
    for crash, session in sessions(env):
        plan(env, crash, session)
    for crash, session in sessions(env):
        for name, check in checks.items():
            yield f"{crash.id}/{name}", functools.partial(check, env, crash, session)
