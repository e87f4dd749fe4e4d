// The reports' functions, by the file that holds them; report.h has the table.
#pragma once

#include "stub/json.h"
#include "stub/report.h"

namespace kvm::rsp {

// report_system.cc
Result<std::string> info_text(const Kernel&, Words), ps_text(const Kernel&, Words), modules_text(const Kernel&, Words);
Result<std::string> log_text(const Kernel&, Words);
Result<json::value> info_json(const Kernel&, Words), ps_json(const Kernel&, Words), modules_json(const Kernel&, Words);
Result<json::value> log_json(const Kernel&, Words);

// report_lldb.cc
Result<std::string> lldb_text(const Kernel&, Words);
Result<json::value> lldb_json(const Kernel&, Words);

// report_symbol.cc and report_translate.cc
Result<std::string> symbol_text(const Kernel&, Words), translate_text(const Kernel&, Words);
Result<json::value> symbol_json(const Kernel&, Words), translate_json(const Kernel&, Words);

}  // namespace kvm::rsp
