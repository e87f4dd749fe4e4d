// Which types stand together in one compilation unit.  Debuggers read whole units, and of a unit's by-value members
// the units where those are defined; what a pointer leads to is only declared, and found by name when it is wanted.  So a
// unit holds a few dozen records, each with what only it contains; what several contain stands in units of its own, and so do
// integers and their typedefs.
#pragma once

#include "engine/image/type_table.h"

namespace kvm::image {

class Homes {
 public:
  struct Unit {
    std::uint32_t piece;
    std::uint32_t first, end;  // of order()
  };

  explicit Homes(const TypeTable& types);

  const std::vector<Unit>& units() const { return units_; }
  const std::vector<NodeId>& order() const { return order_; }  // of all homed types
  std::uint32_t unit_of(NodeId homed) const { return unit_of_[homed]; }

 private:
  static constexpr NodeId nobody = 0, several = ~NodeId{0};

  void find_users(const TypeTable& types, TypeTable::Range range);
  void note_user(const TypeTable& types, NodeId type, bool by_name, NodeId user);
  void find_roots(const TypeTable& types, TypeTable::Range range);
  NodeId stands_with(const TypeTable& types, NodeId id, TypeTable::Range range) const;  // itself, if with no other
  void cut_units(const TypeTable& types, std::uint32_t piece);

  std::vector<NodeId> user_;  // of homed types: in which one definition they are used, or nobody, or several
  std::vector<NodeId> root_;  // the definition they stand with
  std::vector<Unit> units_;
  std::vector<NodeId> order_;
  std::vector<std::uint32_t> unit_of_;
};

}  // namespace kvm::image
