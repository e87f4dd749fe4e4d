// The report for an lldb without our plugin: which files to load, and where.
#include <fmt/format.h>

#include "stub/lldb_files.h"
#include "stub/report_rows.h"
#include "stub/report_text.h"

namespace kvm::rsp {

// Commands for lldb, to be given before it connects or after.
Result<std::string> lldb_text(const Kernel& kernel, Words) {
  const std::vector<LldbFile> files = files_for_lldb(kernel);
  // C has no dynamic types, and looking for them reads memory for each pointer that is shown.
  std::string text = "settings set target.prefer-dynamic-value no-dynamic-values\n";
  for (const LldbFile& file : files) {
    const std::string path = lldb_word(file.path);
    if (file.sections.empty()) {
      text += "target create " + path + "\n";
      continue;
    }
    text += "target modules add " + path + "\ntarget modules load --file " + path;
    for (const ModuleSection& section : file.sections) text += fmt::format(" {} {:#x}", section.name, section.address.raw);
    text += '\n';
  }
  return text;
}

Result<json::value> lldb_json(const Kernel& kernel, Words) {
  json::array rows;
  for (const LldbFile& file : files_for_lldb(kernel)) {
    json::object sections;
    for (const ModuleSection& section : file.sections) sections[utf8(section.name)] = address_text(section.address.raw);
    rows.push_back(json::object{{"file", utf8(file.path)}, {"sections", std::move(sections)}});
  }
  return rows;
}

}  // namespace kvm::rsp
