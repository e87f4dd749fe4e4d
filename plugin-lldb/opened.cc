// See opened.h.  Symbols, types and lines are lldb's own business: it is told the files, and where things are.  Everything
// else it learns by the protocol, from the same session code as any other client.
#include "plugin-lldb/opened.h"

#include <fmt/format.h>

#include <algorithm>
#include <mutex>

#include "stub/lldb_files.h"

namespace kvm::plugin {
namespace {

struct Opened {
  explicit Opened(Kernel opened, rsp::ThreadChoice threads)
      : kernel(std::move(opened)), shared(kernel, {.threads = threads, .image_only = kernel.vmlinux().empty()}) {}

  const Kernel kernel;
  const rsp::Shared shared;
  std::unique_ptr<Conversation> conversation;
  lldb::SBDebugger debugger;
  lldb::SBTarget target;
};

// Several debuggers may live in one process, each with a thread that runs commands.
class Registry {
 public:
  Opened& add(std::unique_ptr<Opened> opened) {
    const std::lock_guard guard(lock_);
    return *entries_.emplace_back(std::move(opened));
  }
  template <class Which>
  std::vector<std::unique_ptr<Opened>> take(Which which) {
    const std::lock_guard guard(lock_);
    const auto first = std::stable_partition(entries_.begin(), entries_.end(), [&](const auto& entry) { return !which(*entry); });
    std::vector<std::unique_ptr<Opened>> taken(std::make_move_iterator(first), std::make_move_iterator(entries_.end()));
    entries_.erase(first, entries_.end());
    return taken;
  }
  Opened* find(lldb::SBTarget target) {
    const std::lock_guard guard(lock_);
    const auto found = std::ranges::find_if(entries_, [&](const auto& entry) { return entry->target == target; });
    return found == entries_.end() ? nullptr : found->get();
  }
  // At the process's end only the threads must be stopped: lldb, whose objects the entries hold, may be gone already.
  void stop_all() {
    for (const auto& entry : entries_) entry->conversation->stop();
  }

 private:
  std::mutex lock_;
  std::vector<std::unique_ptr<Opened>> entries_;
};

// Never destroyed, see stop_all().
Registry& registry() {
  static Registry* const all = [] {
    std::atexit([] { registry().stop_all(); });
    return new Registry;
  }();
  return *all;
}

// What users deleted themselves.
void forget_deleted() {
  registry().take([](Opened& entry) { return !entry.target.IsValid(); });
}

void end(std::unique_ptr<Opened> opened) {
  if (lldb::SBProcess process = opened->target.GetProcess(); process.IsValid()) process.Detach();
  opened->debugger.DeleteTarget(opened->target);
  opened->conversation->stop();
}

// Called before the debugger deletes its targets.
void debugger_ends(lldb::user_id_t id, void*) {
  for (auto& opened : registry().take([&](Opened& entry) { return entry.debugger.GetID() == id; })) end(std::move(opened));
}

// In front of anything that lldb would do later in a thread of its own.
class Synchronous {
 public:
  explicit Synchronous(lldb::SBDebugger debugger) : debugger_(debugger), before_(debugger.GetAsync()) { debugger_.SetAsync(false); }
  ~Synchronous() { debugger_.SetAsync(before_); }

 private:
  lldb::SBDebugger debugger_;
  bool before_;
};

// The target is said explicitly: a command inside a command would else be about the target of the outer one.
Result<void> run(Opened& opened, const std::string& command, lldb::SBCommandReturnObject& result) {
  lldb::SBCommandReturnObject own;
  lldb::SBExecutionContext here(opened.target);
  opened.debugger.GetCommandInterpreter().HandleCommand(command.c_str(), here, own);
  if (own.GetOutputSize()) result.PutCString(own.GetOutput());
  if (own.Succeeded()) return {};
  std::string text = own.GetError() ? own.GetError() : "";
  while (text.ends_with('\n')) text.pop_back();
  return fail(Errc::io, command + ": " + text);
}

Result<void> make_target(Opened& opened, lldb::SBCommandReturnObject& result) {
  const auto [file, remarks] = rsp::kernel_for_lldb(opened.kernel);
  for (const std::string& remark : remarks) result.AppendWarning(remark.c_str());
  const std::string triple = std::string(opened.kernel.arch().triple) + "-unknown-none";
  lldb::SBError error;
  opened.target = opened.debugger.CreateTarget(file.c_str(), file.empty() ? triple.c_str() : nullptr, nullptr, false, error);
  if (!opened.target.IsValid() || error.Fail()) return fail(Errc::io, file + ": " + (error.GetCString() ? error.GetCString() : "no target"));
  opened.debugger.SetSelectedTarget(opened.target);
  return {};
}

void load_modules(Opened& opened) {
  for (const rsp::LldbModule& file : rsp::modules_for_lldb(opened.kernel)) {
    lldb::SBModule module = opened.target.AddModule(file.path.c_str(), nullptr, nullptr);
    for (const ModuleSection& section : file.sections)
      if (lldb::SBSection found = module.FindSection(section.name.c_str()); found.IsValid())
        opened.target.SetSectionLoadAddress(found, section.address.raw);
  }
}

// The slide comes with the protocol (qProcessInfo, qOffsets).  Modules are placed first, so that the first stop is shown with all
// names.
Result<void> show(Opened& opened, lldb::SBCommandReturnObject& result) {
  TRY(make_target(opened, result));
  // C has no dynamic types, and looking for them reads memory for each pointer that is shown.
  TRY(run(opened, "settings set target.prefer-dynamic-value no-dynamic-values", result));
  load_modules(opened);
  opened.conversation = TRY(Conversation::start(opened.shared));
  return run(opened, fmt::format("process connect --plugin gdb-remote fd://{}", opened.conversation->client_end()), result);
}

}  // namespace

Result<void> open(lldb::SBDebugger debugger, const cli::Opening& opening, rsp::ThreadChoice threads, lldb::SBCommandReturnObject& result) {
  forget_deleted();
  auto opened = std::make_unique<Opened>(TRY(cli::open_kernel(opening, {})), threads);
  opened->debugger = debugger;
  for (const std::string& remark : opened->kernel.remarks()) result.AppendWarning(remark.c_str());
  result.AppendMessage(cli::headline(opened->kernel).c_str());
  const Synchronous until_stopped(debugger);
  lldb::SBTarget before = debugger.GetSelectedTarget();
  if (auto shown = show(*opened, result); !shown) {
    if (opened->target.IsValid()) debugger.DeleteTarget(opened->target);
    debugger.SetSelectedTarget(before);
    return shown;
  }
  debugger.AddDestroyCallback(debugger_ends, nullptr);
  registry().add(std::move(opened));
  return {};
}

const Kernel* selected(lldb::SBDebugger debugger) {
  forget_deleted();
  const Opened* opened = registry().find(debugger.GetSelectedTarget());
  return opened ? &opened->kernel : nullptr;
}

bool close(lldb::SBDebugger debugger) {
  forget_deleted();
  const Synchronous until_done(debugger);
  auto taken = registry().take([&](Opened& entry) { return entry.target == debugger.GetSelectedTarget(); });
  if (taken.empty()) return false;
  for (auto& opened : taken) end(std::move(opened));
  return true;
}

}  // namespace kvm::plugin
