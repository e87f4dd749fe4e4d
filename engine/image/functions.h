// Which functions and variables the BTF describes, and where they are.
#pragma once

#include <string>

#include "engine/image/die_writer.h"
#include "engine/image/places.h"
#include "engine/symbols/name_index.h"

namespace kvm::image {

struct FunctionPlan {
  std::uint32_t name;   // offset in the strings
  NodeId prototype;     // 0: not told
  CodeRange code;
  std::uint32_t section;
  bool global;
  bool signal_frame = false;  // debuggers take its frame for a signal handler's, as the unwind rows tell
};
// In the order of their addresses; no two overlap.
std::vector<FunctionPlan> find_functions(const Piece& piece, std::size_t number, TypeTable& types, const Places& places);

struct VariablePlan {
  std::uint32_t name;
  NodeId type;
  VirtAddr address;
  bool global;
  std::size_t piece;
  std::string_view symbol_name;
};
// Adds the types that these need.
std::vector<VariablePlan> find_variables(const arch::Arch& arch, const Pieces& pieces, TypeTable& types);

}  // namespace kvm::image
