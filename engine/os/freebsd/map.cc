// A minidump brings its own translation.  A full dump holds all of physical memory, and nothing in it says where the kernel and
// its page tables lie, but the kernel's symbols do: FreeBSD, lib/libkvm/kvm_amd64.c and its neighbours.  A guess is taken when
// the page tables that it leads to agree with it.
#include "engine/os/freebsd/map.h"

#include <algorithm>

#include "engine/integers.h"

namespace kvm::os_freebsd {
namespace {

// Where a kernel keeps its root table: in a variable with the physical address, at the symbol itself, or in a record that has the
// value of RISC-V's satp somewhere (kinds of tables in its upper four bits, a page's number in the lower 44).
struct Root {
  std::string_view symbol, mode;
  enum class Kept : std::uint8_t { pointer, table, satp } kept = Kept::pointer;
  std::uint8_t satp_mode = 0;
};
constexpr Root roots[] = {
    {"KPML5phys", "5-level"}, {"KPML4phys", "4-level"},                // sys/amd64/amd64/pmap.c; the first is 0 without LA57
    {"IdlePDPT", "pae"}, {"IdlePTD_nopae", "2-level"}, {"IdlePTD", "2-level"},  // sys/i386/i386/pmap.c: equal to its virtual address
    {"kernel_l1pa", "short"},                                              // sys/arm/arm/pmap-v6.c
    {"pagetable_l0_ttbr1", "4k-48", Root::Kept::table}, {"pagetable_l0_ttbr1", "16k-48", Root::Kept::table},
    {"pagetable_l0_ttbr1", "16k-47", Root::Kept::table},  // sys/arm64/arm64/locore.S
    // pm_satp: pmap_bootstrap() makes the tables that stay (sys/riscv/riscv/pmap.c, since 15.0), with four levels where the processor can.
    {"kernel_pmap_store", "sv39", Root::Kept::satp, 8}, {"kernel_pmap_store", "sv48", Root::Kept::satp, 9},
    // Before that they were locore.S's.  With Sv48 another table is above this one, with a single entry; the kernel's addresses need it not.
    {"pagetable_l1", "sv39", Root::Kept::table},
};
constexpr std::uint64_t image_step = 2 << 20;  // kernels are mapped by large pages, and so lie as their addresses do within one
constexpr std::uint64_t farthest_search = 1ull << 40;

std::optional<std::uint64_t> link_address(const OsInput& in, std::string_view name) {
  const auto symbol = in.symbols ? in.symbols->find(name) : std::nullopt;
  return symbol ? std::optional(symbol->address.raw) : std::nullopt;
}

const arch::PagingMode* mode_named(const arch::Arch& arch, std::string_view name) {
  for (const arch::PagingMode& mode : arch.paging)
    if (mode.name == name) return &mode;
  return nullptr;
}

std::optional<std::uint64_t> physical_word(const OsInput& in, PhysAddr at) {
  std::uint8_t raw[8];
  const MutableBytes bytes = MutableBytes{raw}.first(in.arch.pointer_bytes);
  const auto got = in.dump.memory->read(at, bytes);
  return got && *got == bytes.size() ? std::optional(load_unsigned(bytes, in.arch.endian)) : std::nullopt;
}

struct Candidate {
  const Root* root;
  const arch::PagingMode* mode;
  VirtAddr symbol;
};

std::vector<Candidate> candidates(const OsInput& in) {
  std::vector<Candidate> found;
  for (const Root& root : roots) {
    const auto symbol = link_address(in, root.symbol);
    const arch::PagingMode* mode = mode_named(in.arch, root.mode);
    if (symbol && mode) found.push_back({&root, mode, {*symbol}});
  }
  return found;
}

// The words of struct pmap up to pm_satp: a mutex, two counters, a pointer.  Some builds have more (sys/riscv/include/pmap.h).
std::optional<std::uint64_t> root_in_record(const OsInput& in, PhysAddr place, std::uint8_t satp_mode) {
  constexpr std::uint64_t searched = 128, frame_bits = 44;
  for (std::uint64_t at = 0; at < searched; at += 8)
    if (const auto word = physical_word(in, place + at); word && *word >> 60 == satp_mode) return (*word & ((1ull << frame_bits) - 1)) << 12;
  return std::nullopt;
}

// The physical address of the root table that is kept at `place`.
std::optional<std::uint64_t> root_at(const OsInput& in, const Root& root, PhysAddr place) {
  if (root.kept == Root::Kept::table) return place.raw;
  return root.kept == Root::Kept::satp ? root_in_record(in, place, root.satp_mode) : physical_word(in, place);
}

// The tables that the candidate leads to if the kernel lies `distance` below its addresses, when they say so too.
std::optional<PageTable> tables_at(const OsInput& in, const Candidate& candidate, std::uint64_t distance) {
  const PhysAddr place{(candidate.symbol.raw - distance) & (in.arch.pointer_bytes == 4 ? 0xffffffff : ~0ull)};
  const auto root = root_at(in, *candidate.root, place);
  if (!root || *root == 0) return std::nullopt;
  const std::uint64_t table_bytes = std::uint64_t{candidate.mode->entry_bytes} << candidate.mode->levels.front().bits;
  const PhysAddr low{*root & ~(table_bytes - 1)};  // Arm keeps attributes in the low bits
  const PageTable table{.mode = candidate.mode, .low = low, .high = low, .order = in.arch.entry_order, .keeps = false};
  const auto extent = walk(*in.dump.memory, table, candidate.symbol);
  return extent && extent->phys && extent->at(candidate.symbol) == place ? std::optional(table) : std::nullopt;
}

struct Place {
  PageTable table;
  const Candidate* by;
  std::uint64_t distance;
};

std::optional<Place> try_distance(const OsInput& in, const std::vector<Candidate>& from, std::uint64_t distance) {
  for (const Candidate& candidate : from)
    if (const auto table = tables_at(in, candidate, distance)) return Place{*table, &candidate, distance};
  return std::nullopt;
}

// Where the dump's header or the kernel's symbols say it lies, and where it lies when addresses are equal; then anywhere.
std::optional<Place> find_kernel(const OsInput& in, const std::vector<Candidate>& from) {
  std::vector<std::uint64_t> likely;
  const auto base = link_address(in, "kernbase"), physical = link_address(in, "physaddr");
  if (in.phys_base && base) likely.push_back(*base - *in.phys_base);
  if (in.dump.image) likely.push_back(in.dump.image->virt.raw - in.dump.image->phys.raw);
  if (base && physical) likely.push_back(*base - *physical);
  if (base) likely.push_back(*base);
  likely.push_back(0);
  for (const std::uint64_t distance : likely)
    if (auto found = try_distance(in, from, distance)) return found;
  const std::uint64_t within = from.empty() ? 0 : from.front().symbol.raw & ~(image_step - 1);
  for (const PhysRange& range : in.dump.memory->ranges()) {
    const std::uint64_t end = std::min(range.first.raw + range.size, farthest_search);
    for (std::uint64_t at = range.first.raw & ~(image_step - 1); !from.empty() && at < end; at += image_step)
      if (auto found = try_distance(in, from, within - at)) return found;
  }
  return std::nullopt;
}

// What a processor translates without tables is better than nothing: Power's kernels lie there.
Result<KernelMap> windows_only(const OsInput& in, std::string why) {
  KernelMap map;
  for (const arch::PagingMode& mode : in.arch.paging)
    for (const arch::Window& window : mode.windows) map.mappings.push_back({{window.first}, {window.last}, Linear{{window.phys}}, "direct window"});
  if (map.mappings.empty()) return fail(Errc::not_found, std::move(why));
  map.source = "the processor's direct windows alone";
  return map;
}

Result<KernelMap> map_full(const OsInput& in) {
  if (!in.symbols) return windows_only(in, "a full dump does not say where its page tables are: name the kernel file after the dump");
  const auto from = candidates(in);
  const auto found = find_kernel(in, from);
  if (!found) return windows_only(in, from.empty() ? "the kernel file does not name its root page table" : "the kernel was not found in memory: is the file of another build?");
  KernelMap map;
  // Where the halves have roots of their own, the kernel's is of the upper one.
  const bool two_roots = found->by->mode->halves == arch::Halves::two_roots;
  const std::uint64_t first = two_roots ? ~std::uint64_t{0} << found->by->mode->va_bits : 0;
  map.mappings.push_back({{first}, {~std::uint64_t{0}}, found->table, "page tables"});
  map.slide = in.slide.value_or(0);
  map.mode = found->by->mode->name;
  map.phys_base = link_address(in, "kernbase").value_or(0) - found->distance;
  map.source = found->by->root->symbol;
  return map;
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
  map.source = "the dump's own page map";
  return map;
}

}  // namespace kvm::os_freebsd
