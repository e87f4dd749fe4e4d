// Look-ups in the table of processors.
#include "arch/arch.h"

#include <algorithm>

namespace kvm::arch {
namespace {

template <class Test>
const Arch* first(Test test) {
  for (const Arch* row : arches())
    if (test(*row)) return row;
  return nullptr;
}

}  // namespace

const Arch* find(std::string_view name) {
  return first([&](const Arch& a) { return a.name == name || std::ranges::find(a.machines, name) != a.machines.end(); });
}

// The file's class and byte order are a preference only: QEMU writes i386 guests as ELFCLASS64 and little-endian ppc64
// guests with a big-endian header.
const Arch* find_elf(std::uint16_t machine, std::uint8_t pointer_bytes, std::endian endian) {
  const Arch* best = first([&](const Arch& a) { return a.elf_machine == machine && a.pointer_bytes == pointer_bytes && a.endian == endian; });
  if (!best) best = first([&](const Arch& a) { return a.elf_machine == machine && a.endian == endian; });
  return best ? best : first([&](const Arch& a) { return a.elf_machine == machine; });
}

const Arch* find_machine(std::string_view utsname_machine, std::endian endian) {
  const auto named = [&](const Arch& a) { return std::ranges::find(a.machines, utsname_machine) != a.machines.end(); };
  const Arch* best = first([&](const Arch& a) { return named(a) && a.endian == endian; });
  return best ? best : first(named);
}

}  // namespace kvm::arch
