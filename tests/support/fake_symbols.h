// Symbols and types that a test writes down as text.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "engine/symbols.h"

namespace kvm::testing {

class FakeSymbols final : public Symbols {
 public:
  void add(const std::string& name, VirtAddr address, std::uint64_t size = 0, char kind = 'D');
  void remove(const std::string& name) { by_name_.erase(name); }
  // The same symbols before relocation.
  FakeSymbols minus(std::uint64_t slide, VirtAddr from) const;

  std::optional<Symbol> find(std::string_view name) const override;
  std::optional<Symbol> at(VirtAddr address) const override;
  std::vector<Symbol> all() const override;

 private:
  struct Entry {
    VirtAddr address;
    std::uint64_t size;
    char kind;
  };
  std::map<std::string, Entry, std::less<>> by_name_;
};

class FakeTypes final : public Types {
 public:
  // Members as "path offset kind; ...".  Kinds: u4 s4 (integers by bytes), * or *type (pointer), a16 (char array),
  // r16 or r16:type (embedded record), b1:5:3 (bit-field: storage bytes, low bit, bits).  Paths are matched as written.
  void define(const std::string& type, std::uint64_t size, std::string_view members);
  void extend(const std::string& type, std::string_view members);
  void remove(const std::string& type) { types_.erase(type); }
  void remove(const std::string& type, const std::string& path) { types_.at(type).members.erase(path); }
  void enumerator(const std::string& name, std::int64_t value) { enumerators_[name] = value; }

  Result<Member> member(std::string_view type, std::string_view path) const override;
  Result<std::uint64_t> size_of(std::string_view type) const override;
  std::optional<std::int64_t> enumerator(std::string_view name) const override;

 private:
  struct Type {
    std::uint64_t size;
    std::map<std::string, Member, std::less<>> members;
  };
  std::map<std::string, Type, std::less<>> types_;
  std::map<std::string, std::int64_t, std::less<>> enumerators_;
};

}  // namespace kvm::testing
