"""Bad input and bad words: one line, the exit status of the manual (1 failed, 2 usage), never a signal."""
import functools
import os
import shutil
import struct
import subprocess

from lib import Skip, differ, lacks, text

# What reads a dump, with words that are right.
COMMANDS = {"info": [], "ps": [], "modules": [], "log": [], "symbol": ["init_task"], "translate": ["0xffffffff81000000"],
            "read": ["0xffffffff81000000", "16"], "serve": ["--listen", "127.0.0.1:0"], "gdb": []}
AFTER = ("symbol", "translate", "read")


def one_line(what, done, status, *parts):
    """The only line is inquest's own, and says `parts`."""
    lines = text(done.stderr).splitlines()
    if done.returncode < 0:
        yield f"{what}: ended by signal {-done.returncode}"
    yield from differ(f"{what}: exit status", done.returncode, status)
    if len(lines) != 1 or not lines[0].startswith("inquest: "):
        yield f"{what}: {lines}"
    elif len(lines[0]) > 400 or not lines[0].isprintable():
        yield f"{what}: a line for nobody: {lines[0]!r}"
    if done.stdout:
        yield f"{what}: prints {done.stdout[:80]!r} all the same"
    yield from lacks(what, text(done.stderr), *parts)


def every_command(env, path, *parts, status=1):
    for command, words in COMMANDS.items():
        yield from one_line(f"{command} {path}", env.run(command, path, *words, timeout=60), status, *parts)


def file_of(env, name, contents):
    path = env.temp(name)
    path.write_bytes(contents)
    return path


def check_files(env):
    """What is no dump at all."""
    yield from every_command(env, env.temp("no-such-file"), "no-such-file", "No such file")
    yield from every_command(env, env.temp("."), "irectory")
    yield from every_command(env, file_of(env, "empty", b""), "empty")
    for name, contents in (("text", b"just some text\n" * 999), ("zeros", bytes(1 << 20)), ("short", b"\x7fELF"), ("one", b"K"),
                           ("kdump-start", b"KDUMP   "), ("disk-start", b"DISKDUMP" + b"\xff" * 4096), ("lime", b"EMiL\1\0\0\0"),
                           ("flat", b"makedumpfile" + bytes(4084)), ("gzip", b"\x1f\x8b\x08" + bytes(500)), ("noise", os.urandom(100000))):
        yield from every_command(env, file_of(env, name, contents), name)
    for name in ("/dev/null", "/dev/zero", "/proc/self/mem"):
        yield from one_line(name, env.run("info", name, timeout=60), 1, name)


def check_fifo(env):
    """A FIFO has no end and cannot be read twice: it is refused at once, not waited for."""
    path = env.temp("fifo")
    os.mkfifo(path)
    yield from every_command(env, path, "fifo")


def check_unreadable(env):
    """As somebody else than root, whom every file obeys."""
    if not shutil.which("setpriv") or os.getuid() != 0:
        raise Skip("needs root and setpriv")
    folder = env.temp("unreadable")
    folder.mkdir()
    for above in (folder, folder.parent):
        above.chmod(0o755)
    program = shutil.copy(env.inquest, folder / "inquest")
    (folder / "dump").write_bytes(b"\x7fELF")
    (folder / "dump").chmod(0)
    done = subprocess.run(["setpriv", "--reuid", "65534", "--clear-groups", program, "info", folder / "dump"], capture_output=True)
    yield from one_line("unreadable", done, 1, "Permission denied")


def check_vmlinux_as_dump(env, crash):
    """The two names in the wrong order, say: a mistake in the words."""
    yield from every_command(env, crash.vmlinux, "vmlinux", "not a dump", status=2)
    yield from every_command(env, env.inquest, "not a dump", status=2)


def check_wrong_vmlinux(env, crash, other):
    """Another build's vmlinux is refused; both build ids are there."""
    own = env.json("info", crash.dump())["build_id"]
    theirs = env.json("info", other.dump())["build_id"]
    for command, words in COMMANDS.items():
        symbols = ["--vmlinux", other.vmlinux] if command in AFTER else [other.vmlinux]
        done = env.run(command, crash.dump().path, *(words + symbols if command in AFTER else symbols + words), timeout=60)
        yield from one_line(f"{command}, vmlinux of {other.kernel}", done, 1, own, theirs)
    for name in ("no-such-vmlinux", "not-a-vmlinux"):
        file_of(env, "not-a-vmlinux", b"text\n")
        yield from one_line(name, env.run("ps", crash.dump().path, env.temp(name)), 1, name)
    yield from one_line("a dump as vmlinux", env.run("ps", crash.dump().path, crash.dump().path), 1)


