#!/usr/bin/env python3
"""Does an image tell of every type, function and per-CPU variable what the kernel's BTF tells?

usage: image.py CORPUS-IMAGE-PROGRAM KERNEL-FOLDER...      a folder of the corpus: vmlinux, lib/modules

pahole's pdwtags writes both as C, with the size of each type and the offset, size and bits of each member; all of it is
compared, as text.  The image is made of the vmlinux and of the modules' files.  llvm-dwarfdump and readelf must accept it.
"""
import collections
import re
import subprocess
import sys
import tempfile
from pathlib import Path

wrong = 0


def complain(text):
    global wrong
    wrong += 1
    if wrong <= 40:
        print("  " + text)


def run(*command):
    done = subprocess.run(command, capture_output=True)
    return done.returncode, done.stdout.decode("latin1"), done.stderr.decode("latin1")


# pahole concludes alignments from BTF but wants to be told in DWARF, so what it says of them and of padding differs; the size
# of a function means nothing; and it reads negative enumerators of BTF as unsigned.
ALIGNMENT = re.compile(r"__attribute__\(\(__(packed|aligned)__(\(\d+\))?\)\)")
TELLS = re.compile(r"/\* *\d|\{$|^\}|/\* size: \d+ \*/|^size | = ")
ONLY_DECLARED = re.compile(r"(struct|union) \w+ \{\n(size 0\n)?\};")
KEYWORDS = ("struct", "union", "enum")


def split_blocks(text):
    """Types hold empty lines and functions' braces are on lines of their own, so a block ends where its braces close."""
    block, depth = [], 0
    for line in text.split("\n"):
        if depth == 0 and (not line.strip() or line.startswith(("/*", " /*"))):
            block = []
            continue
        depth += line.count("{") - line.count("}")
        block.append(line)
        if depth <= 0 and (len(block) > 1 or line.endswith("*/")):
            yield block
            block, depth = [], 0


def normal(block):
    """The lines that tell something, with single spaces."""
    depth, padding = 0, None  # the depth at which it began; it ends with its block
    for line in block:
        depth += line.count("{") - line.count("}")
        if "/* Force padding: */" in line:
            padding = depth
        if padding is not None:
            if depth >= padding and "/* size: " not in line:
                continue
            padding = None
        line = re.sub(r" ;", ";", " ".join(ALIGNMENT.sub("", line).split()))
        line = re.sub(r"= -(\d+),", lambda m: f"= {2**32 - int(m[1])},", line)
        line = re.sub(r"^(typedef .*\) *\(?.*\)); /\* size: \d+ \*/", r"\1;", line)
        line = re.sub(r"^\}; /\* size: \d+ \*/$", "};", line)
        line = re.sub(r"^/\* size: (\d+),.*", r"size \1", line)
        if TELLS.search(line) or len(block) == 1:
            yield line


def declarations(text):
    """Types, which may occur several times, and functions and variables."""
    types, others = collections.Counter(), set()
    for block in split_blocks(text):
        lines = list(normal(block))
        if not lines or "not supported" in lines[0]:
            continue
        if len(block) > 1 and block[1] == "{":
            others.add(block[0])
        elif lines[-1].startswith("} array["):
            continue
        elif lines[0].startswith("typedef ") or lines[0].split()[0] in KEYWORDS and lines[0].endswith("{"):
            types["\n".join(lines)] += 1
        elif len(lines) == 1 and re.search(r"\w(\[\d*\])*; /\* size: \d+ \*/$", lines[0]) and " array[" not in lines[0]:
            others.add(lines[0])
    return types, others


def aliases(image):
    """name -> the names at its address."""
    at = collections.defaultdict(set)
    for line in run("nm", image)[1].split("\n"):
        if line:
            address, _, name = line.split(" ", 2)
            at[address].add(name)
    return {name: names for names in at.values() for name in names}


def named(declaration):
    found = re.match(r".*?(\w+)\(|.*?(\w+)(\[\d*\])*;", declaration)
    return found and (found[1] or found[2])


def compare_types(expected, of_modules, got):
    for text in expected - got:
        if not ONLY_DECLARED.fullmatch(text):
            complain(f"not in the image: {text}")
    for text in of_modules - got:
        complain(f"of a module, not in the image: {text}")
    modules_too = set(of_modules)
    for text in got - expected:
        # pahole shows modules' records only, and records that are only declared as empty ones.
        if text not in modules_too and not ONLY_DECLARED.fullmatch(text) and not text.startswith(("enum", "typedef", "struct {", "union {")):
            complain(f"not in the BTF: {text}")


def compare_others(expected, got, same_code):
    """One function has one name in the image; and where BTF has several functions of one name, none is told."""
    count = collections.Counter(map(named, expected))
    names = set(map(named, got))
    for declaration in expected - got:
        name = named(declaration)
        if count[name] == 1 and not same_code.get(name, set()) & names - {name}:
            complain("not in the image: " + declaration)


def check(program, kernel, folder):
    vmlinux = kernel / "vmlinux"
    modules = []
    for file in sorted(kernel.glob("lib/modules/**/*.ko*")):
        plain = folder / file.name.split(".ko")[0].replace("-", "_")
        plain = plain.with_suffix(".ko")
        plain.write_bytes(run("xz", "-dc", str(file))[1].encode("latin1") if file.suffix == ".xz" else file.read_bytes())
        modules.append(plain)
    image = folder / "image"
    status, _, said = run(program, str(image), str(vmlinux), *map(str, modules))
    if status:
        return complain(f"{kernel}: {said}")
    print(f"{kernel.name}: {said.strip()}")

    expected, expected_others = declarations(run("pdwtags", "-F", "btf", str(vmlinux))[1])
    of_modules = collections.Counter()
    for module in modules:
        base, split = ["--btf_base", str(vmlinux)] , str(module)
        whole = declarations(run("pahole", "-F", "btf", *base, split)[1])[0]
        of_modules |= whole - expected
    got, got_others = declarations(run("pdwtags", "-F", "dwarf", str(image))[1])
    compare_types(expected, of_modules, got)
    compare_others(expected_others, got_others, aliases(str(image)))
    print(f"  {sum(expected.values())} types of the kernel, {len(of_modules)} records of modules, "
          f"{len(expected_others)} functions and variables compared")

    status, said, errors = run("llvm-dwarfdump-19", "--verify", str(image))
    if status or errors:
        complain("llvm-dwarfdump: " + (errors or said)[-400:])
    for flags in ("-aW", "-w"):
        status, _, errors = run("readelf", flags, str(image))
        if status or errors:
            complain(f"readelf {flags}: {errors[:400]}")


def main():
    program, *kernels = sys.argv[1:]
    for kernel in kernels:
        with tempfile.TemporaryDirectory() as folder:
            check(program, Path(kernel), Path(folder))
    print(f"{wrong} wrong")
    return wrong != 0


sys.exit(main())
