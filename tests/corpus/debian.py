"""Debian's packages: the programs we run, and the kernels we crash (downloaded and unpacked, never installed)."""

import functools
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading

from platforms import PLATFORMS

# Which package's dependency names today's kernel of a series, and of which architecture it is.  The numbers move with
# security updates.
SERIES = {
  "6.1": ("linux-image-cloud-amd64-dbg", "amd64"),
  "6.12": ("linux-image-6.12-cloud-amd64-dbg", "amd64"),
  "arm64-6.1": ("linux-image-cloud-arm64-dbg", "arm64"),
  "arm64-6.12": ("linux-image-6.12-cloud-arm64-dbg", "arm64"),
  "arm64-6.12-16k": ("linux-image-6.12-arm64-16k-dbg", "arm64"),
  "i386-6.1": ("linux-image-686-dbg", "i386"),
  "i386-6.1-pae": ("linux-image-686-pae-dbg", "i386"),
  "ppc64el-6.1": ("linux-image-powerpc64le-dbg", "ppc64el"),
  "s390x-6.1": ("linux-image-s390x-dbg", "s390x"),
  "mips64el-6.1": ("linux-image-5kc-malta-dbg", "mips64el"),
  "armhf-6.1": ("linux-image-armmp-dbg", "armhf"),
  "armhf-6.1-lpae": ("linux-image-armmp-lpae-dbg", "armhf"),
  "riscv64-6.12": ("linux-image-riscv64-dbg", "riscv64"),
}
NATIVE = "amd64"

PROGRAMS = {
  "makedumpfile": "makedumpfile",
  "kexec": "kexec-tools",
  "cpio": "cpio",
  "mke2fs": "e2fsprogs",
  "debugfs": "e2fsprogs",
}
FILES = {
  "/usr/lib/x86_64-linux-gnu/libsnappy.so.1": "libsnappy1v5",
  "/usr/lib/x86_64-linux-gnu/libzstd.so.1": "libzstd1",
}

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


def is_static(program):
  return subprocess.run(["ldd", program], capture_output=True, check=False).returncode != 0


def find_program(name):
  return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


def need(platforms):
  """Installs the packages of PROGRAMS, FILES and the platforms that are missing, or says how."""
  packages = {package for program, package in PROGRAMS.items() if not find_program(program)}
  packages |= {package for path, package in FILES.items() if not os.path.exists(path)}
  for platform in platforms:
    if not find_program(platform.qemu):
      packages.add(platform.package)
    if not find_program(platform.compiler) or not has_libc(platform.compiler):
      packages.update(platform.compiler_packages)
  # Debian has two busybox packages, of which the guest (it has no libraries) needs the static one.
  if not find_program("busybox") or not is_static(find_program("busybox")):
    packages.add("busybox-static")
  if not packages:
    return
  install(sorted(packages))


