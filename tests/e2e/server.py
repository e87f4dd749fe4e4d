"""The server: several clients, clients that vanish, TCP and UNIX sockets, --once, signals, --trace."""
import contextlib
import functools
import os
import re
import signal
import socket
import stat
import struct
import subprocess

from lib import differ, lacks, text
from session import cli

SECONDS = 60  # until a server is up, on a busy machine


class Server:
    """`inquest serve` with a port of its own choice."""

    def __init__(self, env, dump, *words, listen="127.0.0.1:0", vmlinux=True):
        self.process = subprocess.Popen([env.inquest, *map(str, env.words("serve", dump, "--listen", listen, *words, vmlinux=vmlinux))],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        lines = iter(self.process.stderr.readline, b"")
        line = next((line for line in map(text, lines) if not line.startswith("inquest: note: ")), "")
        where = re.search(r"target remote (\S+)$", line)
        if not where:
            self.process.wait(SECONDS)
            raise AssertionError(f"the server says {line!r} and ends with {self.process.returncode}")
        self.where = where[1]

    def stop(self, number=signal.SIGTERM):
        """The exit status."""
        self.process.send_signal(number)
        status = self.process.wait(10)
        self.process.stdout.close()
        self.process.stderr.close()
        return status


@contextlib.contextmanager
def serving(env, dump, *words, **more):
    server = Server(env, dump, *words, **more)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.stop(signal.SIGKILL)


class Client:
    """Speaks the protocol over a socket, as gdb does at first: with acknowledgements."""

    def __init__(self, where):
        if where.startswith("unix:") or where.startswith("/"):
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(SECONDS)
            self.socket.connect(where.removeprefix("unix:"))
        else:
            host, port = where.rsplit(":", 1)
            self.socket = socket.create_connection((host, int(port)), SECONDS)
        self.rest = b""

    def send(self, body):
        self.socket.sendall(packet(body))

    def reply(self):
        while not (found := re.search(rb"\$([^#]*)#..", self.rest)):
            more = self.socket.recv(1 << 16)
            if not more:
                raise AssertionError(f"the server closed the connection after {self.rest[-80:]!r}")
            self.rest += more
        self.rest = self.rest[found.end():]
        self.socket.sendall(b"+")
        return found[1].decode("latin-1")

    def ask(self, body):
        self.send(body)
        return self.reply()

    def vanish(self):
        """Closes so that the other side sees a reset, as after the client's death."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


def packet(body):
    return f"${body}#{sum(body.encode()) % 256:02x}".encode()


HELLO = "qSupported:multiprocess+;swbreak+;hwbreak+;vContSupported+"


def hello(where):
    client = Client(where)
    client.ask(HELLO)
    return client


def works(where):
    """Whether a new client gets a stop reply; [] if so."""
    return lacks("a new client's ?", hello(where).ask("?"), "T05thread:")


def check_clients(env, dump):
    """Three clients, each with its own thread, turn by turn."""
    with serving(env, dump) as server:
        threads = sorted(tid for tid, task in dump.crash.stat("stat2").items() if task.state in "SI")[:3]
        clients = [hello(server.where) for _ in threads]
        for client, tid in zip(clients, threads):
            yield from differ(f"Hg of {tid}", client.ask(f"Hgp1.{tid:x}"), "OK")
        registers = [client.ask("g") for client in clients]
        yield from differ("different threads' registers", len(set(registers)), 3)
        for client, before in reversed(list(zip(clients, registers))):
            yield from differ("registers asked for again", client.ask("g"), before)
        clients[0].ask("D;1")
        yield from differ("registers after another client's detach", clients[1].ask("g"), registers[1])
        yield from works(server.where)


def check_vanishing(env, dump):
    """Clients that go away at any point of a conversation: the next one does not notice."""
    with serving(env, dump) as server:
        for words in (b"", b"+", b"$", b"$qSuppo", packet(HELLO), packet(HELLO) + b"+" + packet("qXfer:threads:read::0,1000"),
                      packet(HELLO) + b"+$mffffffff81000000,10000#", b"}" * 100000, b"\x03\x03$?#3f"):
            client = Client(server.where)
            client.socket.sendall(words)
            client.vanish()
        yield from works(server.where)
        if server.process.poll() is not None:
            yield f"the server ended with {server.process.returncode}"


def check_killed_gdb(env, dump):
    with serving(env, dump) as server:
        gdb = subprocess.Popen(["gdb", "-nx", "-q", "-batch", "-ex", f"target remote {server.where}", "-ex", "shell kill -9 $PPID"],
                               stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        yield from differ("gdb's end", gdb.wait(SECONDS), -signal.SIGKILL)
        for end in ("kill", "detach"):
            shown = cli(env, dump, ["info threads 1", end], target=server.where)
            yield from lacks(f"gdb after {end}", shown[0], '"truth"')
        yield from works(server.where)


def check_sent_again(env, dump):
    """A client that waited too long for the first answer sends its packet once more: there is one answer, and then the next."""
    with serving(env, dump) as server:
        client = Client(server.where)
        client.socket.sendall(b"+" + packet(HELLO) + packet(HELLO))
        yield from lacks("the answer", client.reply(), "PacketSize=")
        yield from differ("the next answer", client.ask("vMustReplyEmpty"), "")


def check_unix(env, dump):
    path = env.temp("socket")
    with serving(env, dump, listen=f"unix:{path}") as server:
        yield from differ("the socket's mode", oct(stat.S_IMODE(os.stat(path).st_mode)), oct(0o600))
        yield from works(f"unix:{path}")
        shown = cli(env, dump, ["info threads 1"], target=str(path))
        yield from lacks("gdb", shown[0], '"truth"')
        second = env.ask("serve", dump, "--listen", f"unix:{path}", timeout=SECONDS)
        yield from differ("a second server's exit status", second.returncode, 1)
        yield from differ("a second server's lines", len(text(second.stderr).splitlines()), 1)
        yield from works(f"unix:{path}")
        server.stop(signal.SIGKILL)  # leaves the socket's file behind
    if not path.exists():
        yield "the check needs a stale socket"
    with serving(env, dump, listen=f"unix:{path}") as server:
        yield from works(f"unix:{path}")
        yield from differ("exit status after SIGTERM", server.stop(), 0)
    if path.exists():
        yield "the socket's file is left behind"
    path.write_text("somebody's file")
    refused = env.ask("serve", dump, "--listen", f"unix:{path}", timeout=SECONDS)
    yield from differ("in place of a file", (refused.returncode, len(text(refused.stderr).splitlines()), path.read_text()),
                      (1, 1, "somebody's file"))


def check_port(env, dump):
    with serving(env, dump) as server:
        second = env.ask("serve", dump, "--listen", server.where, timeout=SECONDS)
        yield from differ("a port in use", (second.returncode, len(text(second.stderr).splitlines())), (1, 1))
        yield from lacks("a port in use", text(second.stderr), "inquest: ", server.where.rsplit(":", 1)[1])
    for where in ("0.0.0.0:0", "nonsense", "127.0.0.1:99999", "unix:/nonexistent/socket"):
        refused = env.ask("serve", dump, "--listen", where, timeout=SECONDS)
        yield from differ(f"--listen {where}", (refused.returncode in (1, 2), len(text(refused.stderr).splitlines())), (True, 1))


def check_once(env, dump):
    with serving(env, dump, "--once") as server:
        client = hello(server.where)
        client.ask("?")
        client.socket.close()
        yield from differ("exit status after the client", server.process.wait(10), 0)


def check_signals(env, dump):
    """SIGTERM and SIGINT end the server, also with a client connected."""
    for number in (signal.SIGTERM, signal.SIGINT):
        with serving(env, dump) as server:
            client = hello(server.where)
            yield from differ(f"exit status after {number.name}", server.stop(number), 0)
            client.socket.close()


def check_trace(env, dump):
    path = env.temp("trace")
    with serving(env, dump, "--trace", path, "--once") as server:
        client = hello(server.where)
        client.ask("?")
        client.socket.close()
        server.process.wait(10)
    yield from lacks("the trace", path.read_text(errors="replace"), HELLO, "T05thread:")


def check_gdbs(env, dump):
    """Two real gdbs on one server at the same time."""
    with serving(env, dump) as server:
        words = ["gdb", "-nx", "-q", "-batch", "-iex", "set remotetimeout 60", "-iex", "set index-cache enabled on", dump.crash.vmlinux,
                 "-ex", f"target remote {server.where}", "-ex", "thread apply 2-20 bt", "-ex", "p init_uts_ns.name.release"]
        both = [subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) for _ in range(2)]
        shown = [text(gdb.communicate(timeout=180)[0]) for gdb in both]
        for output in shown:
            yield from lacks("gdb", output, "kthreadd (", dump.crash.release)
        yield from differ("the two say the same", shown[0] == shown[1], True)


def check_no_file(env, dump):
    """A gdb that has no file gets the image through the protocol, whatever there is on the machine that the server runs on; one that has
    the vmlinux gets the frames that this lacks."""
    asked = ["-ex", "p init_task.comm", "-ex", "bt", "-ex", "info sharedlibrary"]
    for vmlinux in (False, True):
        with serving(env, dump, *([] if vmlinux else ["--no-vmlinux"]), vmlinux=vmlinux) as server:
            files = ["-iex", "set index-cache enabled on", dump.crash.vmlinux] if vmlinux else []
            done = subprocess.run([dump.crash.gdb, "-nx", "-q", "-batch", *files, "-ex", f"target remote {server.where}", *asked],
                                  stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS)
            said = text(done.stdout)
            yield from lacks(f"gdb {'with' if vmlinux else 'without'} a vmlinux", said, "swapper", "sysrq_handle_crash", "entry_SYSCALL_64")
            yield from differ("standard error", [line for line in text(done.stderr).splitlines() if "Could not open" in line or "No such file" in line
                                                 and "target:" in line], [])
            if vmlinux and not re.search(r"Yes .*unwind", said):
                yield f"the frames were not loaded: {said[-300:]}"


def tests(env):
    for crash in env.crashes()[:1]:
        checks = {"clients": check_clients, "vanishing": check_vanishing, "killed-gdb": check_killed_gdb, "sent-again": check_sent_again,
                  "unix": check_unix, "port": check_port, "once": check_once, "signals": check_signals, "trace": check_trace,
                  "gdbs": check_gdbs, "no-file": check_no_file}
        for name, check in checks.items():
            yield name, functools.partial(check, env, crash.dump())
