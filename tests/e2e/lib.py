"""What the end-to-end tests share: the corpus and its ground truth, running inquest, running gdb.

A test file has `tests(env)`, which yields (name, function) pairs.  The function returns, or yields, one sentence for each thing
that is wrong; it raises Skip where the machine lacks something.
"""
import functools
import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
CRASHES = {"6.1": ["qemu4", "qemu4-nonote", "qemu5", "qemu5-nonote", "kexec", "many"],
           "6.12": ["qemu4", "qemu4-nonote", "qemu5", "qemu5-nonote", "kexec"]}
# Other processors: their checks are in foreign.py.
FOREIGN = {"arm64-6.1": ["qemu", "nonote"], "arm64-6.12": ["qemu", "nonote-48"], "arm64-6.12-16k": ["qemu", "nonote-48"],
           "i386-6.1": ["non-pae"], "i386-6.1-pae": ["pae", "pae-nonote"],
           "ppc64el-6.1": ["nonote-radix", "nonote-hash"], "s390x-6.1": ["nonote-s390"], "mips64el-6.1": ["malta"],
           "armhf-6.1": ["nonote-short"], "armhf-6.1-lpae": ["nonote-lpae"],
           "riscv64-6.12": ["nonote-sv57", "nonote-sv48", "nonote-sv39"]}
MACHINES = {"ppc64el": "ppc64le", "s390x": "s390x", "mips64el": "mips64el"}  # of raw images; the others' are x86_64
DAMAGED = ("incomplete.kdump", "truncated.elf", "truncated.kdump")


class Skip(Exception):
    pass


def default_corpus():
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("INQUEST_CORPUS") or Path(cache) / "inquest" / "corpus")


class Stat(NamedTuple):
    tgid: int
    tid: int
    ppid: int
    state: str
    name: bytes


class Crash:
    """One boot of the corpus: its dump files show the same memory."""

    def __init__(self, corpus, kernel, name):
        self.kernel, self.name, self.folder = kernel, name, corpus / kernel / name
        self.vmlinux = corpus / kernel / "vmlinux"
        self.id = f"{kernel}/{name}"
        self.gdb = "gdb-multiarch" if kernel in FOREIGN else "gdb"
        self.release = (corpus / kernel / "release").read_text().strip()
        config = (corpus / kernel / "boot" / f"config-{self.release}").read_text()
        self.names_all = "CONFIG_KALLSYMS_ALL=y" in config  # else the kernel names its functions only

    def dumps(self):
        """Every dump file; the parts of a split one count as one."""
        files = sorted(f for f in self.folder.iterdir() if f.suffix in (".elf", ".kdump", ".img"))
        return [Dump(self, f.name) for f in files if not f.name.startswith("split-") or f.name.startswith("split-1")]

    def dump(self, name=None):
        """The dump that stands for the crash where one is enough."""
        return Dump(self, name or {"kexec": "filtered.elf", "malta": "raw.img"}.get(self.name, "nonote.elf" if "nonote" in self.name else "vmcoreinfo.elf"))

    @functools.cache
    def truth(self, name):
        return (self.folder / "truth" / name).read_bytes()

    def has_truth(self, name):
        return (self.folder / "truth" / name).exists()

    def lines(self, name):
        return self.truth(name).decode("utf-8", "replace").split("\n")[:-1]

    @functools.cache
    def stat(self, name="stat"):
        """tid -> Stat.  A task's name may hold anything, `) R (` too: its end is the last parenthesis."""
        tasks = {}
        for line in self.truth(name).split(b"\n"):
            if line:
                head, tail = line[: line.rindex(b")")], line[line.rindex(b")") + 2:].split()
                numbers, task_name = head.split(b" (", 1)
                tgid, tid = map(int, numbers.split())
                tasks[tid] = Stat(tgid, tid, int(tail[1]), tail[0].decode(), task_name)
        return tasks

    @functools.cache
    def stat_lines(self, name):
        """tid -> the line of `stat` as it is."""
        return {int(line.split()[1]): line for line in self.truth(name).split(b"\n") if line}

    @functools.cache
    def per_task(self, name):
        """tid -> the lines after `== TGID TID`."""
        return {int(key.split()[1]): lines for key, lines in self.sections(name).items()}

    @functools.cache
    def sections(self, name):
        """The words after `==` -> the lines that follow."""
        found, current = {}, None
        for line in self.lines(name):
            if line.startswith("== "):
                current = found.setdefault(line[3:], [])
            elif current is not None:
                current.append(line)
        return found

    @functools.lru_cache(maxsize=2)  # 120,000 rows each
    def kallsyms(self):
        """(address, kind, name, module or None) of every line."""
        rows = []
        for line in self.lines("kallsyms"):
            words = line.split()
            rows.append((int(words[0], 16), words[1], words[2], words[3].strip("[]") if len(words) > 3 else None))
        return rows

    @functools.cache
    def module_sections(self):
        """module -> section -> address."""
        return {module: {line.split()[0]: int(line.split()[1], 16) for line in lines}
                for module, lines in self.sections("sections").items()}


