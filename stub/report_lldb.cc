// The report for an lldb without our plugin: which files to load, and where.
#include <fmt/format.h>

#include "stub/lldb_files.h"
#include "stub/report_rows.h"
#include "stub/report_text.h"

namespace kvm::rsp {

// Commands for lldb, to be given before it connects or after.
Result<std::string> lldb_text(const Kernel& kernel, Words) {
  // C has no dynamic types, and looking for them reads memory for each pointer that is shown.
  std::string text = "settings set target.prefer-dynamic-value no-dynamic-values\n";
  const LldbKernel file = kernel_for_lldb(kernel);
  for (const std::string& remark : file.remarks) text += "# " + printable(remark) + "\n";  // lldb's sign for a comment
  if (!file.path.empty()) text += "target create " + lldb_word(file.path) + "\n";
  for (const LldbModule& module : modules_for_lldb(kernel)) {
    const std::string path = lldb_word(module.path);
    text += "target modules add " + path + "\ntarget modules load --file " + path;
    for (const ModuleSection& section : module.sections) text += fmt::format(" {} {:#x}", section.name, section.address.raw);
    text += '\n';
  }
  return text;
}

// The kernel's file has no sections: it moves as one.
Result<json::value> lldb_json(const Kernel& kernel, Words) {
  json::array rows;
  if (const LldbKernel file = kernel_for_lldb(kernel); !file.path.empty())
    rows.push_back(json::object{{"file", utf8(file.path)}, {"sections", json::object()}});
  for (const LldbModule& module : modules_for_lldb(kernel)) {
    json::object sections;
    for (const ModuleSection& section : module.sections) sections[utf8(section.name)] = address_text(section.address.raw);
    rows.push_back(json::object{{"file", utf8(module.path)}, {"sections", std::move(sections)}});
  }
  return rows;
}

}  // namespace kvm::rsp
