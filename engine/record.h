// A kernel structure in the dump, its members read by name: `task.number("thread_pid.nr")`.
#pragma once

#include <span>

#include "arch/arch.h"
#include "engine/space.h"
#include "engine/symbols.h"

namespace kvm {

// All one needs to read kernel structures.  The referenced objects outlive the view.
struct KernelView {
  const arch::Arch& arch;
  const AddressSpace& space;
  const Symbols& symbols;
  const Types& types;

  Result<std::uint64_t> number_at(VirtAddr at, std::size_t bytes) const;
  Result<VirtAddr> pointer_at(VirtAddr at) const;
  // A NUL-terminated string of at most `limit` bytes; a shorter one where the memory ends.
  Result<std::string> text_at(VirtAddr at, std::size_t limit = 256) const;
  Result<VirtAddr> address_of(std::string_view symbol) const;
};

class Record {
 public:
  Record(const KernelView& view, std::string type, VirtAddr at) : view_(&view), type_(std::move(type)), at_(at) {}

  VirtAddr address() const { return at_; }
  const std::string& type() const { return type_; }
  bool has(std::string_view path) const { return member(path).has_value(); }
  Result<Member> member(std::string_view path) const { return view_->types.member(type_, path); }
  Result<VirtAddr> address_of(std::string_view path) const;

  // An integer, enumeration, pointer or bit-field, sign-extended when its type is signed.
  Result<std::uint64_t> number(std::string_view path) const;
  Result<VirtAddr> pointer(std::string_view path) const;
  // A char array, up to its first NUL.
  Result<std::string> text(std::string_view path) const;
  // The record that a pointer member points to, or an embedded one; `type` overrides what the types say.
  Result<Record> follow(std::string_view path, std::string_view type = {}) const;
  Result<Record> embedded(std::string_view path) const;

  // The first of `paths` that exists: newest kernel's name first.
  Result<std::uint64_t> first_number(std::initializer_list<std::string_view> paths) const;

 private:
  const KernelView* view_;
  std::string type_;
  VirtAddr at_;
};

}  // namespace kvm
