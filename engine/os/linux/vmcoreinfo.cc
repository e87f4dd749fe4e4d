// Looks lines up in the text; there are a few hundred, and each key is asked for once.
#include "engine/os/linux/vmcoreinfo.h"

#include <charconv>

namespace kvm::os_linux {
namespace {

std::optional<std::uint64_t> parse(std::string_view digits, int base) {
  std::uint64_t value = 0;
  auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, base);
  return error == std::errc() && end == digits.data() + digits.size() ? std::optional(value) : std::nullopt;
}

std::string_view without_prefix(std::string_view digits) { return digits.starts_with("0x") ? digits.substr(2) : digits; }

}  // namespace

std::optional<std::string_view> Vmcoreinfo::value(std::string_view key) const {
  const std::string_view text = text_;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    const std::string_view line = text.substr(at, end - at);
    if (line.size() > key.size() && line[key.size()] == '=' && line.starts_with(key)) return line.substr(key.size() + 1);
    at = end + 1;
  }
  return std::nullopt;
}

std::optional<std::uint64_t> Vmcoreinfo::number(std::string_view key) const {
  auto digits = value(key);
  if (!digits) return std::nullopt;
  if (digits->starts_with("0x")) return parse(digits->substr(2), 16);
  if (!digits->starts_with("-")) return parse(*digits, 10);
  auto magnitude = parse(digits->substr(1), 10);
  return magnitude ? std::optional(0 - *magnitude) : std::nullopt;
}

std::optional<std::uint64_t> Vmcoreinfo::hex(std::string_view key) const {
  auto digits = value(key);
  return digits ? parse(without_prefix(*digits), 16) : std::nullopt;
}

std::vector<std::pair<std::string, std::uint64_t>> Vmcoreinfo::symbols() const {
  constexpr std::string_view before = "SYMBOL(", behind = ")=";
  std::vector<std::pair<std::string, std::uint64_t>> found;
  const std::string_view text = text_;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    const std::string_view line = text.substr(at, end - at);
    const std::size_t name_end = line.find(behind);
    if (line.starts_with(before) && name_end != line.npos)
      if (const auto address = parse(without_prefix(line.substr(name_end + behind.size())), 16))
        found.emplace_back(line.substr(before.size(), name_end - before.size()), *address);
    at = end + 1;
  }
  return found;
}

}  // namespace kvm::os_linux
