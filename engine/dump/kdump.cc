// kdump-compressed files, makedumpfile's own format, and diskdump, its ancestor: two bitmaps (pages that exist, pages
// that were dumped), a descriptor per dumped page, and the pages, each compressed on its own.  QEMU writes them too.
// Odd: --split spreads one dump over several files.  Manual: makedumpfile, IMPLEMENTATION and diskdump_mod.h.
#include <fmt/format.h>

#include <algorithm>

#include "engine/cache.h"
#include "engine/dump.h"
#include "engine/dump/support/kdump_memory.h"
#include "engine/dump/support/page_codec.h"
#include "engine/dump/support/split_set.h"
#include "engine/notes.h"

namespace kvm {
namespace {

// QEMU may leave the name empty.  Then a CPU note says enough, when exactly one processor's has its size.
const arch::Arch* arch_of(const KdumpHeader& h, const std::vector<Note>& notes) {
  if (const auto* named = arch::find_machine(h.machine(), h.order)) return named;
  const arch::Arch* found = nullptr;
  for (const arch::Arch* row : arch::arches()) {
    if (row->pointer_bytes != h.word || row->endian != h.order) continue;
    for (const arch::CpuNote& known : row->notes) {
      const auto fits = [&](const Note& n) {
        return n.owner == known.owner && n.type == known.type && n.desc.size() >= known.min_size &&
               n.desc.size() - known.min_size < 16;
      };
      if (std::none_of(notes.begin(), notes.end(), fits)) continue;
      if (found && found != row) return nullptr;
      found = row;
    }
  }
  return found;
}

std::string describe(const KdumpHeader& h) {
  std::string text = h.diskdump ? "diskdump" : fmt::format("kdump-compressed v{}", h.version);
  if (!h.diskdump || h.status) text += ", " + codec_name(h.status);
  if (h.split) text += ", split";
  return text;
}

void read_texts(const File& file, const KdumpHeader& h, Dump& dump) {
  constexpr std::uint64_t longest_text = 1 << 20;
  if (h.notes_size) dump.notes = read_notes(file, h.notes_at, h.notes_size, h.order, dump.remarks);
  if (h.vmcoreinfo_size) {
    const auto text = file.bytes(h.vmcoreinfo_at, std::min(h.vmcoreinfo_size, longest_text));
    if (text) dump.vmcoreinfo = text_of(*text);
    else
      dump.remarks.push_back(
          fmt::format("VMCOREINFO at {:#x}: {} bytes are not all in the file", h.vmcoreinfo_at, h.vmcoreinfo_size));
  }
  if (dump.vmcoreinfo.empty()) dump.vmcoreinfo = vmcoreinfo_text(dump.notes);
}

// Says what is missing where that is cheap to find out; else pages say it when they are read.
void remark(const KdumpMemory& memory, const std::vector<std::string>& names, const KdumpHeader& h, std::uint64_t file_size,
            Dump& dump) {
  if (h.split) {
    const std::uint64_t missing = memory.uncovered();
    dump.remarks.push_back(fmt::format(
        "a split set: {} file{} read{}", names.size(), names.size() == 1 ? "" : "s",
        missing ? fmt::format(", and the part with {:#x} page frames is missing: their pages are lost", missing) : ""));
  }
  if (h.incomplete()) {
    dump.incomplete = true;
    dump.remarks.push_back("the dump is incomplete: its writer ran out of room");
  }
  if (h.descriptors_at >= file_size)
    dump.remarks.push_back(
        fmt::format("the file is cut: page descriptors at {:#x} lie behind its end ({:#x})", h.descriptors_at, file_size));
  else if (const std::uint64_t end = memory.expected_end(); end > file_size)
    dump.remarks.push_back(fmt::format("the file is cut: it ends at {:#x}, but holds pages up to {:#x} or more", file_size, end));
}

Result<Dump> open(File file, const DumpOptions& options) {
  const KdumpHeader header = TRY(read_kdump_header(file));
  const std::uint64_t file_size = file.size();
  Dump dump;
  read_texts(file, header, dump);

  std::vector<std::unique_ptr<KdumpPart>> parts;
  parts.push_back(std::make_unique<KdumpPart>(std::move(file), header));
  if (!options.parts.empty() && !header.split)
    return fail(Errc::bad_request, fmt::format("{}: not part of a split set, but other parts are given", parts[0]->file.path()));
  if (header.split) {
    auto others = options.parts.empty() ? neighbouring_parts(*parts[0]) : TRY(named_parts(*parts[0], options.parts));
    std::move(others.begin(), others.end(), std::back_inserter(parts));
  }
  std::vector<std::string> names;
  for (const auto& part : parts) {
    names.push_back(part->file.path());
    dump.incomplete |= part->header.incomplete();
  }

  dump.format = describe(header);
  dump.release = header.release();
  dump.machine = header.machine();
  if (!header.diskdump) dump.phys_base = header.phys_base;
  dump.arch = options.arch ? options.arch : arch_of(header, dump.notes);
  if (!dump.arch) dump.remarks.push_back(fmt::format("processor: machine '{}' is not one that Inquest knows", header.machine()));
  auto memory = std::make_unique<KdumpMemory>(std::move(parts));
  remark(*memory, names, header, file_size, dump);
  dump.memory = std::make_unique<PageCache>(std::move(memory), header.block_size);
  return dump;
}

}  // namespace

extern const DumpFormat kdump_format;
const DumpFormat kdump_format{"kdump", has_kdump_signature, open};

}  // namespace kvm
