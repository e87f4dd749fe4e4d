// Where the kernel's and its modules' sections lie.  The kernel names the ends of its own
// (include/asm-generic/sections.h; the order is that of the processors' vmlinux.lds.S).
#include <algorithm>
#include <array>

#include "engine/os/linux/pieces.h"

namespace kvm::os_linux {
namespace {

struct Boundary {
  std::string_view name;
  std::array<std::string_view, 2> first, last;  // the first of them that exists
  bool code, writable;
};

// Each processor has most of them.  The last two are what x86 has between others: tables for unwinding, for CPU start-up.
constexpr Boundary boundaries[] = {
    {".text", {"_text", "_stext"}, {"_etext"}, true, false},
    {".rodata", {"__start_rodata"}, {"__end_rodata"}, false, false},
    {".data", {"_sdata"}, {"_edata"}, false, true},
    {".data..percpu", {"__per_cpu_start"}, {"__per_cpu_end"}, false, true},
    {".init.text", {"_sinittext"}, {"_einittext"}, true, false},
    {".init.data", {"__initdata_begin", "_einittext"}, {"__initdata_end", "__init_end"}, false, true},
    {".bss", {"__bss_start"}, {"__bss_stop"}, false, true},
    {".brk", {"__brk_base"}, {"__brk_limit"}, false, true},
    {".data.tables", {"_edata"}, {"__init_begin"}, false, false},
    {".data_nosave", {"__init_end"}, {"__bss_start"}, false, true},
};

// Cuts what overlaps: an earlier row knows better.
void add(std::vector<PieceSection>& sections, PieceSection section) {
  for (const PieceSection& other : sections) {
    const bool covers_start = section.address >= other.address && section.address - other.address < other.size;
    if (covers_start) {
      const std::uint64_t cut = other.size - (section.address - other.address);
      section.address = section.address + std::min(cut, section.size);
      section.size -= std::min(cut, section.size);
    } else if (other.size && other.address > section.address) {
      section.size = std::min(section.size, other.address - section.address);
    }
  }
  if (section.size) sections.push_back(std::move(section));
}

}  // namespace

std::vector<PieceSection> kernel_sections(const Symbols& symbols) {
  const auto first_of = [&](const std::array<std::string_view, 2>& names) -> std::optional<VirtAddr> {
    for (std::string_view name : names)
      if (const auto symbol = symbols.find(name)) return symbol->address;
    return std::nullopt;
  };
  std::vector<PieceSection> sections;
  for (const Boundary& row : boundaries)
    if (const auto first = first_of(row.first), last = first_of(row.last); first && last && *last > *first)
      add(sections, {std::string(row.name), *first, *last - *first, row.code, row.writable});
  std::ranges::sort(sections, {}, &PieceSection::address);
  return sections;
}

std::vector<PieceSection> module_sections(const Module& module) {
  std::vector<PieceSection> sections;
  for (const ModuleSection& section : module.sections) {
    const auto area = std::ranges::find_if(module.areas, [&](const ModuleArea& a) {
      return section.address >= a.base && section.address - a.base < a.size;
    });
    if (area == module.areas.end()) continue;
    if (std::ranges::find(sections, section.address, &PieceSection::address) != sections.end()) continue;  // one of them is empty
    std::uint64_t size = area->size - (section.address - area->base);
    for (const ModuleSection& other : module.sections)
      if (other.address > section.address) size = std::min(size, other.address - section.address);
    sections.push_back({section.name, section.address, size, area->code, area->writable});
  }
  std::ranges::sort(sections, {}, &PieceSection::address);
  return sections;
}

}  // namespace kvm::os_linux
