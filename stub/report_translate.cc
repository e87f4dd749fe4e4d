// A walk through the page tables for people, and bytes as a hex dump.
#include <fmt/format.h>

#include "stub/report_rows.h"
#include "stub/report_text.h"

namespace kvm::rsp {
namespace {

struct Translation {
  VirtAddr address;
  const Mapping* mapping = nullptr;    // whose tables were walked, or the first that covers the address
  std::vector<WalkStep> steps;
  std::optional<Extent> extent;        // the page; none: there is none, or a table could not be read
  std::optional<PhysAddr> physical;
  std::optional<std::uint64_t> file_offset;
  std::optional<Errc> trouble;         // none: the byte can be read
};

const PageTable* tables_of(const Mapping& mapping) {
  if (const auto* array = std::get_if<EntryArray>(&mapping.how)) return &array->table;
  return std::get_if<PageTable>(&mapping.how);
}

Translation translate(const Kernel& kernel, VirtAddr address) {
  Translation t{.address = address};
  for (const Mapping& mapping : kernel.space().mappings()) {
    if (address < mapping.first || address > mapping.last) continue;
    t.mapping = &mapping;
    (void)walk_by(kernel.space().memory(), mapping.how, address, &t.steps);  // for the trace only: which mapping answers is the space's to say
    break;
  }
  std::uint8_t byte;
  if (const auto got = kernel.read(address, {&byte, 1}); !got) t.trouble = got.error().code;
  const auto extent = kernel.space().extent_at(address);
  if (!extent || !extent->phys) return t;
  t.extent = *extent;
  t.physical = extent->at(address);
  t.file_offset = kernel.space().memory().file_offset(*t.physical);
  return t;
}

Result<std::vector<Translation>> translate(const Kernel& kernel, Words words) {
  if (words.empty()) return fail(Errc::bad_request, "which address?");
  std::vector<Translation> all;
  for (const std::string& word : words) all.push_back(translate(kernel, TRY(parse_address(kernel, word))));
  return all;
}

std::string level_name(const Kernel& kernel, const Translation& t, unsigned level) {
  const auto names = kernel.arch().level_names;
  // Linux folds the levels a machine lacks into those below, but its root is always the PGD.
  if (const PageTable* tables = t.mapping ? tables_of(*t.mapping) : nullptr; tables && level == tables->mode->levels.size() && !names.empty())
    return std::string(names.back());
  return level >= 1 && level <= names.size() ? std::string(names[level - 1]) : fmt::format("level {}", level);
}

std::string status_text(const Translation& t) { return t.trouble ? std::string(name(*t.trouble)) : "present"; }

std::string access_text(const Access& access) {
  return fmt::format("r{}{} {}", access.write ? 'w' : '-', access.execute ? 'x' : '-', access.user ? "user" : "kernel");
}

std::string size_text(std::uint64_t bytes) {
  constexpr std::string_view units[] = {"bytes", "KiB", "MiB", "GiB"};
  std::size_t unit = 0;
  for (; unit + 1 < std::size(units) && bytes >= 1024 && bytes % 1024 == 0; ++unit) bytes /= 1024;
  return fmt::format("{} {}", bytes, units[unit]);
}

std::string text_of(const Kernel& kernel, const Translation& t) {
  const std::string symbol = describe(kernel, t.address);
  std::string text = fmt::format("{:<10} {:#018x}{}\n", "VIRTUAL", t.address.raw, symbol.empty() ? "" : "  " + symbol);
  const PageTable* tables = t.mapping ? tables_of(*t.mapping) : nullptr;
  if (t.mapping) text += fmt::format("{:<10} {}{}\n", "BY", t.mapping->name, tables ? fmt::format(", {}", tables->mode->name) : "");
  for (const WalkStep& step : t.steps)
    text += fmt::format("  {:<8} {:#018x}  entry {:#018x}\n", level_name(kernel, t, step.level), step.entry_at.raw, step.entry);
  if (t.physical) {
    const std::uint64_t size = t.extent->last - t.extent->first + 1;
    const bool page = tables && size;
    text += fmt::format("{:<10} {:#018x}{}\n", "PHYSICAL", t.physical->raw,
                        page ? fmt::format("  {} page, {}", size_text(size), access_text(t.extent->access)) : "");
  }
  if (t.file_offset) text += fmt::format("{:<10} {:#018x}\n", "FILE", *t.file_offset);
  return text + fmt::format("{:<10} {}\n", "STATUS", status_text(t));
}

json::object row_of(const Kernel& kernel, const Translation& t) {
  json::array steps;
  for (const WalkStep& step : t.steps)
    steps.push_back(json::object{{"level", level_name(kernel, t, step.level)}, {"entry_at", address_text(step.entry_at.raw)},
                                 {"entry", address_text(step.entry)}});
  json::object row{{"address", address_text(t.address.raw)}, {"steps", std::move(steps)}, {"physical", nullptr}, {"file_offset", nullptr},
                   {"status", status_text(t)}};
  if (t.physical) row["physical"] = address_text(t.physical->raw);
  if (t.file_offset) row["file_offset"] = address_text(*t.file_offset);
  return row;
}

}  // namespace

Result<std::string> translate_text(const Kernel& kernel, Words words) {
  std::string text;
  for (const Translation& t : TRY(translate(kernel, words))) text += (text.empty() ? "" : "\n") + text_of(kernel, t);
  return text;
}

Result<json::value> translate_json(const Kernel& kernel, Words words) {
  json::array rows;
  for (const Translation& t : TRY(translate(kernel, words))) rows.push_back(row_of(kernel, t));
  return rows;
}

std::string hex_dump(std::uint64_t at, Bytes bytes) {
  constexpr std::size_t width = 16;
  std::string text;
  for (std::size_t row = 0; row < bytes.size(); row += width) {
    const Bytes line = bytes.subspan(row, std::min(width, bytes.size() - row));
    text += fmt::format("{:#018x}: ", at + row);
    for (std::size_t i = 0; i < width; ++i) text += (i < line.size() ? fmt::format(" {:02x}", line[i]) : "   ") + (i == 7 ? " " : "");
    text += "  |";
    for (std::uint8_t byte : line) text += byte >= 0x20 && byte < 0x7f ? static_cast<char>(byte) : '.';
    text += "|\n";
  }
  return text;
}

}  // namespace kvm::rsp
