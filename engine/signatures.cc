// A signed address looks like no other word: its low bits lead into the kernel's code, its upper bits are no address's.
#include "engine/signatures.h"

#include <algorithm>
#include <utility>

#include "engine/integers.h"

namespace kvm {
namespace {

constexpr std::uint64_t word_bytes = 8;

bool is_code(const Kernel& kernel, VirtAddr at) {
  // Linux's, and FreeBSD's (sys/conf/ldscript.arm64).
  constexpr std::pair<std::string_view, std::string_view> ranges[] = {
      {"_stext", "_etext"}, {"_sinittext", "_einittext"}, {"text_start", "_etext"}, {"kernbase", "_etext"}};
  for (const auto& [first_name, end_name] : ranges) {
    const auto first = kernel.symbols().find(first_name), end = kernel.symbols().find(end_name);
    if (first && end && at >= first->address && at < end->address) return true;
  }
  const auto& modules = kernel.modules();
  return modules && std::ranges::any_of(*modules, [&](const Module& module) { return module.contains(at); });
}

}  // namespace

std::uint64_t without_signature(const Kernel& kernel, std::uint64_t word) {
  constexpr std::uint64_t upper_half = std::uint64_t{1} << 55;  // which half an address is of, whatever is above it
  const std::uint64_t plain = word | kernel.map().signature_mask;
  return plain != word && word & upper_half && is_code(kernel, {plain}) ? plain : word;
}

void remove_signatures(const Kernel& kernel, VirtAddr at, MutableBytes bytes) {
  if (!kernel.map().signature_mask || bytes.empty()) return;
  auto replace = [&](MutableBytes word) { store(word.data(), without_signature(kernel, load<std::uint64_t>(word.data(), kernel.arch().endian)), kernel.arch().endian); };
  // Of a word at either end some bytes were not asked for, but decide what it is.
  auto replace_part = [&](VirtAddr word_at) {
    std::uint8_t word[word_bytes];
    if (kernel.read(word_at, word).value_or(0) != word_bytes) return;
    replace(word);
    for (std::uint64_t i = 0; i < word_bytes; ++i)
      if (const std::uint64_t offset = (word_at + i) - at; offset < bytes.size()) bytes[offset] = word[i];
  };
  const std::uint64_t before = -at.raw & (word_bytes - 1);
  if (before) replace_part(VirtAddr{at.raw & ~(word_bytes - 1)});
  std::uint64_t offset = before;
  for (; offset + word_bytes <= bytes.size(); offset += word_bytes) replace(bytes.subspan(offset, word_bytes));
  if (offset < bytes.size()) replace_part(at + offset);
}

void remove_signatures(const Kernel& kernel, RegisterFile& registers) {
  if (!kernel.map().signature_mask) return;
  for (const arch::Role role : {arch::Role::ra, arch::Role::pc})
    if (const auto value = registers.get(role))
      registers.set(kernel.arch().registers[*register_index(kernel.arch(), role)].name, without_signature(kernel, *value));
}

}  // namespace kvm
