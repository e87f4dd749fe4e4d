// Members know nothing of each other; they agree in kernel, host, time of the crash and size of the machine.
#include "engine/dump/support/split_set.h"

#include <fmt/format.h>

#include <filesystem>
#include <system_error>

namespace kvm {
namespace {

constexpr int most_files = 4096;  // looked at in a directory
constexpr std::size_t most_parts = 256;

bool same_set(const KdumpHeader& a, const KdumpHeader& b) {
  return a.split && b.split && a.utsname == b.utsname && a.seconds == b.seconds && a.microseconds == b.microseconds &&
         a.block_size == b.block_size && a.max_pfn == b.max_pfn && a.order == b.order && a.word == b.word;
}

Result<std::unique_ptr<KdumpPart>> open_part(const KdumpPart& first, const std::string& path) {
  File file = TRY(File::open(path));
  if (!has_kdump_signature(file))
    return fail(Errc::bad_request,
                fmt::format("{}: not a kdump-compressed file, expected a part of {}", path, first.file.path()));
  const KdumpHeader header = TRY(read_kdump_header(file));
  if (!same_set(first.header, header))
    return fail(Errc::bad_request, fmt::format("{}: not of the same split set as {}: kernel, time, size or split flag differ",
                                               path, first.file.path()));
  return std::make_unique<KdumpPart>(std::move(file), header);
}

}  // namespace

Result<std::vector<std::unique_ptr<KdumpPart>>> named_parts(const KdumpPart& first, const std::vector<std::string>& paths) {
  std::vector<std::unique_ptr<KdumpPart>> parts;
  std::error_code ignored;
  for (const std::string& path : paths)
    if (!std::filesystem::equivalent(path, first.file.path(), ignored)) parts.push_back(TRY(open_part(first, path)));
  return parts;
}

std::vector<std::unique_ptr<KdumpPart>> neighbouring_parts(const KdumpPart& first) {
  namespace fs = std::filesystem;
  std::vector<std::unique_ptr<KdumpPart>> parts;
  if (first.file.descriptor() < 0) return parts;  // not a file of a directory
  const fs::path own = first.file.path();
  std::error_code error;
  int looked_at = 0;
  for (fs::directory_iterator entry(own.has_parent_path() ? own.parent_path() : fs::path("."), error), end;
       !error && entry != end && looked_at < most_files && parts.size() < most_parts; entry.increment(error), ++looked_at) {
    std::error_code ignored;
    if (!entry->is_regular_file(ignored) || fs::equivalent(entry->path(), own, ignored)) continue;
    auto part = open_part(first, entry->path().string());
    if (part) parts.push_back(std::move(*part));
  }
  return parts;
}

}  // namespace kvm
