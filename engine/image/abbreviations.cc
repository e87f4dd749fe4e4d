#include "engine/image/abbreviations.h"

#include <span>

namespace kvm::image {
namespace {

// DWARF 5, tables 7.3, 7.5 and 7.6.
enum Attribute : std::uint8_t {
  at_location = 0x02, at_name = 0x03, at_byte_size = 0x0b, at_stmt_list = 0x10, at_low_pc = 0x11, at_high_pc = 0x12, at_language = 0x13,
  at_const_value = 0x1c, at_inline = 0x20, at_abstract_origin = 0x31, at_producer = 0x25, at_prototyped = 0x27, at_bit_size = 0x0d, at_count = 0x37,
  at_data_member_location = 0x38, at_declaration = 0x3c, at_encoding = 0x3e, at_external = 0x3f, at_type = 0x49,
  at_call_file = 0x58, at_call_line = 0x59, at_data_bit_offset = 0x6b,
};
enum Form : std::uint8_t {
  form_addr = 0x01, form_data4 = 0x06, form_data8 = 0x07, form_data1 = 0x0b, form_sdata = 0x0d, form_strp = 0x0e,
  form_udata = 0x0f, form_sec_offset = 0x17, form_ref_addr = 0x10, form_ref4 = 0x13, form_exprloc = 0x18, form_flag_present = 0x19,
};

struct Rule {
  std::uint8_t when, unless;  // extras; 0: always, never
  Attribute attribute;
  Form form;
};
struct Description {
  std::uint8_t tag;
  std::span<const Rule> rules;
};

constexpr Rule name{has_name, 0, at_name, form_strp}, size{0, 0, at_byte_size, form_udata};
constexpr Rule type{has_type, 0, at_type, form_ref4}, far_type{has_far_type, 0, at_type, form_ref_addr};
constexpr Rule prototyped{0, 0, at_prototyped, form_flag_present}, declaration{0, 0, at_declaration, form_flag_present};
constexpr Rule external{is_external, 0, at_external, form_flag_present};

constexpr Rule unit[] = {{0, 0, at_producer, form_strp}, {0, 0, at_language, form_data1}, name,
                         {has_code, 0, at_low_pc, form_addr}, {has_code, 0, at_high_pc, form_data8}, {has_code, 0, at_stmt_list, form_sec_offset}};
constexpr Rule base_type[] = {name, {0, 0, at_encoding, form_data1}, size};
constexpr Rule sized_reference[] = {type, far_type, size};
constexpr Rule reference[] = {type, far_type};
constexpr Rule named_reference[] = {name, type, far_type};
constexpr Rule subrange[] = {{has_count, 0, at_count, form_udata}};
constexpr Rule record[] = {name, size};
constexpr Rule record_declaration[] = {name, declaration};
constexpr Rule member[] = {name, type, far_type, {0, is_bit_field, at_data_member_location, form_udata},
                           {is_bit_field, 0, at_bit_size, form_data1}, {is_bit_field, 0, at_data_bit_offset, form_udata}};
constexpr Rule enumeration[] = {name, size, type, far_type};
constexpr Rule enumerator[] = {name, {is_signed, 0, at_const_value, form_sdata}, {0, is_signed, at_const_value, form_udata}};
constexpr Rule subroutine_type[] = {prototyped, type, far_type};
constexpr Rule subprogram[] = {external, name, prototyped, {0, 0, at_low_pc, form_addr}, {0, 0, at_high_pc, form_data4}, type,
                               far_type};
constexpr Rule inline_subprogram[] = {name, {0, 0, at_inline, form_data1}};
constexpr Rule inlined_call[] = {{0, 0, at_abstract_origin, form_ref4}, {0, 0, at_low_pc, form_addr}, {0, 0, at_high_pc, form_data4},
                                 {0, 0, at_call_file, form_data1}, {0, 0, at_call_line, form_data1}};
constexpr Rule variable[] = {external, name, type, far_type, {0, 0, at_location, form_exprloc}};

// In the order of Shape; the attributes are written in the order of the rules.
constexpr Description descriptions[] = {
    {0x11, unit}, {0x24, base_type}, {0x0f, sized_reference}, {0x26, reference}, {0x35, reference}, {0x37, reference},
    {0x16, named_reference}, {0x01, reference}, {0x21, subrange}, {0x13, record}, {0x17, record}, {0x13, record_declaration},
    {0x17, record_declaration}, {0x0d, member}, {0x04, enumeration}, {0x28, enumerator}, {0x15, subroutine_type},
    {0x05, named_reference}, {0x18, {}}, {0x2e, subprogram}, {0x34, variable},
    {0x2e, inline_subprogram}, {0x1d, inlined_call},
};

}  // namespace

void Abbreviations::declare(Shape shape, unsigned extras, std::uint16_t code) {
  const Description& description = descriptions[static_cast<std::size_t>(shape)];
  table_.uleb(code);
  table_.uleb(description.tag);
  table_.u8(extras & has_children ? 1 : 0);
  for (const Rule& rule : description.rules) {
    if ((rule.when != 0 && !(extras & rule.when)) || (extras & rule.unless)) continue;
    table_.uleb(rule.attribute);
    table_.uleb(rule.form);
  }
  table_.u16(0);
}

Bytes Abbreviations::finish() {
  table_.u8(0);
  return table_.view();
}

}  // namespace kvm::image
