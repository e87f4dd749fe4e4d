// The packet table: one row per packet, the longest matching prefix wins, and qSupported is made from `feature`.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "engine/result.h"
#include "stub/session.h"

namespace kvm::rsp {

// The body to send.  An error becomes a packet in to_packet(); Errc::unsupported becomes the empty reply, which is how
// the protocol says "never heard of it".
using Reply = Result<std::string>;

enum class Users : std::uint8_t { gdb = 1, lldb = 2, both = 3 };

struct Command {
  std::string_view prefix;  // "qXfer:features:read:"
  Reply (*run)(Session::State&, std::string_view args);
  Users users = Users::both;      // who sends it
  bool takes_args = true;         // false: the prefix is the whole packet
  std::string_view feature = {};  // what qSupported says of it to those users; empty: nothing
};

std::span<const Command> commands();
const Command* find_command(std::string_view body);

// The one place where an error becomes a packet.
std::string to_packet(const Error& error, const Session::State& session);

}  // namespace kvm::rsp
