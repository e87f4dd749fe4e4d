"""What IDEs do, through the adapters that they use: lldb-dap (VS Code and others) and cdt-gdb-adapter (Eclipse, Theia, VS Code).

The configurations are those that `inquest vscode` prints.  gdb/MI, as CLion and the C/C++ extension speak it, is in mi.py.
"""
import functools
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

from dap import Dap
from lib import HERE, Skip, default_corpus, differ, lacks, text
from lldb_session import LLDB, environment
from server import serving

LLDB_DAP = "lldb-dap-19"
CDT = "cdt-gdb-adapter@1.7.0"
PANIC = "Kernel panic - not syncing: sysrq triggered crash"


def configuration(env, dump, kind):
    done = env.ask("vscode", dump)
    if done.returncode:
        raise AssertionError(f"inquest vscode: {text(done.stderr)}")
    return next(one for one in json.loads(done.stdout)["configurations"] if one["type"] == kind)


def cdt_adapter():
    """Its program; installed from npm beside the corpus when it is not there."""
    folder = default_corpus().parent / "npm"
    program = folder / "node_modules" / CDT.split("@")[0] / "dist" / "debugTargetAdapter.js"
    if not program.exists():
        if not shutil.which("npm"):
            raise Skip("npm is not installed")
        folder.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(folder), CDT],
                              stdin=subprocess.DEVNULL, capture_output=True, timeout=300)
        if not program.exists():
            raise Skip(f"{CDT} cannot be installed: {text(done.stderr)[-200:]}")
    return program


def start(adapter, request):
    """From initialize to the first stop; the capabilities and the stop."""
    capabilities = adapter.ask("initialize", adapterID="e2e", clientID="e2e", linesStartAt1=True, columnsStartAt1=True, pathFormat="path",
                               supportsVariableType=True, supportsMemoryReferences=True)
    number = adapter.send(request.pop("request"), **request)
    adapter.event("initialized")
    breakpoint_ = adapter.ask("setFunctionBreakpoints", breakpoints=[{"name": "ksys_write"}])["breakpoints"]
    adapter.ask("configurationDone")
    answer = adapter.response(number)
    if not answer["success"]:
        raise AssertionError(f"{answer.get('message')} {adapter.output[-500:]}")
    return capabilities, breakpoint_, adapter.event("stopped")


def stack(adapter, thread, levels=40):
    return adapter.ask("stackTrace", threadId=thread, startFrame=0, levels=levels)["stackFrames"]


def variables(adapter, reference):
    return {variable["name"]: variable["value"] for variable in adapter.ask("variables", variablesReference=reference)["variables"]}


def value(adapter, expression, frame):
    """Of an expression; of an array, its elements' values."""
    body = adapter.ask("evaluate", expression=expression, frameId=frame, context="watch")
    if body.get("variablesReference") and '"' not in body["result"]:
        return " ".join(variables(adapter, body["variablesReference"]).values())
    return body["result"]


def look(env, adapter, dump):
    """Threads, stacks, variables, expressions, disassembly."""
    threads = adapter.ask("threads")["threads"]
    yield from differ("threads", len(threads), len(env.json("ps", dump)))
    names = [thread["name"].split(" ")[0] for thread in threads]
    for name in ("truth", "kthreadd", "nanosleep"):
        yield from differ(f"threads called {name}", names.count(name), 1)
    frames = stack(adapter, threads[0]["id"])
    functions = [frame["name"].split("(")[0] for frame in frames]
    wanted = ["panic", "sysrq_handle_crash", "write_sysrq_trigger", "vfs_write", "ksys_write", "do_syscall_64", "entry_SYSCALL_64"]
    yield from differ("functions of the panicking task", [name for name in functions if name in wanted], wanted)
    frame = next(frame for frame in frames if frame["name"].startswith("ksys_write"))
    yield from differ("its source", Path(frame["source"]["name"]).name, "read_write.c")
    sleeper = stack(adapter, next(thread["id"] for thread in threads if thread["name"].startswith("nanosleep")))
    yield from lacks("the sleeper's stack", [one["name"].split("(")[0] for one in sleeper], "do_nanosleep", "do_syscall_64")
    scopes = adapter.ask("scopes", frameId=frame["id"])["scopes"]
    yield from lacks("scopes", [scope["name"].rstrip("s") for scope in scopes], "Local", "Register")
    yield from differ("count in ksys_write", variables(adapter, scopes[0]["variablesReference"]).get("count"), "1")
    yield from differ("whether there are registers", bool(variables(adapter, scopes[-1]["variablesReference"])), True)
    yield from differ("1+1", value(adapter, "1+1", frame["id"]), "2")
    release = "".join(c for c in value(adapter, "init_uts_ns.name.release", frame["id"]) if c not in "' ")
    first = dump.crash.release
    if first not in release and not all(c in release for c in first):
        yield f"init_uts_ns.name.release: {release}"
    code = adapter.ask("disassemble", memoryReference=frame["instructionPointerReference"], instructionCount=5, instructionOffset=0)["instructions"]
    yield from differ("instructions", (len(code), int(code[0]["address"], 16)), (5, int(frame["instructionPointerReference"], 16)))


