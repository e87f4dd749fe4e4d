// Unwind rows out of hostile code: they come in the order of addresses, none outside the functions, and can be written down.
// Input: the machine, of those whose code is followed; the number of functions, for each its distance from the one before in units, then code.
#include <cstdlib>

#include "engine/code_frames.h"
#include "engine/image/frames.h"

using namespace kvm;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const auto machines = [] {
    std::vector<const arch::Arch*> found;
    for (const arch::Arch* row : arch::arches())
      if (row->frame_code) found.push_back(row);
    return found;
  }();
  constexpr std::uint64_t text = 0xffff'8000'8001'0000;
  if (size == 0) return 0;
  const arch::Arch& machine = *machines[data[0] % machines.size()];
  const Bytes input = Bytes(data, size).subspan(1);
  std::vector<CodeFunction> functions;
  std::uint64_t address = text;
  const std::size_t count = input.empty() ? 0 : input[0] % 16;
  for (std::size_t i = 0; i < count && i + 1 < input.size(); ++i) {
    functions.push_back({VirtAddr{address}, (input[i + 1] & 1) != 0});
    address += machine.frame_code->unit * (1 + input[i + 1] % 128);
  }
  const Bytes code = input.subspan(std::min(input.size(), count + 1));
  Pieces pieces;
  Piece& piece = pieces.pieces.emplace_back();
  piece.sections = {{".text", {text}, code.size(), true, false}};
  piece.unwind = frames_of_code(machine, {text}, code, functions);
  for (std::size_t i = 0; i < piece.unwind.size(); ++i) {
    const VirtAddr at = piece.unwind[i].address;
    if (at < VirtAddr{text} || at - VirtAddr{text} >= code.size() || (i && piece.unwind[i - 1].address >= at)) std::abort();
  }
  if (piece.unwind.empty() != make_debug_frame(machine, pieces).empty()) std::abort();
  return 0;
}
