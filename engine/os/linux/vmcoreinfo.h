// VMCOREINFO: `KEY=VALUE` lines that a Linux kernel writes about itself
// (kernel Documentation/admin-guide/kdump/vmcoreinfo.rst).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace kvm::os_linux {

class Vmcoreinfo {
 public:
  explicit Vmcoreinfo(std::string text) : text_(std::move(text)) {}
  bool empty() const { return text_.empty(); }
  std::optional<std::string_view> value(std::string_view key) const;
  // NUMBER() values: decimal with sign, or hexadecimal with 0x.
  std::optional<std::uint64_t> number(std::string_view key) const;
  // Values in plain hexadecimal: KERNELOFFSET, SYMBOL(name).
  std::optional<std::uint64_t> hex(std::string_view key) const;
  std::optional<std::uint64_t> symbol(std::string_view name) const { return hex("SYMBOL(" + std::string(name) + ")"); }
  // All of them, as they come.
  std::vector<std::pair<std::string, std::uint64_t>> symbols() const;

 private:
  std::string text_;
};

}  // namespace kvm::os_linux
