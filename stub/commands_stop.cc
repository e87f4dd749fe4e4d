// Why the machine stopped, and the answer to every wish to go on.
// gdb takes an error for resumption and stays where it is.  lldb ends its session on any error, and steps for ever after
// a stop for "trace" or a plain signal; only the reason "exception" makes it stay.
#include <fmt/format.h>

#include "engine/signatures.h"
#include "stub/handlers.h"
#include "stub/report_text.h"

namespace kvm::rsp {
namespace {

// Sent along with each thread: its stack, so that a backtrace needs no further reads.  Linux aligns stacks to their size, most
// often this; where it is less, the guard page or the dump's end cuts the rest off, or a neighbour's stack is sent too.
constexpr std::uint64_t stack_size = 0x4000;
constexpr std::size_t most_named = 1000;  // threads in jstopinfo
constexpr std::string_view never_runs = "this is a crash dump, it cannot run";

std::string description(const Kernel& kernel) {
  const std::string message = kernel.os().panic_message();
  return message.empty() ? "crash dump" : printable(message);
}

// A thread's name must not end the field it is in.  lldb writes it to the terminal as it is.
std::string name_field(const Thread& thread) {
  const std::string name = printable(name_of(thread));
  const bool plain = name.find_first_of(":;#$}*") == name.npos;
  return plain ? "name:" + name + ";" : "hexname:" + hex(name) + ";";
}

// "10:VALUE;06:VALUE;07:VALUE;": registers that spare the client a question.
std::string expedited(const RegisterFile& registers) {
  std::string fields;
  for (arch::Role role : {arch::Role::pc, arch::Role::fp, arch::Role::sp}) {
    const auto index = register_index(registers.arch(), role);
    const auto value = index ? registers.get(*index) : std::nullopt;
    if (!value) continue;
    fields += fmt::format("{:02x}:", *index);
    append_hex(fields, *value);
    fields += ';';
  }
  return fields;
}

bool crashed(const Session::State& s, std::size_t index) { return index == 0 || (s.threads()[index].task && s.threads()[index].task->crashed); }

std::string reason_fields(const Session::State& s, std::size_t index) {
  if (!crashed(s, index)) return "reason:none;";
  return "reason:exception;description:" + hex(description(s.kernel())) + ";";
}

// A JSON object without its end.
std::string stop_json(const Session::State& s, std::size_t index) {
  const Thread& thread = s.threads()[index];
  const std::string reason = crashed(s, index) ? "\"exception\",\"description\":" + json_text(description(s.kernel())) : "\"none\"";
  return fmt::format("{{\"tid\":{},\"name\":{},\"reason\":{}", thread.id, json_text(printable(name_of(thread))), reason);
}

std::string thread_json(const Session::State& s, std::size_t index) {
  const RegisterFile registers = registers_of(s.kernel(), s.threads()[index]);
  std::string text = stop_json(s, index) + ",\"registers\":{";
  for (std::size_t i = 0, count = 0; i < registers.arch().registers.size(); ++i) {
    const auto value = registers.get(i);
    if (!value) continue;
    text += fmt::format("{}\"{}\":\"", count++ ? "," : "", i);
    append_hex(text, *value);
    text += '"';
  }
  text += '}';
  std::uint8_t stack[stack_size];
  const auto sp = registers.get(arch::Role::sp);
  const auto got = sp ? s.kernel().read(VirtAddr{*sp}, {stack, stack_size - *sp % stack_size}) : Result<std::size_t>(0);
  if (got) remove_signatures(s.kernel(), {*sp}, {stack, *got});
  if (got && *got) text += fmt::format(",\"memory\":[{{\"address\":{},\"bytes\":\"{}\"}}]", *sp, hex(as_text({stack, *got})));
  return text + '}';
}

// The fields about all threads are the same at each stop.  What is in jstopinfo lldb need not ask for thread by thread; those
// that are missing have no reason to have stopped.  It may show the threads before it has asked for jThreadsInfo, so names are
// here, too; but it searches this list from the start for each thread, so they are left out when there are many.
std::string lldb_lists(const Session::State& s) {
  std::string ids, pcs;
  for (const Thread& thread : s.threads()) {
    ids += fmt::format("{}{:x}", ids.empty() ? "" : ",", thread.id);
    pcs += fmt::format("{}{:x}", pcs.empty() ? "" : ",", registers_of(s.kernel(), thread).get(arch::Role::pc).value_or(0));
  }
  std::string info;
  for (std::size_t i = 0; i < s.threads().size(); ++i)
    if (crashed(s, i) || s.threads().size() <= most_named) info += (info.empty() ? "[" : ",") + stop_json(s, i) + "}";
  return "threads:" + ids + ";thread-pcs:" + pcs + ";jstopinfo:" + hex(info + "]") + ";";
}

std::string thread_fields(Session::State& s, std::size_t index) {
  const Thread& thread = s.threads()[index];
  return fmt::format("thread:{};{}{}{}", thread_id(s, thread), name_field(thread), expedited(s.registers(index)), reason_fields(s, index));
}

// The one that crashed, if it can be shown: gdb does not connect to a thread without a pc, which memory alone does not tell.
std::size_t first_shown(const Session::State& s) {
  for (std::size_t i = 0; i < s.threads().size(); ++i)
    if (registers_of(s.kernel(), s.threads()[i]).get(arch::Role::pc)) return i;
  return 0;
}

}  // namespace

std::string stop_reply(Session::State& s) {
  const Dialect::Stop form = s.dialect().stop;
  if (form == Dialect::Stop::brief) {
    s.selected = first_shown(s);
    return fmt::format("T05thread:{};", thread_id(s, s.thread()));
  }
  return "T05" + thread_fields(s, 0) + (form == Dialect::Stop::with_lists ? s.shared.lldb_stop.get([&] { return lldb_lists(s); }) : "");
}

namespace handle {

Reply stop_reason(State& s, Args) {
  s.selected = 0;
  return stop_reply(s);
}

Reply resume(State& s, Args) {
  if (s.dialect().error_text) return fail(Errc::read_only, std::string(never_runs));
  if (s.dialect().resume_text) s.send("O" + hex(std::string(never_runs) + "\n"));
  return stop_reply(s);
}

Reply resume_actions(State& s, Args) { return std::string(s.dialect().actions); }

Reply thread_stop(State& s, Args args) {
  const std::size_t index = TRY(parse_thread(s, args));
  return (crashed(s, index) ? "T05" : "T00") + thread_fields(s, index);
}

Reply threads_json(State& s, Args) {
  return s.shared.lldb_threads.get([&] {
    std::string text = "[";
    for (std::size_t i = 0; i < s.threads().size(); ++i) text += (i ? "," : "") + thread_json(s, i);
    return text + "]";
  });
}

}  // namespace handle
}  // namespace kvm::rsp
