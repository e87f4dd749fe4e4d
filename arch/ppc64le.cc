// 64-bit Power, little-endian; the rest is in arch/ppc64.h.  Odd here: page tables stay big-endian, and QEMU calls the machine ppc64 and writes its files in big-endian order.
#include "arch/ppc64.h"

namespace kvm::arch {
namespace {

constexpr std::string_view machines[] = {"ppc64le"};

}  // namespace

extern const Arch ppc64le;
constexpr Arch ppc64le{
    .name = "ppc64le",
    .gdb_name = "powerpc:common64",
    .triple = "powerpc64le",
    .machines = machines,
    .elf_machine = 21,  // EM_PPC64
    .pointer_bytes = 8,
    .endian = std::endian::little,
    .page_size = 4096,
    .entry_order = std::endian::big,
    .paging = power::paging,
    .registers = power::registers,
    .notes = power::notes,
    .frames = power::frames,
    .level_names = power::level_names,
    .linux_layout = &power::linux_layout,
    .frame_code = &power::frame_code<std::endian::little>,
    .order_sign = {"msr", {0x1, 0x1}},  // MSR[LE]
    .freebsd_traps = &power::freebsd_traps,
};

}  // namespace kvm::arch
