// Finds types by what C calls them.
#pragma once

#include "engine/image/type_table.h"
#include "engine/symbols/name_index.h"

namespace kvm::image {

class TypeNames {
 public:
  TypeNames(TypeTable& types, TypeTable::Range range);

  // "struct page *", "char[]", "unsigned long"; "task_struct" does for "struct task_struct".  Adds the types on the way.
  // None: there is no such type.
  std::optional<NodeId> find(std::string_view text);

 private:
  std::optional<NodeId> find_base(std::string_view words) const;
  std::string_view name_of(NodeId id) const { return types_.text(types_[id].name); }

  TypeTable& types_;
  NameIndex tags_, names_;  // of records and enumerations; of typedefs and base types
};

}  // namespace kvm::image
