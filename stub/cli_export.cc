// `inquest export`: the dump as a file that debuggers open by themselves.
#include <fmt/format.h>

#include "engine/export/elf_core.h"
#include "engine/export/output_file.h"
#include "stub/cli.h"

namespace kvm::cli {
namespace {

struct Request {
  Opening opening;
  std::string elf;
};

// Answers how many bytes could not be read.
Result<std::uint64_t> write(const Kernel& kernel, const Request& request) {
  std::vector<std::string> inputs = request.opening.parts;
  inputs.push_back(request.opening.dump);
  if (!kernel.vmlinux().empty()) inputs.push_back(kernel.vmlinux());
  OutputFile file = TRY(OutputFile::create(request.elf, inputs));
  const CorePlan plan = TRY(plan_core(kernel));
  for (const std::string& remark : plan.remarks) fmt::print(stderr, "inquest: note: {}\n", remark);
  const auto sink = [&file](std::uint64_t offset, Bytes bytes) { return file.write(offset, bytes); };
  const std::uint64_t lost = TRY(write_core(kernel, plan, sink, terminal_progress()));
  TRY(file.commit(plan.size));
  return lost;
}

int run(const Request& request) {
  auto kernel = open(request.opening);
  if (!kernel) return complain(kernel.error());
  const auto lost = write(*kernel, request);
  if (!lost) return complain(lost.error());
  if (*lost == 0) return done;
  return complain(fmt::format("{}: {} bytes of the dump cannot be read (the file is cut or damaged): they are zeros here", request.elf, *lost));
}

}  // namespace

void add_export(CLI::App& app, int& status) {
  auto request = std::make_shared<Request>();
  CLI::App* command = app.add_subcommand("export", "Write the dump as an ELF core at the kernel's own addresses, for any debugger");
  add_opening(*command, request->opening, true);
  command->add_option("--elf", request->elf, "File to write")->type_name("FILE")->required();
  command->footer("\nWithout Inquest: gdb VMLINUX FILE, lldb VMLINUX -c FILE, readelf -lnW FILE.  A relocated kernel's symbols must be moved by its\n"
                  "slide ('inquest info' tells it): in gdb 'symbol-file VMLINUX -o SLIDE', in lldb 'target modules load --file VMLINUX --slide SLIDE'.\n"
                  "With FreeBSD's kernel file, gdb must be told before that registers are laid out as in Linux's cores: 'set osabi GNU/Linux'.");
  command->callback([request, &status] { status = run(*request); });
}

}  // namespace kvm::cli
