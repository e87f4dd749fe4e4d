#include "engine/page_bytes.h"

namespace kvm {

std::uint64_t page_bytes(const AddressSpace& space, const arch::Arch& arch) {
  for (const Mapping& mapping : space.mappings()) {
    if (const auto* table = std::get_if<PageTable>(&mapping.how)) return table->mode->page_bytes();
    if (const auto* array = std::get_if<EntryArray>(&mapping.how)) return array->table.mode->page_bytes();
  }
  return arch.page_size;
}

}  // namespace kvm
