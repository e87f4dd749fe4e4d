// The reports about the whole machine: info, ps, modules, log.
#include <fmt/format.h>

#include <algorithm>

#include "stub/report_rows.h"
#include "stub/report_text.h"

namespace kvm::rsp {
namespace {

using enum Table::Align;

// Without an OS model the engine's task list is a list of CPUs: no answer to `ps`.
template <class T>
Result<const std::vector<T>*> listed(const Kernel& kernel, const Result<std::vector<T>>& list) {
  if (!kernel.os_missing().empty()) return fail(Errc::not_found, kernel.os_missing());
  if (!list) return tl::unexpected(list.error());
  return &*list;
}

// Some dumps have a copy of their own, for which no model is needed.
Result<std::vector<LogLine>> known_log(const Kernel& kernel) {
  auto log = kernel.os().log();
  if (!log && !kernel.os_missing().empty()) return fail(Errc::not_found, kernel.os_missing());
  return log;
}

template <class T>
std::string number_or_none(std::optional<T> number) {
  return number ? std::to_string(*number) : "";
}

template <class T>
json::value value_or_null(const Result<const std::vector<T>*>& list) {
  return list ? json::value((*list)->size()) : json::value();
}

json::value text_or_null(std::string_view text) { return text.empty() ? json::value() : json::value(utf8(text)); }

const Task* crashed_task(const Kernel& kernel) {
  const auto tasks = listed(kernel, kernel.tasks());
  if (!tasks) return nullptr;
  const auto found = std::ranges::find(**tasks, true, &Task::crashed);
  return found == (*tasks)->end() ? nullptr : &*found;
}

std::size_t online_cpus(const Kernel& kernel) {
  return static_cast<std::size_t>(std::ranges::count(kernel.cpus(), true, &Cpu::online));
}

// Of systems whose threads have names of their own.
void add_thread_name(json::object& row, const Task& task) {
  if (!task.thread_name.empty()) row["thread"] = utf8(task.thread_name);
}

json::value panic_task_json(const Kernel& kernel) {
  const Task* task = crashed_task(kernel);
  if (!task) return nullptr;
  json::object row{{"pid", task->pid}, {"tid", task->tid}, {"cpu", nullptr}, {"comm", utf8(task->comm)}, {"task", address_text(task->handle.raw)}};
  add_thread_name(row, *task);
  if (task->cpu) row["cpu"] = *task->cpu;
  return row;
}

std::string panic_task_line(const Kernel& kernel) {
  const Task* task = crashed_task(kernel);
  if (!task) return "";
  const std::string thread = task->thread_name.empty() ? "" : fmt::format(", thread {}", task->tid);
  return fmt::format("{} (pid {}{}{})", printable(task->shown_name()), thread.empty() ? task->tid : task->pid, thread, task->cpu ? fmt::format(", CPU {}", *task->cpu) : "");
}

template <class T>
std::string count_line(const Result<const std::vector<T>*>& list) {
  return list ? std::to_string((*list)->size()) : "";
}

}  // namespace

Result<json::value> info_json(const Kernel& kernel, Words) {
  kernel.tasks(), kernel.modules();  // the walks add remarks
  json::array remarks;
  for (const std::string& remark : kernel.remarks()) remarks.push_back(json::value(utf8(remark)));
  return json::object{
      {"dump", text_or_null(kernel.path())},
      {"format", text_or_null(kernel.dump().format)},
      {"arch", json::value(kernel.arch().name)},
      {"system", text_or_null(kernel.system())},
      {"release", text_or_null(kernel.os().release())},
      {"build_id", text_or_null(kernel.build_id())},
      {"paging", text_or_null(kernel.map().mode)},
      {"slide", address_text(kernel.map().slide)},
      {"phys_base", address_text(kernel.map().phys_base)},
      {"source", text_or_null(kernel.map().source)},
      {"cpus", kernel.cpus().size()},
      {"cpus_online", online_cpus(kernel)},
      {"tasks", value_or_null(listed(kernel, kernel.tasks()))},
      {"modules", value_or_null(listed(kernel, kernel.modules()))},
      {"panic", text_or_null(kernel.os().panic_message())},
      {"panic_task", panic_task_json(kernel)},
      {"vmlinux", text_or_null(kernel.vmlinux())},
      {"remarks", std::move(remarks)},
  };
}

Result<std::string> info_text(const Kernel& kernel, Words) {
  std::string text;
  auto line = [&](std::string_view title, std::string_view value) {
    text += fmt::format("{:<12} {}\n", fmt::format("{}:", title), value.empty() ? "-" : printable(value));
  };
  line("dump", kernel.path());
  line("format", kernel.dump().format);
  line("arch", kernel.arch().name);
  line("system", kernel.system());
  line("release", kernel.os().release());
  line("build id", kernel.build_id());
  line(kernel.file_word(), kernel.vmlinux());
  line("paging", kernel.map().mode);
  line("slide", address_text(kernel.map().slide));
  line("phys base", address_text(kernel.map().phys_base));
  line("found by", kernel.map().source);
  line("cpus", kernel.cpus().empty() ? "" : fmt::format("{} ({} online)", kernel.cpus().size(), online_cpus(kernel)));
  line("tasks", count_line(listed(kernel, kernel.tasks())));
  line("modules", count_line(listed(kernel, kernel.modules())));
  line("panic", kernel.os().panic_message());
  line("panic task", panic_task_line(kernel));
  for (const std::string& remark : kernel.remarks()) line("remark", remark);
  return text;
}

Result<std::string> ps_text(const Kernel& kernel, Words) {
  const auto* tasks = TRY(listed(kernel, kernel.tasks()));
  Table table{{"PID", right}, {"TID", right}, {"PPID", right}, {"ST"}, {"CPU", right}, {"TASK"}, {"COMM"}};
  for (const Task& task : *tasks)
    table.row({std::to_string(task.pid), std::to_string(task.tid), number_or_none(task.ppid), printable({&task.state, 1}),
               number_or_none(task.cpu), address_text(task.handle.raw), printable(task.shown_name())});
  return table.text();
}

Result<json::value> ps_json(const Kernel& kernel, Words) {
  const auto* tasks = TRY(listed(kernel, kernel.tasks()));
  json::array rows;
  for (const Task& task : *tasks) {
    json::object row{{"pid", task.pid}, {"tid", task.tid}, {"ppid", task.ppid ? json::value(*task.ppid) : json::value()}, {"state", utf8({&task.state, 1})}, {"cpu", nullptr},
                     {"comm", utf8(task.comm)}, {"task", address_text(task.handle.raw)}};
    add_thread_name(row, task);
    if (task.cpu) row["cpu"] = *task.cpu;
    rows.push_back(std::move(row));
  }
  return rows;
}

Result<std::string> modules_text(const Kernel& kernel, Words) {
  const auto* modules = TRY(listed(kernel, kernel.modules()));
  Table table{{"BASE"}, {"SIZE", right}, {"NAME"}};
  for (const Module& module : *modules) table.row({address_text(module.base.raw), std::to_string(module.size), printable(module.name)});
  return table.text();
}

Result<json::value> modules_json(const Kernel& kernel, Words) {
  const auto* modules = TRY(listed(kernel, kernel.modules()));
  json::array rows;
  for (const Module& module : *modules)
    rows.push_back(json::object{{"name", utf8(module.name)}, {"base", address_text(module.base.raw)}, {"size", module.size}});
  return rows;
}

Result<std::string> log_text(const Kernel& kernel, Words) {
  const auto log = TRY(known_log(kernel));
  constexpr std::uint64_t second = 1'000'000'000;
  std::string text;
  for (const LogLine& line : log) {
    const std::string stamp = line.nanoseconds ? fmt::format("[{:5}.{:06}] ", *line.nanoseconds / second, *line.nanoseconds % second / 1000) : "";
    std::string_view rest = line.text;
    do {  // a record may hold several lines: each gets the stamp, as in dmesg
      const std::string_view first = rest.substr(0, rest.find('\n'));
      text += stamp + printable(first, "\t") + "\n";
      rest.remove_prefix(std::min(rest.size(), first.size() + 1));
    } while (!rest.empty());
  }
  return text;
}

Result<json::value> log_json(const Kernel& kernel, Words) {
  const auto log = TRY(known_log(kernel));
  json::array rows;
  for (const LogLine& line : log)
    rows.push_back(json::object{{"nanoseconds", line.nanoseconds ? json::value(*line.nanoseconds) : json::value()}, {"level", line.level}, {"text", utf8(line.text)}});
  return rows;
}

}  // namespace kvm::rsp
