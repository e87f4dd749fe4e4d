// Reads the tables, wherever they were found, and checks that they belong to this kernel.
#include "engine/os/linux/kallsyms.h"

#include <algorithm>

#include "engine/integers.h"
#include "engine/os/linux/kallsyms_search.h"
#include "engine/os/linux/pieces.h"

namespace kvm::os_linux {
namespace {

constexpr std::uint64_t most_names = 64u << 20, most_tokens = 1u << 16, index_bytes = 512, most_symbols = 1u << 22;

Result<std::uint64_t> number_at(const ImageMemory& memory, VirtAddr at, std::size_t size) {
  std::uint8_t bytes[8] = {};
  if (TRY(memory.space.read(at, MutableBytes(bytes, size))) != size) return fail(Errc::lost, at.raw);
  return load_unsigned(Bytes(bytes, size), memory.arch.endian);
}

// not_found: VMCOREINFO does not say.
Result<KallsymsPlaces> places_of(const ImageMemory& memory, const Vmcoreinfo& info) {
  const auto place = [&](std::string_view name) { return VirtAddr{info.symbol(name).value_or(0)}; };
  KallsymsPlaces places{place("kallsyms_names"), place("kallsyms_token_table"), place("kallsyms_token_index"),
                        place("kallsyms_offsets"), place("kallsyms_addresses"), 0, {}};
  const VirtAddr count = place("kallsyms_num_syms"), base = place("kallsyms_relative_base");
  if (!places.names.raw || !count.raw) return fail(Errc::not_found);
  places.count = static_cast<std::uint32_t>(TRY(number_at(memory, count, 4)));
  if (base.raw) places.relative_base = TRY(number_at(memory, base, memory.arch.pointer_bytes));
  return places;
}

Result<KallsymsTables> read_tables(const ImageMemory& memory, const KallsymsPlaces& places) {
  const std::uint64_t names = places.token_table - places.names, tokens = places.token_index - places.token_table;
  if (names > most_names || tokens > most_tokens || places.count > most_symbols || !(places.offsets.raw | places.addresses.raw))
    return fail(Errc::bad_data, "kallsyms: its tables are not where they belong");
  KallsymsTables tables;
  tables.order = memory.arch.endian;
  tables.word = memory.arch.pointer_bytes;
  tables.count = places.count;
  tables.names = read_table(memory, places.names, names);
  tables.markers = find_markers(tables.names.bytes, places.count, tables.order);
  tables.tokens.bytes = TRY(read_whole(memory, places.token_table, tokens));
  tables.token_index = TRY(read_whole(memory, places.token_index, index_bytes));
  if (places.addresses.raw) tables.addresses = read_table(memory, places.addresses, std::uint64_t{places.count} * tables.word);
  else tables.offsets = read_table(memory, places.offsets, std::uint64_t{places.count} * 4);
  tables.offsets_at = places.offsets;
  tables.relative_base = places.relative_base;
  return tables;
}

// The banner's symbol leads to the banner; where it cannot be read, or is not among the symbols, nothing speaks against them.
bool leads_to_banner(const ImageMemory& memory, const Kallsyms& symbols) {
  constexpr std::string_view expected = "Linux version ";
  std::uint8_t text[expected.size()];
  const auto banner = symbols.find("linux_banner");
  if (!banner || memory.space.read(banner->address, text).value_or(0) != expected.size()) return true;
  return std::ranges::equal(text, expected);
}

// Where the image can lie: the processor's window for it, else what follows its start.
Window image_window(const arch::Arch& arch, VirtAddr image) {
  if (arch.linux_layout && arch.linux_layout->image_size) return {{arch.linux_layout->image_bases[0]}, arch.linux_layout->image_size};
  constexpr std::uint64_t most = 128u << 20;
  return image.raw ? Window{image, most} : Window{};
}

}  // namespace

Result<std::vector<std::uint8_t>> read_whole(const ImageMemory& memory, VirtAddr at, std::uint64_t size) {
  PartialBytes table = read_table(memory, at, size);
  if (!table.gaps.empty()) TRY(number_at(memory, at + table.gaps.front().first, 1));
  return std::move(table.bytes);
}

PartialBytes read_table(const ImageMemory& memory, VirtAddr at, std::uint64_t size) {
  PartialBytes table;
  table.bytes.resize(size);
  const std::uint64_t page = memory.arch.page_size;
  for (std::size_t done = 0; done < size;) {
    const auto got = memory.space.read(at + done, MutableBytes(table.bytes).subspan(done));
    done += got.value_or(0);
    if (done >= size) break;
    const std::size_t end = std::min<std::uint64_t>(size, done + page - (at.raw + done) % page);
    if (!table.gaps.empty() && table.gaps.back().end == done) table.gaps.back().end = end;
    else table.gaps.push_back({done, end});
    done = end;
  }
  return table;
}

Result<std::unique_ptr<Kallsyms>> find_kallsyms(const ImageMemory& memory, const Vmcoreinfo& info, std::span<const Window> windows,
                                                std::vector<std::string>& remarks) {
  Result<std::unique_ptr<Kallsyms>> found = fail(Errc::not_found, "the kernel's own symbol table (kallsyms) was not found in the dump");
  const auto try_places = [&](const KallsymsPlaces& places) {
    auto tables = read_tables(memory, places);
    auto symbols = tables ? Kallsyms::open(*tables) : tl::unexpected(tables.error());
    if (symbols && !leads_to_banner(memory, **symbols)) symbols = fail(Errc::bad_data, "kallsyms: its symbols do not fit the memory");
    if (symbols || found.error().code == Errc::not_found) found = std::move(symbols);
    return found.has_value();
  };
  const auto told = places_of(memory, info);
  if (told) try_places(*told);
  else if (told.error().code != Errc::not_found) found = tl::unexpected(told.error());
  // A table of which the dump lacks a part is not found anywhere else.
  const bool look = !found && (found.error().code == Errc::not_found || found.error().code == Errc::bad_data);
  if (look) search_kallsyms(memory, windows, try_places);
  if (!found && found.error().note.empty())
    return fail(found.error().code, found.error().addr, "the kernel's own symbol table (kallsyms) cannot be read: " + to_string(found.error()));
  if (found && (*found)->missing())
    remarks.push_back(std::to_string((*found)->missing()) + " of the kernel's symbols cannot be read (pages with kallsyms are missing from the dump): they have no names");
  return found;
}

Result<std::unique_ptr<Kallsyms>> read_kernel_symbols(const KernelView& view, const KernelMap& map, std::vector<std::string>& remarks,
                                                      std::vector<std::string>& nature) {
  const Window image = image_window(view.arch, map.image);
  const Vmcoreinfo info(map.vmcoreinfo);
  auto symbols = TRY(find_kallsyms({view.arch, view.space}, info, std::span(&image, 1), remarks));
  if (!symbols->find("init_task")) {
    symbols->add(find_variables({view.arch, view.space, *symbols, view.types}, info, std::span(&image, 1)));
    nature.push_back("this kernel keeps the names of its functions only (CONFIG_KALLSYMS_ALL is off): of its variables only a few are known");
    if (!symbols->find("modules")) remarks.push_back("no list of modules was found");
  }
  return symbols;
}

}  // namespace kvm::os_linux
