// struct elf_prstatus ends with pr_fpvalid, an int behind the registers, and is padded to a whole word; debuggers know the note
// by that size (BFD's elf*_grok_prstatus).
#include "engine/export/notes.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/image/buffer.h"
#include "engine/notes.h"

namespace kvm {
namespace {

constexpr std::uint32_t nt_prstatus = 1;

void add_note(image::Buffer& out, std::string_view owner, std::uint32_t type, Bytes desc) {
  out.u32(static_cast<std::uint32_t>(owner.size() + 1));
  out.u32(static_cast<std::uint32_t>(desc.size()));
  out.u32(type);
  out.bytes({reinterpret_cast<const std::uint8_t*>(owner.data()), owner.size()});
  out.u8(0);
  out.align(4);
  out.bytes(desc);
  out.align(4);
}

const arch::CpuNote* prstatus_of(const arch::Arch& arch) {
  const auto note = std::ranges::find_if(arch.notes, [](const arch::CpuNote& n) { return n.owner == "CORE" && n.type == nt_prstatus; });
  return note == arch.notes.end() ? nullptr : &*note;
}

void put(std::vector<std::uint8_t>& desc, std::size_t at, std::size_t bytes, std::uint64_t value, std::endian order) {
  for (std::size_t i = 0; i < bytes; ++i) desc[order == std::endian::big ? at + bytes - 1 - i : at + i] = static_cast<std::uint8_t>(value >> 8 * i);
}

std::vector<std::uint8_t> prstatus(const arch::Arch& arch, const arch::CpuNote& layout, const RegisterFile& registers, std::uint32_t thread) {
  constexpr std::size_t fpvalid_bytes = 4;
  const std::size_t word = arch.pointer_bytes, size = (layout.min_size + fpvalid_bytes + word - 1) / word * word;
  std::vector<std::uint8_t> desc(size);
  if (layout.pid_offset >= 0) put(desc, static_cast<std::size_t>(layout.pid_offset), 4, thread, arch.endian);
  for (const arch::NoteField& field : layout.fields)
    put(desc, field.offset, field.bytes, registers.get(field.reg).value_or(0), arch.endian);
  return desc;
}

// What nobody could tell from the core's memory: systems without a VMCOREINFO are found by what their dump's file says.
void add_origin(const Kernel& kernel, image::Buffer& out) {
  const std::string release = kernel.os().release();
  std::string text = fmt::format("SYSTEM={}\nSLIDE={:#x}\n", kernel.system(), kernel.map().slide);
  if (!release.empty()) text += "RELEASE=" + release + "\n";
  add_note(out, origin_owner, origin_text, {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
  const Dump& dump = kernel.dump();
  if (std::ranges::all_of(dump.message_buffer, [](std::uint8_t byte) { return byte == 0; })) return;
  add_note(out, origin_owner, origin_message_buffer, dump.message_buffer);
  if (!dump.message_state.empty()) add_note(out, origin_owner, origin_message_state, dump.message_state);
}

}  // namespace

std::vector<std::uint8_t> core_notes(const Kernel& kernel, std::vector<std::string>& remarks) {
  const arch::Arch& arch = kernel.arch();
  image::Buffer out(arch.endian);
  const arch::CpuNote* layout = prstatus_of(arch);
  std::size_t written = 0;
  for (const Cpu& cpu : kernel.cpus()) {
    if (!layout || !cpu.registers) continue;
    add_note(out, "CORE", nt_prstatus, prstatus(arch, *layout, *cpu.registers, cpu.number + 1));
    ++written;
  }
  if (!layout) remarks.push_back(fmt::format("how a core keeps the registers of {} is not known: none are written", arch.name));
  else if (written < kernel.cpus().size()) remarks.push_back(fmt::format("{} of {} CPUs left no registers in the dump", kernel.cpus().size() - written, kernel.cpus().size()));
  // By a note of this owner lldb knows that the others are laid out as Linux does.
  if (written) add_note(out, "LINUX", 0, {});
  if (const std::string& text = kernel.map().vmcoreinfo; !text.empty())
    add_note(out, "VMCOREINFO", 0, {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
  add_origin(kernel, out);
  return std::move(out).take();
}

}  // namespace kvm
