// Replays a conversation that was recorded with `inquest serve --trace`, so that a bug report is a test.
//   # comment
//   > qSupported:swbreak+     the client's packet
//   < PacketSize=20000        the reply, to the byte; \xNN stands for what does not print
//   <~ T05thread:             a reply that begins with this
// Lines of a second client ("2> ...") are passed over.
#pragma once

#include <string>
#include <string_view>

#include "stub/session.h"

namespace kvm::test {

// Empty when every reply is as recorded; else the first difference, with its line number.
std::string replay(rsp::Session& session, std::string_view transcript);

}  // namespace kvm::test
