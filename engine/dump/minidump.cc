// FreeBSD's minidumps: the pages that the kernel uses, with the kernel's own page-table entries beside them.
//     header page | message buffer | ranges of RAM | bitmap of page frames | entries | pages, in the bitmap's order
// Odd: each machine has a header of its own, in its own byte order; the entries are of one level, from the kernel's base on.
// Manual: FreeBSD, sys/MACHINE/include/minidump.h and lib/libkvm/kvm_minidump_MACHINE.c.
#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "engine/dump.h"
#include "engine/dump/support/minidump_machines.h"
#include "engine/dump/support/minidump_memory.h"
#include "engine/integers.h"

namespace kvm {
namespace {

constexpr std::string_view signature = "minidump ";
constexpr std::size_t header_bytes = 144, magic_bytes = 32;
constexpr std::uint64_t largest_message_buffer = 64 << 20;  // kern.msgbufsize is 96 KiB, and rarely more than 1 MiB

struct Header {
  std::string_view system;
  const MinidumpMachine* machine;
  std::endian order;
  Bytes raw;
  std::uint32_t version, message_size, bitmap_size, entries_size, available_size;
  std::uint64_t page_bytes;

  std::uint64_t operator[](MinidumpField f) const { return load_unsigned(raw.subspan(f.at, f.bytes), order); }
};

// A version is a small number in the right byte order.
std::endian order_of(Bytes raw, std::size_t version_at) {
  return load<std::uint32_t>(raw.data() + version_at, std::endian::little) > 0xffff ? std::endian::big : std::endian::little;
}

Result<const MinidumpMachine*> machine_named(const File& file, std::string_view name, Bytes raw) {
  for (const MinidumpMachine& row : minidump_machines()) {
    if (row.name != name) continue;
    // Machines of both widths share a header of 64-bit fields; a 32-bit kernel's base has no more than 32 bits.
    const auto base = load_unsigned(raw.subspan(row.kernbase.at, row.kernbase.bytes), order_of(raw, row.numbers_at));
    if (row.kernbase.bytes == 4 || (row.pointer_bytes == 8) == (base >> 32 != 0)) return &row;
  }
  std::string known;
  for (const MinidumpMachine& row : minidump_machines()) known += fmt::format("{}{}", known.empty() ? "" : ", ", row.name);
  return fail(Errc::unsupported, fmt::format("{}: a minidump of '{}' at 0x0, expected one of {}", file.path(), name, known));
}

Result<Header> read_header(const File& file, MutableBytes raw) {
  if (file.read(0, raw) != raw.size())
    return fail(Errc::bad_data, fmt::format("{}: the file ends inside the minidump header", file.path()));
  const char* const text = reinterpret_cast<const char*>(raw.data());
  const std::string_view magic(text, std::find(text, text + magic_bytes, '\0') - text);
  const std::string_view name = magic.substr(signature.size());
  Header h{};
  h.raw = raw;
  h.system = name.substr(0, name.find('/'));
  h.machine = TRY(machine_named(file, name, raw));
  const std::uint8_t at = h.machine->numbers_at;
  h.order = order_of(raw, at);
  const auto number = [&](int i) { return load<std::uint32_t>(raw.data() + at + 4 * i, h.order); };
  h.version = number(0);
  if (h.version < 1 || h.version > h.machine->newest)
    return fail(Errc::unsupported, fmt::format("{}: minidump version {} at {:#x}, expected 1 to {}", file.path(), h.version, at, h.machine->newest));
  h.message_size = number(1);
  h.bitmap_size = number(2);
  h.entries_size = number(3);
  // Older versions have no such field, and need not have zeros there.
  h.available_size = h.version >= h.machine->available_version ? static_cast<std::uint32_t>(h[h.machine->available_size]) : 0;
  const std::uint64_t flags = h.version >= 3 ? h[h.machine->flags] : 0;
  if ((flags & 3) > 1) return fail(Errc::unsupported, fmt::format("{}: page size {} at {:#x}, expected 0 (4 KiB) or 1 (16 KiB)", file.path(), flags & 3, h.machine->flags.at));
  h.page_bytes = flags & 3 ? 16384 : 4096;
  return h;
}

// Pairs of u64, first and end of a range, up to a pair whose end is 0.
std::vector<FrameRun> read_ranges(const File& file, std::uint64_t at, const Header& h, std::vector<std::string>& remarks) {
  std::vector<FrameRun> runs;
  const auto table = file.bytes(at, h.available_size);
  if (!table) remarks.push_back(fmt::format("the file is cut: the ranges of RAM at {:#x} are not all in it", at));
  for (std::size_t i = 0; table && i + 16 <= table->size(); i += 16) {
    const auto first = load<std::uint64_t>(table->data() + i, h.order), end = load<std::uint64_t>(table->data() + i + 8, h.order);
    if (end == 0) break;
    if (end < first) {
      remarks.push_back(fmt::format("the range of RAM at {:#x} ends before it begins; it and those after it are left out", at + i));
      break;
    }
    const std::uint64_t first_frame = first / h.page_bytes;
    runs.push_back({first_frame, end / h.page_bytes + (end % h.page_bytes != 0) - first_frame});
  }
  return runs;
}

MinidumpLayout layout_of(const File& file, const Header& h, std::vector<std::string>& remarks) {
  const auto rounded = [&](std::uint64_t size) { return (size + h.page_bytes - 1) / h.page_bytes * h.page_bytes; };
  MinidumpLayout l;
  l.page_bytes = h.page_bytes;
  if (h.order == std::endian::big) l.bitmap_word = h.version == 1 ? h.machine->old_bitmap_word : h.machine->bitmap_word;
  const std::uint64_t ranges_at = h.page_bytes + rounded(h.message_size);
  l.bitmap_at = ranges_at + rounded(h.available_size);
  l.bitmap_bytes = h.bitmap_size;
  l.entries_at = l.bitmap_at + rounded(h.bitmap_size);
  l.entries_bytes = h.entries_size;
  l.pages_at = l.entries_at + rounded(h.entries_size);
  l.available = read_ranges(file, ranges_at, h, remarks);
  return l;
}

// How the entries are made: as the processor's own, since they are copies of its, but where the system fills its TLB by hand.
const arch::PagingMode* mode_of(const Header& h, const arch::Arch* arch, std::uint8_t entry_bytes) {
  if (const arch::PagingMode* own = h.machine->own_entries; own && own->entry_bytes == entry_bytes) return own;
  // A processor has the same tables in either byte order, be there a row for it or not.
  for (const std::endian order : {std::endian::little, std::endian::big})
    if (!arch) arch = arch::find_elf(h.machine->elf_machine, h.machine->pointer_bytes, order);
  for (const arch::PagingMode& mode : arch ? arch->paging : std::span<const arch::PagingMode>{})
    if (mode.entry_bytes == entry_bytes && mode.page_bytes() == h.page_bytes) return &mode;
  return nullptr;
}

std::optional<Mapping> direct_map(const Header& h) {
  const std::uint64_t base = h[h.machine->dmapbase], end = h[h.machine->dmapend];
  if (end <= base) return std::nullopt;
  std::uint64_t last = h.machine->last_inclusive ? end : end - 1;
  // Power's limit is a constant, and leaves no room for kernels whose addresses begin lower.
  if (const std::uint64_t kernbase = h[h.machine->kernbase]; kernbase > base && kernbase <= last) last = kernbase - 1;
  return Mapping{{base}, {last}, Linear{{h[h.machine->dmapphys]}}, "direct map"};
}

// The entries are a whole table, of either kind, for the addresses from kernbase to kernend.
Result<Mapping> whole_table(const File& file, const Header& h, const PhysicalMemory& entries) {
  const MinidumpMachine& m = *h.machine;
  const char* const name = reinterpret_cast<const char*>(h.raw.data() + m.mmu_name.at);
  const std::string_view mmu(name, std::find(name, name + m.mmu_name.bytes, '\0') - name);
  const VirtAddr base{h[m.kernbase]}, end{h[m.kernend]}, last = end > base ? end : VirtAddr{~std::uint64_t{0}};
  if (mmu.find(m.tree->mmu_name) != mmu.npos) {
    const arch::Level& root = m.tree->mode->levels.front();
    const std::uint64_t wanted = std::uint64_t{m.tree->mode->entry_bytes} << root.bits, reach = (std::uint64_t{1} << (root.shift + root.bits)) - 1;
    if (h.entries_size < wanted)
      return fail(Errc::bad_data, fmt::format("{}: a root table of {:#x} bytes, expected {:#x}", file.path(), h.entries_size, wanted));
    const VirtAddr first{base.raw & ~reach};
    return Mapping{base, std::min(last, first + reach), EntryArray{{.mode = m.tree->mode, .order = std::endian::big, .keeps = false}, 0, &entries, first}, "page tables"};
  }
  const std::uint64_t groups = h.entries_size / 128;
  if (!std::has_single_bit(groups))
    return fail(Errc::bad_data, fmt::format("{}: a hashed page table ({}) of {:#x} bytes, expected a power of two", file.path(), mmu, h.entries_size));
  return Mapping{base, last, HashedTable{&entries, groups, m.hashed_segment}, "hashed page table"};
}

Result<std::optional<Mapping>> page_map(const File& file, const Header& h, const arch::Arch* arch, const PhysicalMemory& entries) {
  if (h.machine->mmu_name.bytes) return TRY(whole_table(file, h, entries));
  const std::uint8_t entry_bytes = h[h.machine->large_entries] ? 8 : h.machine->entry_bytes;
  const arch::PagingMode* mode = mode_of(h, arch, entry_bytes);
  if (!mode) return fail(Errc::unsupported, fmt::format("{}: the page tables of this minidump's processor are not known", file.path()));
  const std::uint8_t depth = static_cast<std::uint8_t>(mode->levels.size() - (h.version >= h.machine->directory_version ? 2 : 1));
  const std::uint64_t span = std::uint64_t{1} << mode->levels[depth].shift, count = h.entries_size / entry_bytes;
  const std::uint64_t base = h[h.machine->kernbase];
  if (base % span) return fail(Errc::bad_data, fmt::format("{}: kernel base {:#x} at {:#x}, expected a multiple of {:#x}", file.path(), base, h.machine->kernbase.at, span));
  if (count == 0) return std::nullopt;
  const std::uint64_t room = (~base + 1) / span;  // entries up to 2^64
  const std::uint64_t last = base == 0 || count < room ? base + count * span - 1 : ~std::uint64_t{0};
  return Mapping{{base}, {last}, EntryArray{{.mode = mode, .order = h.order, .keeps = false}, depth, &entries, {base}}, "page map"};
}

std::vector<Mapping> mappings_of(const File& file, const Header& h, const arch::Arch* arch, const PhysicalMemory& entries, std::vector<std::string>& remarks) {
  std::vector<Mapping> all;
  for (const MinidumpWindow& window : h.machine->windows) all.push_back({window.first, window.last, Linear{{0}}, "unmapped segment"});
  const auto direct = direct_map(h);
  const auto found = page_map(file, h, arch, entries);
  if (!found) remarks.push_back("of kernel memory only the direct map can be read: " + to_string(found.error()));
  const std::optional<Mapping> mapped = found ? *found : std::nullopt;
  if (direct && !h.machine->map_first) all.push_back(*direct);
  if (mapped) all.push_back(*mapped);
  if (direct && h.machine->map_first) all.push_back(*direct);
  return all;
}

void remark_cut(const MinidumpMemory& memory, std::uint64_t pages_at, std::uint64_t bitmap_size, std::uint64_t file_size, Dump& dump) {
  constexpr std::uint64_t quickly_counted = 4 << 20;  // bytes of bitmap; 128 GiB of RAM
  const auto end = bitmap_size <= quickly_counted ? memory.expected_end() : pages_at;
  if (!end) dump.remarks.push_back(fmt::format("the file is cut: it ends at {:#x}, inside the bitmap of pages", file_size));
  else if (*end > file_size) dump.remarks.push_back(fmt::format("the file is cut: it ends at {:#x}, but holds pages up to {:#x} or more", file_size, *end));
}

bool probe(const File& file) {
  std::uint8_t head[signature.size()];
  return file.read(0, head) == sizeof head && std::memcmp(head, signature.data(), sizeof head) == 0;
}

Result<Dump> open(File file, const DumpOptions& options) {
  std::uint8_t raw[header_bytes];
  const Header h = TRY(read_header(file, raw));
  Dump dump;
  dump.format = fmt::format("{} minidump v{}, {}", h.system, h.version, h.machine->name.substr(h.system.size() + 1));
  dump.system = h.system;
  dump.arch = options.arch ? options.arch : arch::find_elf(h.machine->elf_machine, h.machine->pointer_bytes, h.order);
  if (!dump.arch) dump.remarks.push_back(fmt::format("processor: '{}' is not one that Inquest knows", h.machine->name));
  MinidumpLayout layout = layout_of(file, h, dump.remarks);
  if (auto text = file.bytes(h.page_bytes, h.message_size); text && h.message_size <= largest_message_buffer) dump.message_buffer = std::move(*text);
  if (const std::uint64_t used = h.message_size % h.page_bytes; used && !dump.message_buffer.empty())
    dump.message_state = file.bytes(h.page_bytes + h.message_size, h.page_bytes - used).value_or(std::vector<std::uint8_t>{});
  if (h.machine->kernel_start.bytes) dump.slide = h[h.machine->kernel_start] - h.machine->link_start;

  const std::uint64_t pages_at = layout.pages_at, file_size = file.size();
  auto memory = std::make_unique<MinidumpMemory>(std::move(file), std::move(layout));
  remark_cut(*memory, pages_at, h.bitmap_size, file_size, dump);
  dump.kernel_map = mappings_of(memory->file(), h, dump.arch, memory->entries(), dump.remarks);
  dump.memory = std::move(memory);
  return dump;
}

}  // namespace

extern const DumpFormat minidump_format;
const DumpFormat minidump_format{"minidump", probe, open};

}  // namespace kvm
