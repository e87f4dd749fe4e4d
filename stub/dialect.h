// Where gdb and lldb want different answers to one packet, all in one place.  The defaults are for a client that did not say
// who it is: they do no harm to either.
#pragma once

#include "stub/commands.h"

namespace kvm::rsp {

struct Dialect {
  Users users = Users::gdb;            // qSupported offers the features of these rows
  std::uint64_t pid = 1;               // of the process that stands for the kernel
  bool multiprocess = true;            // thread ids have process numbers, if the client asks for them
  bool binary_upload = false;          // is told of the packet `x`; lldb 19 takes the feature for another format than it speaks
  std::string_view binary_mark = "b";  // stands before the bytes in answers to `x`
  bool empty_read = false;             // asks for nothing at 0 to learn whether we know the packet `x`
  bool slide_by_id = false;            // knows the vmlinux by its build id, and moves any other file if told a slide: an image, say
  bool segment_offset = false;         // is told where the image's first segment is; else the slide of text, data and bss
  enum class Stop : std::uint8_t { brief, full, with_lists };
  Stop stop = Stop::full;              // what a stop reply says: full has name, registers, reason; the lists are of threads
  std::string_view actions = "";       // the answer to `vCont?`: lldb's `finish` needs it, gdb does with `c` and `s`
  bool error_text = false;             // a wish to go on or to write is refused in words; else it is the stop again, or a number
  bool resume_text = false;            // the words stand before that stop, as the process's output
  bool kill_reply = false;             // waits for an answer to `k`
  bool detach_ends = false;            // `D` ends the conversation
};

// By Client.  lldb may look at the local process of its number, so it gets one that no local process has.
inline constexpr Dialect dialects[] = {
    {},
    {.binary_upload = true, .segment_offset = true, .stop = Dialect::Stop::brief, .error_text = true},
    {.users = Users::lldb, .pid = 0x10000000, .multiprocess = false, .binary_mark = "", .empty_read = true, .slide_by_id = true,
     .stop = Dialect::Stop::with_lists, .actions = "vCont;c;C;s;S", .resume_text = true, .kill_reply = true, .detach_ends = true},
};

}  // namespace kvm::rsp
