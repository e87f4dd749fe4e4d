// The synthetic kernel as two files, a dump and a vmlinux, for what opens files by name.
#pragma once

#include <string>
#include <vector>

#include "tests/support/dump_writer.h"
#include "tests/support/kernel_fixture.h"
#include "tests/unit/engine/symbols/elf_image.h"

namespace kvm::test {

// Every page that was written, a segment each; a VMCOREINFO note.
inline testing::Buffer core_of(const testing::FakeKernel& kernel, std::uint16_t machine = 62) {
  testing::ElfSpec spec;
  spec.machine = machine;
  for (const PhysAddr page : kernel.memory.pages()) {
    testing::Buffer bytes(4096);
    if (kernel.memory.read(page, bytes)) spec.loads.push_back({page.raw, 0, std::move(bytes)});
  }
  const std::string info = kernel.vmcoreinfo();
  spec.notes.push_back({"VMCOREINFO", 0, testing::Buffer(info.begin(), info.end())});
  return testing::write_elf(spec);
}

// Its symbols at the addresses that the linker gave them; `data` and `text` are sections that hold them all.
inline testing::Buffer vmlinux_of(const testing::FakeKernel& kernel, std::uint64_t slide, const std::vector<std::string>& names) {
  ElfImage image;
  const std::uint64_t base = 0xffffffff81000000;
  const auto data = image.add({.name = ".data", .type = 8, .flags = 3, .addr = base, .size = 0x200000});
  std::vector<ImageSymbol> symbols;
  for (const std::string& name : names) symbols.push_back({name, kernel.symbols.find(name)->address.raw - slide, 8, 0x11, static_cast<std::uint16_t>(data)});
  image.add_symbols(symbols);
  std::vector<std::uint8_t> id;
  const std::string_view hex = testing::FakeKernel::build_id;
  for (std::size_t i = 0; i < hex.size(); i += 2) id.push_back(static_cast<std::uint8_t>(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16)));
  image.add_build_id(id);
  return image.bytes();
}

}  // namespace kvm::test
