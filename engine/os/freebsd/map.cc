// Full dumps hold all of physical memory, and nothing says where the page tables are but a variable of the kernel's, whose
// physical place follows from the kernel's: FreeBSD, lib/libkvm/kvm_amd64.c and its neighbours.
#include "engine/os/freebsd/map.h"

#include "engine/integers.h"

namespace kvm::os_freebsd {
namespace {

// A variable that holds the physical address of the root table, and how many levels that has.
struct Root {
  std::string_view symbol;
  std::uint8_t levels;
};
constexpr Root roots[] = {{"KPML5phys", 5}, {"KPML4phys", 4}};  // sys/amd64/amd64/pmap.c; the first is 0 without LA57

std::optional<std::uint64_t> link_address(const OsInput& in, std::string_view name) {
  const auto symbol = in.symbols ? in.symbols->find(name) : std::nullopt;
  return symbol ? std::optional(symbol->address.raw) : std::nullopt;
}

Result<std::uint64_t> physical_word(const OsInput& in, PhysAddr at) {
  std::uint8_t raw[8];
  const MutableBytes bytes = MutableBytes{raw}.first(in.arch.pointer_bytes);
  if (TRY(in.dump.memory->read(at, bytes)) != bytes.size()) return fail(Errc::lost, at.raw);
  return load_unsigned(bytes, in.arch.endian);
}

const arch::PagingMode* mode_with(const arch::Arch& arch, std::uint8_t levels) {
  for (const arch::PagingMode& mode : arch.paging)
    if (mode.levels.size() == levels) return &mode;
  return nullptr;
}

Result<KernelMap> map_full(const OsInput& in) {
  if (!in.symbols) return fail(Errc::not_found, "a full dump does not say where its page tables are: name the kernel file after the dump");
  // The kernel's image lies where the dump's header says, else at its distance from kernbase.
  const auto base = link_address(in, "kernbase");
  if (!in.dump.image && !base) return fail(Errc::not_found, "the kernel file has no symbol kernbase");
  const std::uint64_t distance = in.dump.image ? in.dump.image->virt.raw - in.dump.image->phys.raw : *base;
  for (const Root& root : roots) {
    const auto variable = link_address(in, root.symbol);
    const arch::PagingMode* mode = mode_with(in.arch, root.levels);
    if (!variable || !mode) continue;
    const auto at = physical_word(in, {*variable - distance});
    if (!at || *at == 0) continue;
    KernelMap map;
    map.mappings.push_back({{0}, {~std::uint64_t{0}}, PageTable{mode, {*at}, {*at}, 0, in.arch.entry_order}, "page tables"});
    map.mode = mode->name;
    map.phys_base = in.dump.image ? in.dump.image->phys.raw : 0;
    map.source = root.symbol;
    return map;
  }
  return fail(Errc::not_found, "the kernel's root page table was not found by its symbols");
}

}  // namespace

bool is_freebsd(const OsInput& in) {
  if (in.dump.system == "FreeBSD" || in.dump.system == "ELF standalone") return true;
  return in.symbols && in.symbols->find("osreldate") && in.symbols->find("allproc");
}

Result<KernelMap> map_kernel(const OsInput& in) {
  if (in.dump.kernel_map.empty()) return map_full(in);
  KernelMap map;
  map.mappings = in.dump.kernel_map;
  map.slide = in.slide.value_or(in.dump.slide.value_or(0));
  for (const Mapping& mapping : map.mappings)
    if (const auto* entries = std::get_if<EntryArray>(&mapping.how)) map.mode = entries->table.mode->name;
  map.source = "the minidump's page map";
  return map;
}

}  // namespace kvm::os_freebsd
