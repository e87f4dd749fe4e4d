// 64-bit Power, big-endian.  Odd here: nothing but what both byte orders share (arch/ppc64.h).
#include "arch/ppc64.h"

namespace kvm::arch {
namespace {

constexpr std::string_view machines[] = {"ppc64"};

}  // namespace

extern const Arch ppc64;
constexpr Arch ppc64{
    .name = "ppc64",
    .gdb_name = "powerpc:common64",
    .triple = "powerpc64",
    .machines = machines,
    .elf_machine = 21,  // EM_PPC64
    .pointer_bytes = 8,
    .endian = std::endian::big,
    .page_size = 4096,
    .entry_order = std::endian::big,
    .paging = power::paging,
    .registers = power::registers,
    .notes = power::notes,
    .frames = power::frames,
    .level_names = power::level_names,
    .linux_layout = &power::linux_layout,
    .frame_code = &power::frame_code<std::endian::big>,
    .order_sign = {"msr", {0x1, 0x0}},  // MSR[LE]
    .freebsd_traps = &power::freebsd_traps,
};

}  // namespace kvm::arch