def wishes(adapter, thread):
    """Each is answered, and the view stops where it was."""
    at = stack(adapter, thread, 1)[0]["instructionPointerReference"]  # its name may be an inlined function's or what that is in
    for wish in ("next", "stepIn", "stepOut", "continue"):
        adapter.forget_events()
        adapter.ask(wish, threadId=thread)
        yield from differ(f"allThreadsStopped after {wish}", adapter.event("stopped").get("allThreadsStopped"), True)
        yield from differ(f"the innermost frame after {wish}", stack(adapter, thread, 1)[0]["instructionPointerReference"], at)
    adapter.ask("pause", threadId=thread)  # of what stands still anyway
    frame = next(frame for frame in stack(adapter, thread) if frame["name"].startswith("ksys_write"))
    adapter.try_ask("evaluate", expression="schedule()", frameId=frame["id"], context="watch")
    scopes = adapter.ask("scopes", frameId=frame["id"])["scopes"]
    adapter.try_ask("setVariable", variablesReference=scopes[0]["variablesReference"], name="ret", value="5")
    yield from differ("ret after an attempt to set it", variables(adapter, scopes[0]["variablesReference"]).get("ret"), "-9")
    yield from differ("alive", value(adapter, "2+2", frame["id"]), "4")


def conversation(env, adapter, dump, request, verified):
    try:
        _, breakpoints, stopped = start(adapter, request)
        yield from differ("whether the breakpoint is verified", breakpoints[0]["verified"], verified)
        yield from differ("the thread that stopped", stopped["threadId"], 1)
        if stopped["reason"] == "exception":
            yield from differ("why", stopped["description"], PANIC)
        yield from look(env, adapter, dump)
        yield from wishes(adapter, 1)
        try:
            adapter.ask("disconnect", terminateDebuggee=False)
        except AssertionError:  # now and then it dies, as below, before it answers
            pass
        adapter.process.stdin.close()
        adapter.process.wait(60)  # lldb-dap 19 dies of SIGABRT at its end, whatever it debugged: its status says nothing
    finally:
        adapter.kill()


def check_lldb_dap(env, dump, request=None):
    request = request or configuration(env, dump, "lldb-dap")
    request["initCommands"] = [f'plugin load "{env.plugin}"' if command.startswith("plugin load") else command for command in request["initCommands"]]
    yield from conversation(env, Dap([LLDB_DAP], environment(env)), dump, request, False)


def check_lldb_dap_server(env, dump):
    """Without the plugin.  Without stopOnEntry lldb-dap 19 resumes while another of its threads reads what came with the first stop,
    and then often crashes."""
    setup = text(env.ask("lldb-commands", dump).stdout).splitlines()
    with serving(env, dump) as server:
        request = {"request": "attach", "attachCommands": [*setup, f"gdb-remote {server.where}"], "stopOnEntry": True}
        yield from conversation(env, Dap([LLDB_DAP], environment(env)), dump, request, False)


def check_cdt(env, dump, request=None):
    adapter = Dap(["node", cdt_adapter()])
    yield from conversation(env, adapter, dump, request or configuration(env, dump, "gdbtarget"), True)


def check_cppdbg(env, dump, request=None):
    """What its configuration makes gdb do: the commands, in gdb."""
    request = request or configuration(env, dump, "cppdbg")
    words = ["gdb", "-nx", "-q", "-batch", request["program"]]
    for command in request["customLaunchSetupCommands"]:
        words += ["-ex", command["text"]]
    done = subprocess.run([*words, "-ex", "bt", "-ex", "info sharedlibrary"], stdin=subprocess.DEVNULL, capture_output=True, timeout=120)
    yield from lacks("bt", text(done.stdout), "panic (fmt=", "entry_SYSCALL_64", "loop.ko")


