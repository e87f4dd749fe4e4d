"""The installed C library: a C99 program (kvm_client.c) calls every function on real dumps; what it prints must be what the guest
said of itself."""
import collections
import functools
import os
import re
import shutil
import subprocess
from pathlib import Path

from freebsd import FACTS, FreebsdDump
from lib import FOREIGN, HERE, Skip

STATES = {"R": 2, "S": 3, "D": 3, "I": 3, "P": 3, "T": 4, "t": 4, "Z": 5, "X": 5}  # letters of /proc as numbers of <sys/proc.h>
FLAGS = ["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror"]


class Stage:
    """A `cmake --install` into a folder of its own, and the client built against it."""

    def __init__(self, env):
        self.prefix = env.temp("stage")
        subprocess.run(["cmake", "--install", str(Path(env.inquest).parent), "--prefix", str(self.prefix)], check=True, capture_output=True)
        self.library = next(self.prefix.rglob("libkvm.so"))
        self.pc = {**os.environ, "PKG_CONFIG_PATH": str(self.library.parent / "pkgconfig")}

    def flags(self):
        return subprocess.run(["pkg-config", "--cflags", "--libs", "kvm"], check=True, capture_output=True, text=True, env=self.pc).stdout.split()

    def build(self, compiler):
        program = self.prefix / f"client-{compiler}"
        subprocess.run([compiler, *FLAGS, str(HERE / "kvm_client.c"), "-o", str(program), *self.flags(),
                        f"-Wl,-rpath,{self.library.parent}"], check=True, capture_output=True, text=True)
        return program

    @functools.cached_property
    def client(self):
        return self.build("gcc")

    def run(self, kernel, core, *names):
        return subprocess.run([self.client, kernel or "-", core, *names], capture_output=True, text=True, errors="replace", timeout=300)


@functools.cache
def stage(env):
    return Stage(env)


def compilers(env):
    """gcc and clang take the header as strict C99, a C++ compiler takes it, too."""
    for compiler in ("gcc", "clang-19"):
        try:
            stage(env).build(compiler)
        except subprocess.CalledProcessError as error:
            yield f"{compiler}: {error.stderr}"
    source = env.temp("header.cc")
    source.write_text("#include <kvm.h>\nint main() { return kvm_geterr(nullptr)[0]; }\n")
    made = subprocess.run(["g++", "-std=c++17", "-Wall", "-Wextra", "-Wshadow", "-Werror", str(source), "-o", str(env.temp("header")), *stage(env).flags()],
                          capture_output=True, text=True)
    if made.returncode:
        yield f"g++: {made.stderr}"


def abi(env):
    """Only kvm_* is exported, the SONAME is FreeBSD's, and LLVM is not behind it."""
    library = str(stage(env).library)
    shown = subprocess.run(["nm", "-D", "--defined-only", library], check=True, capture_output=True, text=True).stdout
    names = [line.split()[-1].split("@")[0] for line in shown.splitlines()]
    for name in names:
        if not name.startswith("kvm_"):
            yield f"exports {name}"
    declared = set(re.findall(r"\b(kvm_\w+)\(", next(stage(env).prefix.rglob("kvm.h")).read_text().split('extern "C"')[1]))
    for name in declared - set(names):
        yield f"kvm.h declares {name}, which is not there"
    dynamic = subprocess.run(["readelf", "-dW", library], check=True, capture_output=True, text=True).stdout
    if "SONAME" not in dynamic or "[libkvm.so.7]" not in dynamic:
        yield "the SONAME is not libkvm.so.7"
    needed = subprocess.run(["ldd", library], check=True, capture_output=True, text=True).stdout
    inside = subprocess.run(["nm", "-C", library], capture_output=True, text=True).stdout
    if "LLVM" in needed or "llvm::" in inside:
        yield "LLVM is linked"


