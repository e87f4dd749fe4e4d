"""Where things lie on other processors: what is each CPU's own, what no table shows, where the image begins."""
import functools
import re
import shutil

import memory
from foreign import architecture
from gdb_session import GdbSession, run_gdb, server
from lib import FOREIGN, Skip, differ, lacks


# What each thread sees of its CPU's lowcore.
LOWCORE = """for thread in gdb.selected_inferior().threads():
  thread.switch()
  print(thread.ptid[1], gdb.parse_and_eval('((struct lowcore *)0)->cpu_nr'))"""


def check_lowcore(crash, session):
    """Addresses 0 to 0x1fff are those of the CPU that a thread is or was on; nobody sees absolute memory there."""
    shown = {int(tid): int(cpu) for tid, cpu in re.findall(r"^(\d+) (\d+)$", session.output("lowcore"), re.M)}
    for row in session.env.json("ps", session.dump):
        if row["tid"]:
            yield from differ(f"the CPU of task {row['tid']}", shown.get(row["tid"]), row["cpu"])
    yield from differ("CPUs", sorted(set(shown.values())), [0, 1])


# Of the page that a task lies in: its slab's cache.  vmemmap is an array of struct page by number of the physical page; a page that is
# not the first of its slab leads to that by an odd pointer.
SLABS = """for pid, task in {tasks}:
  page = gdb.parse_and_eval(f'&((struct page *)vmemmap)[{{(task & 0x0fffffffffffffff) >> 16}}]')
  head = int(page['compound_head'])
  page = gdb.Value(head - 1).cast(page.type) if head & 1 else page
  print(pid, int(page.cast(gdb.lookup_type('struct slab').pointer())['slab_cache']), int(gdb.parse_and_eval('task_struct_cachep')))"""


def check_vmemmap(crash, session):
    """Each task's memory comes from the tasks' slab cache, as struct page says: with hashed tables, which do not show it, too."""
    shown = re.findall(r"^(\d+) (\d+) (\d+)$", session.output("slabs"), re.M)
    for pid, cache, tasks in shown:
        yield from differ(f"the slab cache of task {pid}", int(cache), int(tasks))
    yield from differ("tasks", len(shown), 20)


def plan_vmemmap(env, crash, session):
    tasks = [(row["tid"], int(row["task"], 16)) for row in env.json("ps", crash.dump()) if row["tid"]][:20]
    session.want("slabs", f"python exec({SLABS.format(tasks=tasks)!r})")


def check_own_vmlinux(env, dump):
    """The server has no vmlinux, gdb has one: it is moved to where the kernel ran, also when the kernel does not say where it begins."""
    panic = next(address for address, _, name, module in dump.crash.kallsyms() if name == "panic" and not module)
    asked = [f"info symbol {panic:#x}", "printf \"%s\\n\", (char *)&linux_banner", "printf \"%s\\n\", init_task.comm"]
    answers, _, _ = run_gdb(env, asked, "| " + server(env, dump, "--no-vmlinux", vmlinux=False), dump.crash.vmlinux, gdb=dump.crash.gdb,
                            variables={"XDG_CACHE_HOME": str(env.temp("cache"))})
    yield from differ("a function", answers[0].both.split(" in ")[0], "panic")
    yield from lacks("linux_banner", answers[1].both, dump.crash.truth("version").decode().strip())
    yield from differ("init_task.comm", answers[2].both.strip(), "swapper/0")


def check_source(env, dump):
    """Where s390's kernels leave a pointer to VMCOREINFO, nobody searches for it; sysfs says where it is."""
    said = env.json("info", dump)["source"]
    yield from differ("the map's source", said, "VMCOREINFO that the lowcore points to")
    at = memory.read(env, dump, "0xe0c", 8, "--physical")
    yield from differ("the pointer to the note", int.from_bytes(at, "big"), int(dump.crash.truth("vmcoreinfo").split()[0], 16))
    magic = int.from_bytes(memory.read(env, dump, "0xe18", 8, "--physical"), "big")
    yield from differ("os_info", memory.read(env, dump, hex(magic), 8, "--physical"), b"OSINFOSZ")


def tests(env):
    for crash in env.crashes(FOREIGN):
        if not shutil.which(crash.gdb):
            raise Skip(f"no {crash.gdb}")
        if architecture(crash) == "s390x":
            session = GdbSession(env, crash.dump())
            session.want("lowcore", f"python exec({LOWCORE!r})")
            yield f"{crash.id}/lowcore", functools.partial(check_lowcore, crash, session)
            for dump in crash.dumps():
                yield f"{dump.id}/source", functools.partial(check_source, env, dump)
        if architecture(crash) == "ppc64el":
            session = GdbSession(env, crash.dump())
            plan_vmemmap(env, crash, session)
            yield f"{crash.id}/vmemmap", functools.partial(check_vmemmap, crash, session)
        if crash.dump().name != "raw.img":
            yield f"{crash.id}/own-vmlinux", functools.partial(check_own_vmlinux, env, crash.dump())
