// Tasks as threads: ids, lists, selection.  gdb manual, "Packets", `H`, and "thread-id syntax".
#include <fmt/format.h>

#include "engine/signatures.h"
#include "stub/handlers.h"
#include "stub/report_text.h"

namespace kvm::rsp {
namespace {

// Linux's idle tasks all have tid 0, and a damaged list may hold any tid, even twice.  Such threads get ids above Linux's
// largest (PID_MAX_LIMIT, 2^22).
constexpr std::uint64_t first_idle_id = 0x40000000, first_spare_id = 0x50000000;
constexpr std::size_t reply_reserve = 64;

bool chosen(const Task& task, ThreadChoice choice) {
  if (choice == ThreadChoice::all || task.crashed || task.on_cpu) return true;
  return choice == ThreadChoice::user && !task.kernel_thread && !task.idle;
}

std::string_view state_word(char state) {
  switch (state) {
    case 'R': return "runnable";
    case 'S': return "sleeping";
    case 'D': return "uninterruptible";
    case 'T': return "stopped";
    case 't': return "traced";
    case 'Z': return "zombie";
    case 'X': return "dead";
    case 'P': return "parked";
    case 'I': return "idle";
    case 'L': return "waiting for a lock";
    case 'W': return "waiting for an interrupt";
    default: return "unknown state";
  }
}

std::string core_attribute(const Thread& thread) {
  return thread.task && thread.task->cpu ? fmt::format(" core=\"{}\"", *thread.task->cpu) : "";
}

}  // namespace

ThreadTable::ThreadTable(const Kernel& kernel, ThreadChoice choice) {
  if (const auto& tasks = kernel.tasks()) {
    threads_.reserve(tasks->size());
    for (const Task& task : *tasks)
      if (chosen(task, choice)) add(task);
    if (threads_.empty())
      for (const Task& task : *tasks) add(task);
  }
  if (threads_.empty()) {
    threads_.push_back({1, nullptr});
    by_id_.emplace(1, 0);
  }
}

void ThreadTable::add(const Task& task) {
  std::uint64_t id = task.tid;
  if (id == 0) id = first_idle_id + task.cpu.value_or(0);
  else if (id >= first_idle_id) id = first_spare_id;
  if (by_id_.contains(id)) {
    id = first_spare_id + threads_.size();
    while (by_id_.contains(id)) ++id;
  }
  by_id_.emplace(id, threads_.size());
  threads_.push_back({id, &task});
}

std::optional<std::size_t> ThreadTable::find(std::uint64_t id) const {
  const auto found = by_id_.find(id);
  return found == by_id_.end() ? std::nullopt : std::optional(found->second);
}

std::string name_of(const Thread& thread) { return thread.task ? thread.task->shown_name() : "kernel"; }

std::string state_of(const Thread& thread) {
  if (!thread.task) return "no tasks found";
  const Task& task = *thread.task;
  std::string text = task.crashed ? "crashed" : task.on_cpu ? "running" : std::string(state_word(task.state));
  if (task.cpu && (task.crashed || task.on_cpu)) text += fmt::format(" on CPU {}", *task.cpu);
  if (task.pid != task.tid) text += fmt::format(", process {}", task.pid);
  return text;
}

RegisterFile registers_of(const Kernel& kernel, const Thread& thread) {
  auto registers = thread.task ? kernel.registers(*thread.task) : fail(Errc::not_found);
  if (!registers) return RegisterFile(kernel.arch());
  remove_signatures(kernel, *registers);
  return std::move(*registers);
}

std::string thread_id(const Session::State& session, const Thread& thread) {
  return session.multiprocess ? fmt::format("p{:x}.{:x}", session.dialect().pid, thread.id) : fmt::format("{:x}", thread.id);
}

Result<std::size_t> parse_thread(const Session::State& session, std::string_view text) {
  if (text.starts_with('p')) {
    const std::size_t dot = text.find('.');
    const std::string_view process = text.substr(1, dot == text.npos ? dot : dot - 1);
    if (process != "-1") {
      const auto pid = parse_hex(process);
      if (!pid || (*pid != 0 && *pid != session.dialect().pid)) return fail(Errc::bad_request);
    }
    text = dot == text.npos ? "-1" : text.substr(dot + 1);  // a process alone means all its threads
  }
  if (text == "-1") return session.selected;
  const auto id = parse_hex(text);
  if (!id) return fail(Errc::bad_request);
  if (*id == 0) return session.selected;
  const auto index = session.threads().find(*id);
  if (!index) return fail(Errc::bad_request, "no such thread");
  return *index;
}

Result<std::size_t> take_thread_suffix(const Session::State& session, std::string_view& args) {
  constexpr std::string_view mark = ";thread:";
  const std::size_t at = args.find(mark);
  if (at == args.npos) return session.selected;
  std::string_view id = args.substr(at + mark.size());
  if (id.ends_with(';')) id.remove_suffix(1);
  args = args.substr(0, at);
  return parse_thread(session, id);
}

namespace handle {

// `Hc` chooses what to resume, and nothing is ever resumed.
Reply select_thread(State& s, Args args) {
  if (args.empty() || (args[0] != 'g' && args[0] != 'c')) return fail(Errc::unsupported);
  const std::size_t index = TRY(parse_thread(s, args.substr(1)));
  if (args[0] == 'g') s.selected = index;
  return "OK";
}

Reply is_alive(State& s, Args args) {
  TRY(parse_thread(s, args));
  return "OK";
}

Reply current_thread(State& s, Args) { return "QC" + thread_id(s, s.thread()); }

// "1": attached, so that gdb detaches at its end; with "0" it would kill.
Reply attached(State&, Args) { return "1"; }

Reply attach(State& s, Args args) {
  if (parse_hex(args) != s.dialect().pid) return fail(Errc::bad_request, "no such process");
  return stop_reply(s);
}

Reply first_threads(State& s, Args args) {
  s.listed = 0;
  return next_threads(s, args);
}

Reply next_threads(State& s, Args) {
  if (s.listed >= s.threads().size()) return "l";
  std::string reply = "m";
  while (s.listed < s.threads().size() && reply.size() + reply_reserve < s.shared.settings.packet_size) {
    if (reply.size() > 1) reply += ',';
    reply += thread_id(s, s.threads()[s.listed++]);
  }
  return reply;
}

Reply thread_text(State& s, Args args) {
  const Thread& thread = s.threads()[TRY(parse_thread(s, args))];
  return hex(printable(name_of(thread)) + ": " + state_of(thread));
}

Reply thread_list(State& s, Args args) {
  Document& document = s.multiprocess ? s.shared.thread_list : s.shared.thread_list_plain;
  const std::string& text = document.get([&] {
    std::string xml = "<?xml version=\"1.0\"?>\n<threads>\n";
    for (const Thread& thread : s.threads()) {
      xml += fmt::format("<thread id=\"{}\"{} name=\"{}\">{}</thread>\n", thread_id(s, thread), core_attribute(thread),
                         xml_text(name_of(thread)), xml_text(state_of(thread)));
    }
    return xml + "</threads>\n";
  });
  return piece(s, text, args);
}

}  // namespace handle
}  // namespace kvm::rsp
