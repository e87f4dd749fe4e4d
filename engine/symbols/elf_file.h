// An ELF file that is not a dump: vmlinux, a module, a debug file.  Both classes, both byte orders, no LLVM.
#pragma once

#include <bit>
#include <string>
#include <string_view>
#include <vector>

#include "engine/file.h"

namespace kvm {

namespace elf {  // the ELF specification's constants that we need, under their own names in lower case
inline constexpr std::uint16_t et_rel = 1;
inline constexpr std::uint32_t sht_symtab = 2, sht_note = 7, sht_nobits = 8, sht_dynsym = 11, sht_symtab_shndx = 18;
inline constexpr std::uint64_t shf_write = 1, shf_alloc = 2, shf_execinstr = 4;
inline constexpr std::uint32_t shn_undef = 0, shn_loreserve = 0xff00, shn_abs = 0xfff1, shn_xindex = 0xffff;
}  // namespace elf

struct ElfSection {
  std::string name;
  std::uint32_t type = 0, link = 0, info = 0;
  std::uint64_t flags = 0, addr = 0, offset = 0, size = 0, align = 0, entsize = 0;
  std::uint64_t header = 0;  // offset of its entry in the section table
};

class ElfFile {
 public:
  static Result<ElfFile> open(const std::string& path);
  static Result<ElfFile> open(File file);

  const File& file() const { return file_; }
  std::uint16_t type() const { return type_; }  // ET_EXEC 2, ET_REL 1, ...
  std::uint16_t machine() const { return machine_; }
  bool is_64() const { return is_64_; }
  std::endian order() const { return order_; }
  const std::vector<ElfSection>& sections() const { return sections_; }
  const ElfSection* section(std::string_view name) const;
  // Borrowed from the mapping, still compressed where SHF_COMPRESSED says so; empty for SHT_NOBITS or a section
  // that does not lie wholly inside the file.
  Bytes contents(const ElfSection& section) const;
  std::string build_id() const;  // hex; empty: none

 private:
  explicit ElfFile(File file) : file_(std::move(file)) {}
  Result<void> read_sections(std::uint64_t offset, std::uint64_t entry_size, std::uint64_t count, std::uint32_t names);

  File file_;
  std::uint16_t type_ = 0, machine_ = 0;
  bool is_64_ = true;
  std::endian order_ = std::endian::little;
  std::vector<ElfSection> sections_;
};

}  // namespace kvm
