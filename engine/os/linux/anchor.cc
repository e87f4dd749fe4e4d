// Ways to the page tables.  What cannot be told is tried: a paging mode is right when its tables lead from a known virtual
// address to the known physical one.
#include "engine/os/linux/anchor.h"

#include <algorithm>
#include <bit>
#include <vector>

#include "engine/cpu_notes.h"
#include "engine/integers.h"
#include "engine/os/linux/kallsyms.h"
#include "engine/os/linux/scan.h"

namespace kvm::os_linux {
namespace {

using Modes = std::vector<const arch::PagingMode*>;

const arch::LinuxLayout& layout_of(const OsInput& in) { return *in.arch.linux_layout; }

PageTable make_table(const OsInput& in, const arch::PagingMode& mode, PhysAddr root, std::uint64_t clear = 0) {
  return {&mode, root, root, clear, in.arch.entry_order};
}

// Whether the kernel has the tables behind empty entries that a mode needs: of the right sizes, or at least large enough, since
// symbols of the kernel's own are as large as the distance to the next.
bool has_empty_tables(const OsInput& in, const arch::PagingMode& mode, bool exactly) {
  for (std::size_t i = 0; i < mode.empty_tables.size(); ++i) {
    const auto found = in.symbols ? in.symbols->find(mode.empty_tables[i]) : std::nullopt;
    const std::uint64_t needed = std::uint64_t{mode.entry_bytes} << mode.levels[i + 1].bits;
    if (!found || (found->size && (exactly ? found->size != needed : found->size < needed))) return false;
  }
  return true;
}

Modes all_modes(const OsInput& in) {
  Modes modes;
  for (const arch::PagingMode& mode : in.arch.paging) modes.push_back(&mode);
  std::ranges::stable_partition(modes, [&](const arch::PagingMode* mode) { return has_empty_tables(in, *mode, true); });
  return modes;
}

// The likeliest first.
Modes modes_of(const OsInput& in, const Vmcoreinfo& info) {
  Modes modes = all_modes(in);
  if (auto bytes = info.number("PAGESIZE"))
    std::erase_if(modes, [&](const arch::PagingMode* mode) { return mode->page_bytes() != *bytes; });
  if (modes.empty()) return modes;
  if (auto index = info.number(layout_of(in).mode_key))
    std::swap(modes.front(), modes[std::min<std::uint64_t>(*index, modes.size() - 1)]);
  if (auto bits = info.number(layout_of(in).va_bits_key))
    std::ranges::stable_partition(modes, [&](const arch::PagingMode* mode) { return mode->va_bits == *bits; });
  return modes;
}

// Whether the kernel, at this place, says that its tables have the mode's shape.  Kernels that have no such variables agree to all.
bool has_shape(const OsInput& in, const arch::PagingMode& mode, const Place& place, std::uint64_t slide) {
  std::size_t level = mode.levels.size();
  for (std::string_view name : layout_of(in).index_bits_symbols) {
    auto symbol = link_address(in, name);
    std::uint8_t raw[8];
    const MutableBytes bytes(raw, in.arch.pointer_bytes);
    if (!symbol || in.dump.memory->read(place.at(VirtAddr{*symbol + slide}), bytes).value_or(0) != bytes.size()) continue;
    if (level == 0 || load_unsigned(bytes, in.arch.endian) != mode.levels[--level].bits) return false;
  }
  return true;
}

// Where the image's base may lie; what is told goes before what may be assumed.
std::vector<Place> places(const OsInput& in, const Vmcoreinfo& info) {
  const arch::LinuxLayout& layout = layout_of(in);
  if (auto told = info.number(layout.distance_key)) return {{{*told}, {0}}};
  if (auto virt = info.hex(layout.image_base_key), phys = info.hex(layout.phys_base_key); virt && phys) return {{{*virt}, {*phys}}};
  std::vector<std::uint64_t> bases;
  if (auto told = in.phys_base || !layout.image_base_key.empty() ? in.phys_base : info.number(layout.phys_base_key)) {
    bases.push_back(*told);
  } else {
    if (in.dump.phys_base) bases.push_back(*in.dump.phys_base);  // x86-64 before v4.10
    if (layout.physical == arch::LinuxLayout::Physical::zero) bases.push_back(0);
    if (layout.physical == arch::LinuxLayout::Physical::ram)
      for (const PhysRange& range : in.dump.memory->ranges()) bases.push_back(range.first.raw);
  }
  constexpr std::size_t most_bases = 64;
  bases.resize(std::min(bases.size(), most_bases));
  // The image was linked above its base, and not far.
  std::vector<std::uint64_t> virtuals(layout.image_bases.begin(), layout.image_bases.end());
  if (auto text = link_address(in, "_text")) std::ranges::sort(virtuals, {}, [&](std::uint64_t virt) { return *text - virt; });
  std::vector<Place> result;
  for (std::uint64_t phys : bases)
    for (std::uint64_t virt : virtuals) result.push_back({{virt}, {phys}});
  return result;
}

enum class Verdict { no, unreadable, yes };

Verdict leads_to(const OsInput& in, const PageTable& table, VirtAddr virt, PhysAddr phys) {
  if (!fits_root(*in.dump.memory, table)) return Verdict::no;
  for (const arch::Window& window : table.mode->windows)
    if (virt.raw >= window.first && virt.raw <= window.last) return virt.raw - window.first + window.phys == phys.raw ? Verdict::yes : Verdict::no;
  auto extent = walk(*in.dump.memory, table, virt);
  if (!extent) return Verdict::unreadable;
  return extent->phys && extent->at(virt) == phys ? Verdict::yes : Verdict::no;
}

// With a window of its own, the first mapped address in it is _text: the kernel unmaps what is before it.
std::optional<Place> first_of_image(const OsInput& in, const PageTable& table) {
  const arch::LinuxLayout& layout = layout_of(in);
  if (layout.image_bases.empty() || !layout.image_size) return std::nullopt;
  const VirtAddr last{layout.image_bases[0] + (layout.image_size - 1)};
  for (VirtAddr at{layout.image_bases[0]};;) {
    auto extent = walk(*in.dump.memory, table, at);
    if (!extent) return std::nullopt;
    if (extent->phys) return Place{extent->first, *extent->phys};
    if (extent->last >= last) break;  // a hole may reach to 2^64
    at = extent->last + 1;
  }
  return std::nullopt;
}

std::optional<std::uint64_t> root_symbol(const OsInput& in, auto address_of) {
  for (std::string_view name : layout_of(in).root_symbols)
    if (auto address = address_of(name)) return address;
  return std::nullopt;
}

// By the variable of the image at `image` that holds its distance.
std::optional<Place> stored_place(const OsInput& in, PhysAddr image, std::uint64_t text) {
  auto symbol = link_address(in, layout_of(in).distance_symbol);
  std::uint8_t raw[8];
  const MutableBytes bytes(raw, in.arch.pointer_bytes);
  if (!symbol || in.dump.memory->read(image + (*symbol - text), bytes).value_or(0) != bytes.size()) return std::nullopt;
  return Place{{image.raw + load_unsigned(bytes, in.arch.endian)}, image};
}

// Most entries of a kernel's root are empty.  Where windows translate, so that every table seems right, an entry that leads to
// the table behind empty ones tells this kernel's root from one that lies where the image was before it moved itself.
bool is_root(const OsInput& in, const PageTable& table, const Place& image, std::uint64_t text) {
  const auto names = table.mode->empty_tables;
  if (names.empty() || !link_address(in, names.back())) return true;  // there is none, or nobody tells
  const auto empty = link_address(in, names.front());
  if (!empty || !has_empty_tables(in, *table.mode, false)) return false;
  std::vector<std::uint8_t> root(std::size_t{table.mode->entry_bytes} << table.mode->levels.front().bits);
  const std::size_t got = in.dump.memory->read(table.low, root).value_or(0);
  for (std::size_t at = 0; at + table.mode->entry_bytes <= got; at += table.mode->entry_bytes)
    if (load_unsigned(Bytes(root).subspan(at, table.mode->entry_bytes), table.order) == image.virt.raw + (*empty - text)) return true;
  return false;
}

// An image that no table shows: the linear map, which can be written, shows its memory.
std::optional<Anchor> anchor_outside_tables(const OsInput& in, const PageTable& table, PhysAddr image, std::uint64_t text, PhysAddr known) {
  const auto linear = stored_place(in, image, text);
  const auto extent = linear ? walk(*in.dump.memory, table, linear->at(known)) : fail(Errc::not_found);
  if (!extent || !extent->phys || extent->at(linear->at(known)) != known || !extent->access.write) return std::nullopt;
  return Anchor{table, {{text}, image}, {text}};
}

// The base that belongs to a place of the image's first byte.
Place base_of(const OsInput& in, const Place& image) {
  const arch::LinuxLayout& layout = layout_of(in);
  return layout.image_size ? Place{{layout.image_bases[0]}, image.at(VirtAddr{layout.image_bases[0]})} : image;
}

// The image where it was linked, as processors without KASLR have it: told by the highest base below.
Place linked_place(const OsInput& in, const Place& image) {
  std::optional<std::uint64_t> base;
  for (std::uint64_t each : layout_of(in).image_bases)
    if (each <= image.virt.raw) base = std::max(base.value_or(0), each);
  return base ? Place{{*base}, image.at(VirtAddr{*base})} : image;
}

}  // namespace

std::optional<std::uint64_t> link_address(const OsInput& in, std::string_view symbol) {
  auto found = in.symbols && !symbol.empty() ? in.symbols->find(symbol) : std::nullopt;
  return found ? std::optional(found->address.raw) : std::nullopt;
}

// VMCOREINFO gives the run-time address of the root table; the image's distance makes it physical, since walking to it
// would need the very tables we look for.
std::optional<Anchor> anchor_from_vmcoreinfo(const OsInput& in, const Vmcoreinfo& info, bool sure) {
  auto root = root_symbol(in, [&](std::string_view name) { return info.symbol(name); });
  auto text = info.symbol("_stext");
  if (!root || (sure && !text) || !layout_of(in).image_in_tables) return std::nullopt;
  std::optional<Anchor> likely;
  Verdict best = sure ? Verdict::unreadable : Verdict::no;
  for (const Place& base : places(in, info))
    for (const arch::PagingMode* mode : modes_of(in, info)) {
      const Anchor anchor{make_table(in, *mode, base.at(VirtAddr{*root}), info.number(layout_of(in).clear_key).value_or(0)), base, {}};
      const VirtAddr known{text.value_or(*root)};
      const auto linked = link_address(in, "_stext");
      const Verdict verdict = text && linked && !has_shape(in, *mode, base, *text - *linked) ? Verdict::no
                                                                                             : leads_to(in, anchor.table, known, base.at(known));
      if (verdict == Verdict::yes) return anchor;
      if (verdict > best || (!likely && !sure)) likely = anchor, best = verdict;
    }
  return likely;
}

std::optional<Anchor> anchor_from_user(const OsInput& in) {
  if (!in.slide || !in.phys_base) return std::nullopt;
  auto root = root_symbol(in, [&](std::string_view name) { return link_address(in, name); });
  auto text = link_address(in, "_text"), banner = link_address(in, "linux_banner");
  if (!root || !text || !banner) return std::nullopt;
  const VirtAddr image{*text + *in.slide}, known{*banner + *in.slide};  // _text itself may be unmapped
  const auto bases = layout_of(in).image_bases;
  for (std::uint64_t virt : bases.empty() ? std::span(&image.raw, 1) : bases)
    for (const arch::PagingMode* mode : all_modes(in)) {
      const Place base{{virt}, {*in.phys_base}};
      const Anchor anchor{make_table(in, *mode, base.at(VirtAddr{*root + *in.slide})), base, image};
      if (has_shape(in, *mode, base, *in.slide) && leads_to(in, anchor.table, known, base.at(known)) == Verdict::yes) return anchor;
    }
  return std::nullopt;
}

std::optional<Anchor> anchor_from_cpus(const OsInput& in) {
  const arch::CpuRoot& cpu = layout_of(in).cpu;
  for (const CpuState& state : cpu_states(in.dump.notes, in.arch)) {
    auto root = state.registers.get(cpu.root_register), mode = state.registers.get(cpu.mode_register);
    if (!root || !mode) continue;
    const std::size_t index = (*mode & cpu.mode_mask) >> std::countr_zero(cpu.mode_mask);
    const PageTable table = make_table(in, in.arch.paging[std::min(index, in.arch.paging.size() - 1)], {*root & cpu.root_mask});
    if (auto first = first_of_image(in, table)) return Anchor{table, base_of(in, *first), first->virt};
  }
  return std::nullopt;
}

std::optional<Anchor> anchor_from_vmlinux(const OsInput& in, const Vmcoreinfo& told) {
  auto text = link_address(in, "_text"), banner = link_address(in, "linux_banner");
  auto root = root_symbol(in, [&](std::string_view name) { return link_address(in, name); });
  if (!text || !banner || !root) return std::nullopt;
  const std::vector<Place> assumed = places(in, told);
  const std::uint64_t to_banner = *banner - *text;
  return find_image(*in.dump.memory, layout_of(in).image_align, to_banner, [&](PhysAddr image) -> std::optional<Anchor> {
    for (const arch::PagingMode* mode : all_modes(in)) {
      const PageTable table = make_table(in, *mode, image + (*root - *text));
      if (!layout_of(in).image_in_tables) {
        if (auto anchor = anchor_outside_tables(in, table, image, *text, image + to_banner)) return anchor;
        continue;
      }
      std::vector<Place> tried = assumed;
      if (auto stored = stored_place(in, image, *text)) tried.push_back(*stored);
      if (auto first = first_of_image(in, table)) tried.push_back(base_of(in, *first));
      tried.push_back(linked_place(in, {{*text}, image}));
      for (const Place& base : tried) {
        const std::uint64_t slide = base.at(image).raw - *text;
        const bool leads = has_shape(in, *mode, base, slide) && leads_to(in, table, base.at(image + to_banner), image + to_banner) == Verdict::yes;
        if (leads && is_root(in, table, {base.at(image), image}, *text)) return Anchor{table, base, base.at(image)};
      }
    }
    return std::nullopt;
  });
}

// Only distances matter, and these are the same wherever the image lies.  With the user's physical base there is less memory
// to look at.
std::optional<Anchor> anchor_from_kallsyms(const OsInput& in) {
  const arch::LinuxLayout& layout = layout_of(in);
  std::vector<Window> windows;
  Mapping mapping{{0}, {~std::uint64_t{0}}, Linear{{0}}, "physical memory"};
  if (in.phys_base && layout.image_size) {
    const VirtAddr first{layout.image_bases[0]};
    windows.push_back({first, layout.image_size});
    mapping = {first, first + (layout.image_size - 1), Linear{{*in.phys_base}}, "kernel image"};
  } else {
    for (const PhysRange& range : in.dump.memory->ranges()) windows.push_back({{range.first.raw}, range.size});
  }
  const AddressSpace space(*in.dump.memory, {mapping});
  std::vector<std::string> ignored;  // what is missing is said when the tables are read again
  auto symbols = find_kallsyms({in.arch, space}, Vmcoreinfo({}), windows, ignored);
  if (!symbols) return std::nullopt;
  OsInput with_symbols = in;
  with_symbols.symbols = symbols->get();
  return anchor_from_vmlinux(with_symbols);
}

}  // namespace kvm::os_linux
