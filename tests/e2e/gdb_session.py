"""One gdb on `inquest serve --stdio` for each crash: all that the tests want to ask of it is asked in one go."""
import json
import os
import re
import shlex
import subprocess

from lib import HERE, Answer, Session, text

OPTIONS = ["-nx", "-q", "-batch", "-iex", "set index-cache enabled on", "-iex", "set width 0",
           "-iex", "set height 0", "-iex", "set confirm off", "-iex", "set remotetimeout 60"]  # busy machines open dumps slowly


def server(env, dump, *words, vmlinux=True):
    """What gdb starts behind `target remote |`."""
    return shlex.join(["exec", env.inquest, *map(str, env.words("serve", dump, "--stdio", *words, vmlinux=vmlinux))])


def run_gdb(env, commands, target, program=None, timeout=300, gdb="gdb", variables=None, options=()):
    """Answers to `commands`, and what gdb itself printed; the server behind `target` is one that target remote takes."""
    requests = env.temp(f"gdb-{run_gdb.count}.json")
    run_gdb.count += 1
    requests.write_text(json.dumps(commands))
    # Folders with the modules' debug files come from the server (it finds them next to vmlinux), not from gdb's own settings.
    done = subprocess.run([gdb, *OPTIONS, *options, *([str(program)] if program else []), "-ex", f"target remote {target}",
                           "-x", str(HERE / "in_gdb.py")], env={**os.environ, "INQUEST_E2E": str(requests), "LC_ALL": "C.UTF-8", **(variables or {})},
                          stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout)
    answers = requests.with_name(requests.name + ".out")
    if not answers.exists():
        raise AssertionError(f"gdb ended with {done.returncode}: {text(done.stdout)[-300:]} {text(done.stderr)[-300:]}")
    return [Answer(**a) for a in json.loads(answers.read_text())], text(done.stdout), text(done.stderr)


run_gdb.count = 0


def switch(tid):
    """The command that goes to a task, whatever number gdb has given its thread."""
    return f"python next(thread for thread in gdb.selected_inferior().threads() if thread.ptid[1] == {tid}).switch()"


class GdbSession(Session):
    def __init__(self, env, dump, alone=False, variables=None, program=None):
        """`alone`: neither gdb nor the server has a file but the dump; `program`: gdb's file in place of the server's."""
        super().__init__(env, dump)
        self.alone, self.variables, self.program = alone, variables, program

    def run(self, commands):
        words = ["--no-vmlinux"] if self.alone else []
        target = "| " + server(self.env, self.dump, *words, vmlinux=not self.alone)
        answers, stdout, stderr = run_gdb(self.env, commands, target, gdb=self.dump.crash.gdb,
                                          program=None if self.alone else self.program or self.dump.crash.vmlinux, variables=self.variables)
        return answers, stdout + "\n" + stderr

    def traces(self):
        """tid -> [(address or None, function)], innermost first."""
        return backtraces(self.output("bt"))


THREAD = re.compile(r"^Thread \d+ \(Thread \d+\.(\d+) (.*)\):$")
FRAME = re.compile(r"^#\d+ +(?:0x([0-9a-f]+) in )?(\S+) \(")


def backtraces(output):
    """Of `thread apply all bt`."""
    found, current = {}, None
    for line in output.splitlines():
        if thread := THREAD.match(line):
            current = found.setdefault(int(thread[1]), [])
        elif current is not None and (frame := FRAME.match(line)):
            current.append((int(frame[1], 16) if frame[1] else None, frame[2]))
    return found


def sessions(env):
    """crash -> its session; made once, and shared by the test files."""
    if not hasattr(env, "gdb_sessions"):
        env.gdb_sessions = {crash.id: (crash, GdbSession(env, crash.dump())) for crash in env.crashes()}
    return list(env.gdb_sessions.values())