def manual(env):
    """The manual pages are clean, and there is one for every function."""
    folder = next(stage(env).prefix.rglob("man3"))
    text = ""
    for page in sorted(folder.iterdir()):
        made = subprocess.run(["man", "-l", "--warnings", str(page)], capture_output=True, text=True, env={**os.environ, "LC_ALL": "C", "MANWIDTH": "100"})
        text += page.read_text()
        if made.returncode or made.stderr:
            yield f"{page.name}: {made.stderr.strip()[:300]}"
    for name in re.findall(r"\b(kvm_\w+)\(", next(stage(env).prefix.rglob("kvm.h")).read_text().split('extern "C"')[1]):
        if f".Nm {name}" not in text and f".Fn {name}" not in text and f'.Fo {name}' not in text:
            yield f"no manual page tells of {name}"


def rows(output, word):
    return [line.split(" ")[1:] for line in output.splitlines() if line.startswith(word + " ")]


def compare_processes(crash, output):
    """Ids, states, nice values, names, sizes and starts, beside /proc/PID/stat."""
    stat = crash.stat()
    raw = crash.stat_lines("stat")
    leaders = {tid for tid, task in stat.items() if task.tgid == tid}
    found = {int(row[0]): row for row in rows(output, "process")}
    for missing in sorted(leaders - found.keys())[:3]:
        yield f"process {missing} is missing"
    for extra in sorted(found.keys() - leaders)[:3]:
        yield f"process {extra} is not in /proc"
    for pid in leaders & found.keys():
        _, tid, ppid, pgid, sid, tpgid, tty, uid, gid, state, nice, size, rss, start, threads, cpu, _, *name = found[pid]
        fields = raw[pid][raw[pid].rindex(b")") + 2:].split()
        want = {"parent": (int(ppid), stat[pid].ppid), "group": (int(pgid), int(fields[2])), "session": (int(sid), int(fields[3])),
                "state": (int(state), STATES[stat[pid].state]), "nice": (int(nice), int(fields[16])),
                "threads": (int(threads), int(fields[17])), "size": (int(size), int(fields[20]))}
        for what, (ours, theirs) in want.items():
            # Pid 1 was reading /proc; others wake and sleep until the machine stops.
            if ours != theirs and not (what == "state" and (pid == 1 or STATES["R"] in (ours, theirs))):
                yield f"process {pid}: {what} {ours}, /proc says {theirs}"
        if int(tty) > 0 and int(tty) != int(fields[4]):
            yield f"process {pid}: terminal {tty}, /proc says {fields[4]}"
    threads = {int(row[1]) for row in rows(output, "thread")}
    if threads != set(stat):
        yield f"threads: {len(threads)} found, {len(stat)} in /proc"


def compare_words(crash, output, word, truth):
    if not crash.has_truth(truth):
        return
    found = collections.defaultdict(list)
    for row in rows(output, word):
        found[int(row[0])].append(row[2:])
    for pid, lines in crash.per_task(truth).items():
        ours = found[pid]
        if ours and [" ".join(words) for words in ours] != lines:
            yield f"process {pid}: {truth} {ours[:2]}, /proc says {lines[:2]}"


def on_dump(env, crash, dump):
    done = stage(env).run(str(crash.vmlinux), str(dump.path), "linux_banner", "_linux_banner", "no_such_symbol", "init_task")
    if done.returncode:
        yield f"exit status {done.returncode}: " + "; ".join(line for line in done.stdout.splitlines() if line.startswith(("FAILED", "not opened")))[:400] + done.stderr[:300]
        return
    output = done.stdout
    native = "0" if crash.kernel in FOREIGN else "1"
    if rows(output, "native") != [[native]]:
        yield f"native: {rows(output, 'native')}"
    if rows(output, "missing") != [["1"]]:
        yield f"missing: {rows(output, 'missing')}"
    banner = " ".join(rows(output, "banner")[0]) if rows(output, "banner") else ""
    if not banner.startswith(f"Linux version {crash.release}"):
        yield f"banner: {banner[:60]}"
    if crash.has_truth("loadavg"):
        load, truth = [float(n) for n in rows(output, "load")[0]], [float(n) for n in crash.lines("loadavg")[0].split()[:3]]
        # It rises until the machine stops.
        if any(ours < 0 or abs(ours - theirs) > (0.02 if crash.name == "kexec" else 1) for ours, theirs in zip(load, truth)):
            yield f"load {load}, /proc says {truth}"
    if crash.has_truth("stat"):
        yield from compare_processes(crash, output)
    yield from compare_words(crash, output, "arg", "cmdline")
    yield from compare_words(crash, output, "env", "environ")
    if crash.has_truth("cpus"):
        possible = next(line.split()[1] for line in crash.lines("cpus") if line.startswith("possible"))
        if rows(output, "cpus")[0][0] != str(int(possible.split("-")[-1]) + 1):
            yield f"cpus {rows(output, 'cpus')}, possible {possible}"


