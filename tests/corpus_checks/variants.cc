// One crash, many files: the corpus keeps each crash as ELF, kdump, flattened, split, cut ... and all must agree.
// For every page frame of every file in a folder: those that have the page have the same bytes; a page is `lost` only in a
// file that is cut or incomplete, and only if the whole file has it; `not_in_dump` only where the whole file says so.
// With libkdumpfile, also compares each page with what that reads.  Usage: variants FOLDER...
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <map>
#include <set>
#ifdef INQUEST_LIBKDUMPFILE
#include <fcntl.h>
#include <libkdumpfile/kdumpfile.h>
#endif

#include "engine/dump.h"

namespace {

using namespace kvm;
constexpr std::size_t page_size = 4096;
using Page = std::vector<std::uint8_t>;

// Files that were made from another by cutting, and that other.
const std::map<std::string, std::string> whole_of = {
    {"truncated.elf", "filtered.elf"}, {"truncated.kdump", "lzo.kdump"}, {"incomplete.kdump", "lzo.kdump"}};
// Written from the same pages with the same filter: present and absent must agree too.
const std::vector<std::vector<std::string>> same_filter = {
    {"lzo.kdump", "flat-lzo.kdump"},
    {"nocomp.kdump", "snappy.kdump", "split-1.kdump", "split-2.kdump", "split-3.kdump"},
    {"filtered.elf", "flat.elf"}};

struct Variant {
  std::string name;
  Dump dump;
  std::size_t present = 0, excluded = 0, lost = 0;
};

enum class Answer : std::uint8_t { present, excluded, lost, odd };

Answer ask(const Dump& dump, std::uint64_t at, Page& page) {
  const auto got = dump.memory->read({at}, page);
  if (got) return *got == page.size() ? Answer::present : Answer::lost;
  return got.error().code == Errc::not_in_dump ? Answer::excluded : got.error().code == Errc::lost ? Answer::lost : Answer::odd;
}

int wrong = 0;
void complain(const std::string& folder, const std::string& name, std::uint64_t at, std::string_view what) {
  if (++wrong <= 40) fmt::print("{}/{}: {:#x}: {}\n", folder, name, at, what);
}

std::vector<Variant> open_all(const std::string& folder) {
  std::vector<Variant> variants;
  std::set<std::filesystem::path> paths;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) paths.insert(entry.path());
  for (const auto& path : paths) {
    const std::string extension = path.extension().string();
    if (extension != ".elf" && extension != ".kdump" && extension != ".img") continue;
    auto dump = open_dump(path.string(), extension == ".img" ? "raw" : "", {});
    if (dump) variants.push_back({path.filename().string(), std::move(*dump)});
    else complain(folder, path.filename().string(), 0, to_string(dump.error()));
  }
  return variants;
}

// A raw image is the processor's view: firmware and video memory lie over RAM there.
bool comparable(const Variant& v, std::uint64_t at) {
  return !v.dump.format.starts_with("raw") || at < 0xa0000 || at >= 0x100000;
}

void check_page(const std::string& folder, std::vector<Variant>& variants, std::uint64_t at) {
  static Page first(page_size), page(page_size);
  std::map<std::string, Answer> answers;
  const Variant* shown = nullptr;
  for (Variant& v : variants) {
    const Answer answer = answers[v.name] = ask(v.dump, at, shown ? page : first);
    if (answer == Answer::odd) complain(folder, v.name, at, "neither bytes nor a reason");
    v.present += answer == Answer::present;
    v.excluded += answer == Answer::excluded;
    v.lost += answer == Answer::lost;
    if (answer == Answer::lost && !whole_of.count(v.name)) complain(folder, v.name, at, "lost in a whole file");
    if (answer != Answer::present || !comparable(v, at)) continue;
    if (shown && page != first) complain(folder, v.name, at, "differs from " + shown->name);
    if (!shown) shown = &v;
  }
  for (const auto& [part, whole] : whole_of) {
    if (!answers.count(part) || !answers.count(whole)) continue;
    if (answers[whole] == Answer::excluded && answers[part] != Answer::excluded)
      complain(folder, part, at, "should be not in the dump");
    if (answers[whole] == Answer::present && answers[part] == Answer::excluded) complain(folder, part, at, "should be lost");
  }
  for (const auto& group : same_filter)
    for (const std::string& name : group)
      if (answers.count(name) && answers.count(group[0]) && answers[name] != answers[group[0]])
        complain(folder, name, at, "not like " + group[0]);
}

std::set<std::uint64_t> page_addresses(const std::vector<Variant>& variants) {
  std::set<std::uint64_t> pages;
  for (const Variant& v : variants)
    for (const PhysRange& range : v.dump.memory->ranges())
      for (std::uint64_t at = range.first.raw & ~(page_size - 1); at - range.first.raw < range.size || at < range.first.raw;
           at += page_size)
        pages.insert(pages.end(), at);
  return pages;
}

#ifdef INQUEST_LIBKDUMPFILE
void check_with_libkdumpfile(const std::string& folder, const Variant& v, const std::set<std::uint64_t>& pages) {
  const int file = ::open((folder + "/" + v.name).c_str(), O_RDONLY);
  kdump_ctx_t* context = kdump_new();
  // It reads no raw images, few flattened files, and a split set only when every part is given.
  if (v.dump.format.find("split") == std::string::npos && kdump_open_fd(context, file) == KDUMP_OK) {
    Page ours(page_size), theirs(page_size);
    std::size_t same = 0;
    for (const std::uint64_t at : pages) {
      if (ask(v.dump, at, ours) != Answer::present) continue;
      std::size_t size = page_size;
      if (kdump_read(context, KDUMP_MACHPHYSADDR, at, theirs.data(), &size) != KDUMP_OK) continue;
      if (ours == theirs) ++same;
      else complain(folder, v.name, at, "differs from libkdumpfile");
    }
    fmt::print("  {:<22} {} pages as libkdumpfile reads them\n", v.name, same);
  }
  kdump_free(context);
  ::close(file);
}
#endif

void check_folder(const std::string& folder) {
  std::vector<Variant> variants = open_all(folder);
  const auto pages = page_addresses(variants);
  for (const std::uint64_t at : pages) check_page(folder, variants, at);
  fmt::print("{}: {} files, {} page frames\n", folder, variants.size(), pages.size());
  for (const Variant& v : variants) {
    fmt::print("  {:<22} {:<42} {:>7} present {:>7} excluded {:>6} lost\n", v.name, v.dump.format, v.present, v.excluded, v.lost);
#ifdef INQUEST_LIBKDUMPFILE
    check_with_libkdumpfile(folder, v, pages);
#endif
  }
}

}  // namespace

int main(int count, char** arguments) {
  for (int i = 1; i < count; ++i) check_folder(arguments[i]);
  if (wrong) fmt::print("{} wrong\n", wrong);
  return wrong != 0;
}
