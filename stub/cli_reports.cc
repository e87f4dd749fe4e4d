// The commands that print what is known: the same reports as gdb's `monitor`.
#include <boost/json/serialize.hpp>

#include <cerrno>
#include <cstring>

#include "stub/cli.h"
#include "stub/report.h"

namespace kvm::cli {
namespace {

struct Request {
  Opening opening;
  std::vector<std::string> words;
  bool json = false;
};

// An array as one object a line, so that it can be read by eye and by line tools alike.
std::string lines_of(const boost::json::value& value) {
  if (!value.is_array()) return boost::json::serialize(value) + "\n";
  std::string text = "[";
  for (const boost::json::value& row : value.get_array()) text += (text.size() > 1 ? ",\n " : "") + boost::json::serialize(row);
  return text + "]\n";
}

int run(const rsp::Report& report, const Request& request) {
  auto kernel = open(request.opening);
  if (!kernel) return complain(kernel.error());
  const bool needs_os = report.name == "ps" || report.name == "modules";
  if (needs_os && !kernel->os_missing().empty()) return complain(kernel->os_missing());
  Result<std::string> text = request.json ? report.json(*kernel, request.words).map(lines_of) : report.text(*kernel, request.words);
  if (!text) return complain(text.error());
  if (report.name != "info") print_remarks(*kernel);
  return print(*text) ? done : complain(std::string("standard output: ") + std::strerror(errno));
}

}  // namespace

void add_reports(CLI::App& app, int& status) {
  for (const rsp::Report& report : rsp::reports()) {
    auto request = std::make_shared<Request>();
    CLI::App* command = app.add_subcommand(std::string(report.name), std::string(report.help));
    add_opening(*command, request->opening, report.arguments.empty());
    if (!report.arguments.empty()) {
      const std::string name(report.arguments.substr(0, report.arguments.find("...")));
      command->add_option(name, request->words, "What to look up; may be repeated")->type_name("")->required();
    }
    command->add_flag("--json", request->json, "Print JSON");
    command->callback([&report, request, &status] { status = run(report, *request); });
  }
}

}  // namespace kvm::cli
