"""Debian's packages: the programs we run, and the kernels we crash (downloaded and unpacked, never installed)."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading

# Which package's dependency names today's kernel of a series.  The numbers move with security updates.
SERIES = {
  "6.1": "linux-image-cloud-amd64-dbg",
  "6.12": "linux-image-6.12-cloud-amd64-dbg",
}

# In an order in which insmod finds each one's dependencies.
MODULES = ["libcrc32c", "loop", "dummy", "qemu_fw_cfg"]

PROGRAMS = {
  "qemu-system-x86_64": "qemu-system-x86",
  "makedumpfile": "makedumpfile",
  "kexec": "kexec-tools",
  "gcc": "gcc",
  "cpio": "cpio",
  "mke2fs": "e2fsprogs",
  "debugfs": "e2fsprogs",
}
FILES = {
  "/usr/lib/x86_64-linux-gnu/libc.a": "libc6-dev",
  "/usr/lib/x86_64-linux-gnu/libsnappy.so.1": "libsnappy1v5",
  "/usr/lib/x86_64-linux-gnu/libzstd.so.1": "libzstd1",
}

_update_once = threading.Lock()
_updated = False


class Missing(Exception):
  """Something this machine cannot provide; the text says what to do."""


def say(text):
  print(text, file=sys.stderr, flush=True)


def run(*command, **options):
  """Runs a command; its output appears only if it fails."""
  done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)
  if done.returncode:
    raise RuntimeError(f"{' '.join(map(str, command))}:\n{done.stdout.decode(errors='replace')}")
  return done.stdout


def is_static_busybox():
  """Debian has two busybox packages, of which the guest (it has no libraries) needs the static one."""
  busybox = shutil.which("busybox")
  return busybox and subprocess.run(["ldd", busybox], capture_output=True, check=False).returncode != 0


def find_program(name):
  return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


def need():
  """Installs the packages of PROGRAMS and FILES that are missing, or says how."""
  packages = {package for program, package in PROGRAMS.items() if not find_program(program)}
  packages |= {package for path, package in FILES.items() if not os.path.exists(path)}
  if not is_static_busybox():
    packages.add("busybox-static")
  if not packages:
    return
  packages = sorted(packages)
  if os.geteuid() != 0:
    raise Missing(f"please run: sudo apt-get install {' '.join(packages)}")
  say(f"installing {' '.join(packages)}")
  update_lists()
  run("apt-get", "-o", "DPkg::Lock::Timeout=600", "install", "-y", "--no-install-recommends", *packages,
      env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"})


def update_lists():
  global _updated
  with _update_once:
    if not _updated and os.geteuid() == 0:
      run("apt-get", "update")
    _updated = True


def known_release(series):
  """uname -r of a series' kernel according to apt's lists, or None."""
  depends = subprocess.run(["apt-cache", "depends", SERIES[series]], capture_output=True, text=True, check=False).stdout
  found = re.search(r"Depends: linux-image-(\S+)-dbg", depends)
  return found and found[1]


def newest_release(series):
  release = known_release(series)
  if not release:
    update_lists()
    release = known_release(series)
  if not release:
    raise Missing(f"apt knows no {SERIES[series]}: is this Debian 12, and has apt-get update been run?")
  return release


def unpack(package, patterns, into):
  """Downloads a package and extracts the members that match; the package itself is not kept."""
  with tempfile.TemporaryDirectory(dir=into, prefix=".deb-") as folder:
    if os.geteuid() == 0:
      download = ["apt-get", "-o", "APT::Sandbox::User=root", "download", package]
    else:
      download = ["apt-get", "download", package]
    run(*download, cwd=folder)
    deb = os.path.join(folder, os.listdir(folder)[0])
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", deb], stdout=subprocess.PIPE) as source:
      subprocess.run(["tar", "-x", "-C", into, "--wildcards", *patterns], stdin=source.stdout, check=True)
    if source.returncode:
      raise RuntimeError(f"{package}: bad archive")


class Kernel:
  """One kernel of the cache, in a folder named after its series: CACHE/6.1/."""

  def __init__(self, cache, series):
    self.series = series
    self.folder = os.path.join(cache, series)

  @property
  def release(self):
    try:
      with open(self.path("release"), encoding="ascii") as file:
        return file.read().strip()
    except FileNotFoundError:
      return None

  def path(self, *names):
    return os.path.join(self.folder, *names)

  @property
  def image(self):
    return self.path("boot", f"vmlinuz-{self.release}")

  def module(self, name):
    """A module as the package ships it: .ko or .ko.xz."""
    for folder, _, files in os.walk(self.path("lib/modules")):
      for file in files:
        if file.startswith(name + ".ko"):
          return os.path.join(folder, file)
    raise FileNotFoundError(name)

  def fetch_image(self):
    """Makes the folder, for today's release; whatever was made from an older one goes."""
    os.makedirs(os.path.dirname(self.folder), exist_ok=True)
    try:
      if newest_release(self.series) == self.release:
        return
    except Missing:
      if self.release:  # no network, but we have one
        return
      raise
    with tempfile.TemporaryDirectory(dir=os.path.dirname(self.folder), prefix=".kernel-") as temporary:
      new = os.path.join(temporary, "new")
      os.mkdir(new)
      try:
        release = self.unpack_image(new)
      except RuntimeError:
        update_lists()  # the archive has moved on since apt's lists were read: that version is gone
        release = self.unpack_image(new)
      with open(os.path.join(new, "release"), "w", encoding="ascii") as file:
        file.write(release + "\n")
      if os.path.exists(self.folder):
        os.rename(self.folder, os.path.join(temporary, "stale"))
      os.rename(new, self.folder)

  def unpack_image(self, into):
    release = newest_release(self.series)
    unpack(f"linux-image-{release}", [f"./boot/*-{release}"] + [f"*/{name}.ko*" for name in MODULES], into)
    return release

  @property
  def has_debug(self):
    return os.path.exists(self.path("vmlinux"))

  def fetch_debug(self):
    """Debug files under usr/lib/debug, as the package lays them out, and the link `vmlinux` to the kernel's."""
    with tempfile.TemporaryDirectory(dir=self.folder, prefix=".debug-") as temporary:
      patterns = [f"./usr/lib/debug/boot/vmlinux-{self.release}"] + [f"./usr/lib/debug/lib/*/{name}.ko*" for name in MODULES]
      unpack(f"linux-image-{self.release}-dbg", patterns, temporary)
      shutil.rmtree(self.path("usr"), ignore_errors=True)
      os.rename(os.path.join(temporary, "usr"), self.path("usr"))
    os.symlink(f"usr/lib/debug/boot/vmlinux-{self.release}", self.path("vmlinux"))