def install(packages):
  if os.geteuid() != 0:
    raise Missing(f"please run: sudo apt-get install {' '.join(packages)}")
  say(f"installing {' '.join(packages)}")
  NATIVE_APT.update()
  run("apt-get", "-o", "DPkg::Lock::Timeout=600", "install", "-y", "--no-install-recommends", *packages,
      env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"})


def has_libc(compiler):
  return os.path.isabs(run(compiler, "-print-file-name=libc.a").decode().strip())


class Apt:
  """The archive's packages of one architecture.  A foreign one's lists are ours, so that dpkg need not know of it."""

  def __init__(self, architecture, state=None, suite=""):
    self._options = []
    self._may_update = state is not None or os.geteuid() == 0
    self._once = threading.Lock()
    self._updated = False
    self._lists = state and os.path.join(state, "lists")
    if state:
      os.makedirs(os.path.join(self._lists, "partial"), exist_ok=True)
      os.makedirs(os.path.join(state, "archives", "partial"), exist_ok=True)
      with open(os.path.join(state, "status"), "w", encoding="ascii"):
        pass
      settings = {"APT::Architecture": architecture, "APT::Architectures": architecture, "Dir::State::Lists": self._lists,
                  "Dir::State::status": os.path.join(state, "status"), "Dir::Cache": state}
      self._options = [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]
    if suite:
      with open(os.path.join(state, "sources.list"), "w", encoding="ascii") as file:
        file.write(f"deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian {suite} main\n")
      self._options += ["-o", f"Dir::Etc::sourcelist={file.name}", "-o", "Dir::Etc::sourceparts=/dev/null"]
    if os.geteuid() == 0:
      self._options += ["-o", "APT::Sandbox::User=root"]

  def update(self):
    with self._once:
      if not self._updated and self._may_update:
        # Of a foreign architecture one suite may be missing: what the others have is enough.
        subprocess.run(["apt-get", *self._options, "update"], stdin=subprocess.DEVNULL, capture_output=True, check=not self._lists)
      self._updated = True

  def _known_release(self, package):
    depends = subprocess.run(["apt-cache", *self._options, "depends", package], capture_output=True, text=True, check=False).stdout
    found = re.search(r"Depends: linux-image-(\S+)-dbg", depends)
    return found and found[1]

  def newest_release(self, package):
    """uname -r of the kernel that a package's dependency names."""
    release = self._known_release(package)
    if not release:
      self.update()
      release = self._known_release(package)
    if not release:
      raise Missing(f"apt knows no {package}: is this Debian 12, and has apt-get update been run?")
    return release

  def unpack(self, package, patterns, into):
    """Downloads a package and extracts the members that match; the package itself is not kept."""
    with tempfile.TemporaryDirectory(dir=into, prefix=".deb-") as folder:
      run("apt-get", *self._options, "download", package, cwd=folder)
      deb = os.path.join(folder, os.listdir(folder)[0])
      with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", deb], stdout=subprocess.PIPE) as source:
        subprocess.run(["tar", "-x", "-C", into, "--wildcards", *patterns], stdin=source.stdout, check=True)
      if source.returncode:
        raise RuntimeError(f"{package}: bad archive")


NATIVE_APT = Apt(NATIVE)


class Kernel:
  """One kernel of the cache, in a folder named after its series: CACHE/6.1/."""

  def __init__(self, cache, series):
    self.series = series
    self.package, self.architecture = SERIES[series]
    self.platform = PLATFORMS[self.architecture]
    self.folder = os.path.join(cache, series)
    self._cache = cache

  @property
  def release(self):
    try:
      with open(self.path("release"), encoding="ascii") as file:
        return file.read().strip()
    except FileNotFoundError:
      return None

  def path(self, *names):
    return os.path.join(self.folder, *names)

  @functools.cached_property
  def apt(self):
    if self.architecture == NATIVE:
      return NATIVE_APT
    return Apt(self.architecture, os.path.join(self._cache, f".apt-{self.series}"), self.platform.suite)

  @property
  def busybox(self):
    return find_program("busybox") if self.architecture == NATIVE else self.path("bin/busybox")

  @property
  def image(self):
    return self.path("boot", f"{self.platform.image}-{self.release}")

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
      if self.apt.newest_release(self.package) == self.release:
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
        self.apt.update()  # the archive has moved on since apt's lists were read: that version is gone
        release = self.unpack_image(new)
      with open(os.path.join(new, "release"), "w", encoding="ascii") as file:
        file.write(release + "\n")
      if os.path.exists(self.folder):
        os.rename(self.folder, os.path.join(temporary, "stale"))
      os.rename(new, self.folder)

  def unpack_image(self, into):
    release = self.apt.newest_release(self.package)
    patterns = [f"./boot/*-{release}"] + [f"*/{name}.ko*" for name in self.platform.modules]
    self.apt.unpack(f"linux-image-{release}", patterns, into)
    if self.architecture != NATIVE:
      self.apt.unpack("busybox-static", ["*/bin/busybox"], into)
    # Since Debian 13 these two are below usr/, where debug files shall come.
    for name in ["lib", "bin"]:
      if os.path.exists(os.path.join(into, "usr", name)):
        os.rename(os.path.join(into, "usr", name), os.path.join(into, name))
    return release

  @property
  def has_debug(self):
    return os.path.exists(self.path("vmlinux"))

  def fetch_debug(self):
    """Debug files under usr/lib/debug, as the package lays them out, and the link `vmlinux` to the kernel's."""
    with tempfile.TemporaryDirectory(dir=self.folder, prefix=".debug-") as temporary:
      patterns = [f"./usr/lib/debug/boot/vmlinux-{self.release}"] + [f"./usr/lib/debug/lib/*/{name}.ko*" for name in self.platform.modules]
      self.apt.unpack(f"linux-image-{self.release}-dbg", patterns, temporary)
      shutil.rmtree(self.path("usr"), ignore_errors=True)
      os.rename(os.path.join(temporary, "usr"), self.path("usr"))
    os.symlink(f"usr/lib/debug/boot/vmlinux-{self.release}", self.path("vmlinux"))
