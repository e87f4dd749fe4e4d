// What people and scripts ask about a dump, as text and as JSON: the same for the command line and gdb's `monitor`.
// Names and log lines come from the crashed machine: text has control characters escaped, JSON is valid UTF-8.
#pragma once

#include <boost/json/value.hpp>
#include <span>
#include <string>
#include <string_view>

#include "engine/kernel.h"

namespace kvm::rsp {

using Words = std::span<const std::string>;

struct Report {
  std::string_view name;       // "ps"
  std::string_view arguments;  // "ADDRESS..."; empty: takes none
  std::string_view help;
  // Lines, each ended by a newline.
  Result<std::string> (*text)(const Kernel&, Words);
  // An object for `info`, an array of objects elsewhere.  Addresses are "0x..." strings.
  Result<boost::json::value> (*json)(const Kernel&, Words);
};

std::span<const Report> reports();  // info, ps, modules, log, symbol, translate, lldb-commands
const Report* find_report(std::string_view name);

// The bytes at `at`, sixteen to a line, with their characters.
std::string hex_dump(std::uint64_t at, Bytes bytes);
// "0xffffffff81000000", "ffffffff81000000", "jiffies" or "jiffies+0x10".
Result<VirtAddr> parse_address(const Kernel& kernel, std::string_view text);
// The name and distance: "panic+0x1b2"; with [module] inside one; empty when nothing is known.
std::string describe(const Kernel& kernel, VirtAddr address);

}  // namespace kvm::rsp
