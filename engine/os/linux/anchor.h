// The first thing to know of a kernel's memory: its page tables, and where its image lies.
#pragma once

#include <optional>

#include "engine/os.h"
#include "engine/os/linux/vmcoreinfo.h"

namespace kvm::os_linux {

// A virtual address of the image and where it lies; the image's other addresses are as far from their physical places.
struct Place {
  VirtAddr virt;
  PhysAddr phys;
  std::uint64_t distance() const { return virt.raw - phys.raw; }
  PhysAddr at(VirtAddr other) const { return {other.raw - distance()}; }
  VirtAddr at(PhysAddr other) const { return {other.raw + distance()}; }
};

struct Anchor {
  PageTable table;
  Place base;      // the image's base (arch::LinuxLayout::image_bases) where there is one, else any
  VirtAddr image;  // run-time address of _text, 0: not known
};

// Each way returns none when what it needs is not there or makes no sense.
// VMCOREINFO; with `sure`, only when its page tables can be read and agree with it.
std::optional<Anchor> anchor_from_vmcoreinfo(const OsInput& in, const Vmcoreinfo& info, bool sure);
// The user knows both slide and physical base: the vmlinux then gives the root.
std::optional<Anchor> anchor_from_user(const OsInput& in);
// A CPU that died in the kernel has its root register on the kernel's tables, or on a process's that share the kernel half.
std::optional<Anchor> anchor_from_cpus(const OsInput& in);
// The image starts on an aligned physical address, and its banner lies at a distance that the vmlinux knows.
// `told` is what is known of its place, as VMCOREINFO says it.
std::optional<Anchor> anchor_from_vmlinux(const OsInput& in, const Vmcoreinfo& told = Vmcoreinfo(""));
// The kernel's own symbol tables, found by their look, stand in for a vmlinux's.
std::optional<Anchor> anchor_from_kallsyms(const OsInput& in);

std::optional<std::uint64_t> link_address(const OsInput& in, std::string_view symbol);

}  // namespace kvm::os_linux