class Dump:
    def __init__(self, crash, name):
        self.path = crash.folder / name  # `name` may be a path of its own
        self.crash, self.name = crash, self.path.name
        self.id = f"{crash.id}/{name}"
        self.damaged = name in DAMAGED
        self.options = []
        if name == "raw.img":
            self.options = ["--format", "raw", "--arch", MACHINES.get(crash.kernel.split("-")[0], "x86_64")]
        if self.name.startswith("split-1"):
            for part in ("split-2", "split-3"):
                self.options += ["--part", str(crash.folder / self.name.replace("split-1", part))]


class Env:
    def __init__(self, inquest, corpus, plugin=None, preload=""):
        self.inquest, self.corpus = str(Path(inquest).resolve()), Path(corpus)
        self.plugin = Path(plugin).resolve() if plugin else Path(self.inquest).parent / "inquest-lldb.so"
        self.preload = preload
        self.work = tempfile.TemporaryDirectory(prefix="inquest-e2e-")

    def crashes(self, table=None):
        return [Crash(self.corpus, kernel, name) for kernel, names in (table or CRASHES).items() for name in names
                if (self.corpus / kernel / name / "truth").is_dir()]

    def crash(self, kernel, name):
        for crash in self.crashes():
            if crash.id == f"{kernel}/{name}":
                return crash
        raise Skip(f"the corpus has no {kernel}/{name}")

    def temp(self, name):
        return Path(self.work.name) / name

    def run(self, *words, timeout=120, **more):
        """Runs inquest; the result's stdout and stderr are bytes."""
        return subprocess.run([self.inquest, *map(str, words)], stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout, **more)

    def words(self, command, dump, *words, vmlinux=True):
        """The command line for a dump of the corpus."""
        positional = command not in ("symbol", "translate", "read")
        symbols = [] if not vmlinux else [dump.crash.vmlinux] if positional else ["--vmlinux", dump.crash.vmlinux]
        return [command, *dump.options, dump.path, *symbols, *words]

    def ask(self, command, dump, *words, **more):
        return self.run(*self.words(command, dump, *words), **more)

    def json(self, command, dump, *words):
        done = self.ask(command, dump, "--json", *words)
        if done.returncode:
            raise AssertionError(f"inquest {command}: {text(done.stderr)}")
        return json.loads(done.stdout)


class Answer:
    """To one command of a debugger's session."""

    def __init__(self, output, error, seconds, cpu=0.0):
        self.output, self.error, self.seconds, self.cpu = output, error, seconds, cpu

    @property
    def both(self):
        """What a user sees."""
        return self.output + (self.error or "")


class Session:
    """Collects a debugger's commands by key; the first answer wanted runs the debugger."""

    def __init__(self, env, dump):
        self.env, self.dump = env, dump
        self.commands, self.answers, self.said = {}, None, ""

    def run(self, commands):
        """The answers, and what the debugger itself printed."""
        raise NotImplementedError

    def want(self, key, command):
        if self.answers is not None:
            raise AssertionError(f"{key} comes too late: the debugger has run")
        self.commands[key] = command
        return key

    def __getitem__(self, key):
        if self.answers is None:
            self.answers = {}
            answers, self.said = self.run(list(self.commands.values()))
            self.answers = dict(zip(self.commands, answers))
        if key not in self.answers:
            raise AssertionError(f"the debugger did not get as far as {self.commands[key]!r}")
        return self.answers[key]

    def output(self, key):
        answer = self[key]
        if answer.error:
            raise AssertionError(f"{self.commands[key]}: {answer.error}")
        return answer.output


def text(data):
    return data.decode("utf-8", "replace").strip()


def differ(what, got, expected):
    """The sentence for an unequal pair; nothing for an equal one."""
    return [] if got == expected else [f"{what}: {got!r} instead of {expected!r}"]


def lacks(what, output, *parts):
    return [f"{what}: no {part!r} in {output[:300]!r}" for part in parts if part not in output]
