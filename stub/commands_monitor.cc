// gdb's `monitor`: the reports of the command line.
#include "stub/handlers.h"
#include "stub/report.h"

namespace kvm::rsp {
namespace {

constexpr std::size_t console_bytes = 0x2000;  // of text in one packet

std::vector<std::string> split(std::string_view line) {
  std::vector<std::string> words;
  std::size_t at = 0;
  while ((at = line.find_first_not_of(" \t\n", at)) != line.npos) {
    const std::size_t end = std::min(line.find_first_of(" \t\n", at), line.size());
    words.emplace_back(line.substr(at, end - at));
    at = end;
  }
  return words;
}

std::string help() {
  std::string text = "Commands, each after `monitor`:\n";
  for (const Report& report : reports()) {
    std::string usage(report.name);
    if (!report.arguments.empty()) (usage += ' ') += report.arguments;
    usage.resize(std::max<std::size_t>(usage.size() + 2, 28), ' ');
    ((text += "  " + usage) += report.help) += '\n';
  }
  return text;
}

std::string answer(const Kernel& kernel, std::string_view line) {
  const std::vector<std::string> words = split(line);
  if (words.empty() || words[0] == "help") return help();
  const Report* report = find_report(words[0]);
  if (!report) return "No such command: " + words[0] + "; try `monitor help`.\n";
  const auto text = report->text(kernel, Words(words).subspan(1));
  return text ? *text : to_string(text.error()) + "\n";
}

}  // namespace

Reply handle::monitor(State& s, Args args) {
  const auto line = unhex(args);
  if (!line) return fail(Errc::bad_request);
  const std::string text = answer(s.kernel(), *line);
  const std::size_t most = std::min(console_bytes, s.shared.settings.packet_size / 2 - 1);
  for (std::size_t at = 0; at < text.size(); at += most) s.send("O" + hex(std::string_view(text).substr(at, most)));
  return "OK";
}

}  // namespace kvm::rsp
