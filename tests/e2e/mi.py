"""A conversation in gdb/MI, as an IDE has it: threads, stack, variables, memory, and wishes that cannot be granted."""
import functools
import os
import queue
import re
import subprocess
import threading

from gdb_session import OPTIONS, server
from lib import differ, lacks

SECONDS = 120


class Mi:
    def __init__(self, env, dump):
        words = ["gdb", *(word for word in OPTIONS if word != "-batch"), "-interpreter=mi3", str(dump.crash.vmlinux)]
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                        errors="replace", env={**os.environ, "LC_ALL": "C.UTF-8"})
        self.lines, self.number = queue.Queue(), 0
        threading.Thread(target=lambda: [self.lines.put(line.rstrip("\n")) for line in self.process.stdout], daemon=True).start()

    def until(self, pattern):
        """The lines up to the first that matches."""
        lines = []
        while not lines or not re.match(pattern, lines[-1]):
            try:
                lines.append(self.lines.get(timeout=SECONDS))
            except queue.Empty:
                raise AssertionError(f"no {pattern} after {lines[-3:]}") from None
        return lines

    def ask(self, command):
        """The result record."""
        self.number += 1
        self.process.stdin.write(f"{self.number}{command}\n")
        self.process.stdin.flush()
        return self.until(rf"{self.number}\^")[-1]

    def end(self):
        self.ask("-gdb-exit")
        return self.process.wait(SECONDS)


def check(env, dump):
    mi = Mi(env, dump)
    try:
        yield from lacks("-target-select", mi.ask(f'-target-select remote | {server(env, dump)}'), "^connected")
        threads = mi.ask("-thread-info")
        yield from differ("threads", len(re.findall(r'target-id="Thread', threads)), len(env.json("ps", dump)))
        yield from lacks("-thread-info", threads, 'name="truth"', 'name="kthreadd"', 'state="stopped"', 'current-thread-id="1"')
        yield from lacks("-stack-list-frames", mi.ask("-stack-list-frames"), 'func="panic"', 'file="kernel/panic.c"', 'func="ksys_write"')
        level = re.search(r'frame=\{level="(\d+)",addr="[^"]*",func="ksys_write"', mi.ask("-stack-list-frames"))[1]
        yield from lacks("-stack-list-variables", mi.ask(f"-stack-list-variables --thread 1 --frame {level} --all-values"),
                         'name="count",arg="1",value="1"', 'name="ret"')
        kthreadd = re.search(r'\{id="(\d+)",target-id="[^"]*",details="[^"]*",name="kthreadd"', threads)[1]
        yield from lacks("-stack-list-frames --thread", mi.ask(f"-stack-list-frames --thread {kthreadd}"), 'func="kthreadd"')
        yield from lacks("-data-evaluate-expression", mi.ask("-data-evaluate-expression init_uts_ns.name.release"), dump.crash.release)
        yield from lacks("-var-create", mi.ask("-var-create v * init_task"), '^done', 'type="struct task_struct"')
        yield from lacks("-data-read-memory-bytes", mi.ask("-data-read-memory-bytes &linux_banner 5"), 'contents="4c696e7578"')
        yield from lacks("-data-list-register-values", mi.ask("-data-list-register-values x"), 'value="0xffffffff')
        for command in ("-exec-continue", "-exec-next"):
            yield from lacks(command, mi.ask(command), "^running")
            yield from lacks(command, mi.until(r"\*stopped")[-1], 'thread-id="1"')
        yield from lacks("-break-insert", mi.ask("-break-insert ksys_read"), "^done")
        for command in ("-exec-finish", "-exec-continue"):  # gdb cannot insert the breakpoints: ^error, or ^running and then that
            if "^error" not in mi.ask(command):
                mi.until(r".*\^error")
        yield from lacks("-break-delete", mi.ask("-break-delete"), "^done")
        yield from lacks("-exec-interrupt", mi.ask("-exec-interrupt"), "^")
        yield from lacks("alive", mi.ask("-data-evaluate-expression 1+1"), 'value="2"')
        yield from lacks("-target-detach", mi.ask("-target-detach"), "^done")
        yield from differ("exit status", mi.end(), 0)
    finally:
        mi.process.kill()
        mi.process.wait()
        mi.process.stdin.close()


def tests(env):
    for crash in env.crashes()[:1]:
        yield crash.id, functools.partial(check, env, crash.dump())
