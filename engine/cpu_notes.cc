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
        state.registers.set(field.reg, load_unsigned(Bytes(note.desc).subspan(field.offset, field.bytes), arch.endian));
      if (layout.pid_offset >= 0) state.pid = load_unsigned(Bytes(note.desc).subspan(layout.pid_offset, 4), arch.endian);
    }
  }
  return states;
}

}  // namespace kvm