def on_freebsd(env, name):
    """FreeBSD's kernels of both kinds, native and not: symbols, every thread, every page."""
    dump = FreebsdDump(env, name)
    done = stage(env).run(str(dump.vmlinux), str(dump.path), "allproc", "_hz", "no_such_symbol")
    if done.returncode:
        yield f"exit status {done.returncode}: {done.stdout[:300]} {done.stderr[:300]}"
        return
    if rows(done.stdout, "native") != [["1" if name.startswith("amd64") else "0"]]:
        yield f"native: {rows(done.stdout, 'native')}"
    if rows(done.stdout, "missing") != [["1"]]:
        yield f"missing: {rows(done.stdout, 'missing')}"
    threads = rows(done.stdout, "thread")
    if len(threads) != FACTS[name].threads:
        yield f"{len(threads)} threads, expected {FACTS[name].threads}"
    found = {(int(row[0]), row[-1]) for row in threads}
    for thread in FACTS[name].shown:
        if (thread.pid, thread.name.split("/")[0]) not in found:
            yield f"no {thread.name} of process {thread.pid} in {sorted(found)[:6]}"


def alone(env, crash, dump):
    """No kernel file: names come from the dump."""
    done = stage(env).run(None, str(dump.path), "linux_banner")
    if done.returncode or rows(done.stdout, "missing") != [["0"]]:
        yield f"exit status {done.returncode}: {done.stdout[:300]}"


def walk_counts(env, crash):
    """Every page that the file holds is visited once: as many as the program's own index of the dump has."""
    bench = Path(env.inquest).parent / "tests/bench/engine_bench"
    if not bench.exists():
        raise Skip("engine_bench is not built")
    for dump in crash.dumps():
        if dump.damaged or dump.options:
            continue
        listed = subprocess.run([bench, "pages", str(dump.path)], check=True, capture_output=True, text=True).stdout
        count = sum(int(line.split()[1]) for line in listed.splitlines())
        done = stage(env).run(str(crash.vmlinux), str(dump.path), "linux_banner")
        if not rows(done.stdout, "pages") or int(rows(done.stdout, "pages")[0][0]) != count:
            yield f"{dump.id}: {rows(done.stdout, 'pages')} pages, {count} in the dump"


def dump_names(crash):
    if crash.dump().options:  # nobody can tell kvm_open2() a raw image's format
        return
    yield crash.dump()
    for name in ("zstd.kdump", "vmcoreinfo.kdump", "flat.elf"):
        if (crash.folder / name).exists():
            yield crash.dump(name)


def skipped():
    raise Skip("pkg-config is not installed")


def tests(env):
    if not shutil.which("pkg-config"):
        yield "all", skipped
        return
    yield "compilers", lambda: compilers(env)
    yield "abi", lambda: abi(env)
    yield "manual", lambda: manual(env)
    for crash in [*env.crashes(), *env.crashes(FOREIGN)]:
        for dump in dump_names(crash):
            yield dump.id, functools.partial(on_dump, env, crash, dump)
    for name in FACTS:
        if (env.corpus / "freebsd" / name / "vmcore").exists():
            yield f"freebsd/{name}", functools.partial(on_freebsd, env, name)
    for crash in env.crashes():
        if crash.name == "kexec":
            yield f"alone/{crash.id}", functools.partial(alone, env, crash, crash.dump())
            yield f"walk/{crash.id}", functools.partial(walk_counts, env, crash)
