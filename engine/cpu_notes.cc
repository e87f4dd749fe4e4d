// Reads notes by the architecture's table.
#include "engine/cpu_notes.h"

#include "engine/integers.h"

namespace kvm {

std::vector<CpuState> cpu_states(const std::vector<Note>& notes, const arch::Arch& arch) {
  std::vector<CpuState> states;
  for (const arch::CpuNote& layout : arch.notes) {
    std::size_t cpu = 0;
    for (const Note& note : notes) {
      if (note.type != layout.type || note.owner != layout.owner || note.desc.size() < layout.min_size) continue;
      if (cpu == states.size()) states.push_back({RegisterFile(arch), 0});
      CpuState& state = states[cpu++];
      for (const arch::NoteField& field : layout.fields)
        state.registers.set(field.reg, load_unsigned(Bytes(note.desc).subspan(field.offset, field.bytes), note.order));
      if (layout.pid_offset >= 0) state.pid = load_unsigned(Bytes(note.desc).subspan(layout.pid_offset, 4), note.order);
    }
  }
  return states;
}

const arch::Arch* row_in_kernel_order(const std::vector<Note>& notes, const arch::Arch* row) {
  if (!row || row->order_sign.reg.empty()) return row;
  for (const CpuState& state : cpu_states(notes, *row)) {
    const auto value = state.registers.get(row->order_sign.reg);
    for (const arch::Arch* other : arch::arches())
      if (value && other->elf_machine == row->elf_machine && other->pointer_bytes == row->pointer_bytes &&
          !other->order_sign.reg.empty() && other->order_sign.value(*value))
        return other;
  }
  return row;
}

}  // namespace kvm
