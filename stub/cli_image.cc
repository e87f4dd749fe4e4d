// `inquest image`: writes the file that debuggers get when there is no vmlinux.
#include <fmt/format.h>

#include "stub/cli.h"
#include "stub/image_file.h"

namespace kvm::cli {
namespace {

struct Request {
  Opening opening;
  std::string output;
};

int run(const Request& request) {
  auto kernel = open(request.opening);
  if (!kernel) return complain(kernel.error());
  if (!kernel->os_missing().empty()) return complain(request.opening.dump + ": " + kernel->os_missing());
  auto image = rsp::image_of(*kernel, {});
  if (!image) return complain(image.error());
  for (const std::string& remark : image->remarks) fmt::print(stderr, "inquest: note: {}\n", remark);
  const Bytes bytes = image->file.view(0);
  if (request.output == "-") {
    if (!print({reinterpret_cast<const char*>(bytes.data()), bytes.size()})) return complain("writing to standard output failed");
    return done;
  }
  auto written = write_whole(request.output, bytes);
  return written ? done : complain(written.error());
}

}  // namespace

Result<rsp::MadeFile> make_image_file(const Kernel& kernel) {
  auto image = rsp::image_of(kernel);
  if (!image) {
    complain(image.error());
    return tl::unexpected(image.error());
  }
  for (const std::string& remark : image->remarks) fmt::print(stderr, "inquest: note: {}\n", remark);
  return rsp::MadeFile{std::move(image->file), image->path};
}

Result<rsp::MadeFile> make_unwind_file(const Kernel& kernel) {
  auto image = TRY(rsp::unwind_of(kernel));
  return rsp::MadeFile{std::move(image.file), image.path};
}

std::string keep_file(const std::string& name, Bytes bytes) { return keep(user_image_cache(), name, bytes); }

void add_image(CLI::App& app, int& status) {
  auto request = std::make_shared<Request>();
  CLI::App* command = app.add_subcommand("image", "Write an ELF file with the kernel's own symbols, types and unwind tables");
  add_opening(*command, request->opening, false);
  command->add_option("-o,--output", request->output, "File to write; - is standard output")->type_name("FILE")->required();
  command->footer("\nIt stands in for a vmlinux in any debugger, at this dump's addresses: gdb FILE, lldb FILE.");
  command->callback([request, &status] { status = run(*request); });
}

}  // namespace kvm::cli
