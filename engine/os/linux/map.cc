// Finds the kernel's page tables, KASLR slide and physical base.  The order is that of cost and trust: a note answers
// at once; a CPU's root register leads to the image by a short walk; scanning RAM is last.
#include "engine/os/linux/map.h"

#include "engine/cpu_notes.h"
#include "engine/os/linux/kallsyms.h"
#include "engine/os/linux/scan.h"
#include "engine/os/linux/vmcoreinfo.h"

namespace kvm::os_linux {
namespace {

struct Anchor {  // what every method ends up with
  PageTable table;
  VirtAddr image;          // run-time address of _text, 0: not known
  std::uint64_t phys_base = 0;
};

const arch::LinuxLayout& layout_of(const OsInput& in) { return *in.arch.linux_layout; }

PageTable make_table(const OsInput& in, std::size_t mode, PhysAddr root, std::uint64_t clear) {
  return {&in.arch.paging[std::min(mode, in.arch.paging.size() - 1)], root, root, clear, in.arch.endian};
}

std::optional<std::uint64_t> link_address(const OsInput& in, std::string_view name) {
  auto symbol = in.symbols ? in.symbols->find(name) : std::nullopt;
  return symbol ? std::optional(symbol->address.raw) : std::nullopt;
}

// The first mapped address in the window where the image can lie is _text: the kernel unmaps what is before it.
std::optional<Extent> first_of_image(const OsInput& in, const PageTable& table) {
  const arch::LinuxLayout& layout = layout_of(in);
  const VirtAddr last{layout.image_base + (layout.image_size - 1)};
  for (VirtAddr at{layout.image_base};;) {
    auto extent = walk(*in.dump.memory, table, at);
    if (!extent) return std::nullopt;
    if (extent->phys) return *extent;
    if (extent->last >= last) break;  // a hole may reach to 2^64
    at = extent->last + 1;
  }
  return std::nullopt;
}

std::optional<Anchor> anchor_at(const OsInput& in, const PageTable& table) {
  auto first = first_of_image(in, table);
  if (!first) return std::nullopt;
  return Anchor{table, first->first, first->phys->raw - (first->first.raw - layout_of(in).image_base)};
}

// A CPU that died in the kernel has its root register on the kernel's tables, or on a process's that share the kernel half.
std::optional<Anchor> from_cpus(const OsInput& in) {
  const arch::CpuRoot& cpu = layout_of(in).cpu;
  for (const CpuState& state : cpu_states(in.dump.notes, in.arch)) {
    auto root = state.registers.get(cpu.root_register);
    auto mode = state.registers.get(cpu.mode_register);
    if (!root || !mode) continue;
    const std::size_t index = (*mode & cpu.mode_mask) != 0;
    auto anchor = anchor_at(in, make_table(in, index, {*root & cpu.root_mask}, 0));
    if (anchor) return anchor;
  }
  return std::nullopt;
}

// The image starts on an aligned physical address, and its banner lies at a distance that the vmlinux knows.
std::optional<Anchor> from_vmlinux(const OsInput& in) {
  auto text = link_address(in, "_text"), banner = link_address(in, "linux_banner");
  std::optional<std::uint64_t> root;
  for (std::string_view name : layout_of(in).root_symbols)
    if (!root) root = link_address(in, name);
  if (!text || !banner || !root) return std::nullopt;
  return find_image(*in.dump.memory, layout_of(in).image_align, *banner - *text, [&](PhysAddr image) -> std::optional<Anchor> {
    for (std::size_t mode = 0; mode < in.arch.paging.size(); ++mode) {
      auto anchor = anchor_at(in, make_table(in, mode, image + (*root - *text), 0));
      if (anchor && anchor->phys_base + (anchor->image.raw - layout_of(in).image_base) == image.raw) return anchor;
    }
    return std::nullopt;
  });
}

// The kernel's own symbol tables, found by their look, stand in for a vmlinux's: only distances matter, and these are the same
// wherever the image lies.  With the user's physical base there is less memory to look at.
std::optional<Anchor> from_kallsyms(const OsInput& in) {
  const arch::LinuxLayout& layout = layout_of(in);
  std::vector<Window> windows;
  Mapping mapping{{0}, {~std::uint64_t{0}}, Linear{{0}}, "physical memory"};
  if (in.phys_base) {
    windows.push_back({{layout.image_base}, layout.image_size});
    mapping = {{layout.image_base}, {layout.image_base + layout.image_size - 1}, Linear{{*in.phys_base}}, "kernel image"};
  } else {
    for (const PhysRange& range : in.dump.memory->ranges()) windows.push_back({{range.first.raw}, range.size});
  }
  const AddressSpace space(*in.dump.memory, {mapping});
  std::vector<std::string> ignored;  // what is missing is said when the tables are read again
  auto symbols = find_kallsyms({in.arch, space}, Vmcoreinfo({}), windows, ignored);
  if (!symbols) return std::nullopt;
  OsInput with_symbols = in;
  with_symbols.symbols = symbols->get();
  return from_vmlinux(with_symbols);
}

// VMCOREINFO gives the run-time address of the root table; the image's own formula makes it physical, since walking to
// it would need the very tables we look for.
std::optional<Anchor> from_vmcoreinfo(const OsInput& in, const Vmcoreinfo& info) {
  const arch::LinuxLayout& layout = layout_of(in);
  auto phys_base = in.phys_base ? in.phys_base : info.number(layout.phys_base_key);
  if (!phys_base) phys_base = in.dump.phys_base;  // kernels before v4.10
  std::optional<std::uint64_t> root;
  for (std::string_view name : layout.root_symbols)
    if (!root) root = info.symbol(name);
  if (!root || !phys_base) return std::nullopt;
  const std::uint64_t mode = info.number(layout.mode_key).value_or(0);
  const PhysAddr at{*root - layout.image_base + *phys_base};
  return Anchor{make_table(in, mode, at, info.number(layout.clear_key).value_or(0)), {0}, *phys_base};
}

// The user knows both values: the vmlinux then gives the root.
std::optional<Anchor> from_user(const OsInput& in) {
  if (!in.slide || !in.phys_base) return std::nullopt;
  for (std::string_view name : layout_of(in).root_symbols) {
    auto root = link_address(in, name);
    if (!root) continue;
    const PhysAddr at{*root + *in.slide - layout_of(in).image_base + *in.phys_base};
    for (std::size_t mode = 0; mode < in.arch.paging.size(); ++mode)
      if (auto anchor = anchor_at(in, make_table(in, mode, at, 0))) return anchor;
  }
  return std::nullopt;
}

// Page tables first.  Where the dump lacks them, the image's and the direct map's constant distances stand in.
std::vector<Mapping> mappings_of(const OsInput& in, const Anchor& anchor) {
  const arch::LinuxLayout& layout = layout_of(in);
  std::vector<Mapping> maps{{{0}, {~std::uint64_t{0}}, anchor.table, "page tables"}};
  maps.push_back({{layout.image_base}, {layout.image_base + layout.image_size - 1}, Linear{{anchor.phys_base}}, "kernel image"});
  for (const SegmentHint& hint : in.dump.segments) {
    const bool in_image = hint.virt.raw >= layout.image_base;
    const bool fits = hint.size && (hint.virt + (hint.size - 1)) >= hint.virt;
    if (fits && !in_image) maps.push_back({hint.virt, hint.virt + (hint.size - 1), Linear{hint.phys}, "dump segment"});
  }
  return maps;
}

KernelMap finish(const OsInput& in, const Anchor& anchor, std::string source) {
  KernelMap map;
  map.mappings = mappings_of(in, anchor);
  map.phys_base = in.phys_base.value_or(anchor.phys_base);
  map.mode = anchor.table.mode->name;
  map.source = std::move(source);
  const arch::LinuxLayout& layout = layout_of(in);
  const std::uint64_t linked = link_address(in, "_text").value_or(layout.image_base + layout.image_offset);
  map.slide = in.slide.value_or(anchor.image.raw ? anchor.image.raw - linked : 0);
  map.needs_symbols = !in.symbols && anchor.image.raw;
  if (anchor.image.raw) {
    ImageFacts facts = scan_image(AddressSpace(*in.dump.memory, map.mappings), anchor.image);
    map.release = facts.release;
    map.build_id = facts.build_id;
  }
  return map;
}

KernelMap finish(const OsInput& in, const Anchor& anchor, const std::string& text, std::string source) {
  KernelMap map = finish(in, anchor, std::move(source));
  const Vmcoreinfo info(text);
  map.vmcoreinfo = text;
  map.slide = in.slide.value_or(info.hex("KERNELOFFSET").value_or(0));
  map.release = info.value("OSRELEASE").value_or("");
  map.build_id = info.value("BUILD-ID").value_or("");
  return map;
}

// Believe VMCOREINFO found in RAM only when its root maps the text it names: an older kernel's page may lie around.
bool consistent(const OsInput& in, const Anchor& anchor, const Vmcoreinfo& info) {
  auto text = info.symbol("_stext");
  auto extent = text ? walk(*in.dump.memory, anchor.table, {*text}) : fail(Errc::not_found);
  return extent && extent->phys && extent->at({*text}).raw == *text - layout_of(in).image_base + anchor.phys_base;
}

}  // namespace

Result<KernelMap> map_kernel(const OsInput& in) {
  if (!in.arch.linux_layout) return fail(Errc::unsupported, "Linux on " + std::string(in.arch.name) + " is not supported yet");
  if (!in.dump.vmcoreinfo.empty())
    if (auto anchor = from_vmcoreinfo(in, Vmcoreinfo(in.dump.vmcoreinfo)))
      return finish(in, *anchor, in.dump.vmcoreinfo, "VMCOREINFO note");
  if (auto anchor = from_user(in)) return finish(in, *anchor, "the command line");
  if (auto anchor = from_cpus(in)) {
    KernelMap map = finish(in, *anchor, "a CPU's " + std::string(layout_of(in).cpu.root_register));
    if (!map.release.empty()) return map;
  }
  if (auto anchor = from_vmlinux(in)) return finish(in, *anchor, "vmlinux, found in memory");
  std::optional<KernelMap> found;
  scan_vmcoreinfo(*in.dump.memory, in.arch.page_size, [&](const std::string& text) {
    const Vmcoreinfo info(text);
    auto anchor = from_vmcoreinfo(in, info);
    if (anchor && consistent(in, *anchor, info)) found = finish(in, *anchor, text, "VMCOREINFO found in memory");
    return found.has_value();
  });
  if (found) return *found;
  if (auto anchor = from_kallsyms(in)) return finish(in, *anchor, "the kernel's symbol table, found in memory");
  return fail(Errc::not_found,
              "no VMCOREINFO, no usable CPU state and no kernel image found in memory; give the vmlinux, or --slide and --phys-base");
}

}  // namespace kvm::os_linux
