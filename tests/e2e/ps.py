"""`inquest ps` against the guest's own /proc/*/stat, for every dump file of every crash."""
import functools

from lib import differ, text


def shown(name):
    """As JSON shows a name that is not UTF-8."""
    return name.decode("utf-8", "replace")


def is_worker(name):
    return name.startswith(b"kworker/")


def plain(name):
    """A worker's name without what it last did (`kworker/0:1-events`); a rescuer's (`kworker/R-...`) does not change."""
    if name.startswith("kworker/R-"):
        return name
    for sign in "+-":
        name = name.split(sign, 1)[0]
    return name


def wrong_name(got, before, after):
    """README.md of the corpus: where stat and stat2 agree the name is certain, but a worker may have worked once more."""
    allowed = {shown(before.name), shown(after.name)}
    if got in allowed:
        return False
    return not (is_worker(after.name) and plain(got) in map(plain, allowed))


def wrong_state(got, before, after):
    """Workers, the grace-period thread of RCU and some threads that serve a CPU wake up by themselves; nobody else does."""
    if got in (before.state, after.state):
        return False
    wakes = is_worker(after.name) or after.name.startswith((b"rcu_", b"migration/", b"ksoftirqd/", b"kcompactd"))
    return not (wakes and got in "IRD")


def compare(crash, rows, complete):
    tasks = {row["tid"]: row for row in rows if row["tid"] != 0 and not row["comm"].startswith("swapper/")}
    idle = [row for row in rows if row["comm"].startswith("swapper/")]
    before, after = crash.stat("stat"), crash.stat("stat2")
    if len(tasks) + len(idle) != len(rows):
        yield "a task is listed twice"
    for tid in sorted(tasks.keys() - after.keys()):
        yield f"task {tid} ({tasks[tid]['comm']}) does not exist"
    missing = sorted(after.keys() - tasks.keys())
    if complete and missing:
        yield f"{len(missing)} tasks missing: {missing[:8]}"
    possible = [line.split()[1] for line in crash.lines("cpus") if line.startswith("possible")][0]
    if complete:
        yield from differ("idle tasks", len(idle), int(possible.split("-")[-1]) + 1)
    for tid, row in tasks.items():
        if tid not in after:
            continue
        old, new = before.get(tid, after[tid]), after[tid]
        yield from differ(f"pid of {tid}", row["pid"], new.tgid)
        if complete or row["ppid"] is not None:  # a parent that is lost has no number
            yield from differ(f"ppid of {tid}", row["ppid"], new.ppid)
        # Without what holds the rest of a kernel thread's name there is only comm, whose 15 bytes cut it.
        cut = not complete and row["comm"] == shown(new.name)[:15]
        if wrong_name(row["comm"], old, new) and not cut:
            yield from differ(f"name of {tid}", row["comm"], shown(new.name))
        if wrong_state(row["state"], old, new):
            yield from differ(f"state of {tid} ({shown(new.name)})", row["state"], new.state)


def check_dump(env, dump):
    yield from compare(dump.crash, env.json("ps", dump), complete=True)


def check_damaged(env, dump):
    """What is there is right, and what is not is said."""
    done = env.ask("ps", dump)
    if done.returncode not in (0, 1):
        yield f"exit status {done.returncode}"
    if b"lost" not in done.stderr and b"cut" not in done.stderr:
        yield f"says nothing about the damage: {text(done.stderr)!r}"
    if done.returncode == 0:
        yield from compare(dump.crash, env.json("ps", dump), complete=False)
        if not env.ask("ps", dump, "--json").stderr:
            yield "--json lists a part of the tasks, and says nothing of it on standard error"
    elif done.stdout:
        yield "fails, and prints a list"
    info = env.json("info", dump)
    if not any("incomplete" in remark or "cut" in remark for remark in info["remarks"]):
        yield f"info has no remark: {info['remarks']}"


# makedumpfile 1.7.2 does not know 6.12 (it says so) and with -d 31, as kdump-compressed, leaves out pages that hold structures:
# drgn cannot read these either.
EXCLUDED = {"flat-lzo.kdump", "lzo.kdump", "nocomp.kdump", "snappy.kdump", "split-1.kdump"}


def is_excluded(env, dump, address):
    done = env.ask("read", dump, address, 8)
    return done.returncode == 1 and b"not in the dump" in done.stderr


def check_excluded(env, dump):
    """What is missing is really not in this file, by the addresses that the unfiltered dump of the same crash gives."""
    rows, said = env.json("ps", dump), env.ask("ps", dump).stderr
    yield from compare(dump.crash, rows, complete=False)
    whole = {row["tid"]: row for row in env.json("ps", dump.crash.dump("raw.elf"))}
    for tid in sorted(whole.keys() - {row["tid"] for row in rows}):
        if not any(is_excluded(env, dump, hex(int(whole[tid]["task"], 16) + at)) for at in range(0, 8192, 4096)):
            yield f"task {tid} is missing, and its structure is in the dump"
    if len(rows) < len(whole) / 2:
        yield f"only {len(rows)} of {len(whole)} tasks"
    if len(rows) != len(whole) and b"excluded" not in said:
        yield "does not say that tasks were excluded"
    cut = [row for row in rows if row["comm"] != whole[row["tid"]]["comm"]]
    if cut and b"are cut" not in said:
        yield f"does not say that names are cut: {cut[0]['comm']}"


def check_columns(env, dump):
    """The table for people has the same rows as the JSON, and its columns stand where their titles are."""
    lines = text(env.ask("ps", dump).stdout).splitlines()
    rows = env.json("ps", dump)
    yield from differ("rows", len(lines) - 1, len(rows))
    yield from differ("titles", lines[0].split(), ["PID", "TID", "PPID", "ST", "CPU", "TASK", "COMM"])
    for line, row in zip(lines[1:], rows):
        words = line.split(None, 6)
        yield from differ("columns", (int(words[1]), words[3], words[5]), (row["tid"], row["state"], row["task"]))


def tests(env):
    for crash in env.crashes():
        for dump in crash.dumps():
            check = check_dump
            if dump.damaged:
                check = check_damaged
            elif crash.id == "6.12/kexec" and dump.name in EXCLUDED:
                check = check_excluded
            yield dump.id, functools.partial(check, env, dump)
    if env.crashes():
        yield "table", functools.partial(check_columns, env, env.crashes()[0].dump())
