// The packet table: one row per packet, the longest matching prefix wins, and qSupported is made from `feature`.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "engine/result.h"
#include "stub/session.h"

namespace kvm::rsp {

using Reply = Result<std::string>;

struct Command {
  std::string_view prefix;  // "qXfer:features:read:"
  Reply (*run)(Session&, std::string_view args);
  std::string_view feature = {};  // what qSupported says of it; empty: nothing
  std::string_view clients = {};  // "gdb", "lldb" or both, for docs/packets.md
};

std::span<const Command> commands();

}  // namespace kvm::rsp