def check_codelldb(env, dump, request=None):
    """The same for CodeLLDB: its lldb is another one, its commands are these."""
    request = request or configuration(env, dump, "lldb")
    with serving(env, dump) as server:
        words = [LLDB, "-x", "-b"]
        for command in [*request["targetCreateCommands"], *request["processCreateCommands"], "bt"]:
            words += ["-o", re.sub(r"(?<=gdb-remote ).*1234$", server.where, command)]
        done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, timeout=120)
    yield from lacks("bt", text(done.stdout), PANIC, "`panic(", "`entry_SYSCALL_64")


def check_docs(env, dump):
    """The configurations of docs/ide.md, which are shorter."""
    page = (HERE.parent.parent / "docs" / "ide.md").read_text()
    blocks = [json.loads(block) for block in re.findall(r"(?:^    .*\n)+", page, re.M) if block.lstrip().startswith('{"type"')]
    checks = {"lldb-dap": check_lldb_dap, "cppdbg": check_cppdbg, "gdbtarget": check_cdt, "lldb": check_codelldb}
    yield from differ("types", [block["type"] for block in blocks], list(checks))
    commands = env.temp("vmcore.lldb")
    commands.write_bytes(env.ask("lldb-commands", dump).stdout)
    real = {"vmcore.lldb": str(commands), "/path/vmlinux": str(dump.crash.vmlinux), '"inquest"': f'"{env.inquest}"', "| inquest ": f"| {env.inquest} ",
            'open vmcore"': f'open {dump.path} {dump.crash.vmlinux}"', 'stdio vmcore"': f'stdio {dump.path} {dump.crash.vmlinux}"',
            '0", "vmcore"': f'0", "{dump.path}", "{dump.crash.vmlinux}"'}
    for block in blocks:
        text_ = json.dumps(block)
        for word, value_ in real.items():
            text_ = text_.replace(word, value_)
        for problem in checks[block["type"]](env, dump, json.loads(text_)):
            yield f"{block['type']}: {problem}"


def check_vscode(env, dump):
    """`inquest vscode` writes where it is told, and over nothing."""
    folder = env.temp("workspace")
    folder.mkdir()
    printed = env.ask("vscode", dump).stdout
    words = env.words("vscode", dump)
    done = env.run(*words, "--write", cwd=folder)
    yield from differ("--write", (done.returncode, done.stdout, (folder / ".vscode" / "launch.json").read_bytes()), (0, b"", printed))
    again = env.run(*words, "--write", cwd=folder)
    yield from differ("--write again", (again.returncode, len(text(again.stderr).splitlines())), (1, 1))
    done = env.run(*words, "-o", folder / "mine.json")
    yield from differ("-o", (done.returncode, (folder / "mine.json").read_bytes()), (0, printed))
    kinds = [one["type"] for one in json.loads(printed)["configurations"]]
    yield from differ("types", kinds, ["lldb-dap", "cppdbg", "gdbtarget", "lldb"])
    alone = env.run(*env.words("vscode", dump, "--no-vmlinux", vmlinux=False), env={**os.environ, "XDG_CACHE_HOME": str(folder)})
    images = {one["program"] for one in json.loads(alone.stdout)["configurations"] if "program" in one}
    yield from differ("the program without a vmlinux", [path.startswith(f"{folder}/inquest/images/") for path in images], [True])
    bad = env.run("vscode", "/etc/passwd")
    yield from differ("a bad file", (bad.returncode, bad.stdout, len(text(bad.stderr).splitlines())), (1, b"", 1))


def tests(env):
    checks = {"lldb-dap": (check_lldb_dap, "6.1/qemu4"), "lldb-dap-server": (check_lldb_dap_server, "6.12/qemu4"), "cdt": (check_cdt, "6.12/qemu5"),
              "cppdbg": (check_cppdbg, "6.12/qemu4"), "codelldb": (check_codelldb, "6.1/qemu4"), "docs": (check_docs, "6.12/qemu4"),
              "vscode": (check_vscode, "6.12/qemu4")}
    for crash in env.crashes():
        for name, (check, wanted) in checks.items():
            if crash.id == wanted:
                yield name, functools.partial(check, env, crash.dump())
