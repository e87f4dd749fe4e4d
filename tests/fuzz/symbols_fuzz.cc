// ELF files with their symbols and range lists, and BTF, from untrusted bytes.  An input is a type's name, a member path, and
// the file: three parts, each of the first two ended by a NUL.  A file that is not ELF is taken for BTF.
#include <cstdint>
#include <string>
#include <vector>

#include "engine/symbols/btf.h"
#include "engine/symbols/cold_ranges.h"
#include "engine/symbols/elf_symtab.h"

namespace {

using namespace kvm;

void ask_types(const Types& types, const std::string& type, const std::string& path) {
  for (int i = 0; i < 2; ++i) {  // the second answer is the remembered one
    (void)types.member(type, path);
    (void)types.size_of(type);
    (void)types.enumerator(type);
  }
}

void ask_symbols(const Symbols& symbols, const ElfFile& file, const std::string& name) {
  if (const auto symbol = symbols.find(name)) (void)symbols.at(symbol->address + symbol->size / 2);
  for (const ElfSection& section : file.sections()) {
    (void)symbols.at({section.addr});
    (void)symbols.at({section.addr + section.size - 1});
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string parts[2];
  for (std::string& part : parts) {
    while (size != 0 && *data != 0) part += static_cast<char>(*data++), --size;
    if (size != 0) ++data, --size;
  }
  std::vector<std::uint8_t> bytes(data, data + size);
  const auto file = ElfFile::open(File::from_bytes(bytes, "fuzz"));
  if (!file) {
    if (const auto types = open_btf(std::move(bytes), 8)) ask_types(**types, parts[0], parts[1]);
    return 0;
  }
  (void)file->build_id();
  for (const Blank& blank : cold_ranges(*file))
    if (file->file().view(blank.offset, blank.size).size() != blank.size) __builtin_trap();
  if (const auto symbols = open_elf_symbols(*file, 0x1000)) ask_symbols(**symbols, *file, parts[0]);
  const std::vector<std::pair<std::string, VirtAddr>> sections{{parts[1], {0x1000}}, {".text", {0xffffffffc0000000}}};
  if (const auto symbols = open_module_symbols(*file, sections)) ask_symbols(**symbols, *file, parts[0]);
  if (const ElfSection* section = file->section(".BTF"))
    if (const auto types = open_btf(file->contents(*section), 4)) ask_types(**types, parts[0], parts[1]);
  return 0;
}
