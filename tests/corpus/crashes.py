"""The crashes of the corpus: what each guest is, and how its dumps are made.  One crash is one guest boot; all its files
show the same memory."""

import dataclasses
import hashlib
import mmap
import os
import re
import tempfile
import time

import guest
import variants
from debian import run
from machine import Machine

FOUR_LEVELS = "max,la57=off"
FIVE_LEVELS = "max"


@dataclasses.dataclass(frozen=True)
class Crash:
  """A guest.  `append` goes to its kernel command line, where guest/init finds many=, settle= and offline=."""
  name: str
  kernels: tuple = ("6.1", "6.12")
  cpu: str = FOUR_LEVELS
  memory: int = 512  # MB
  smp: int = 2
  note: bool = True  # QEMU's vmcoreinfo device: a VMCOREINFO note in the dumps
  kexec: bool = False  # dumped by a capture kernel instead of by QEMU
  dumps: tuple = ()  # of QEMU_DUMPS
  append: str = ""

  def recipe(self, release):
    """Changes when the crash has to be made again."""
    return hashlib.sha256(f"{self} {release} {guest.recipe()}".encode()).hexdigest() + "\n"


# Arguments of the monitor's dump-guest-memory.  QEMU 7.2 writes kdump flattened; Debian builds it without LZO and snappy.
QEMU_DUMPS = {
  "vmcoreinfo.elf": {"format": "elf"},
  "vmcoreinfo.kdump": {"format": "kdump-zlib"},
  "paging.elf": {"format": "elf", "paging": True},
  "nonote.elf": {"format": "elf"},
  "nonote.kdump": {"format": "kdump-zlib"},
}

CRASHES = {crash.name: crash for crash in [
  Crash("kexec", kexec=True, memory=768, append="crashkernel=256M"),
  Crash("many", kernels=("6.1",), memory=1024, append="many=3000 settle=10", dumps=("vmcoreinfo.elf",)),
  Crash("qemu4", dumps=("vmcoreinfo.elf", "vmcoreinfo.kdump", "paging.elf", "raw.img")),
  Crash("qemu4-nonote", note=False, dumps=("nonote.elf", "nonote.kdump")),
  # One of four CPUs is offline: there are more CPU notes than CPUs that run tasks.
  Crash("qemu5", cpu=FIVE_LEVELS, smp=4, append="offline=1", dumps=("vmcoreinfo.elf", "vmcoreinfo.kdump", "raw.img")),
  # Page-table isolation: a user task's root is one of two.
  Crash("qemu5-nonote", cpu=FIVE_LEVELS, note=False, append="pti=on", dumps=("nonote.elf", "nonote.kdump")),
  # pauth-impdef: signatures of return addresses by an algorithm that is quick to emulate.
  Crash("qemu", kernels=("arm64-6.1", "arm64-6.12", "arm64-6.12-16k"), cpu="max,pauth-impdef=on",
        dumps=("vmcoreinfo.elf", "vmcoreinfo.kdump")),
  # Without pointer authentication; a kernel for 52-bit addresses that found a processor for 48.
  Crash("nonote", kernels=("arm64-6.1",), cpu="cortex-a72", note=False, dumps=("nonote.elf",)),
  Crash("nonote-48", kernels=("arm64-6.12", "arm64-6.12-16k"), cpu="max,lpa2=off,pauth=off", note=False, dumps=("nonote.elf",)),
  Crash("non-pae", kernels=("i386-6.1",), cpu="pentium3", dumps=("vmcoreinfo.elf", "vmcoreinfo.kdump")),
  Crash("pae", kernels=("i386-6.1-pae",), dumps=("vmcoreinfo.elf", "vmcoreinfo.kdump")),
  # QEMU has no VMCOREINFO for these two.
  Crash("nonote-s390", kernels=("s390x-6.1",), cpu="max", note=False, dumps=("nonote.elf", "nonote.kdump", "raw.img")),
  Crash("nonote-radix", kernels=("ppc64el-6.1",), cpu="power9", memory=1024, note=False, dumps=("nonote.elf", "nonote.kdump", "raw.img")),
  Crash("nonote-hash", kernels=("ppc64el-6.1",), cpu="power8", memory=1024, note=False, dumps=("nonote.elf",)),
  # QEMU writes no dumps of MIPS machines.  Of a Malta board's memory the first 256 MB are where memory is expected.
  Crash("malta", kernels=("mips64el-6.1",), cpu="5KEc", memory=256, smp=1, note=False, dumps=("raw.img",)),
  Crash("nonote-lpae", kernels=("armhf-6.1-lpae",), cpu="cortex-a15", note=False, dumps=("nonote.elf", "nonote.kdump")),
  Crash("nonote-short", kernels=("armhf-6.1",), cpu="cortex-a15", note=False, dumps=("nonote.elf", "nonote.kdump")),
  # The kernel takes the largest of three address sizes unless told not to.  Svnapot and Svpbmt are used where kernel and QEMU
  # know them.  QEMU 7.2 has no vmcoreinfo device here.
  Crash("nonote-sv57", kernels=("riscv64-6.12",), cpu="rv64,svnapot=on,svpbmt=on", note=False, dumps=("nonote.elf", "nonote.kdump")),
  Crash("nonote-sv48", kernels=("riscv64-6.12",), cpu="rv64,svnapot=on,svpbmt=on", note=False, append="no5lvl", dumps=("nonote.elf", "nonote.kdump")),
  Crash("nonote-sv39", kernels=("riscv64-6.12",), cpu="rv64", note=False, append="no4lvl", dumps=("nonote.elf", "nonote.kdump")),
  Crash("pae-nonote", kernels=("i386-6.1-pae",), note=False, dumps=("nonote.elf",)),
]}


