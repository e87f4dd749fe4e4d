#include "engine/image/elf_writer.h"

namespace kvm::image {
namespace {

constexpr std::uint16_t et_exec = 2;

}  // namespace

std::uint32_t ElfWriter::add(OutputSection section) {
  if (section.type != sht_nobits) section.size = section.contents.size();
  sections_.push_back(std::move(section));
  return count() - 1;
}

std::vector<std::uint8_t> ElfWriter::write() {
  const std::uint8_t word = arch_.pointer_bytes;
  Buffer names(arch_.endian);
  std::vector<std::uint32_t> name_offsets;
  sections_.push_back({.name = ".shstrtab", .type = sht_strtab});
  for (const OutputSection& section : sections_) {
    name_offsets.push_back(static_cast<std::uint32_t>(names.size()));
    copy_printable(section.name, names.grow(section.name.size()));
    names.u8(0);
  }
  sections_.back().contents = names.view();
  sections_.back().size = names.size();

  std::uint64_t total = 4096;
  for (const OutputSection& section : sections_) total += section.contents.size() + 128;
  Buffer out(arch_.endian, total);
  header(out, 0);
  if (loaded_) program_header(out, sections_[loaded_]);
  std::vector<std::uint64_t> offsets;
  for (const OutputSection& section : sections_) {
    if (section.type != sht_nobits) out.align(section.align);
    offsets.push_back(section.type == 0 ? 0 : out.size());
    out.bytes(section.contents);
  }
  out.align(word);
  const std::uint64_t table = out.size();
  for (std::size_t i = 0; i < sections_.size(); ++i) section_header(out, sections_[i], name_offsets[i], offsets[i]);
  Buffer start(arch_.endian);
  header(start, table);
  auto bytes = std::move(out).take();
  std::copy(start.view().begin(), start.view().end(), bytes.begin());
  return bytes;
}

void ElfWriter::header(Buffer& out, std::uint64_t section_table) const {
  const std::uint8_t word = arch_.pointer_bytes;
  const std::uint8_t ident[16] = {0x7f, 'E', 'L', 'F', static_cast<std::uint8_t>(word == 8 ? 2 : 1),
                                  static_cast<std::uint8_t>(arch_.endian == std::endian::little ? 1 : 2), 1};
  out.bytes(ident);
  out.u16(et_exec);
  out.u16(arch_.elf_machine);
  out.u32(1);
  out.word(0, word);  // entry
  out.word(loaded_ ? (word == 8 ? 64 : 52) : 0, word);
  out.word(section_table, word);
  out.u32(0);         // flags
  out.u16(word == 8 ? 64 : 52);
  out.u16(loaded_ ? (word == 8 ? 56 : 32) : 0);
  out.u16(loaded_ ? 1 : 0);
  out.u16(word == 8 ? 64 : 40);
  out.u16(static_cast<std::uint16_t>(sections_.size()));
  out.u16(static_cast<std::uint16_t>(sections_.size() - 1));  // .shstrtab
}

// The classes order the fields differently.
void ElfWriter::program_header(Buffer& out, const OutputSection& section) const {
  const std::uint8_t word = arch_.pointer_bytes;
  const std::uint32_t flags = 4 | (section.flags & shf_write ? 2 : 0) | (section.flags & shf_execinstr ? 1 : 0);
  out.u32(1);  // PT_LOAD
  if (word == 8) out.u32(flags);
  out.word(0, word);  // no bytes in the file
  out.word(section.address, word);
  out.word(section.address, word);
  out.word(0, word);
  out.word(section.size, word);
  if (word == 4) out.u32(flags);
  out.word(1, word);
}

void ElfWriter::section_header(Buffer& out, const OutputSection& section, std::uint32_t name, std::uint64_t offset) const {
  const std::uint8_t word = arch_.pointer_bytes;
  out.u32(name);
  out.u32(section.type);
  out.word(section.flags, word);
  out.word(section.address, word);
  out.word(offset, word);
  out.word(section.size, word);
  out.u32(section.link);
  out.u32(section.info);
  out.word(section.type == 0 ? 0 : section.align, word);
  out.word(section.entry_size, word);
}

}  // namespace kvm::image
