// Kernel structures by member name.
#include "engine/record.h"

#include <algorithm>

#include "engine/integers.h"

namespace kvm {
namespace {

// Copies all of `out` or fails: half an integer is no integer.
Result<void> read_all(const AddressSpace& space, VirtAddr at, MutableBytes out) {
  const std::size_t got = TRY(space.read(at, out));
  if (got == out.size()) return {};
  auto rest = space.read(at + got, out.subspan(got));
  return rest ? fail(Errc::lost, (at + got).raw) : tl::unexpected(rest.error());
}

std::uint64_t sign_extend(std::uint64_t value, unsigned bits) {
  if (bits == 0 || bits >= 64) return value;
  const std::uint64_t sign = std::uint64_t{1} << (bits - 1);
  value &= (sign << 1) - 1;
  return (value ^ sign) - sign;
}

}  // namespace

Result<std::uint64_t> KernelView::number_at(VirtAddr at, std::size_t bytes) const {
  std::uint8_t raw[8];
  if (bytes == 0 || bytes > sizeof raw) return fail(Errc::bad_data, at.raw);
  TRY(read_all(space, at, MutableBytes(raw, bytes)));
  return load_unsigned(Bytes(raw, bytes), arch.endian);
}

Result<VirtAddr> KernelView::pointer_at(VirtAddr at) const { return VirtAddr{TRY(number_at(at, arch.pointer_bytes))}; }

Result<std::string> KernelView::text_at(VirtAddr at, std::size_t limit) const {
  std::string text(limit, '\0');
  const std::size_t got = TRY(space.read(at, {reinterpret_cast<std::uint8_t*>(text.data()), text.size()}));
  text.resize(std::min(text.find('\0'), got));
  return text;
}

Result<VirtAddr> KernelView::address_of(std::string_view symbol) const {
  auto found = symbols.find(symbol);
  if (!found) return fail(Errc::not_found, "symbol " + std::string(symbol) + " is not known");
  return found->address;
}

Result<VirtAddr> Record::address_of(std::string_view path) const { return at_ + TRY(member(path)).offset; }

Result<std::uint64_t> Record::number(std::string_view path) const {
  const Member m = TRY(member(path));
  const std::uint64_t whole = TRY(view_->number_at(at_ + m.offset, m.size));
  if (m.bit_size) {
    const std::uint64_t field = whole >> m.bit_offset;
    return m.is_signed ? sign_extend(field, m.bit_size) : field & ((std::uint64_t{2} << (m.bit_size - 1)) - 1);
  }
  return m.is_signed ? sign_extend(whole, static_cast<unsigned>(m.size * 8)) : whole;
}

Result<VirtAddr> Record::pointer(std::string_view path) const { return VirtAddr{TRY(number(path))}; }

Result<std::string> Record::text(std::string_view path) const {
  const Member m = TRY(member(path));
  return view_->text_at(at_ + m.offset, std::min<std::uint64_t>(m.size, 4096));
}

Result<Record> Record::follow(std::string_view path, std::string_view type) const {
  const Member m = TRY(member(path));
  const VirtAddr to{TRY(view_->number_at(at_ + m.offset, m.size))};
  return Record(*view_, std::string(type.empty() ? m.type_name : type), to);
}

Result<Record> Record::embedded(std::string_view path) const {
  const Member m = TRY(member(path));
  return Record(*view_, m.type_name, at_ + m.offset);
}

Result<std::uint64_t> Record::first_number(std::initializer_list<std::string_view> paths) const {
  for (std::string_view path : paths)
    if (auto value = number(path); value || value.error().code != Errc::not_found) return value;
  return fail(Errc::not_found, type_ + " has no member " + std::string(*paths.begin()));
}

}  // namespace kvm
