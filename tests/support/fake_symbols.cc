// See fake_symbols.h.
#include "tests/support/fake_symbols.h"

#include <sstream>
#include <stdexcept>

namespace kvm::testing {

void FakeSymbols::add(const std::string& name, VirtAddr address, std::uint64_t size, char kind) {
  by_name_[name] = {address, size, kind};
}

FakeSymbols FakeSymbols::minus(std::uint64_t slide, VirtAddr from) const {
  FakeSymbols linked = *this;
  for (auto& [name, entry] : linked.by_name_)
    if (entry.address >= from) entry.address = entry.address - slide;
  return linked;
}

std::optional<Symbol> FakeSymbols::find(std::string_view name) const {
  auto found = by_name_.find(name);
  if (found == by_name_.end()) return std::nullopt;
  return Symbol{found->first, found->second.address, found->second.size, found->second.kind};
}

std::optional<Symbol> FakeSymbols::at(VirtAddr address) const {
  std::optional<Symbol> best;
  for (const auto& [name, entry] : by_name_)
    if (entry.address <= address && (!best || best->address < entry.address)) best = Symbol{name, entry.address, entry.size, entry.kind};
  return best;
}

std::vector<Symbol> FakeSymbols::all() const {
  std::vector<Symbol> all;
  for (const auto& [name, entry] : by_name_) all.push_back({name, entry.address, entry.size, entry.kind});
  return all;
}

namespace {

Member parse_kind(const std::string& kind) {
  Member member;
  const std::string rest = kind.substr(1);
  switch (kind[0]) {
    case 'u':
    case 's':
      member.kind = Member::Kind::integer;
      member.size = std::stoull(rest);
      member.is_signed = kind[0] == 's';
      return member;
    case '*':
      member.kind = Member::Kind::pointer;
      member.size = 8;
      member.type_name = rest;
      return member;
    case 'a':
      member.kind = Member::Kind::array;
      member.size = member.count = std::stoull(rest);
      member.element_size = 1;
      return member;
    case 'r':
      member.kind = Member::Kind::record;
      member.size = std::stoull(rest);
      if (auto colon = rest.find(':'); colon != rest.npos) member.type_name = rest.substr(colon + 1);
      return member;
    case 'b': {
      unsigned bytes = 0, low = 0, bits = 0;
      char colon = 0;
      std::istringstream(rest) >> bytes >> colon >> low >> colon >> bits;
      member.kind = Member::Kind::integer;
      member.size = bytes;
      member.bit_offset = static_cast<std::uint8_t>(low);
      member.bit_size = static_cast<std::uint8_t>(bits);
      return member;
    }
    default: throw std::runtime_error("FakeTypes: kind '" + kind + "'");
  }
}

}  // namespace

void FakeTypes::define(const std::string& type, std::uint64_t size, std::string_view members) {
  types_[type] = {size, {}};
  extend(type, members);
}

void FakeTypes::extend(const std::string& type, std::string_view members) {
  Type& made = types_.at(type);
  std::istringstream entries{std::string(members)};
  for (std::string entry; std::getline(entries, entry, ';');) {
    std::istringstream words(entry);
    std::string path, offset, kind;
    if (!(words >> path)) continue;
    if (!(words >> offset >> kind)) throw std::runtime_error("FakeTypes: '" + entry + "'");
    Member member = parse_kind(kind);
    member.offset = std::stoull(offset, nullptr, 0);
    made.members[path] = member;
  }
}

Result<Member> FakeTypes::member(std::string_view type, std::string_view path) const {
  auto found = types_.find(type);
  if (found == types_.end()) return fail(Errc::not_found, "no type " + std::string(type));
  const auto& members = found->second.members;
  auto member = members.find(path);
  if (member == members.end()) {
    // A record or array of which only parts are written down.
    const auto part = members.lower_bound(path);
    const bool known = part != members.end() && part->first.size() > path.size() && part->first.starts_with(path) &&
                       (part->first[path.size()] == '.' || part->first[path.size()] == '[');
    if (known && !path.empty()) return Member{.offset = part->second.offset, .kind = Member::Kind::record};
  }
  if (member == members.end()) return fail(Errc::not_found, "no member " + std::string(type) + "." + std::string(path));
  return member->second;
}

Result<std::uint64_t> FakeTypes::size_of(std::string_view type) const {
  auto found = types_.find(type);
  if (found == types_.end()) return fail(Errc::not_found, "no type " + std::string(type));
  return found->second.size;
}

std::optional<std::int64_t> FakeTypes::enumerator(std::string_view name) const {
  auto found = enumerators_.find(name);
  return found == enumerators_.end() ? std::nullopt : std::optional(found->second);
}

}  // namespace kvm::testing
