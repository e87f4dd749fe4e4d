// Finding the format of a dump: undo the flattened form, then ask every format's probe.
#include "engine/dump.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "engine/cpu_notes.h"
#include "engine/dump/support/containers.h"
#include "engine/dump/support/flattened.h"

namespace kvm {
namespace {

// A format without a signature (raw) never claims a file; it must be asked for by name.
tl::unexpected<Error> unknown(const File& file) {
  std::vector<std::string_view> tried;
  for (const DumpFormat* format : dump_formats())
    if (format->name != "raw") tried.push_back(format->name);
  return fail(Errc::unsupported, fmt::format("{}: not a crash dump that Inquest knows (tried {}; raw only with --format raw)",
                                             file.path(), fmt::join(tried, ", ")));
}

Result<const DumpFormat*> choose(const File& file, std::string_view name) {
  const auto formats = dump_formats();
  const auto found = std::find_if(formats.begin(), formats.end(),
                                  [&](const DumpFormat* f) { return name.empty() ? f->probe(file) : f->name == name; });
  if (found != formats.end()) return *found;
  if (name.empty()) return unknown(file);
  std::vector<std::string_view> names;
  for (const DumpFormat* format : formats) names.push_back(format->name);
  return fail(Errc::bad_request, fmt::format("no dump format is called '{}', expected one of {}", name, fmt::join(names, ", ")));
}

}  // namespace

Result<Dump> open_dump(const std::string& path, std::string_view format, const DumpOptions& options) {
  return open_dump(TRY(File::open(path)), format, options);
}

Result<Dump> open_dump(File file, std::string_view format, const DumpOptions& options) {
  std::vector<std::string> remarks;
  Wrapping wrapping;
  if (format != "raw") {
    const auto known = [](const File& f) { return is_flattened(f) || std::ranges::any_of(dump_formats(), [&](const DumpFormat* row) { return row->probe(f); }); };
    file = TRY(unwrapped(std::move(file), options.key, known, wrapping));
  }
  const bool flattened = format != "raw" && is_flattened(file);
  if (flattened) file = TRY(unflattened(std::move(file), remarks));
  const DumpFormat* chosen = TRY(choose(file, format));
  Dump dump = TRY(chosen->open(std::move(file), options));
  if (!options.arch) dump.arch = row_in_kernel_order(dump.notes, dump.arch);
  if (flattened) dump.format += ", flattened";
  for (const std::string& name : wrapping.names) dump.format += ", " + name;
  if (dump.release.empty()) dump.release = wrapping.release;
  remarks.insert(remarks.end(), wrapping.remarks.begin(), wrapping.remarks.end());
  dump.remarks.insert(dump.remarks.begin(), remarks.begin(), remarks.end());
  return dump;
}

}  // namespace kvm
