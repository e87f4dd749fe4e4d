// Makes the image of a kernel from its files instead of from a dump: the symbols and the BTF of a vmlinux and of modules.
//   image OUTPUT VMLINUX [MODULE.ko...]      prints how long it took; the modules' code is placed above the kernel's
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>

#include "arch/arch.h"
#include "engine/image/image.h"
#include "engine/integers.h"
#include "engine/symbols/elf_file.h"

namespace {

using namespace kvm;

constexpr std::uint64_t modules_start = 0xffffffffc0000000;

struct Source {
  ElfFile file;
  std::vector<std::uint64_t> deltas;  // run-time address minus the file's, by section
};

// As nm(1) does: by the flags of the section.
char letter(const ElfSection& section, bool global) {
  char c = 'r';
  if (section.flags & 4) c = 't';
  else if (section.flags & 1) c = section.type == 8 ? 'b' : 'd';
  return global ? static_cast<char>(c - 'a' + 'A') : c;
}

void add_symbols(const Source& source, Piece& piece) {
  const auto& sections = source.file.sections();
  for (const ElfSection& table : sections) {
    if (table.type != 2) continue;
    const Bytes entries = source.file.contents(table), names = source.file.contents(sections[table.link]);
    for (std::size_t at = 0; at + 24 <= entries.size(); at += 24) {
      const std::uint8_t* entry = entries.data() + at;
      const auto number = load<std::uint16_t>(entry + 6, std::endian::little);
      const std::uint8_t type = entry[4] & 15;
      const auto* name = reinterpret_cast<const char*>(names.data()) + load<std::uint32_t>(entry, std::endian::little);
      if (number == 0 || number >= sections.size() || type > 2 || *name == 0 || !(sections[number].flags & 2)) continue;
      piece.symbols.push_back({name, {load<std::uint64_t>(entry + 8, std::endian::little) + source.deltas[number]},
                               load<std::uint64_t>(entry + 16, std::endian::little), letter(sections[number], entry[4] >> 4)});
    }
  }
  std::stable_sort(piece.symbols.begin(), piece.symbols.end(), [](const Symbol& a, const Symbol& b) { return a.address < b.address; });
}

Piece make_piece(Source& source, std::string name, std::uint64_t& free) {
  Piece piece{std::move(name), {}, {}, {}, {}};
  for (const ElfSection& section : source.file.sections()) {
    std::uint64_t delta = 0;
    if (source.file.type() == 1 && (section.flags & 2)) {  // relocatable: to be placed
      free = (free + 4095) & ~std::uint64_t{4095};
      delta = free;
      free += section.size;
    }
    source.deltas.push_back(delta);
    const bool relocations = section.type == 4 || section.type == 9;
    if ((section.flags & 2) && !relocations && section.size) piece.sections.push_back({section.name, {section.addr + delta}, section.size, (section.flags & 4) != 0, (section.flags & 1) != 0 && section.name != ".rodata"});
  }
  if (const ElfSection* btf = source.file.section(".BTF")) {
    const Bytes bytes = source.file.contents(*btf);
    piece.btf.assign(bytes.begin(), bytes.end());
  }
  add_symbols(source, piece);
  return piece;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  Pieces pieces;
  std::vector<Source> sources;
  std::uint64_t free = modules_start;
  std::string build_id;
  for (int i = 2; i < argc; ++i) {
    auto file = ElfFile::open(argv[i]);
    if (!file) return fmt::print(stderr, "{}: {}\n", argv[i], to_string(file.error())), 1;
    if (i == 2) build_id = file->build_id();
    sources.push_back({std::move(*file), {}});
    pieces.pieces.push_back(make_piece(sources.back(), i == 2 ? "" : std::filesystem::path(argv[i]).stem().string(), free));
  }
  pieces.variables = {{"init_task", "struct task_struct"}, {"linux_banner", "char[]"}, {"jiffies", "unsigned long"},
                      {"modules", "struct list_head"}, {"node_data", "struct pglist_data *[]"}};
  const arch::Arch& arch = *arch::find_elf(sources[0].file.machine(), sources[0].file.is_64() ? 8 : 4, sources[0].file.order());
  std::clock_t start = std::clock();
  auto image = make_image(arch, pieces, {build_id, "inquest (test)", {}});
  if (!image) return fmt::print(stderr, "{}\n", to_string(image.error())), 1;
  for (const std::string& remark : image->remarks) fmt::print(stderr, "{}\n", remark);
  fmt::print(stderr, "{} bytes, {} ms\n", image->file.size(), (std::clock() - start) * 1000 / CLOCKS_PER_SEC);
  std::ofstream(argv[1], std::ios::binary).write(reinterpret_cast<const char*>(image->file.data()), static_cast<std::streamsize>(image->file.size()));
  return 0;
}
