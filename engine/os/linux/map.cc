// Finds the kernel's page tables, KASLR slide and physical base.  The order is that of cost and trust: a note answers
// at once; a CPU's root register leads to the image by a short walk; scanning RAM is last.
#include "engine/os/linux/map.h"

#include <algorithm>

#include "engine/os/linux/anchor.h"
#include "engine/os/linux/os_info.h"
#include "engine/os/linux/scan.h"

namespace kvm::os_linux {
namespace {

const arch::LinuxLayout& layout_of(const OsInput& in) { return *in.arch.linux_layout; }

// Where the image can lie: the processor's window for it, or what its symbols span.
std::optional<std::pair<VirtAddr, VirtAddr>> image_range(const OsInput& in, std::uint64_t slide) {
  const arch::LinuxLayout& layout = layout_of(in);
  if (layout.image_size) return std::pair{VirtAddr{layout.image_bases[0]}, VirtAddr{layout.image_bases[0] + layout.image_size - 1}};
  auto first = link_address(in, "_text"), end = link_address(in, "_end");
  if (!first || !end || *first >= *end) return std::nullopt;
  return std::pair{VirtAddr{*first + slide}, VirtAddr{*end + slide - 1}};
}

// With the tables that empty entries lead to.
PageTable whole_table(const OsInput& in, const Anchor& anchor, std::uint64_t slide) {
  PageTable table = anchor.table;
  const auto names = table.mode->empty_tables;
  for (std::size_t i = 0; i < std::min(names.size(), table.empty.size()); ++i)
    if (auto address = link_address(in, names[i])) table.empty[i] = anchor.base.at(VirtAddr{*address + slide});
  return table;
}

// What needs no tables, then page tables.  Where the dump lacks them, the image's and the direct map's constant distances
// stand in.
std::vector<Mapping> mappings_of(const OsInput& in, const Anchor& anchor, std::uint64_t slide) {
  std::vector<Mapping> maps;
  for (const arch::Window& window : anchor.table.mode->windows)
    maps.push_back({{window.first}, {window.last}, Linear{{window.phys}}, "direct window"});
  // The lower half's root, where it has one, is a process's.
  const bool upper_only = anchor.table.mode->halves == arch::Halves::two_roots;
  maps.push_back({{upper_only ? std::uint64_t{1} << 63 : layout_of(in).first_shared}, {~std::uint64_t{0}}, whole_table(in, anchor, slide), "page tables"});
  const auto image = image_range(in, slide);
  if (image && image->first <= image->second)
    maps.insert(layout_of(in).image_in_tables ? maps.end() : maps.begin(),
                {image->first, image->second, Linear{anchor.base.at(image->first)}, "kernel image"});
  for (const SegmentHint& hint : in.dump.segments) {
    const bool in_image = image && hint.virt >= image->first && hint.virt <= image->second;
    const bool fits = hint.size && (hint.virt + (hint.size - 1)) >= hint.virt;
    if (fits && !in_image) maps.push_back({hint.virt, hint.virt + (hint.size - 1), Linear{hint.phys}, "dump segment"});
  }
  return maps;
}

// The image's first byte at run time, of a kernel that tells it.
std::optional<VirtAddr> first_of(const OsInput& in, const Vmcoreinfo& info) {
  const arch::LinuxLayout& layout = layout_of(in);
  if (const auto linked = info.number(layout.link_key)) return VirtAddr{*linked + info.hex(layout.slide_key).value_or(0)};
  // Where the image can be anywhere, its head is shorter than its alignment, and _stext comes next.
  const auto text = !layout.link_key.empty() && layout.image_bases.empty() ? info.symbol("_stext") : std::nullopt;
  return text ? std::optional(VirtAddr{(*text - 1) & ~(layout.image_align - 1)}) : std::nullopt;
}

// The physical place of the image's base, or of its first byte where there is no base.
std::uint64_t phys_base_of(const OsInput& in, const Anchor& anchor, std::uint64_t slide, std::optional<VirtAddr> first) {
  if (in.phys_base) return *in.phys_base;
  auto text = link_address(in, "_text");
  const auto bases = layout_of(in).image_bases;
  if (bases.empty() && text) return anchor.base.at(VirtAddr{*text + slide}).raw;
  if (bases.empty() && first) return anchor.base.at(*first).raw;
  if (bases.size() == 1) return anchor.base.at(VirtAddr{bases[0]}).raw;
  return anchor.base.phys.raw;
}

KernelMap finish(const OsInput& in, const Anchor& anchor, std::uint64_t slide, std::string source, std::optional<VirtAddr> first = {}) {
  KernelMap map;
  map.slide = in.slide.value_or(slide);
  map.mappings = mappings_of(in, anchor, map.slide);
  map.phys_base = phys_base_of(in, anchor, map.slide, first);
  map.first = first;
  map.mode = anchor.table.mode->name;
  // Unless the kernel says otherwise, all bits above the translated ones.
  if (!layout_of(in).signature_key.empty()) map.signature_mask = ~std::uint64_t{0} << anchor.table.mode->va_bits;
  map.source = std::move(source);
  return map;
}

KernelMap finish(const OsInput& in, const Anchor& anchor, std::string source) {
  const arch::LinuxLayout& layout = layout_of(in);
  const auto text = link_address(in, "_text");
  const std::uint64_t linked = text.value_or(layout.image_bases.empty() ? 0 : layout.image_bases[0] + layout.image_offset);
  KernelMap map = finish(in, anchor, anchor.image.raw - linked, std::move(source));
  map.needs_symbols = !in.symbols;
  map.image = anchor.image;
  ImageFacts facts = scan_image(AddressSpace(*in.dump.memory, map.mappings), anchor.image, in.arch.endian);
  map.release = facts.release;
  map.build_id = facts.build_id;
  return map;
}

KernelMap finish(const OsInput& in, const Anchor& anchor, const std::string& text, std::string source) {
  const Vmcoreinfo info(text);
  auto slide = info.hex(layout_of(in).slide_key);
  // Kernels that do not tell their slide tell where their text is.
  const auto run_time = info.symbol("_stext"), linked = link_address(in, "_stext");
  if (!slide && run_time && linked) slide = *run_time - *linked;
  KernelMap map = finish(in, anchor, slide.value_or(0), std::move(source), first_of(in, info));
  map.needs_symbols = !in.symbols && (!slide || !layout_of(in).image_size);
  map.vmcoreinfo = text;
  map.image = {run_time.value_or(0)};
  if (auto mask = info.number(layout_of(in).signature_key)) map.signature_mask = *mask;
  map.release = info.value("OSRELEASE").value_or("");
  map.build_id = info.value("BUILD-ID").value_or("");
  return map;
}

Result<KernelMap> find_map(const OsInput& in, const OsInfo& told) {
  // A value of the text's own stands before the same of os_info.
  const auto with_keys = [&](const std::string& text) { return Vmcoreinfo(text.ends_with('\n') ? text + told.keys : text + '\n' + told.keys); };
  if (!in.dump.vmcoreinfo.empty())
    if (auto anchor = anchor_from_vmcoreinfo(in, with_keys(in.dump.vmcoreinfo), false))
      return finish(in, *anchor, in.dump.vmcoreinfo, "VMCOREINFO note");
  if (auto anchor = anchor_from_user(in)) return finish(in, *anchor, "the command line");
  if (!told.vmcoreinfo.empty())
    if (auto anchor = anchor_from_vmcoreinfo(in, with_keys(told.vmcoreinfo), true))
      return finish(in, *anchor, told.vmcoreinfo, "VMCOREINFO that the lowcore points to");
  if (auto anchor = anchor_from_cpus(in)) {
    KernelMap map = finish(in, *anchor, "a CPU's " + std::string(layout_of(in).cpu.root_register));
    if (!map.release.empty()) return map;
  }
  if (auto anchor = anchor_from_vmlinux(in, Vmcoreinfo(told.keys))) return finish(in, *anchor, "vmlinux, found in memory");
  std::optional<KernelMap> found;
  scan_vmcoreinfo(*in.dump.memory, in.arch.page_size, [&](const std::string& text) {
    // An older kernel's page may lie around.
    auto anchor = anchor_from_vmcoreinfo(in, with_keys(text), true);
    if (anchor) found = finish(in, *anchor, text, "VMCOREINFO found in memory");
    return found.has_value();
  });
  if (found) return *found;
  if (auto anchor = anchor_from_kallsyms(in)) return finish(in, *anchor, "the kernel's symbol table, found in memory");
  return fail(Errc::not_found,
              "no VMCOREINFO, no usable CPU state and no kernel image found in memory; give the vmlinux, or --slide and --phys-base");
}

}  // namespace

Result<KernelMap> map_kernel(const OsInput& in) {
  if (!in.arch.linux_layout) return fail(Errc::unsupported, "Linux on " + std::string(in.arch.name) + " is not supported yet");
  const OsInfo told = read_os_info(*in.dump.memory, layout_of(in));
  KernelMap map = TRY(find_map(in, told));
  map.mappings.insert(map.mappings.end(), told.mappings.begin(), told.mappings.end());
  return map;
}

}  // namespace kvm::os_linux
