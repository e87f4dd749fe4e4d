#!/bin/sh
# types.sh CHECKER VMLINUX [N]: every struct of a kernel, by BTF, DWARF and pahole.  N: DWARF for every Nth struct only.
set -eu
pahole -F btf "$2" | "$1" "$2" "${3:-50}"
