"""The file of `inquest image` by itself: its symbols, and what gdb and lldb make of it with nothing else."""
import functools
import os
import stat
import subprocess

from lib import Skip, differ, lacks, text

# What gdb says when it has only the image; $1 is a size that pahole knows too.
GDB = {
    "whatis do_exit": ["type = void (long)"],
    "whatis runqueues": ["type = struct rq"],
    "whatis init_task": ["type = struct task_struct"],
    "ptype struct list_head": ["struct list_head {", "    struct list_head *next;", "    struct list_head *prev;"],
    "ptype spinlock_t": ["type = struct spinlock {"],
    "ptype struct sk_buff": ["    __u8 cloned : 1;", "    refcount_t users;", "    struct skb_ext *extensions;"],
    "info symbol do_exit": ["do_exit in section .text"],
    "info scope do_exit": ["Symbol code is optimized out."],
    "info line do_exit": ["No line number information available for address"],
    "info functions ^do_exit$": ["void do_exit(long);"],
    "print &((struct task_struct *)0)->comm": ["(char (*)[16])"],
    "break loop_queue_rq": [" at 0x"],
    "whatis loop_queue_rq": ["type = blk_status_t (struct blk_mq_hw_ctx *, const struct blk_mq_queue_data *)"],
    "ptype struct loop_device": ["    struct file *lo_backing_file;", "    struct gendisk *lo_disk;"],
}


def run(*words, **more):
    return subprocess.run(list(map(str, words)), stdin=subprocess.DEVNULL, capture_output=True, timeout=200, **more)


def have(program):
    if not any(os.access(os.path.join(folder, program), os.X_OK) for folder in os.environ["PATH"].split(":")):
        raise Skip(f"no {program}")


@functools.cache
def made(env, dump):
    """The image of a dump, without its vmlinux."""
    path = env.temp(dump.id.replace("/", "-") + ".image")
    done = env.run("image", *dump.options, dump.path, "--no-vmlinux", "-o", path)
    if done.returncode or done.stderr:
        raise AssertionError(f"inquest image: {text(done.stderr)}")
    return path


def check_written(env, dump):
    """Written whole or not at all."""
    image = made(env, dump)
    yield from differ("on standard output", env.run("image", *dump.options, dump.path, "--no-vmlinux", "-o", "-").stdout, image.read_bytes())
    mask = os.umask(0)
    os.umask(mask)
    yield from differ("mode", stat.S_IMODE(image.stat().st_mode), 0o666 & ~mask)
    folder = env.temp("images")
    folder.mkdir()
    (folder / "old").write_bytes(b"old")
    (folder / "link").symlink_to("old")
    for name in ("old", "new"):
        yield from differ(name, env.run("image", *dump.options, dump.path, "--no-vmlinux", "-o", folder / name).returncode, 0)
        yield from differ(name, (folder / name).read_bytes() == image.read_bytes(), True)
    yield from differ("what is left", sorted(os.listdir(folder)), ["link", "new", "old"])
    for path, why in ((folder / "none" / "x", "cannot be written"), (folder, "is not a regular file"), ("/dev/full", "is not a regular file")):
        done = env.run("image", *dump.options, dump.path, "--no-vmlinux", "-o", path)
        yield from differ(f"exit status for {path}", done.returncode, 1)
        yield from lacks(str(path), text(done.stderr), why)
    done = env.run("image", *dump.options, dump.path)
    yield from differ("without -o", done.returncode, 2)


def check_symbols(env, dump):
    """Every line of the guest's /proc/kallsyms, at its address, as code or as data."""
    symbols = {}
    for line in run("nm", made(env, dump)).stdout.decode("latin1").splitlines():
        address, kind, name = line.split(" ", 2)
        symbols.setdefault((int(address, 16), name), kind)
    missing, kinds, count = [], [], 0
    for address, kind, name, module in dump.crash.kallsyms():
        if module == "bpf" or (module or "").startswith("__builtin"):
            continue
        count += 1
        ours = symbols.get((address, name))
        if not ours:
            missing.append(f"{address:x} {kind} {name} {module}")
        elif kind in "tTrR" and (kind in "tT") != (ours in "tTW") and ours != "A":
            kinds.append(f"{name} is {ours}, not {kind}")
    yield from differ("symbols missing", missing[:5], [])
    # Labels at the end of a section and code in data sections have no better kind.
    if len(kinds) > count / 500:
        yield f"{len(kinds)} of another kind: {kinds[:5]}"


def gdb(image, *commands):
    words = ["gdb", "-nx", "-batch", *([image] if image else [])]
    for command in commands:
        words += ["-ex", f"python print('=== {len(words)}', flush=True)", "-ex", command]
    done = run(*words)
    return [part.split("\n", 1)[1] for part in (done.stdout + done.stderr).decode("latin1").split("=== ")[1:]]


def check_gdb(env, dump):
    """Types, prototypes and names, with nothing but the image."""
    image, vmlinux = made(env, dump), dump.crash.vmlinux
    for (command, wanted), said in zip(GDB.items(), gdb(image, *GDB)):
        yield from lacks(command, said, *wanted)
    sizes = {line.split("\t")[0]: line.split("\t")[1] for line in text(run("pahole", "-F", "btf", "-s", vmlinux).stdout).splitlines()}
    names = ["task_struct", "sk_buff", "net_device", "mm_struct", "inode", "page", "module", "tcp_sock"]
    for name, said in zip(names, gdb(image, *(f"print sizeof(struct {name})" for name in names))):
        yield from differ(f"sizeof {name}", said.strip().split(" = ")[-1], sizes[name])


def check_lldb(env, dump):
    have("lldb-19")
    commands = {"image lookup -t list_head": ["list_head *next;"], "image lookup -n do_exit": ["`do_exit"],
                "expr sizeof(struct list_head)": ["= 16"], "image lookup -t task_struct": ["char comm[16];"],
                "breakpoint set -n loop_queue_rq": ["`loop_queue_rq"], "expr &runqueues": ["(rq *)"]}
    words = ["lldb-19", "-x", "-b", made(env, dump)]
    for command in commands:
        words += ["-o", command]
    said = run(*words).stdout.decode("latin1").split("\n(lldb) ")[1:]
    yield from differ("answers", len(said), len(commands))
    for (command, wanted), answer in zip(commands.items(), said):
        yield from lacks(f"lldb: {command}", answer, *wanted)


def tests(env):
    for kernel, name in (("6.1", "qemu4"), ("6.12", "qemu5"), ("6.1", "kexec"), ("6.12", "kexec")):
        try:
            dump = env.crash(kernel, name).dump()
        except Skip:
            continue
        for check in (check_symbols, check_gdb, check_lldb):
            yield f"{check.__name__[6:]}/{dump.id}", functools.partial(check, env, dump)
    crashes = env.crashes()
    if crashes:
        yield "written", functools.partial(check_written, env, crashes[0].dump())
