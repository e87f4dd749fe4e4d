"""The guest's root file systems: a static busybox, a few modules, our two programs, an /init script."""

import hashlib
import lzma
import os
import re
import shutil
import tempfile

from debian import find_program, run

SOURCES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "guest")
ROOT = os.path.normpath(os.path.join(SOURCES, "..", "..", ".."))


def recipe():
  """A digest of everything here that decides what the guest does."""
  digest = hashlib.sha256()
  for name in sorted(os.listdir(SOURCES)):
    with open(os.path.join(SOURCES, name), "rb") as file:
      digest.update(name.encode() + file.read())
  return digest.hexdigest()


def compile_programs(folder, platforms):
  """tasks and truth of each platform, in a folder named after its compiler."""
  for platform in platforms:
    os.makedirs(os.path.join(folder, platform.compiler), exist_ok=True)
    for name in ["tasks", "truth"]:
      run(platform.compiler, "-O1", "-Wall", "-Wextra", "-Werror", "-static", f"-I{ROOT}", *platform.flags, "-o",
          os.path.join(folder, platform.compiler, name), os.path.join(SOURCES, name + ".c"))


class Root:
  """A root file system in the making."""

  def __init__(self, init, busybox):
    self.folder = tempfile.mkdtemp(prefix="inquest-root-")
    for name in ["bin", "dev", "proc", "sys"]:
      os.mkdir(os.path.join(self.folder, name))
    self.add("/init", os.path.join(SOURCES, init), 0o755)
    self.add("/bin/busybox", busybox, 0o755)

  def add(self, inside, source, mode=0o644):
    target = self.folder + inside
    os.makedirs(os.path.dirname(target), exist_ok=True)
    if source.endswith(".ko.xz"):  # insmod of busybox does not decompress
      with lzma.open(source) as compressed, open(target, "wb") as plain:
        shutil.copyfileobj(compressed, plain)
    else:
      shutil.copyfile(source, target)
    os.chmod(target, mode)

  def add_program(self, name):
    """A program of this machine with the shared libraries it needs, at the same paths."""
    program = find_program(name)
    self.add(f"/bin/{name}", program, 0o755)
    for library in re.findall(r"(/\S+) \(0x", run("ldd", program).decode()):
      self.add(library, os.path.realpath(library), 0o755)

  def pack(self, output):
    run("bash", "-c", 'set -o pipefail; find . | cpio -o -H newc --quiet -R 0:0 | gzip -1 > "$0"', output, cwd=self.folder)
    shutil.rmtree(self.folder)


def make_initrd(output, kernel, programs, kexec):
  """The initramfs of a crash.  With kexec it holds, as files, the capture kernel and its initramfs."""
  root = Root("init", kernel.busybox)
  for name in kernel.platform.modules:
    root.add(f"/modules/{name}.ko", kernel.module(name))
  for name in ["tasks", "truth"]:
    root.add("/" + name, os.path.join(programs, kernel.platform.compiler, name), 0o755)
  if kexec:
    capture = Root("init.capture", kernel.busybox)
    capture.add_program("makedumpfile")
    capture.pack(root.folder + "/capture.initrd")
    root.add_program("kexec")
    root.add("/vmlinuz", kernel.image)
  root.pack(output)
