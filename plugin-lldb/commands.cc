// `inquest open`, `inquest close`, and the reports of the command line.
#include "plugin-lldb/commands.h"

#include "plugin-lldb/opened.h"
#include "stub/report.h"

namespace kvm::plugin {
namespace {

std::vector<std::string> words_of(char** command) {
  std::vector<std::string> words;
  for (; command && *command; ++command) words.emplace_back(*command);
  return words;
}

bool refuse(lldb::SBCommandReturnObject& result, const std::string& text) {
  result.SetError(text.c_str());
  return false;
}
bool done(lldb::SBCommandReturnObject& result) {
  result.SetStatus(lldb::eReturnStatusSuccessFinishResult);
  return true;
}
constexpr const char* not_ours = "the selected target is no dump that `inquest open` opened";

// What `inquest open` takes: as on the program's command line.
struct OpenLine {
  OpenLine() {
    cli::add_opening(app, opening, true);
    cli::add_threads(app, threads);
    app.name("inquest open");  // for the help, whose first line lldb makes
    app.set_help_flag();
  }
  CLI::App app;
  cli::Opening opening;
  std::string threads = "all";
};

class Open final : public lldb::SBCommandPluginInterface {
 public:
  bool DoExecute(lldb::SBDebugger debugger, char** command, lldb::SBCommandReturnObject& result) override {
    OpenLine line;
    std::vector<std::string> words = words_of(command);
    std::ranges::reverse(words);  // as CLI11 wants them
    try {
      line.app.parse(words);
    } catch (const CLI::ParseError& error) {
      return refuse(result, std::string(error.what()) + "; try `help inquest open`");
    }
    const auto opened = open(debugger, line.opening, cli::threads_of(line.threads), result);
    return opened ? done(result) : refuse(result, to_string(opened.error()));
  }
};

class Close final : public lldb::SBCommandPluginInterface {
 public:
  bool DoExecute(lldb::SBDebugger debugger, char** command, lldb::SBCommandReturnObject& result) override {
    if (!words_of(command).empty()) return refuse(result, "`inquest close` takes no arguments: it closes the selected target");
    return close(debugger) ? done(result) : refuse(result, not_ours);
  }
};

class Show final : public lldb::SBCommandPluginInterface {
 public:
  explicit Show(const rsp::Report& report) : report_(report) {}
  bool DoExecute(lldb::SBDebugger debugger, char** command, lldb::SBCommandReturnObject& result) override {
    const Kernel* kernel = selected(debugger);
    if (!kernel) return refuse(result, not_ours);
    const auto text = report_.text(*kernel, words_of(command));
    if (!text) return refuse(result, to_string(text.error()));
    result.PutCString(text->c_str());
    return done(result);
  }

 private:
  const rsp::Report& report_;
};

}  // namespace

bool add_commands(lldb::SBDebugger debugger) {
  // The functions called here belong to the liblldb of the process, which may not be the one whose headers these are.
  if (!std::string_view(lldb::SBDebugger::GetVersionString()).starts_with("lldb version " INQUEST_LLDB_VERSION)) return false;
  lldb::SBCommandInterpreter interpreter = debugger.GetCommandInterpreter();
  if (interpreter.UserCommandExists("inquest") || interpreter.CommandExists("inquest")) return true;
  lldb::SBCommand inquest = interpreter.AddMultiwordCommand("inquest", "Crash dumps of kernels: open one, and ask about it.");
  if (!inquest.IsValid()) return false;
  // lldb owns the objects from here on.
  lldb::SBCommand open = inquest.AddCommand("open", new Open, "Open a crash dump as a new target: every task is a thread with its own backtrace.",
                                            "inquest open [OPTIONS] DUMP [VMLINUX]");
  open.SetHelpLong(OpenLine().app.help().c_str());
  inquest.AddCommand("close", new Close, "Close the selected target's dump and delete the target.", "inquest close");
  for (const rsp::Report& report : rsp::reports()) {
    if (report.name == "lldb-commands") continue;  // done by `open`
    const std::string name(report.name), syntax = "inquest " + name + (report.arguments.empty() ? "" : " ") + std::string(report.arguments);
    inquest.AddCommand(name.c_str(), new Show(report), (std::string(report.help) + ", of the selected target's dump.").c_str(), syntax.c_str());
  }
  return true;
}

}  // namespace kvm::plugin
