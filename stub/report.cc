// The table of reports.
#include "stub/report.h"

#include <algorithm>

#include "stub/report_rows.h"

namespace kvm::rsp {
namespace {

constexpr Report table[] = {
    {"info", "", "What the dump is and what is missing", info_text, info_json},
    {"ps", "", "The tasks", ps_text, ps_json},
    {"modules", "", "The loaded kernel modules", modules_text, modules_json},
    {"log", "", "The kernel log", log_text, log_json},
    {"symbol", "NAME|ADDRESS...", "Look up symbols by name or address", symbol_text, symbol_json},
    {"translate", "ADDRESS...", "Walk the page tables, level by level", translate_text, translate_json},
    {"lldb-commands", "", "What an lldb without the plugin must be told", lldb_text, lldb_json},
};

}  // namespace

std::span<const Report> reports() { return table; }

const Report* find_report(std::string_view name) {
  const auto* found = std::ranges::find(table, name, &Report::name);
  return found == std::end(table) ? nullptr : found;
}

}  // namespace kvm::rsp
