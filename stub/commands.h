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

// What may follow the prefix.  Names do not swallow longer names: "qC" is not the beginning of "qCRC:...".
enum class Tail : std::uint8_t {
  none,    // the prefix is the whole packet
  any,     // arguments
  marked,  // nothing, or arguments after a `:` or `;`
};

struct Command {
  std::string_view prefix;  // "qXfer:features:read:"
  Reply (*run)(Session::State&, std::string_view args);
  Users users = Users::both;      // who sends it
  Tail tail = Tail::any;
  std::string_view feature = {};  // what qSupported says of it to those users; empty: nothing
};

std::span<const Command> commands();
const Command* find_command(std::string_view body);

// The one place where an error becomes a packet.
std::string to_packet(const Error& error, const Session::State& session);

}  // namespace kvm::rsp
