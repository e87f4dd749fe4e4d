"""Real dumps of FreeBSD kernels: LLVM's own, which its source package carries for lldb's test of FreeBSD kernels
(lldb/test/API/functionalities/postmortem/FreeBSDKernel).

They are sparse: what lldb did not read when they were made is missing or zero.  Of the kernels there are the symbols that lldb
needs, and no contents.
"""

import bz2
import hashlib
import os
import tempfile

from debian import Missing, find_program, install, run, say

NAME = "freebsd"
PACKAGE = "llvm-toolchain-19"
PROGRAMS = {"yaml2obj-19": "llvm-19", "xz": "xz-utils"}
FOLDER = "lldb/test/API/functionalities/postmortem/FreeBSDKernel"

# Which dumps there are, and the kernel of each.
DUMPS = {
  "amd64-full": "amd64",
  "amd64-minidump": "amd64",
  "arm64-minidump": "arm64",
  "i386-minidump": "i386",
}
LARGEST_KERNEL = 30 << 20


def recipe():
  with open(__file__, "rb") as file:
    return hashlib.sha256(file.read()).hexdigest() + "\n"


def is_made(cache):
  try:
    with open(os.path.join(cache, NAME, "recipe"), encoding="ascii") as file:
      return file.read() == recipe()
  except FileNotFoundError:
    return False


def archive():
  """Where this machine's apt gets Debian's main packages from: (URI, codename)."""
  form = "$(ORIGIN) $(COMPONENT) $(REPO_URI) $(CODENAME)"
  for line in run("apt-get", "indextargets", "--format", form, "Created-By: Packages").decode().splitlines():
    words = line.split()
    if words[:2] == ["Debian", "main"] and len(words) == 4 and "-" not in words[3]:
      return words[2], words[3]
  raise Missing("apt knows no archive of Debian's main packages")


def fetch_source(folder):
  """The upstream tar file of the source package, downloaded with settings of our own: the machine's need not know sources."""
  uri, codename = archive()
  for name in ("lists/partial", "archives/partial", "parts"):
    os.makedirs(os.path.join(folder, name))
  with open(os.path.join(folder, "parts", "source.list"), "w", encoding="ascii") as file:
    file.write(f"deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] {uri} {codename} main\n")
  settings = {"Dir::Etc::SourceList": "/dev/null", "Dir::Etc::SourceParts": os.path.join(folder, "parts"),
              "Dir::State::Lists": os.path.join(folder, "lists"), "Dir::Cache": folder, "APT::Sandbox::User": "root"}
  options = [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]
  run("apt-get", *options, "update")
  say(f"{NAME}: downloading the source of {PACKAGE} (160 MB)")
  run("apt-get", *options, "source", "--download-only", PACKAGE, cwd=folder)
  return next(os.path.join(folder, name) for name in os.listdir(folder) if ".orig.tar" in name)


def make(cache):
  need = sorted({package for program, package in PROGRAMS.items() if not find_program(program)})
  if need:
    install(need)
  os.makedirs(cache, exist_ok=True)
  with tempfile.TemporaryDirectory(dir=cache, prefix=".freebsd-") as work:
    source = os.path.join(work, "source")
    os.mkdir(source)
    tar = fetch_source(source)
    say(f"{NAME}: unpacking {len(DUMPS)} dumps")
    depth = FOLDER.count("/") + 2
    run("tar", "-xf", tar, "-C", source, "--wildcards", f"--strip-components={depth}", f"*/{FOLDER}/*.yaml", f"*/{FOLDER}/*.bz2")
    new = os.path.join(work, "new")
    for dump, kernel in DUMPS.items():
      os.makedirs(os.path.join(new, dump))
      run("yaml2obj-19", f"--max-size={LARGEST_KERNEL}", os.path.join(source, f"kernel-{kernel}.yaml"), "-o", os.path.join(new, dump, "kernel"))
      with bz2.open(os.path.join(source, f"vmcore-{dump}.bz2")) as packed:
        write_sparse(packed, os.path.join(new, dump, "vmcore"))
    with open(os.path.join(new, "recipe"), "w", encoding="ascii") as file:
      file.write(recipe())
    if os.path.exists(os.path.join(cache, NAME)):
      os.rename(os.path.join(cache, NAME), os.path.join(work, "stale"))
    os.rename(new, os.path.join(cache, NAME))


def write_sparse(packed, path):
  """A hundred megabytes of zeros each, but for some pages."""
  block = 1 << 16
  with open(path, "wb") as file:
    while data := packed.read(block):
      if data.count(0) == len(data):
        file.seek(len(data), os.SEEK_CUR)
      else:
        file.write(data)
    file.truncate(file.tell())
