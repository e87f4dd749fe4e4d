"""How lldb ends with dumps open, the plugin's threads with it: on a terminal, in scripts, by exits of all kinds."""
import functools
import os
import pty
import select
import signal
import subprocess
import time

from lib import differ, lacks
from lldb_session import LLDB, START, environment, opening, with_plugin

PANIC = "stop reason = Kernel panic - not syncing: sysrq triggered crash"


class Terminal:
    """lldb on a terminal of its own."""

    def __init__(self, env, *commands):
        words = [LLDB, "-x", *[word for command in START for word in ("-O", command)], *with_plugin(env)]
        for command in commands:
            words += ["-o", command]
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.environ.update(environment(env), TERM="dumb")
            os.execvp(LLDB, words)
        self.shown = ""

    def until(self, wanted, seconds=120):
        end = time.monotonic() + seconds
        while wanted not in self.shown:
            ready, _, _ = select.select([self.terminal], [], [], max(0, end - time.monotonic()))
            try:
                data = os.read(self.terminal, 1 << 16) if ready else b""
            except OSError:
                data = b""
            if not data:
                raise AssertionError(f"no {wanted!r} in {self.shown[-300:]!r}")
            self.shown += data.decode("utf-8", "replace")
        before, self.shown = self.shown.split(wanted, 1)
        return before + wanted

    def type(self, line):
        os.write(self.terminal, line.encode() + b"\n")

    def end(self, seconds=30):
        """The exit status; what lldb still writes is read."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                os.close(self.terminal)
                return os.waitstatus_to_exitcode(status)
            if select.select([self.terminal], [], [], 0.1)[0]:
                try:
                    self.shown += os.read(self.terminal, 1 << 16).decode("utf-8", "replace")
                except OSError:
                    pass
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        raise AssertionError(f"lldb does not end: {self.shown[-300:]!r}")


def check_terminal(env, dump):
    """As a person uses it: asynchronous, with Ctrl-C, and `quit` in the middle."""
    lldb = Terminal(env)
    try:
        lldb.until("(lldb) ")
        lldb.type(opening(env, dump))
        yield from lacks("open", lldb.until("delay_tsc"), PANIC)
        lldb.type("continue")
        lldb.until("this is a crash dump, it cannot run")
        lldb.until("delay_tsc")
        os.write(lldb.terminal, b"\x03")
        lldb.type("bt")
        lldb.until("entry_SYSCALL_64")
        lldb.type("quit")
        lldb.until("[Y/n]")  # lldb's question about a live process
        lldb.type("y")
        yield from differ("exit status", lldb.end(), 0)
    except AssertionError as problem:
        os.kill(lldb.pid, signal.SIGKILL)
        yield str(problem)


def check_ends(env, first, second):
    """lldb's own ends with dumps open: end of the script, quit, exit from Python, SIGTERM."""
    open_both = [opening(env, first), opening(env, second)]
    for last, status in (("target list", 0), ("quit", 0), ("quit 3", 3), ("script import os; os._exit(7)", 7), ("script import sys; sys.exit(5)", None),
                         ("plugin load " + str(env.plugin), 0)):
        start = time.monotonic()
        words = [LLDB, "-x", "-b", *with_plugin(env)]
        for command in [START[-1], *open_both, last]:
            words += ["-o", command]
        done = subprocess.run(words, env=environment(env), stdin=subprocess.DEVNULL, capture_output=True, timeout=120)
        if status is not None:
            yield from differ(f"exit status after {last!r}", done.returncode, status)
        elif done.returncode < 0:
            yield f"{last!r}: lldb died of signal {-done.returncode}"
        if time.monotonic() - start > 100:
            yield f"{last!r}: lldb needs {time.monotonic() - start:.0f} s to end"


def tests(env):
    names = {"all": (check_ends, "6.12/qemu5", "6.12/qemu4"), "terminal": (check_terminal, "6.12/qemu4")}
    crashes = {crash.id: crash for crash in env.crashes()}
    for name, (check, *ids) in names.items():
        if all(one in crashes for one in ids):
            yield name, functools.partial(check, env, *(crashes[one].dump() for one in ids))