def is_made(crash, kernel):
  try:
    with open(kernel.path(crash.name, "recipe"), encoding="ascii") as file:
      return file.read() == crash.recipe(kernel.release)
  except FileNotFoundError:
    return False


def make(crash, kernel, programs, output):
  """Boots the guest, lets it crash and puts everything about it into the folder `output`, which appears when complete."""
  parent = os.path.dirname(os.path.abspath(output))
  os.makedirs(parent, exist_ok=True)
  with tempfile.TemporaryDirectory(dir=parent, prefix=".crash-") as work:
    folder = os.path.join(work, "crash")
    os.mkdir(folder)
    initrd = os.path.join(work, "initrd")
    guest.make_initrd(initrd, kernel, programs, crash.kexec)
    arguments = [
      "-cpu", crash.cpu, "-m", str(crash.memory), "-smp", str(crash.smp), "-kernel", kernel.image, "-initrd", initrd,
      "-append", f"console={kernel.platform.console} {kernel.platform.words} {crash.append}",
    ]
    if crash.kexec:
      dump_by_kexec(kernel.platform, arguments, folder, work)
    else:
      dump_by_qemu(kernel.platform, crash, arguments, folder, work)
    os.rename(os.path.join(work, "console.log"), os.path.join(folder, "console.log"))
    with open(os.path.join(folder, "recipe"), "w", encoding="ascii") as file:
      file.write(crash.recipe(kernel.release))
    tidy(folder)
    if os.path.exists(output):
      os.rename(output, os.path.join(work, "stale"))
    os.rename(folder, output)


def dump_by_qemu(platform, crash, arguments, folder, work):
  arguments += ["-action", "panic=none,shutdown=pause"]
  if crash.note:
    arguments += ["-device", "vmcoreinfo"]
  with Machine(platform, work, arguments) as machine:
    # Its last line: the log in memory is then complete, and the other CPUs have stopped.
    machine.wait_for_console(platform.last_words, 900)  # machines may be busy
    stop_at_rest(machine, platform)
    for name in crash.dumps:
      path = os.path.join(folder, name)
      if name == "raw.img":
        machine.qmp("pmemsave", val=0, size=crash.memory << 20, filename=path)
      else:
        machine.qmp("dump-guest-memory", **{"paging": False, **QEMU_DUMPS[name], "protocol": "file:" + path})
    if not platform.debug_port:
      find_output(os.path.join(folder, crash.dumps[0]), os.path.join(work, "debugcon"))
    split_truth(work, os.path.join(folder, "truth"))
    ask_machine(machine, os.path.join(folder, "truth"))


