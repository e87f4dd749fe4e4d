// One thread's registers.  A register that is not known is absent, never zero.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "arch/arch.h"
#include "engine/types.h"

namespace kvm {

class RegisterFile {
 public:
  explicit RegisterFile(const arch::Arch& arch);

  const arch::Arch& arch() const { return *arch_; }
  // Value in the target's byte order, as wide as the register; none when unknown.  Indexes follow arch().registers.
  std::optional<Bytes> get(std::size_t index) const;
  std::optional<std::uint64_t> get(std::string_view name) const;
  std::optional<std::uint64_t> get(arch::Role role) const;
  // Values of registers that the architecture does not list are dropped.  Wider registers keep the low bits.
  void set(std::string_view name, std::uint64_t value);
  bool empty() const;

 private:
  const arch::Arch* arch_;
  std::vector<std::uint8_t> bytes_;  // all registers, one after the other
  std::vector<bool> known_;
};

// Index of a register by name or role; none when the architecture has no such register.
std::optional<std::size_t> register_index(const arch::Arch& arch, std::string_view name);
std::optional<std::size_t> register_index(const arch::Arch& arch, arch::Role role);

// gdb's and lldb's description of the registers, the whole document.
std::string target_xml(const arch::Arch& arch);

}  // namespace kvm
