// A module's symbols are what is left of its ELF symbol table (kernel/module/kallsyms.c).  Where the kinds are kept has
// moved: in st_info before v5.0, in st_size (commit 5439c985c5a8), in an array of their own since v5.2 (1c7651f43777).
#include <algorithm>
#include <cstring>

#include "engine/integers.h"
#include "engine/symbols/kallsyms.h"

namespace kvm {
namespace {

constexpr std::size_t longest_name = 1024, most_text = 256u << 20;

bool is_letter(std::uint64_t value) { return (value >= 'a' && value <= 'z') || (value >= 'A' && value <= 'Z'); }
char upper(char letter) { return letter >= 'a' && letter <= 'z' ? static_cast<char>(letter - 'a' + 'A') : letter; }

struct ElfSymbol {  // System V gABI, "Symbol Table"; the classes order the fields differently
  std::uint32_t name;
  std::uint8_t info;
  std::uint16_t section;
  std::uint64_t value, size;
};

ElfSymbol symbol_at(const std::uint8_t* at, std::uint8_t word, std::endian order) {
  const auto u32 = [&](std::size_t offset) { return load<std::uint32_t>(at + offset, order); };
  if (word == 4) return {u32(0), at[12], load<std::uint16_t>(at + 14, order), u32(4), u32(8)};
  return {u32(0), at[4], load<std::uint16_t>(at + 6, order), load<std::uint64_t>(at + 8, order), load<std::uint64_t>(at + 16, order)};
}

}  // namespace

Result<std::unique_ptr<Kallsyms>> Kallsyms::open(const ModuleKallsyms& tables) {
  std::unique_ptr<Kallsyms> out(new Kallsyms);
  const std::size_t bytes = tables.word == 4 ? 16 : 24;
  const Bytes strings = tables.strtab.bytes;
  std::string names;
  for (std::size_t number = 1; (number + 1) * bytes <= tables.symtab.bytes.size(); ++number) {  // the first one means nothing
    const ElfSymbol symbol = symbol_at(tables.symtab.bytes.data() + number * bytes, tables.word, tables.order);
    const Bytes rest = strings.subspan(std::min<std::size_t>(symbol.name, strings.size()));
    const auto* text = reinterpret_cast<const char*>(rest.data());
    const std::size_t length = strnlen(text, rest.size());
    if (!tables.symtab.has(number * bytes, bytes) || !tables.strtab.has(symbol.name, length + 1) || length > longest_name) {
      ++out->missing_;
      continue;
    }
    if (length == 0 || symbol.section == 0 || names.size() > most_text) continue;  // a section's symbol, or one of another module
    const bool in_info = is_letter(symbol.info), in_size = tables.kinds.bytes.empty() && !in_info && is_letter(symbol.size);
    const bool global = !in_info && symbol.info >> 4 != 0;
    char kind = '?';
    if (tables.kinds.has(number, 1)) kind = static_cast<char>(tables.kinds.bytes[number]);
    else if (in_info || in_size) kind = static_cast<char>(in_info ? symbol.info : symbol.size);
    out->add(symbol.value, global ? upper(kind) : kind, names.size(), length, in_size ? not_told : symbol.size);
    names.append(text, length);
  }
  if (out->entries_.empty()) return fail(Errc::not_found, "the module has no symbols");
  out->names_ = std::make_unique_for_overwrite<char[]>(names.size());
  names.copy(out->names_.get(), names.size());
  out->names_size_ = names.size();
  out->finish();
  return out;
}

}  // namespace kvm
