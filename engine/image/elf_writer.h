// Puts sections together to an ELF file (System V gABI, chapter 4), of either class and byte order.
#pragma once

#include <string>

#include "arch/arch.h"
#include "engine/image/buffer.h"

namespace kvm::image {

inline constexpr std::uint32_t sht_progbits = 1, sht_symtab = 2, sht_strtab = 3, sht_note = 7, sht_nobits = 8;
inline constexpr std::uint64_t shf_write = 1, shf_alloc = 2, shf_execinstr = 4, shf_merge = 0x10, shf_strings = 0x20;

struct OutputSection {
  std::string name;
  std::uint32_t type = 0;
  std::uint64_t flags = 0, address = 0, size = 0;  // of the section without contents; others have their contents' size
  Bytes contents = {};                             // until write()
  std::uint32_t link = 0, info = 0;
  std::uint64_t align = 1, entry_size = 0;
};

class ElfWriter {
 public:
  static constexpr std::size_t most_sections = 0xfeff;  // numbers from 0xff00 on are special

  explicit ElfWriter(const arch::Arch& arch) : arch_(arch) {}
  // The section's number.
  std::uint32_t add(OutputSection section);
  // The section that a program header leads to; debuggers that relocate a file do it by segments.
  void load(std::uint32_t section) { loaded_ = section; }
  bool loaded() const { return loaded_ != 0; }
  std::uint32_t count() const { return static_cast<std::uint32_t>(sections_.size()); }
  std::vector<std::uint8_t> write();

 private:
  void header(Buffer& out, std::uint64_t section_table) const;
  void program_header(Buffer& out, const OutputSection& section) const;
  void section_header(Buffer& out, const OutputSection& section, std::uint32_t name, std::uint64_t offset) const;

  const arch::Arch& arch_;
  std::vector<OutputSection> sections_{1};  // number 0 is none
  std::uint32_t loaded_ = 0;                // 0: none
};

}  // namespace kvm::image
