// Names and addresses, both ways.
#include <fmt/format.h>

#include <algorithm>

#include "stub/packet.h"
#include "stub/report_rows.h"
#include "stub/report_text.h"

namespace kvm::rsp {
namespace {

struct Found {
  VirtAddr address;
  std::optional<Symbol> symbol;  // that contains the address
  std::string_view module;       // empty: the kernel image, or nothing
  std::uint64_t module_offset = 0;
  std::vector<SourceLine> lines = {};
};

const Module* module_at(const Kernel& kernel, VirtAddr address) {
  const auto& modules = kernel.modules();
  if (!modules) return nullptr;
  const auto found = std::ranges::find_if(*modules, [&](const Module& module) { return module.contains(address); });
  return found == modules->end() ? nullptr : &*found;
}

Found look_up(const Kernel& kernel, VirtAddr address) {
  Found found{address, std::nullopt, {}};
  if (const Module* module = module_at(kernel, address)) {
    found.module = module->name;
    found.module_offset = address - module->base;
  }
  if (const auto symbol = kernel.symbol_at(address)) {
    // Where a module's symbols are not at hand, the nearest one before it is the image's last, which says nothing.
    if (found.module.empty() || !symbol->module.empty()) {
      found.symbol = symbol->symbol;
      found.module = symbol->module;
    }
  }
  return found;
}

Result<std::vector<Found>> look_up(const Kernel& kernel, Words words) {
  if (words.empty()) return fail(Errc::bad_request, "which symbol or address?");
  std::vector<Found> all;
  for (const std::string& word : words) {
    Found found = look_up(kernel, TRY(parse_address(kernel, word)));
    // Of several names for one address the one that was asked for is shown.
    if (const auto named = kernel.find_symbol(word)) found.symbol = named->symbol;
    found.lines = kernel.lines_at(found.address);
    all.push_back(std::move(found));
  }
  return all;
}

std::string name_text(const Found& found) {
  std::string text;
  if (found.symbol) {
    text = printable(found.symbol->name);
    if (const std::uint64_t offset = found.address - found.symbol->address) text += fmt::format("+{:#x}", offset);
  }
  if (found.module.empty()) return text;
  if (!found.symbol) text = fmt::format("{}+{:#x}", printable(found.module), found.module_offset);
  return text + " [" + printable(found.module) + "]";
}

std::string source_text(const std::vector<SourceLine>& lines) {
  std::string text;
  for (const SourceLine& line : lines) text += fmt::format("{}{}:{}", text.empty() ? "" : " in ", printable(line.file), line.line);
  return text;
}

json::object row_of(const Found& found) {
  json::array source;
  for (const SourceLine& line : found.lines)
    source.push_back(json::object{{"function", utf8(line.function)}, {"file", utf8(line.file)}, {"line", line.line}});
  json::object row{{"name", nullptr}, {"address", address_text(found.address.raw)}, {"size", nullptr}, {"module", nullptr},
                   {"kind", nullptr}, {"offset", nullptr}, {"source", std::move(source)}};
  if (!found.module.empty()) row["module"] = utf8(found.module);
  if (found.symbol) {
    row["name"] = utf8(found.symbol->name);
    row["kind"] = utf8({&found.symbol->kind, 1});
    row["offset"] = found.address - found.symbol->address;
    if (found.symbol->size) row["size"] = found.symbol->size;
  }
  return row;
}

std::optional<VirtAddr> plain_address(const Kernel& kernel, std::string_view text) {
  if (text.starts_with("0x") || text.starts_with("0X")) text.remove_prefix(2);
  else if (const auto found = kernel.find_symbol(text)) return found->symbol.address;
  const auto number = parse_hex(text);
  return number ? std::optional(VirtAddr{*number}) : std::nullopt;
}

}  // namespace

Result<VirtAddr> parse_address(const Kernel& kernel, std::string_view text) {
  if (const auto address = plain_address(kernel, text)) return *address;
  if (const std::size_t plus = text.rfind('+'); plus != text.npos) {
    const auto base = plain_address(kernel, text.substr(0, plus));
    std::string_view offset_text = text.substr(plus + 1);
    if (offset_text.starts_with("0x")) offset_text.remove_prefix(2);
    const auto offset = parse_hex(offset_text);
    if (base && offset) return *base + *offset;
  }
  const bool no_symbols = kernel.vmlinux().empty();
  return fail(Errc::not_found, fmt::format("'{}' is neither an address nor a known symbol{}", printable(text),
                                           no_symbols ? fmt::format(" (there is no {} to look in)", kernel.file_word()) : ""));
}

std::string describe(const Kernel& kernel, VirtAddr address) {
  return name_text(look_up(kernel, address));
}

Result<std::string> symbol_text(const Kernel& kernel, Words words) {
  Table table{{"ADDRESS"}, {"K"}, {"SIZE", Table::Align::right}, {"NAME"}, {"SOURCE"}};
  for (const Found& found : TRY(look_up(kernel, words))) {
    const bool sized = found.symbol && found.symbol->size;
    table.row({address_text(found.address.raw), found.symbol ? std::string(1, found.symbol->kind) : "",
               sized ? std::to_string(found.symbol->size) : "", name_text(found), source_text(found.lines)});
  }
  return table.text();
}

Result<json::value> symbol_json(const Kernel& kernel, Words words) {
  json::array rows;
  for (const Found& found : TRY(look_up(kernel, words))) rows.push_back(row_of(found));
  return rows;
}

}  // namespace kvm::rsp
