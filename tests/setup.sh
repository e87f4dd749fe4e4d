# Sourced by ./demo and ./check: installs what is missing and builds.  Debian 12; as root for the packages.
set -euo pipefail

build_packages="g++ git cmake ninja-build ccache pkg-config llvm-19-dev liblldb-19-dev libedit-dev libcurl4-openssl-dev ca-certificates
  libboost1.81-dev catch2 libcli11-dev libfmt-dev libexpected-dev
  libdeflate-dev libssl-dev zlib1g-dev liblzo2-dev libsnappy-dev libzstd-dev libdebuginfod-dev"
run_packages="gdb gdb-multiarch lldb-19 python3 python3-lldb-19"
corpus_packages="qemu-system-x86 busybox-static cpio gcc libc6-dev makedumpfile kexec-tools xz-utils zstd"
test_packages="clang-19 lld llvm-19 libclang-rt-19-dev debuginfod pahole binutils elfutils crash python3-drgn libkdumpfile-dev python3-libkdumpfile
  libxml2-utils util-linux socat man-db"
command -v npm >/dev/null || test_packages+=" npm"  # a Node.js that is not Debian's brings its own

# need PACKAGE...: installs those that are missing.
need() {
  local missing=() package
  for package in "$@"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
  done
  ((${#missing[@]})) || return 0
  if [ "$(id -u)" != 0 ]; then
    echo "These packages are missing; install them as root: apt-get install ${missing[*]}" >&2
    return 1
  fi
  echo "== Installing ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  apt-get install -y -q --no-install-recommends "${missing[@]}" >/dev/null 2>&1 ||
    { apt-get update -q && apt-get install -y -q --no-install-recommends "${missing[@]}"; } >/dev/null ||
    { echo "installing failed: apt-get install ${missing[*]}" >&2; return 1; }
}

# build PRESET [TARGET...]: configures and builds; quiet unless it fails.
build() {
  local preset=$1 log
  shift
  log=$(mktemp)
  echo "== Building (preset $preset)"
  export CCACHE_BASEDIR=$PWD CCACHE_NOHASHDIR=1  # other clones find what this one compiled
  if ! { cmake --preset "$preset" -DCMAKE_CXX_COMPILER_LAUNCHER=ccache &&
         cmake --build --preset "$preset" ${@:+--target "$@"}; } >"$log" 2>&1; then
    grep -E 'error|FAILED|CMake Error' -A5 "$log" | head -60
    echo "the build failed; the whole log is in $log" >&2
    return 1
  fi
  rm -f "$log"
}
