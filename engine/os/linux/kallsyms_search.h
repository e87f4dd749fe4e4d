// The look of kallsyms' tables: which bytes can be nothing else.
#pragma once

#include <functional>

#include "engine/os/linux/kallsyms.h"

namespace kvm::os_linux {

// Where the tables lie; `offsets` or `addresses` is 0.
struct KallsymsPlaces {
  VirtAddr names, token_table, token_index, offsets, addresses;
  std::uint32_t count = 0;
  std::optional<std::uint64_t> relative_base;
};

// Calls `visit` with all memory of a window that can be read, in chunks, until it returns true; neighbours share `overlap` bytes.
void each_chunk(const ImageMemory& memory, const Window& window, std::size_t overlap, const std::function<bool(VirtAddr, Bytes)>& visit);

// Calls `found` with the places of tables that agree with each other, until it returns true.
void search_kallsyms(const ImageMemory& memory, std::span<const Window> windows, const std::function<bool(const KallsymsPlaces&)>& found);

// Finds the markers in the bytes from the first name on: `count` / 256 numbers that rise from 0, right behind the names.
std::vector<std::uint32_t> find_markers(Bytes names, std::uint32_t count, std::endian order);

}  // namespace kvm::os_linux
