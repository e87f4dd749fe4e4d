// The register table as values, and as the XML that debuggers read (gdb manual, "Target Description Format").
#include "engine/registers.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/integers.h"

namespace kvm {
namespace {

std::size_t bytes_of(const arch::Register& reg) { return (reg.bits + 7u) / 8; }

std::size_t offset_of(const arch::Arch& arch, std::size_t index) {
  std::size_t offset = 0;
  for (std::size_t i = 0; i < index; ++i) offset += bytes_of(arch.registers[i]);
  return offset;
}

// lldb's own attribute; gdb ignores it.  Some of lldb's processors find no pc without it.
std::string_view generic_name(arch::Role role) {
  switch (role) {
    case arch::Role::pc: return "pc";
    case arch::Role::sp: return "sp";
    case arch::Role::fp: return "fp";
    case arch::Role::ra: return "ra";
    case arch::Role::flags: return "flags";
    case arch::Role::none: break;
  }
  return {};
}

std::string register_xml(const arch::Register& reg) {
  std::string xml = fmt::format("  <reg name=\"{}\" bitsize=\"{}\" type=\"{}\"", reg.name, reg.bits, reg.type);
  if (reg.dwarf >= 0) xml += fmt::format(" dwarf_regnum=\"{0}\" ehframe_regnum=\"{0}\"", reg.dwarf);
  xml += fmt::format(" group=\"{}\"", reg.group.empty() ? "general" : reg.group);
  if (auto generic = generic_name(reg.role); !generic.empty()) xml += fmt::format(" generic=\"{}\"", generic);
  return xml + "/>\n";
}

}  // namespace

RegisterFile::RegisterFile(const arch::Arch& arch)
    : arch_(&arch), bytes_(offset_of(arch, arch.registers.size())), known_(arch.registers.size()) {}

std::optional<Bytes> RegisterFile::get(std::size_t index) const {
  if (index >= known_.size() || !known_[index]) return std::nullopt;
  return Bytes(bytes_).subspan(offset_of(*arch_, index), bytes_of(arch_->registers[index]));
}

std::optional<std::uint64_t> RegisterFile::get(std::string_view name) const {
  auto index = register_index(*arch_, name);
  auto bytes = index ? get(*index) : std::nullopt;
  if (!bytes) return std::nullopt;
  const std::size_t low = std::min<std::size_t>(bytes->size(), 8);
  return load_unsigned(arch_->endian == std::endian::little ? bytes->first(low) : bytes->last(low), arch_->endian);
}

std::optional<std::uint64_t> RegisterFile::get(arch::Role role) const {
  auto index = register_index(*arch_, role);
  return index ? get(arch_->registers[*index].name) : std::nullopt;
}

void RegisterFile::set(std::string_view name, std::uint64_t value) {
  auto index = register_index(*arch_, name);
  if (!index) return;
  known_[*index] = true;
  MutableBytes to = MutableBytes(bytes_).subspan(offset_of(*arch_, *index), bytes_of(arch_->registers[*index]));
  for (std::size_t i = 0; i < to.size(); ++i) {
    const std::size_t position = arch_->endian == std::endian::little ? i : to.size() - 1 - i;
    to[position] = i < 8 ? static_cast<std::uint8_t>(value >> (8 * i)) : std::uint8_t{0};
  }
}

bool RegisterFile::empty() const { return std::ranges::find(known_, true) == known_.end(); }

std::optional<std::size_t> register_index(const arch::Arch& arch, std::string_view name) {
  auto found = std::ranges::find(arch.registers, name, &arch::Register::name);
  return found == arch.registers.end() ? std::nullopt : std::optional<std::size_t>(found - arch.registers.begin());
}

std::optional<std::size_t> register_index(const arch::Arch& arch, arch::Role role) {
  auto found = std::ranges::find(arch.registers, role, &arch::Register::role);
  return found == arch.registers.end() ? std::nullopt : std::optional<std::size_t>(found - arch.registers.begin());
}

std::string target_xml(const arch::Arch& arch) {
  std::string xml = "<?xml version=\"1.0\"?>\n<!DOCTYPE target SYSTEM \"gdb-target.dtd\">\n<target version=\"1.0\">\n";
  xml += fmt::format("<architecture>{}</architecture>\n", arch.gdb_name);
  // Without this gdb takes its default, GNU/Linux: it then looks for a dynamic linker and never asks for our library list.
  xml += fmt::format("<osabi>{}</osabi>\n", arch.gdb_osabi);
  std::string_view feature;
  for (const arch::Register& reg : arch.registers) {
    if (reg.feature != feature) {
      if (!feature.empty()) xml += "</feature>\n";
      xml += fmt::format("<feature name=\"{}\">\n", feature = reg.feature);
    }
    xml += register_xml(reg);
  }
  if (!feature.empty()) xml += "</feature>\n";
  return xml + "</target>\n";
}

}  // namespace kvm