def stop_at_rest(machine, platform):
  """The CPU that panicked waits in a loop.  At the first instruction of an interrupt, where nothing is saved yet, its stack is a
  riddle to every debugger, and QEMU likes to stop there."""
  for _ in range(100):
    machine.qmp("stop")
    if re.search(platform.at_rest, machine.human("info registers -a")):
      return
    machine.qmp("cont")
    time.sleep(0.05)
  raise RuntimeError("no CPU is at rest")


def ask_machine(machine, truth):
  """Truth that only QEMU knows: every CPU's registers, and how CPU 0's page tables translate some of the kernel's symbols."""
  with open(os.path.join(truth, "registers"), "w", encoding="ascii") as file:
    file.write(machine.human("info registers -a").replace("\r", ""))
  with open(os.path.join(truth, "kallsyms"), encoding="ascii") as file:
    symbols = [line.split() for line in file]
  chosen = symbols[::300] + [symbol for symbol in symbols if len(symbol) == 4]  # four words: a module's
  with open(os.path.join(truth, "translate"), "w", encoding="ascii") as file:
    for address, _, name, *_ in chosen:
      if int(address, 16) >= 0x100000:  # a virtual address, not an offset in the per-CPU area
        physical = machine.human(f"gva2gpa 0x{address}").strip().removeprefix("gpa: ")
        file.write(f"0x{address} {physical} {name}\n")


def dump_by_kexec(platform, arguments, folder, work):
  disk = os.path.join(work, "disk")
  with open(disk, "wb") as file:
    file.truncate(3 << 30)
  run("mke2fs", "-q", "-t", "ext4", disk)
  # NVMe, because Debian's cloud kernels have it built in.
  arguments += ["-drive", f"file={disk},if=none,id=disk,format=raw,cache=unsafe", "-device", "nvme,drive=disk,serial=1"]
  with Machine(platform, work, arguments) as machine:
    machine.wait_for_console("end of saving", 600)
    machine.wait_for_exit(30)
  split_truth(work, os.path.join(folder, "truth"))
  run("debugfs", "-R", f"rdump / {folder}", disk)
  os.rmdir(os.path.join(folder, "lost+found"))
  variants.make_on_host(folder)


def find_output(dump, output):
  """What truth.c printed into its memory, out of an ELF dump (guest/output.h)."""
  with open(dump, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as memory:
    pages = {int(page[1], 16): memory[page.end():page.end() + int(page[2], 16)]
             for page in re.finditer(rb"@@PAGE ([0-9a-f]{8}) ([0-9a-f]{4})\0", memory)}
  with open(output, "wb") as file:
    file.write(b"".join(pages[number] for number in sorted(pages)))


def split_truth(work, folder):
  """Each `@@BEGIN name` ... `@@END name` of the guest's last words becomes the file `name`."""
  os.makedirs(folder, exist_ok=True)
  with open(os.path.join(work, "debugcon"), "rb") as file:
    sections = re.findall(rb"@@BEGIN (\S+)\n(.*?)@@END \1\n", file.read(), re.DOTALL)
  for name, text in sections:
    with open(os.path.join(folder, name.decode()), "wb") as file:
      file.write(text)
  if not sections or sections[-1][0] != b"loadavg":
    with open(os.path.join(work, "console.log"), encoding="utf-8", errors="replace") as console:
      raise RuntimeError(f"the guest's ground truth is incomplete; its console ends:\n{console.read()[-4000:]}")


def tidy(folder):
  """Makes the dumps readable by all, and their zeros cost no disk."""
  for name in os.listdir(folder):
    if name.endswith((".elf", ".kdump", ".img")):
      path = os.path.join(folder, name)
      os.chmod(path, 0o644)
      run("fallocate", "--dig-holes", path)
