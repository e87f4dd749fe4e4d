// The tables a kernel keeps of its own symbols, damaged; a module's symbols and split BTF from any bytes.
// First byte: bit 7 a module's tables, bit 6 split BTF (both: the rest, in halves), else the way the tables are written.  Then
// the damage, five bytes each: where (three), what, and how.
#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "engine/os/linux/kallsyms.h"
#include "engine/symbols/btf.h"
#include "tests/support/fake_memory.h"
#include "tests/support/kallsyms_writer.h"

namespace {

using namespace kvm;
using kvm::testing::FakeMemory;
using kvm::testing::KallsymsSpec;

constexpr std::uint64_t image = 0xffffffff81000000, image_size = 0x40000, tables_at = 0x8000;

void ask(const Kallsyms& symbols) {
  for (const char* name : {"_text", "sys_6_inner.isra.0", "nosuch", ""}) (void)symbols.find(name);
  const std::vector<Symbol> all = symbols.all();
  for (std::size_t i = 0; i < all.size(); i += 1 + all.size() / 50) {
    (void)symbols.at(all[i].address);
    (void)symbols.at(all[i].address + all[i].size / 2);
    (void)symbols.find(all[i].name);
  }
  (void)symbols.at({0});
  (void)symbols.at({~std::uint64_t{0}});
}

KallsymsSpec spec_of(std::uint8_t choice) {
  KallsymsSpec spec;
  spec.order = static_cast<KallsymsSpec::Order>(choice % 3);
  spec.encoding = static_cast<KallsymsSpec::Encoding>(choice / 3 % 4);
  spec.endian = choice / 12 % 2 ? std::endian::big : std::endian::little;
  spec.wide_lengths = choice / 24 % 2;
  spec.at = image + tables_at;
  return spec;
}

void damaged_tables(std::uint8_t choice, Bytes damage) {
  const KallsymsSpec spec = spec_of(choice);
  static const auto symbols = kvm::testing::many_symbols(600, image);
  const auto tables = kvm::testing::write_kallsyms(symbols, spec);
  FakeMemory memory;
  memory.ram(0, image_size);
  memory.put({tables_at}, tables.bytes);
  for (; damage.size() >= 5; damage = damage.subspan(5)) {
    const std::uint64_t at = tables_at + (damage[0] | damage[1] << 8 | damage[2] << 16) % (tables.bytes.size() + 64);
    if (damage[4] % 8 == 0) memory.exclude({at});
    else if (damage[4] % 8 == 1) memory.lose({at});
    else memory.put_number({at}, damage[4] % 8 == 2 ? damage[3] * 0x01010101ull : damage[3], damage[4] % 8 == 2 ? 4 : 1);
  }
  std::string keys;
  for (const auto& [name, offset] : tables.labels) {
    std::array<char, 128> line;
    std::snprintf(line.data(), line.size(), "SYMBOL(%s)=%llx\n", name.c_str(), static_cast<unsigned long long>(image + tables_at + offset));
    keys += line.data();
  }
  arch::Arch arch = *arch::find("x86_64");
  arch.endian = spec.endian;
  const AddressSpace space(memory, {{{image}, {image + image_size - 1}, Linear{{0}}, "image"}});
  const os_linux::Window window{{image}, image_size};
  for (const std::string& vmcoreinfo : {keys, std::string()}) {
    std::vector<std::string> remarks;
    const auto found = os_linux::find_kallsyms({arch, space}, os_linux::Vmcoreinfo(vmcoreinfo), std::span(&window, 1), remarks);
    if (found) ask(**found);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::uint8_t choice = data[0];
  const Bytes rest(data + 1, size - 1), first = rest.first(rest.size() / 2), second = rest.subspan(rest.size() / 2);
  if (choice & 0x80) {
    ModuleKallsyms tables{choice & 1 ? std::endian::big : std::endian::little, static_cast<std::uint8_t>(choice & 2 ? 4 : 8), {}, {}, {}};
    tables.symtab.bytes.assign(first.begin(), first.end());
    tables.strtab.bytes.assign(second.begin(), second.end());
    if (choice & 4) tables.kinds = tables.strtab;
    if (const auto symbols = Kallsyms::open(tables)) ask(**symbols);
  }
  if (choice & 0x40) {
    const std::vector<std::uint8_t> base(first.begin(), first.end()), own(second.begin(), second.end());
    if (const auto types = open_split_btf(own, base, 8))
      for (const char* name : {"task_struct", "a", "b"}) {
        (void)(*types)->size_of(name);
        (void)(*types)->member(name, "a.b");
        (void)(*types)->enumerator(name);
      }
  }
  if (!(choice & 0xc0)) damaged_tables(choice, rest);
  return 0;
}
