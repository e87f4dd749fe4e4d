"""`inquest read`: physical memory against QEMU's raw image, processes' memory against what the guest put there."""
import functools

from lib import differ, lacks, text

RANGES = [(0x1000, 0x9000), (0x100000, 0x100000), (0x1234567, 0x12345), (0x8000000, 0x400000), (0x1FF00000, 0xE0000)]


def read(env, dump, *words):
    """The bytes that `inquest read` writes to a file."""
    output = env.temp("bytes")
    done = env.ask("read", dump, *words, "--output", output)
    if done.returncode:
        raise AssertionError(f"inquest read {' '.join(map(str, words))}: {text(done.stderr)}")
    return output.read_bytes()


def check_physical(env, dump):
    raw = (dump.crash.folder / "raw.img").open("rb")
    for start, length in RANGES:
        raw.seek(start)
        if read(env, dump, hex(start), length, "--physical") != raw.read(length):
            yield f"{length:#x} bytes at {start:#x} differ from the raw image"


def check_beyond(env, dump):
    """Behind the end of memory there is nothing, and that is said."""
    done = env.ask("read", dump, "0x4000000000", 64, "--physical")
    yield from differ("exit status", done.returncode, 1)
    yield from lacks("the error", text(done.stderr), "inquest: 0x4000000000: not in the dump")


def check_forms(env, dump):
    """Hex dump, file and standard output hold the same; NAME+OFFSET is an address."""
    banner = dump.crash.truth("version").strip()
    yield from differ("--output", read(env, dump, "linux_banner", len(banner)), banner)
    yield from differ("--output -", env.ask("read", dump, "linux_banner", len(banner), "--output", "-").stdout, banner)
    yield from differ("+OFFSET", read(env, dump, "linux_banner+6", 7), banner[6:13])
    shown = text(env.ask("read", dump, "linux_banner", len(banner)).stdout)
    bytes_shown = b"".join(bytes.fromhex(line.split(":", 1)[1].split("|")[0]) for line in shown.splitlines())
    yield from differ("the hex dump", bytes_shown, banner)


def process(crash, name):
    return next(task.tid for task in crash.stat().values() if task.name == name)


def check_process(env, dump):
    """The process `registers`: README.md of the corpus says what it has where."""
    tid = process(dump.crash, b"registers")
    words = b"a readable page of the process registers\0"
    yield from differ("its page", read(env, dump, "0x10000000", len(words), "--pid", tid), words)
    start, size = 0x200000000, 4 << 20
    huge = read(env, dump, hex(start), size, "--pid", tid)
    for page in range(0, size, 4096):
        yield from differ(f"page {start + page:#x}", int.from_bytes(huge[page:page + 8], "little"), start + page)
    done = env.ask("read", dump, "0x10020000", 16, "--pid", tid)
    yield from differ("an unmapped page", (done.returncode, "not mapped" in text(done.stderr)), (1, True))


def check_protnone(env, dump):
    """Linux clears the present bit of a PROT_NONE page's entry and turns the bits of its frame round; the page is there."""
    words = b"a PROT_NONE page of the process registers\0"
    yield from differ("the page", read(env, dump, "0x10010000", len(words), "--pid", process(dump.crash, b"registers")), words)


def check_environment(env, dump):
    """The environment lies at the end of the stack, just as /proc showed it."""
    tid = process(dump.crash, b"tasks")
    stack = next(line.split()[0].split("-") for line in dump.crash.per_task("maps")[tid] if line.endswith("[stack]"))
    end = int(stack[1], 16)
    top = read(env, dump, hex(end - 4096), 4096, "--pid", tid)
    for variable in dump.crash.per_task("environ")[tid]:
        if variable and variable.encode() + b"\0" not in top:
            yield f"no {variable} in the last page of the stack"


def check_excluded(env, dump):
    """makedumpfile -d 31 leaves out the memory of processes: the page tables know the page, the dump does not have it."""
    done = env.ask("read", dump, "0x10000000", 16, "--pid", process(dump.crash, b"registers"))
    yield from differ("exit status", done.returncode, 1)
    yield from lacks("the error", text(done.stderr), "not in the dump")
    if b"not mapped" in done.stderr:
        yield "an excluded page is not the same as an unmapped one"


def check_nobody(env, dump):
    done = env.ask("read", dump, "0x10000000", 16, "--pid", 999999)
    yield from differ("answer", (done.returncode, text(done.stderr)), (1, "inquest: no task has the id 999999"))


def tests(env):
    for crash in env.crashes():
        for dump in crash.dumps():
            checks = {}
            if dump.damaged or crash.id == "6.12/kexec" and dump.name.endswith("kdump") and dump.name != "zlib.kdump":
                continue
            if (crash.folder / "raw.img").exists() and dump.name != "raw.img":
                checks["physical"] = check_physical
            if crash.name != "kexec" or dump.name in ("raw.elf", "zlib.kdump"):
                checks |= {"process": check_process, "environment": check_environment}
            # With 6.12, which it does not know, makedumpfile keeps the pages of processes.
            if crash.kernel == "6.1" and dump.name in ("filtered.elf", "lzo.kdump", "snappy.kdump", "flat-lzo.kdump", "split-1.kdump"):
                checks["excluded"] = check_excluded
            if dump.name == "vmcoreinfo.elf":
                checks |= {"forms": check_forms, "beyond": check_beyond, "nobody": check_nobody, "protnone": check_protnone}
            for name, check in checks.items():
                yield f"{dump.id}/{name}", functools.partial(check, env, dump)
