// The protocol on one page.  Rows that share a beginning may stand in any order: the longest match wins.
#include "stub/commands.h"

#include <algorithm>
#include <array>
#include <vector>

#include "stub/handlers.h"

namespace kvm::rsp {
namespace {

using enum Tail;

constexpr Command table[] = {
    // Saying hello and goodbye
    {"qSupported", handle::supported, Users::both, marked},
    {"vMustReplyEmpty", handle::unsupported, Users::gdb, none},
    {"QStartNoAckMode", handle::start_no_ack, Users::both, none, "QStartNoAckMode+"},
    {"!", handle::ok, Users::gdb, none},
    {"D", handle::detach, Users::both, marked},
    {"k", handle::kill, Users::both, none},
    {"vKill;", handle::ok, Users::gdb},
    {"vRun", handle::cannot_run, Users::gdb, marked},
    {"vAttach;", handle::attach, Users::gdb},
    {"R", handle::unsupported, Users::gdb},

    // Threads
    {"H", handle::select_thread, Users::both, any, "multiprocess+"},
    {"T", handle::is_alive, Users::gdb},
    {"qC", handle::current_thread, Users::both, none},
    {"qAttached", handle::attached, Users::gdb, marked},
    {"qfThreadInfo", handle::first_threads, Users::both, none},
    {"qsThreadInfo", handle::next_threads, Users::both, none},
    {"qThreadExtraInfo,", handle::thread_text, Users::gdb},
    {"qXfer:threads:read::", handle::thread_list, Users::gdb, any, "qXfer:threads:read+"},

    // Why it stopped, and that it will not go on
    {"?", handle::stop_reason, Users::both, none},
    {"c", handle::resume},
    {"C", handle::resume},
    {"s", handle::resume},
    {"S", handle::resume},
    {"vCont;", handle::resume},
    {"vCont?", handle::resume_actions, Users::both, none},

    // Registers
    {"qXfer:features:read:", handle::features, Users::both, any, "qXfer:features:read+"},
    {"g", handle::read_registers},
    {"p", handle::read_register},
    {"G", handle::write},
    {"P", handle::write},

    // Memory
    {"m", handle::read_memory},
    {"x", handle::read_memory_raw, Users::both, any, "binary-upload+"},
    {"M", handle::write},
    {"X", handle::write},
    {"qSearch:memory:", handle::search, Users::gdb},
    {"qMemoryRegionInfo", handle::memory_region, Users::lldb, marked},

    // What is loaded where
    {"qOffsets", handle::offsets, Users::both, none},
    {"qXfer:exec-file:read:", handle::exec_file, Users::gdb, any, "qXfer:exec-file:read+"},
    {"qXfer:libraries:read::", handle::libraries, Users::gdb, any, "qXfer:libraries:read+"},
    {"qSymbol:", handle::ok},
    {"vFile:setfs:", handle::file_setfs, Users::gdb},
    {"vFile:open:", handle::file_open, Users::gdb},
    {"vFile:pread:", handle::file_pread, Users::gdb},
    {"vFile:fstat:", handle::file_fstat, Users::gdb},
    {"vFile:close:", handle::file_close, Users::gdb},
    {"vFile:pwrite:", handle::file_refuse, Users::gdb},
    {"vFile:unlink:", handle::file_refuse, Users::gdb},
    {"vFile:readlink:", handle::file_readlink, Users::gdb},

    // For people
    {"qXfer:osdata:read:", handle::osdata, Users::gdb, any, "qXfer:osdata:read+"},
    {"qRcmd,", handle::monitor},

    // lldb's own
    {"QThreadSuffixSupported", handle::thread_suffix, Users::lldb, none},
    {"QListThreadsInStopReply", handle::ok, Users::lldb, none},
    {"QEnableErrorStrings", handle::enable_error_strings, Users::lldb, none},
    {"qHostInfo", handle::host_info, Users::lldb, none},
    {"qProcessInfo", handle::process_info, Users::lldb, none},
    {"qThreadStopInfo", handle::thread_stop, Users::lldb},
    {"jThreadsInfo", handle::threads_json, Users::lldb, none},
    {"qGDBServerVersion", handle::version, Users::lldb, none},
};

// Rows by first byte, longest prefix first.
struct Index {
  std::array<std::vector<const Command*>, 256> rows;
  Index() {
    for (const Command& row : table) rows[static_cast<std::uint8_t>(row.prefix[0])].push_back(&row);
    for (auto& bucket : rows)
      std::ranges::sort(bucket, std::greater{}, [](const Command* row) { return row->prefix.size(); });
  }
};

bool matches(const Command& row, std::string_view body) {
  if (!body.starts_with(row.prefix)) return false;
  const std::string_view rest = body.substr(row.prefix.size());
  if (row.tail == any || rest.empty()) return true;
  return row.tail == marked && (rest[0] == ':' || rest[0] == ';');
}

}  // namespace

std::span<const Command> commands() { return table; }

const Command* find_command(std::string_view body) {
  static const Index index;
  if (body.empty()) return nullptr;
  for (const Command* row : index.rows[static_cast<std::uint8_t>(body[0])])
    if (matches(*row, body)) return row;
  return nullptr;
}

}  // namespace kvm::rsp
