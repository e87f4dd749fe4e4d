// Images made of hostile BTF, symbols and sections: whatever the pieces say, LLVM finds nothing wrong with the file, and it is
// not much larger than they are.  The input is read as a list of numbers: how to build the pieces.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "engine/image/image.h"
#include "tests/support/btf_writer.h"
#include "tests/support/image_text.h"

namespace {

using namespace kvm;
using namespace kvm::testing;

class Input {
 public:
  Input(const std::uint8_t* data, std::size_t size) : data_(data), size_(size) {}
  bool empty() const { return size_ == 0; }
  std::uint8_t byte() { return size_ == 0 ? 0 : (--size_, *data_++); }
  // Mostly small, seldom any.
  std::uint32_t number() {
    const std::uint32_t first = byte();
    if (first < 0xf0) return first;
    std::uint32_t value = 0;
    for (std::uint32_t i = 0; i < (first & 3) + 1; ++i) value = value << 8 | byte();
    return value;
  }
  std::string name() {
    const std::uint8_t n = byte();
    if (n < 0xc0) return n % 8 == 0 ? "" : "n" + std::to_string(n % 32);
    std::string text;
    for (std::uint8_t i = 0; i < n % 8; ++i) text += static_cast<char>(byte());
    return text.c_str();
  }

 private:
  const std::uint8_t* data_;
  std::size_t size_;
};

void add_type(Input& input, BtfWriter& btf) {
  const std::uint8_t choice = input.byte();
  const std::uint32_t kind = choice % 21;
  const std::string name = input.name();
  const bool flag = choice & 0x80;
  std::uint32_t count = 0;
  std::vector<std::uint32_t> tail;
  switch (kind) {
    case INT: tail = {input.number() << 24 | input.number()}; break;
    case VAR: case DECL_TAG: tail = {input.number()}; break;
    case ARRAY: tail = {input.number(), input.number(), input.number()}; break;
    case STRUCT: case UNION: case DATASEC: case ENUM64: case ENUM: case PROTO:
      count = input.byte() % 24;
      for (std::uint32_t i = 0; i < count; ++i) {
        tail.push_back(kind == DATASEC ? input.number() : btf.string(input.name()));
        tail.push_back(input.number());
        if (kind != ENUM && kind != PROTO) tail.push_back(input.number());
      }
      break;
    default: break;
  }
  btf.type(name, kind, count, flag, input.number(), tail);
}

arch::Arch machine(std::uint8_t choice) {
  arch::Arch arch = *arch::find("x86_64");
  if (choice & 1) arch.pointer_bytes = 4, arch.elf_machine = 3;
  if (choice & 2) arch.endian = std::endian::big, arch.elf_machine = choice & 1 ? 20 : 21;
  return arch;
}

void add_unwind(Input& input, Piece& piece) {
  std::uint64_t address = 0;
  for (std::uint8_t n = input.byte() % 16; n != 0; --n) {
    UnwindRow& row = piece.unwind.emplace_back();
    row.address = {address += input.byte()};
    row.kind = static_cast<UnwindRow::Kind>(input.byte() % 5);
    row.interrupted = input.byte() & 1;
  }
}

void add_piece(Input& input, BtfWriter& btf, Pieces& pieces) {
  Piece& piece = pieces.pieces.emplace_back();
  if (pieces.pieces.size() > 1) piece.name = input.name();
  for (std::uint32_t types = input.byte(); types != 0 && !input.empty(); --types) add_type(input, btf);
  piece.btf = btf.bytes();
  // Now and then something is torn.
  if (const std::uint8_t n = input.byte(); n > 0xe0) piece.btf.resize(piece.btf.size() - std::min<std::size_t>(piece.btf.size(), n - 0xe0u));
  else if (n > 0xd0) piece.btf[input.number() % piece.btf.size()] = input.byte();
  for (std::uint8_t n = input.byte() % 4; n != 0; --n) {
    const std::uint64_t address = std::uint64_t{input.number()} << (input.byte() % 33);
    piece.sections.push_back({input.name(), {address}, input.number(), (n & 1) != 0, (n & 2) != 0});
  }
  add_unwind(input, piece);
  static const char* const names[] = {"n1", "n2", "n3", "n4", "n5", "n9", "__per_cpu_start", "a\x1b\xff"};
  std::uint64_t address = 0;
  for (std::uint8_t n = input.byte() % 32; n != 0; --n) {
    const std::uint8_t choice = input.byte();
    address += choice & 0x80 ? std::uint64_t{input.number()} << 16 : input.byte();
    piece.symbols.push_back({names[choice % 8], {address}, choice & 8 ? input.number() : 0, "tTdDAwVr"[choice >> 4 & 7]});
  }
}

[[noreturn]] void wrong(const std::string& what) {
  std::fprintf(stderr, "%s\n", what.c_str());
  std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size > 8192) return 0;
  Input input(data, size);
  const std::uint8_t choice = input.byte();
  const arch::Arch arch = machine(choice);
  BtfWriter kernel(arch.endian);
  Pieces pieces;
  add_piece(input, kernel, pieces);
  for (std::uint8_t modules = choice >> 2 & 3; modules != 0; --modules) {
    BtfWriter module = BtfWriter::split(kernel);
    add_piece(input, module, pieces);
  }
  static const char* const types[] = {"n1", "struct n2 *", "n3[]", "char[4][]", "* []", "unsigned long", "enum n4", "[", "struct "};
  for (std::uint8_t n = choice >> 4 & 7; n != 0; --n) pieces.variables.push_back({"n" + std::to_string(n), types[input.byte() % 9]});

  std::size_t given = 0;
  for (const Piece& piece : pieces.pieces) given += piece.btf.size() + piece.symbols.size() * 64 + piece.sections.size() * 128 + piece.unwind.size() * 64;
  const auto image = make_image(arch, pieces, {"0123", "inquest", {}});
  if (!image) wrong("no image");
  if (image->file.size() > 64 * given + 16384) wrong(std::to_string(given) + " bytes became " + std::to_string(image->file.size()));
  if (const std::string problems = image_problems(image->file); !problems.empty()) wrong(problems);
  return 0;
}
