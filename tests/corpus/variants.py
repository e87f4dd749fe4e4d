"""What the machine that keeps a dump makes of it: other forms of the capture kernel's raw.elf, by makedumpfile, and damage."""

import os
import shutil
import subprocess

from debian import find_program, run
from recompress import SNAPPY, ZSTD, recompress

# -d says which pages go: 1 zero, 2 and 4 page cache, 8 user, 16 free.
OPTIONS = {
  "zlib.kdump": ["-c", "-d", "1"],
  "nocomp.kdump": ["-d", "31"],
  "nocomp-17.kdump": ["-d", "17"],
}
PARTS = ["split-1.kdump", "split-2.kdump", "split-3.kdump"]


def make_on_host(folder):
  makedumpfile = find_program("makedumpfile")
  for name, options in OPTIONS.items():
    run(makedumpfile, *options, "raw.elf", name, cwd=folder)
  # Blocks of 1024 KB, because a small machine is less than one of the usual 1 GB: all would be in the first part.
  run(makedumpfile, "-l", "-d", "31", "--split", "--splitblock-size", "1024", "raw.elf", *PARTS, cwd=folder)
  recompress(os.path.join(folder, "nocomp.kdump"), os.path.join(folder, "snappy.kdump"), SNAPPY)
  recompress(os.path.join(folder, "nocomp-17.kdump"), os.path.join(folder, "zstd.kdump"), ZSTD)
  os.remove(os.path.join(folder, "nocomp-17.kdump"))
  with open(os.path.join(folder, "flat.elf"), "wb") as output:
    subprocess.run([makedumpfile, "-F", "-E", "-d", "31", "raw.elf"], cwd=folder, stdout=output, stderr=subprocess.DEVNULL,
                   check=True)
  cut(folder, "filtered.elf", "truncated.elf")
  cut(folder, "lzo.kdump", "truncated.kdump")


def cut(folder, whole, part):
  """A copy that lost its last two fifths."""
  target = os.path.join(folder, part)
  shutil.copyfile(os.path.join(folder, whole), target)
  os.truncate(target, os.path.getsize(target) * 3 // 5)
