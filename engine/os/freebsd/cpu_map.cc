// Dumps that somebody else made of a running guest (QEMU's dump-guest-memory) tell nothing of the system, but each CPU's registers,
// the root of its page tables among them.
#include <algorithm>
#include <string_view>

#include "engine/os/freebsd/map.h"
#include "engine/os/freebsd/model.h"

namespace kvm::os_freebsd {
namespace {

constexpr std::string_view banner = "@(#)FreeBSD ";  // of `sccs`, which is linked before `version` (sys/conf/newvers.sh)

// A CPU in user mode may use tables that lack the kernel (PTI), so the kernel's own text must be where the table leads.
bool leads_to_kernel(const OsInput& in, const PageTable& table) {
  const auto version = in.symbols ? in.symbols->find("version") : std::nullopt;
  if (!version) return true;
  constexpr std::string_view expected = "FreeBSD ";
  char text[expected.size()];
  const AddressSpace space(*in.dump.memory, {{{0}, {~std::uint64_t{0}}, table, {}}});
  const auto got = space.read(version->address, {reinterpret_cast<std::uint8_t*>(text), sizeof text});
  return got && *got == sizeof text && std::string_view(text, sizeof text) == expected;
}

}  // namespace

Result<KernelMap> map_by_cpus(const OsInput& in) {
  if (!in.arch.linux_layout || in.arch.linux_layout->cpu.root_register.empty()) return fail(Errc::unsupported, "no CPU of this processor tells its page tables");
  const arch::CpuRoot& cpu = in.arch.linux_layout->cpu;
  // Linux tells a second root by the bit above the page's (PTI); FreeBSD's roots are anywhere (pmap_pinit_pml4(), sys/amd64/amd64/pmap.c).
  const std::uint64_t mask = cpu.root_mask | in.arch.page_size;
  for (const CpuState& state : cpu_states(in.dump.notes, in.arch)) {
    const auto root = state.registers.get(cpu.root_register), mode_bits = state.registers.get(cpu.mode_register);
    const std::uint64_t mode = mode_bits && cpu.mode_mask ? (*mode_bits & cpu.mode_mask) / (cpu.mode_mask & (~cpu.mode_mask + 1)) : 0;
    if (!root || mode >= in.arch.paging.size()) continue;
    const PageTable table{&in.arch.paging[mode], {*root & mask}, {*root & mask}, 0, in.arch.entry_order};
    if (!leads_to_kernel(in, table)) continue;
    KernelMap map;
    map.mappings.push_back({{0}, {~std::uint64_t{0}}, table, "page tables"});
    map.mode = table.mode->name;
    map.source = "a CPU's " + std::string(cpu.root_register);
    return map;
  }
  return fail(Errc::not_found, "no CPU's page tables lead to this kernel");
}

std::string release_in(std::string_view version) {
  constexpr std::string_view system = "FreeBSD ";
  if (!version.starts_with(system)) return {};
  version.remove_prefix(system.size());
  return std::string(version.substr(0, version.find_first_of(" \n")));
}

// A megabyte at a time, with what a text could reach into the next one.
std::string find_release(const PhysicalMemory& memory) {
  constexpr std::size_t chunk = 1 << 20, overlap = 256;
  std::string text(chunk + overlap, '\0');
  for (const PhysRange& range : memory.ranges())
    for (std::uint64_t at = 0; at < range.size; at += chunk) {
      const std::size_t wanted = std::min<std::uint64_t>(text.size(), range.size - at);
      const auto got = memory.read(range.first + at, {reinterpret_cast<std::uint8_t*>(text.data()), wanted});
      const std::string_view here(text.data(), got.value_or(0));
      for (std::size_t found = here.find(banner); found != here.npos; found = here.find(banner, found + 1)) {
        const std::string release = release_in(here.substr(found + 4, overlap));  // behind "@(#)"
        if (release.size() > 3 && release[0] >= '0' && release[0] <= '9') return release;
      }
    }
  return {};
}

}  // namespace kvm::os_freebsd
