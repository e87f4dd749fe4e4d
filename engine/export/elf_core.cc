// System V ABI, "Object Files"; PN_XNUM as in Linux's and Solaris's cores: e_phnum is 0xffff, and the first section header's sh_info
// has the number.
#include "engine/export/elf_core.h"

#include <algorithm>

#include "engine/image/buffer.h"

namespace kvm {
namespace {

constexpr std::uint16_t et_core = 4, pn_xnum = 0xffff;
constexpr std::uint32_t pt_load = 1, pt_note = 4, pf_x = 1, pf_w = 2, pf_r = 4;
constexpr std::uint64_t page_bytes = 4096, chunk_bytes = 1 << 20;

struct Sizes {
  std::uint16_t header, program, section;
};
Sizes sizes_of(const arch::Arch& arch) { return arch.pointer_bytes == 4 ? Sizes{52, 32, 40} : Sizes{64, 56, 64}; }

class HeaderWriter {
 public:
  HeaderWriter(const arch::Arch& arch, std::size_t expected) : arch_(arch), out_(arch.endian, expected) {}

  void start(std::size_t programs) {
    const Sizes sizes = sizes_of(arch_);
    const bool many = programs >= pn_xnum;
    for (const char byte : {'\x7f', 'E', 'L', 'F'}) out_.u8(static_cast<std::uint8_t>(byte));
    out_.u8(arch_.pointer_bytes == 4 ? 1 : 2);  // ELFCLASS32, ELFCLASS64
    out_.u8(arch_.endian == std::endian::little ? 1 : 2);
    out_.u8(1);  // EV_CURRENT
    for (int i = 7; i < 16; ++i) out_.u8(0);
    out_.u16(et_core);
    out_.u16(arch_.elf_machine);
    out_.u32(1);
    word(0);                                              // e_entry
    word(sizes.header);                                   // e_phoff
    word(many ? sizes.header + programs * sizes.program : 0);  // e_shoff
    out_.u32(0);                                          // e_flags
    out_.u16(sizes.header);
    out_.u16(sizes.program);
    out_.u16(many ? pn_xnum : static_cast<std::uint16_t>(programs));
    out_.u16(sizes.section);
    out_.u16(many ? 1 : 0);
    out_.u16(0);
  }

  void program(std::uint32_t type, std::uint32_t flags, const CoreSegment& s, std::uint64_t align) {
    const bool narrow = arch_.pointer_bytes == 4;
    out_.u32(type);
    if (!narrow) out_.u32(flags);
    word(s.offset);
    word(s.virt.raw);
    word(narrow && s.phys.raw > ~std::uint32_t{0} ? ~std::uint64_t{0} : s.phys.raw);  // PAE: no room for it
    word(s.size);
    word(s.size);
    if (narrow) out_.u32(flags);
    word(align);
  }

  // Of which only sh_info says something.
  void count_section(std::size_t programs) {
    const std::size_t from = out_.size();
    out_.u32(0);
    out_.u32(0);
    for (int i = 0; i < 4; ++i) word(0);  // sh_flags, sh_addr, sh_offset, sh_size
    out_.u32(0);
    out_.u32(static_cast<std::uint32_t>(programs));
    while (out_.size() - from < sizes_of(arch_).section) out_.u8(0);
  }

  Bytes view() const { return out_.view(); }

 private:
  void word(std::uint64_t value) { out_.word(value, arch_.pointer_bytes); }

  const arch::Arch& arch_;
  image::Buffer out_;
};

bool is_zero(Bytes bytes) { return bytes.empty() || (bytes[0] == 0 && std::equal(bytes.begin() + 1, bytes.end(), bytes.begin())); }

// Writes what is not zero, a page at a time where zeros and others mix: the file gets holes.
Result<void> write_sparse(const CoreSink& sink, std::uint64_t offset, Bytes bytes) {
  std::size_t from = 0, at = 0;
  const auto flush = [&](std::size_t to) { return to > from ? sink(offset + from, bytes.subspan(from, to - from)) : Result<void>{}; };
  while (at < bytes.size()) {
    const std::size_t step = std::min<std::size_t>(page_bytes - (offset + at) % page_bytes, bytes.size() - at);
    if (is_zero(bytes.subspan(at, step))) {
      TRY(flush(at));
      from = at + step;
    }
    at += step;
  }
  return flush(at);
}

std::uint32_t flags_of(const Access& access) { return pf_r | (access.write ? pf_w : 0) | (access.execute ? pf_x : 0); }

}  // namespace

std::uint64_t core_header_bytes(const arch::Arch& arch, std::size_t segments) {
  const Sizes sizes = sizes_of(arch);
  const std::size_t programs = segments + 1;  // the notes'
  return sizes.header + programs * sizes.program + (programs >= pn_xnum ? sizes.section : 0);
}

Result<std::uint64_t> write_core(const Kernel& kernel, const CorePlan& plan, const CoreSink& sink, const Progress& progress) {
  const std::size_t programs = plan.segments.size() + 1;
  HeaderWriter header(kernel.arch(), plan.notes_at);
  header.start(programs);
  header.program(pt_note, 0, {{0}, {0}, plan.notes.size(), plan.notes_at, {}}, 4);
  for (const CoreSegment& segment : plan.segments) header.program(pt_load, flags_of(segment.access), segment, page_bytes);
  if (programs >= pn_xnum) header.count_section(programs);
  TRY(sink(0, header.view()));
  TRY(sink(plan.notes_at, plan.notes));

  const PhysicalMemory& memory = *kernel.dump().memory;
  std::vector<std::uint8_t> chunk(chunk_bytes);
  std::uint64_t lost = 0, done = 0, total = 0;
  for (const CorePages& run : plan.pages) total += run.size;
  for (const CorePages& run : plan.pages)
    for (std::uint64_t at = 0; at < run.size;) {
      const auto got = memory.read(run.first + at, MutableBytes(chunk).first(std::min<std::uint64_t>(chunk.size(), run.size - at)));
      if (got && *got) TRY(write_sparse(sink, run.offset + at, Bytes(chunk).first(*got)));
      const std::uint64_t here = (run.first + at).raw;
      const std::uint64_t step = got && *got ? *got : std::min(page_bytes - here % page_bytes, run.size - at);
      if (!got || !*got) lost += step;
      at += step;
      done += step;
      if (progress) progress("Exporting", done, total);
    }
  return lost;
}

}  // namespace kvm
