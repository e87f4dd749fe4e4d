// Writes debugging information entries, unit by unit (DWARF 5): .debug_info, .debug_aranges and a .debug_line without lines.
#pragma once

#include <optional>

#include "arch/arch.h"
#include "engine/image/abbreviations.h"
#include "engine/image/homes.h"
#include "engine/image/type_table.h"

namespace kvm::image {

struct CodeRange {
  VirtAddr first;
  std::uint64_t size;
};

class DieWriter {
 public:
  DieWriter(const arch::Arch& arch, TypeTable& types, const Homes& homes, std::string_view producer);

  // Entries are written between the two; `home`: the number of the unit in Homes, none for other units.
  void begin_unit(std::string_view name, std::optional<std::uint32_t> home, std::optional<CodeRange> code = {});
  void end_unit();

  void definition(NodeId homed);
  // Debuggers show a signal frame as nothing but that (gdb: "<signal handler called>"); as the code that has one is an inlined
  // call of the function itself, its name is shown as well.  `prototype` 0: not told.
  void function(std::uint32_t name, NodeId prototype, CodeRange code, bool global, bool signal_frame);
  void variable(std::uint32_t name, NodeId type, VirtAddr address, bool global);

  struct Sections {
    Buffer info, aranges, lines;
    Abbreviations abbreviations;
  };
  Sections finish() &&;

 private:
  // A type as something refers to it.
  struct Reference {
    NodeId id;
    bool by_name;    // a declaration will do
    unsigned extra;  // has_type, has_far_type, or 0 for void
  };
  // Types have two entries in a unit if they are needed both in full and by name.
  static std::uint32_t key(NodeId id, bool by_name) { return id * 2 + by_name; }
  struct Place {
    std::uint32_t unit = 0, offset = 0;
  };
  struct Fixup {
    std::uint32_t at, key;
  };

  Reference refer(NodeId id, bool by_name) const;
  void begin(Shape shape, unsigned extras) { out_.info.uleb(out_.abbreviations.code(shape, extras)); }
  void reference(const Reference& to);
  void name(std::uint32_t offset) { out_.info.u32(offset); }
  unsigned named(std::uint32_t name_offset) const { return types_.strings()[name_offset] != 0 ? has_name : 0U; }
  void children_end() { out_.info.u8(0); }

  void entry(NodeId id, bool by_name);
  void write_queue();
  void integer(const Node& node);
  void alias(const Node& node, bool by_name);
  void array(const Node& node);
  void record(const Node& node);
  void record_declaration(const Node& node);
  void member(const MemberInfo& member);
  void enumeration(const Node& node);
  void prototype(const Node& node);
  void parameters(const Node& prototype);
  void address_range(CodeRange code);
  void call_of_itself(std::uint32_t abstract, CodeRange code);

  TypeTable& types_;
  const Homes& homes_;
  std::uint8_t word_;  // bytes of an address
  std::uint32_t producer_;
  Sections out_;

  std::uint32_t unit_ = 0;                // number of the current one, from 1
  std::size_t unit_start_ = 0;
  std::optional<std::uint32_t> home_;
  std::vector<Place> places_;             // by key: the latest unit that has the entry, and where
  std::vector<std::uint32_t> queue_;      // keys of entries that the unit needs
  std::vector<Fixup> fixups_;             // references within the unit
  std::vector<Fixup> far_fixups_;         // references to homed types; `key` is a NodeId
  std::vector<std::uint32_t> home_offsets_;  // of homed types' entries in .debug_info
};

}  // namespace kvm::image