def check_missing_vmlinux(env, crash):
    """Nowhere to be found: the kernel's own tables answer as it would, and one line says what is missing."""
    nowhere = {"env": {"PATH": os.environ["PATH"], "HOME": str(env.temp("home")), "XDG_CACHE_HOME": str(env.temp("cache"))}}
    dump = crash.dump().path
    for command in ("ps", "modules", "log"):
        alone = env.run(command, dump, **nowhere)
        yield from differ(f"{command} without vmlinux", (alone.returncode, alone.stdout == env.ask(command, crash.dump()).stdout), (0, True))
        yield from lacks(f"{command}: the note", text(alone.stderr), "no vmlinux with debug information found", "source lines")
    yield from differ("symbol without vmlinux", env.run("symbol", dump, "init_task", **nowhere).returncode, 0)
    info = env.run("info", dump, **nowhere)
    yield from differ("info", info.returncode, 0)
    yield from lacks("info", text(info.stdout), "x86_64", "4-level", crash.release, "vmlinux")
    physical = env.run("read", dump, "0x100000", "16", "--physical", **nowhere)
    yield from differ("read --physical", physical.returncode, 0)
    folder = crash.vmlinux.parent / "usr" / "lib" / "debug"
    found = env.run("ps", dump, "--symbols", folder, **nowhere)
    yield from differ("ps --symbols", (found.returncode, found.stdout == env.ask("ps", crash.dump()).stdout), (0, True))


def check_machine(env, crash):
    """A dump of a machine that nobody knows: it says which."""
    with open(crash.dump().path, "rb") as file:
        contents = bytearray(file.read(1 << 20))
    struct.pack_into("<H", contents, 18, 0x1234)  # e_machine
    path = file_of(env, "machine", contents)
    yield from every_command(env, path, "machine")
    yield from one_line("--arch", env.run("info", crash.dump().path, "--arch", "pdp11"), 2, "pdp11", "x86_64")


def check_words(env, crash):
    """Usage errors; a hint may follow the line."""
    dump = str(crash.dump().path)
    for words in ([], ["nonsense"], ["ps"], ["ps", "--nonsense", dump], ["ps", dump, "a", "b"], ["info", dump, "--format", "nonsense"],
                  ["info", dump, "--slide", "nonsense"], ["info", dump, "--phys-base", "0x"], ["info", dump, "--os", "nonsense"],
                  ["read", dump, "0"], ["read", dump, "0x1000", "many", "--physical"], ["read", dump, "zzz", "1", "--physical"],
                  ["read", dump, "", "1", "--physical"], ["read", dump, "0x1000", "", "--physical"],
                  ["read", dump, "0", "1", "--physical", "--pid", "1"], ["serve", dump, "--threads", "nonsense"],
                  ["serve", dump, "--stdio", "--listen", "127.0.0.1:0"], ["symbol", dump], ["translate", dump], ["ps", dump, "--", "x"]):
        done = env.run(*words, timeout=60)
        lines = text(done.stderr).splitlines()
        yield from differ(f"{words}: exit status", done.returncode, 2)
        if not lines or not lines[0].startswith("inquest: ") or lines[1:] not in ([], ["Try 'inquest --help'."]):
            yield f"{words}: {lines}"


def check_output(env, crash):
    """A file that cannot be written, a full disk, a reader that has left."""
    dump = crash.dump()
    yield from one_line("no such folder", env.ask("read", dump, "init_task", 16, "--output", env.temp("no/such")), 1, "no/such")
    yield from one_line("full", env.ask("read", dump, "init_task", 1 << 16, "--output", "/dev/full"), 1, "/dev/full")
    with open("/dev/full", "w") as full:
        done = subprocess.run([env.inquest, *map(str, env.words("ps", dump))], stdout=full, stderr=subprocess.PIPE)
    yield from differ("ps > /dev/full", (done.returncode, text(done.stderr).startswith("inquest: ")), (1, True))


def tests(env):
    for name, check in {"files": check_files, "fifo": check_fifo, "unreadable": check_unreadable}.items():
        yield name, functools.partial(check, env)
    crashes = {crash.id: crash for crash in env.crashes()}
    if crash := crashes.get("6.1/qemu4"):
        for name, check in {"vmlinux-as-dump": check_vmlinux_as_dump, "missing-vmlinux": check_missing_vmlinux,
                            "machine": check_machine, "words": check_words, "output": check_output}.items():
            yield name, functools.partial(check, env, crash)
        if other := crashes.get("6.12/qemu4"):
            yield "wrong-vmlinux", functools.partial(check_wrong_vmlinux, env, crash, other)
