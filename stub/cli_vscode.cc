// `inquest vscode`: launch configurations for VS Code, one for each extension that can debug through gdb or lldb.
// docs/ide.md says what each key is for.
#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "stub/cli_debugger.h"
#include "stub/json.h"
#include "stub/lldb_files.h"

namespace kvm::cli {
namespace {

namespace fs = std::filesystem;
using rsp::json::array, rsp::json::object, rsp::json::value;

struct Request {
  Opening opening;
  std::string output;
  bool write = false;
};

std::string joined(const std::vector<std::string>& words, std::string (*quoted)(std::string_view)) {
  std::string line;
  for (const std::string& word : words) (line += ' ') += quoted(word);
  return line;
}

array strings(const std::vector<std::string>& words) { return array(words.begin(), words.end()); }

// Our plugin in lldb's own adapter: no server, no port.
object lldb_dap(const std::string& name, const std::vector<std::string>& arguments) {
  return {{"type", "lldb-dap"}, {"request", "attach"}, {"name", name + " (LLDB DAP)"},
          {"initCommands", strings({"settings set symbols.enable-lldb-index-cache true", "plugin load " + rsp::lldb_word(plugin_path())})},
          {"attachCommands", strings({"inquest open" + joined(arguments, rsp::lldb_word)})}, {"stopOnEntry", true}};
}

// gdb starts the server itself, behind a pipe.
object cppdbg(const std::string& name, const std::vector<std::string>& arguments, const std::string& program) {
  const std::string connect = "target remote | " + shell_word(own_path()) + " serve --stdio" + joined(arguments, shell_word);
  return {{"type", "cppdbg"}, {"request", "launch"}, {"name", name + " (C/C++)"}, {"program", program},
          {"cwd", "${workspaceFolder}"}, {"MIMode", "gdb"}, {"launchCompleteCommand", "None"},
          {"customLaunchSetupCommands", array{object{{"text", "set index-cache enabled on"}}, object{{"text", connect}}}}};
}

// The adapter starts the server and reads the port that it tells.
object cdt(const std::string& name, const std::vector<std::string>& arguments, const std::string& program) {
  std::vector<std::string> serve{"serve", "--listen=127.0.0.1:0"};
  serve.insert(serve.end(), arguments.begin(), arguments.end());
  return {{"type", "gdbtarget"}, {"request", "launch"}, {"name", name + " (CDT GDB)"}, {"program", program},
          {"initCommands", strings({"set index-cache enabled on"})},
          {"target", object{{"server", own_path()}, {"serverParameters", strings(serve)}, {"serverPortRegExp", "127\\.0\\.0\\.1:(\\d+)"}}}};
}

// Brings an lldb of its own, which takes no plugin: it wants `inquest serve` to run, and knows no modules.
object codelldb(const std::string& name, const std::string& program) {
  return {{"type", "lldb"}, {"request", "launch"}, {"name", name + " (CodeLLDB, after: inquest serve)"},
          {"targetCreateCommands", strings({"target create " + rsp::lldb_word(program)})},
          {"processCreateCommands", strings({"gdb-remote 127.0.0.1:1234"})}};
}

// JSON for people to edit: two spaces for each level, and short things on one line.
void write_pretty(std::string& out, const value& node, std::size_t depth) {
  constexpr std::size_t width = 110;
  const std::string line = boost::json::serialize(node);
  const std::string margin(2 * depth + 2, ' ');
  if (line.size() + margin.size() < width || node.is_primitive()) {
    out += line;
    return;
  }
  const bool is_object = node.is_object();
  out += is_object ? "{\n" : "[\n";
  std::size_t left = is_object ? node.get_object().size() : node.get_array().size();
  const auto item = [&](const std::string& key, const value& each) {
    out += margin + key;
    write_pretty(out, each, depth + 1);
    out += --left ? ",\n" : "\n";
  };
  if (is_object) for (const auto& [key, each] : node.get_object()) item(boost::json::serialize(key) + ": ", each);
  else for (const value& each : node.get_array()) item("", each);
  out += margin.substr(2) + (is_object ? '}' : ']');
}

std::string launch_json(const Opening& opening, const Kernel& kernel) {
  Opening absolute = opening;
  std::error_code ignored;
  for (std::string* path : {&absolute.dump, &absolute.vmlinux})
    if (!path->empty()) *path = fs::absolute(*path, ignored).string();
  for (auto* paths : {&absolute.parts, &absolute.symbol_dirs})
    for (std::string& path : *paths) path = fs::absolute(path, ignored).string();
  const std::vector<std::string> arguments = arguments_of(absolute, kernel);
  const std::string name = fs::path(opening.dump).filename().string();
  array configurations;
  if (!plugin_path().empty()) configurations.push_back(lldb_dap(name, arguments));
  const std::string for_lldb = rsp::kernel_for_lldb(kernel).path, program = kernel.vmlinux().empty() ? for_lldb : kernel.vmlinux();
  configurations.push_back(cppdbg(name, arguments, program));
  configurations.push_back(cdt(name, arguments, program));
  configurations.push_back(codelldb(name, for_lldb));
  std::string text;
  write_pretty(text, object{{"version", "0.2.0"}, {"configurations", std::move(configurations)}}, 0);
  return text + "\n";
}

int save(const std::string& text, const fs::path& path) {
  std::error_code error;
  if (fs::exists(path, error)) return complain(path.string() + ": exists already; print the configurations and add what you want of them");
  if (!path.parent_path().empty()) fs::create_directories(path.parent_path(), error);
  std::ofstream out(path);
  out << text << std::flush;
  return out ? done : complain(path.string() + ": " + std::strerror(errno));
}

int run(const Request& request) {
  auto kernel = open(request.opening);
  if (!kernel) return complain(kernel.error());
  print_remarks(*kernel);
  const std::string text = launch_json(request.opening, *kernel);
  if (!request.output.empty()) return save(text, request.output);
  if (request.write) return save(text, ".vscode/launch.json");
  return print(text) ? done : complain(std::string("standard output: ") + std::strerror(errno));
}

}  // namespace

void add_vscode(CLI::App& app, int& status) {
  auto request = std::make_shared<Request>();
  CLI::App* command = app.add_subcommand("vscode", "Print a launch.json for VS Code");
  add_opening(*command, request->opening, true);
  auto* output = command->add_option("-o,--output", request->output, "Write it to this file")->type_name("FILE");
  command->add_flag("--write", request->write, "Write it to .vscode/launch.json")->excludes(output);
  command->callback([request, &status] { status = run(*request); });
}

}  // namespace kvm::cli
