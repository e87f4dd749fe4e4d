// ELF cores: /proc/vmcore and its copies, makedumpfile -E, QEMU's dump-guest-memory, virsh dump.
// Program headers map physical addresses to the file; notes hold CPU registers and VMCOREINFO.
// Odd: the header describes the machine that wrote it, so an i386 guest may come as ELFCLASS64 and a little-endian
// ppc64 guest as big-endian.  Manual: System V ABI, "Object Files"; kernel Documentation/admin-guide/kdump.
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "engine/dump.h"
#include "engine/dump/support/segments.h"
#include "engine/integers.h"
#include "engine/notes.h"

namespace kvm {
namespace {

constexpr std::uint8_t magic[] = {0x7f, 'E', 'L', 'F'};
constexpr std::uint16_t et_core = 4;
constexpr std::uint32_t pt_load = 1, pt_note = 4;
// FreeBSD's own dumps (sys/kern/kern_dump.c): written by no system that has an ABI number, and with a header that says where
// the kernel lies (sys/sys/elf_common.h, PT_DUMP_DELTA).
constexpr std::uint64_t osabi_standalone = 255;
constexpr std::uint32_t pt_dump_delta = 0x6fb5d000;
constexpr std::uint64_t pn_xnum = 0xffff;     // the true count is in section header 0 (gABI, "ELF Header")
constexpr std::uint32_t flag_incomplete = 1;  // makedumpfile's DUMP_ELF_INCOMPLETE in e_flags
constexpr std::uint64_t no_address = ~std::uint64_t{0};
constexpr std::uint64_t longest_note_area = 1 << 30;

// Fields of the two classes by name, so that the code below reads them alike.
struct Layout {
  std::uint8_t word;  // bytes of an address
  std::uint8_t e_phoff, e_shoff, e_flags, e_phentsize, e_phnum, header_size;
  std::uint8_t p_offset, p_vaddr, p_paddr, p_filesz, p_memsz, segment_size, sh_info;
};
constexpr Layout elf32{4, 28, 32, 36, 42, 44, 52, 4, 8, 12, 16, 20, 32, 28};
constexpr Layout elf64{8, 32, 40, 48, 54, 56, 64, 8, 16, 24, 32, 40, 56, 44};

struct Header {
  Layout layout;
  std::endian order;
  std::uint16_t type, machine;
  std::uint32_t flags;
  std::uint64_t table, entry_size, count;
};

struct ProgramHeader {
  std::uint32_t type;
  std::uint64_t offset, vaddr, paddr, stored_size, memory_size;
};

Result<std::uint64_t> number(const File& file, std::uint64_t offset, std::size_t bytes, std::endian order) {
  std::uint8_t raw[8] = {};
  if (file.read(offset, MutableBytes{raw}.first(bytes)) != bytes)
    return fail(Errc::bad_data, fmt::format("{}: the file ends inside the ELF headers, at {:#x}", file.path(), offset));
  return load_unsigned(Bytes{raw}.first(bytes), order);
}

Result<Header> read_header(const File& file) {
  const auto ident_class = TRY(number(file, 4, 1, std::endian::little));
  const auto ident_data = TRY(number(file, 5, 1, std::endian::little));
  if (ident_class < 1 || ident_class > 2 || ident_data < 1 || ident_data > 2)
    return fail(Errc::bad_data, fmt::format("{}: ELF class {} and byte order {} at 0x4, expected 1 or 2 for both", file.path(),
                                            ident_class, ident_data));
  Header h{ident_class == 1 ? elf32 : elf64, ident_data == 1 ? std::endian::little : std::endian::big, 0, 0, 0, 0, 0, 0};
  const Layout& l = h.layout;
  h.type = static_cast<std::uint16_t>(TRY(number(file, 16, 2, h.order)));
  h.machine = static_cast<std::uint16_t>(TRY(number(file, 18, 2, h.order)));
  h.flags = static_cast<std::uint32_t>(TRY(number(file, l.e_flags, 4, h.order)));
  h.table = TRY(number(file, l.e_phoff, l.word, h.order));
  h.entry_size = TRY(number(file, l.e_phentsize, 2, h.order));
  h.count = TRY(number(file, l.e_phnum, 2, h.order));
  if (h.count == pn_xnum) {
    const auto sections = TRY(number(file, l.e_shoff, l.word, h.order));
    if (sections > file.size())
      return fail(Errc::bad_data, fmt::format("{}: e_shoff {:#x} lies behind the end of the file", file.path(), sections));
    h.count = TRY(number(file, sections + l.sh_info, 4, h.order));
  }
  return h;
}

tl::unexpected<Error> not_a_core(const File& file, const Header& h) {
  if (h.type >= 1 && h.type <= 3)
    return fail(Errc::bad_request, fmt::format("{}: is a program or debug file (vmlinux?), not a dump", file.path()));
  return fail(Errc::bad_data, fmt::format("{}: ELF type {} at 0x10, expected 4 (core)", file.path(), h.type));
}

Result<std::vector<ProgramHeader>> read_table(const File& file, const Header& h) {
  const Layout& l = h.layout;
  if (h.entry_size < l.segment_size)
    return fail(Errc::bad_data, fmt::format("{}: e_phentsize {} at {:#x}, expected {}", file.path(), h.entry_size, l.e_phentsize,
                                            l.segment_size));
  // Both factors have at most 32 bits.
  const std::uint64_t size = h.count * h.entry_size;
  if (h.table > file.size() || size > file.size() - h.table)
    return fail(Errc::bad_data, fmt::format("{}: {} program headers at {:#x} do not fit into the file's {:#x} bytes", file.path(),
                                            h.count, h.table, file.size()));
  std::vector<ProgramHeader> table;
  std::uint8_t raw[64];
  for (std::uint64_t i = 0; i < h.count; ++i) {
    const std::uint64_t at = h.table + i * h.entry_size;
    if (file.read(at, MutableBytes{raw}.first(l.segment_size)) != l.segment_size)
      return fail(Errc::bad_data, fmt::format("{}: program header {} at {:#x} is not in the file", file.path(), i, at));
    const auto word = [&](std::uint8_t offset) { return load_unsigned(Bytes{raw}.subspan(offset, l.word), h.order); };
    table.push_back({load<std::uint32_t>(raw, h.order), word(l.p_offset), word(l.p_vaddr), word(l.p_paddr), word(l.p_filesz),
                     word(l.p_memsz)});
    // All bits of the file's own word: ELFCLASS32 writes "no address" in 32.
    const std::uint64_t none = l.word == 4 ? 0xffffffff : no_address;
    if (table.back().paddr == none) table.back().paddr = no_address;
    if (table.back().vaddr == none) table.back().vaddr = no_address;
  }
  return table;
}

// The header's class and byte order may be the writer's, not the kernel's: they only choose among rows of one machine.
const arch::Arch* arch_of(const Header& h) {
  if (const auto* exact = arch::find_elf(h.machine, h.layout.word, h.order)) return exact;
  const arch::Arch* found = nullptr;
  for (const arch::Arch* row : arch::arches()) {
    if (row->elf_machine != h.machine) continue;
    if (!found || (row->endian == h.order && found->endian != h.order)) found = row;
  }
  return found;
}

void add_load(const ProgramHeader& p, const File& file, std::vector<Segment>& segments, Dump& dump, std::uint64_t& cut) {
  // /proc/kcore says -1 where a range has no physical address (kernel 4.11, commit 464920104bf7).
  if (p.paddr == no_address) return;
  const std::uint64_t size = std::max(p.memory_size, p.stored_size);
  segments.push_back({{p.paddr}, size, p.stored_size, p.offset});
  const std::uint64_t present = p.offset < file.size() ? std::min(p.stored_size, file.size() - p.offset) : 0;
  cut += p.stored_size - present;
  // makedumpfile writes 0 when it does not know, QEMU without `paging` repeats the physical address.
  if (p.vaddr != 0 && p.vaddr != p.paddr && p.vaddr != no_address) dump.segments.push_back({{p.vaddr}, {p.paddr}, size});
}

// FreeBSD's kernels on Power may write virtual addresses alone (sys/kern/kern_dump.c, cb_dumphdr): those then stand for the
// physical ones too.
bool has_no_physical(const std::vector<ProgramHeader>& table) {
  const auto first = std::ranges::find(table, pt_load, &ProgramHeader::type);
  return first != table.end() && first->paddr == no_address;
}

void make_virtual_physical(std::vector<ProgramHeader>& table, Dump& dump) {
  for (ProgramHeader& p : table) {
    const std::uint64_t size = std::max(p.memory_size, p.stored_size);
    if (p.type != pt_load || size == 0 || p.vaddr > ~(size - 1)) continue;
    p.paddr = p.vaddr;
    dump.kernel_map.push_back({{p.vaddr}, {p.vaddr + (size - 1)}, Linear{{p.vaddr}}, "dump segment"});
  }
  dump.remarks.push_back("memory is stored by virtual address: physical addresses are not known, and shown equal to virtual ones");
}

// A core that `inquest export` wrote: its segments are all that the kernel maps.
void take_origin(const std::vector<ProgramHeader>& table, Dump& dump) {
  const auto is_origin = [](const Note& note, std::uint32_t type) { return note.owner == origin_owner && note.type == type; };
  const auto text = std::ranges::find_if(dump.notes, [&](const Note& note) { return is_origin(note, origin_text); });
  if (text == dump.notes.end()) return;
  const std::string said = "\n" + text_of(text->desc);
  const auto value = [&](std::string_view key) {
    const std::size_t at = said.find("\n" + std::string(key) + "=");
    return at == said.npos ? std::string() : said.substr(at + key.size() + 2, said.find('\n', at + 1) - (at + key.size() + 2));
  };
  dump.system = value("SYSTEM");
  dump.release = value("RELEASE");
  if (const std::string slide = value("SLIDE"); !slide.empty()) dump.slide = std::strtoull(slide.c_str(), nullptr, 16);
  for (Note& note : dump.notes) {
    if (is_origin(note, origin_message_buffer)) dump.message_buffer = std::move(note.desc);
    if (is_origin(note, origin_message_state)) dump.message_state = std::move(note.desc);
  }
  std::erase_if(dump.notes, [](const Note& note) { return note.owner == origin_owner; });
  for (const ProgramHeader& p : table) {
    if (p.type != pt_load || p.paddr == no_address || p.stored_size == 0 || p.vaddr > ~(p.stored_size - 1)) continue;
    const VirtAddr first{p.vaddr};
    if (!dump.kernel_map.empty() && first <= dump.kernel_map.back().last) continue;  // it writes them in order
    dump.kernel_map.push_back({first, first + (p.stored_size - 1), Linear{{p.paddr}}, "dump segment"});
  }
}

bool probe(const File& file) {
  std::uint8_t head[sizeof magic];
  return file.read(0, head) == sizeof head && std::memcmp(head, magic, sizeof magic) == 0;
}

Result<Dump> open(File file, const DumpOptions& options) {
  const Header h = TRY(read_header(file));
  if (h.type != et_core) return not_a_core(file, h);
  auto table = TRY(read_table(file, h));

  Dump dump;
  dump.format = fmt::format("ELF core, {}-bit", h.layout.word * 8);
  if (TRY(number(file, 7, 1, h.order)) == osabi_standalone) dump.system = "ELF standalone";
  if (!dump.system.empty() && has_no_physical(table)) make_virtual_physical(table, dump);
  std::vector<Segment> segments;
  std::uint64_t cut = 0;
  for (const ProgramHeader& p : table) {
    if (p.type == pt_load) add_load(p, file, segments, dump, cut);
    if (p.type == pt_dump_delta) dump.image = SegmentHint{{p.vaddr}, {p.paddr}, 0};
    if (p.type != pt_note) continue;
    for (Note& note : read_notes(file, p.offset, std::min(p.stored_size, longest_note_area), h.order, dump.remarks))
      dump.notes.push_back(std::move(note));
  }
  if (segments.empty())
    return fail(Errc::bad_data, fmt::format("{}: no PT_LOAD segment with a physical address among {} program headers",
                                            file.path(), table.size()));
  dump.vmcoreinfo = vmcoreinfo_text(dump.notes);
  take_origin(table, dump);
  dump.arch = options.arch ? options.arch : arch_of(h);
  if (!dump.arch) dump.remarks.push_back(fmt::format("processor: e_machine {} is not one that Inquest knows", h.machine));
  if (cut)
    dump.remarks.push_back(
        fmt::format("the file is cut: {:#x} bytes of memory that it announces lie behind its end ({:#x})", cut, file.size()));
  if (h.flags & flag_incomplete) {
    dump.incomplete = true;
    dump.remarks.push_back("the dump is incomplete: its writer ran out of room");
  }
  dump.memory = std::make_unique<SegmentedMemory>(std::move(file), std::move(segments));
  return dump;
}

}  // namespace

extern const DumpFormat elf_format;
const DumpFormat elf_format{"elf", probe, open};

}  // namespace kvm
