"""The machines that guests are, by Debian's names of their architectures."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Platform:
  qemu: str  # the program ...
  package: str  # ... and what it comes with
  console: str
  compiler: str
  compiler_packages: tuple
  machine: tuple = ()  # arguments that QEMU always gets
  modules: tuple = ("libcrc32c", "loop", "dummy")  # in an order in which insmod finds each one's dependencies
  flags: tuple = ()  # of the compiler
  image: str = "vmlinuz"  # what the kernel's file begins with
  debug_port: bool = False  # guest/output.h: where truth.c prints
  last_words: str = "end Kernel panic"  # of the kernel that panicked
  suite: str = ""  # of Debian, where not this one's: the first that has the architecture
  words: str = ""  # on the kernel's command line
  at_rest: str = ""  # what the monitor's `info registers` shows of a CPU that takes interrupts and is in none


# On a busy host the emulated timer ticks too late for the kernel's look at it, and it panics ("IO-APIC + timer doesn't work!").
UNHURRIED = "no_timer_check"

PLATFORMS = {
  "amd64": Platform("qemu-system-x86_64", "qemu-system-x86", "ttyS0", "gcc", ("gcc", "libc6-dev"),
                    modules=("libcrc32c", "loop", "dummy", "qemu_fw_cfg"), debug_port=True, words=UNHURRIED),
  "arm64": Platform("qemu-system-aarch64", "qemu-system-arm", "ttyAMA0", "aarch64-linux-gnu-gcc",
                    ("gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross"), machine=("-M", "virt,gic-version=3"),
                    at_rest=r"PSTATE=[0-9a-f]{6}[0-7]",
                    modules=("libcrc32c", "loop", "dummy", "qemu_fw_cfg")),
  "i386": Platform("qemu-system-i386", "qemu-system-x86", "ttyS0", "i686-linux-gnu-gcc",
                   ("gcc-i686-linux-gnu", "libc6-dev-i386-cross"), modules=("libcrc32c", "loop", "dummy", "qemu_fw_cfg"),
                   debug_port=True, words=UNHURRIED),
  # 64 KB pages.  Programs are moved from the usual 0x10000000, where the process `registers` has its page.
  "ppc64el": Platform("qemu-system-ppc64", "qemu-system-ppc", "hvc0", "powerpc64le-linux-gnu-gcc",
                      ("gcc-powerpc64le-linux-gnu", "libc6-dev-ppc64el-cross"), machine=("-M", "pseries", "-vga", "none"),
                      flags=("-Wl,-Ttext-segment=0x30000000",), image="vmlinux"),
  # panic() ends in a disabled wait before it says its last words elsewhere.
  "s390x": Platform("qemu-system-s390x", "qemu-system-misc", "ttysclp0", "s390x-linux-gnu-gcc",
                    ("gcc-s390x-linux-gnu", "libc6-dev-s390x-cross"), machine=("-M", "s390-ccw-virtio"),
                    last_words="Kernel panic - not syncing", at_rest="(?i)mask 0002"),
  "mips64el": Platform("qemu-system-mips64el", "qemu-system-mips", "ttyS0", "mips64el-linux-gnuabi64-gcc",
                       ("gcc-mips64el-linux-gnuabi64", "libc6-dev-mips64el-cross"), machine=("-M", "malta")),
  "armhf": Platform("qemu-system-arm", "qemu-system-arm", "ttyAMA0", "arm-linux-gnueabihf-gcc",
                    ("gcc-arm-linux-gnueabihf", "libc6-dev-armhf-cross"), machine=("-M", "virt"),
                    at_rest=r"PSR=[0-9a-f]{6}[0-7]3", modules=("loop", "dummy")),
  "riscv64": Platform("qemu-system-riscv64", "qemu-system-misc", "ttyS0", "riscv64-linux-gnu-gcc",
                      ("gcc-riscv64-linux-gnu", "libc6-dev-riscv64-cross"), machine=("-M", "virt"), suite="trixie",
                      image="vmlinux",
                      at_rest=r"mstatus +[0-9a-f]{15}[2367abef]", modules=("loop", "dummy", "qemu_fw_cfg")),
}
