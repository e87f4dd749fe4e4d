// FreeBSD.  Its parts are in engine/os/freebsd/; this is the row and the model that ties them together.
#include <algorithm>

#include "engine/os/freebsd/map.h"
#include "engine/os/freebsd/model.h"
#include "engine/os/freebsd/statistics.h"

namespace kvm {
namespace {

class FreebsdModel final : public OsModel {
 public:
  FreebsdModel(const KernelView& view, const Dump& dump, const KernelMap& map)
      : view_(view), dump_(dump), machine_(view, cpu_states(dump.notes, view.arch)), statistics_(view) {
    release_ = text_of("osrelease", 32);
    if (release_.empty()) release_ = os_freebsd::release_in(text_of("version", 256));
    if (release_.empty()) release_ = map.release;
  }

  std::string_view name() const override { return "freebsd"; }
  std::string release() const override { return release_; }

  Result<std::vector<Task>> tasks(std::vector<std::string>& remarks) const override {
    return os_freebsd::find_tasks(view_, machine_, remarks);
  }
  Result<std::vector<Module>> modules(std::vector<std::string>& remarks) const override {
    return os_freebsd::find_modules(view_, remarks);
  }
  std::vector<Cpu> cpus() const override { return machine_.cpus(); }
  Result<RegisterFile> registers(const Task& task) const override { return machine_.registers(task); }
  Result<std::vector<LogLine>> log() const override { return os_freebsd::read_log(view_, dump_); }
  std::string panic_message() const override;
  const Statistics* statistics() const override { return &statistics_; }
  Result<Pieces> pieces() const override { return os_freebsd::trap_pieces(view_); }

 private:
  std::string text_of(std::string_view symbol, std::size_t limit) const {
    const auto at = view_.address_of(symbol);
    return at ? view_.text_at(*at, limit).value_or("") : "";
  }
  const KernelView& view_;
  const Dump& dump_;
  std::string release_;
  os_freebsd::Machine machine_;
  os_freebsd::FreebsdStatistics statistics_;
};

// panicstr points to the message (sys/kern/kern_shutdown.c); the log has it, too.
std::string FreebsdModel::panic_message() const {
  if (const auto pointer = view_.address_of("panicstr"))
    if (const auto at = view_.pointer_at(*pointer); at && at->raw)
      if (auto text = view_.text_at(*at, 512)) return text->substr(0, text->find('\n'));
  const auto lines = log();
  return lines ? os_freebsd::panic_in(*lines) : std::string();
}

// What the log's copy in a minidump says, when there is no kernel file: the boot messages begin with the version.  The log may go back
// to earlier boots.
std::string release_of_log(const Dump& dump) {
  const std::string_view text(reinterpret_cast<const char*>(dump.message_buffer.data()), dump.message_buffer.size());
  std::string newest;
  for (std::size_t at = text.find("FreeBSD "); at != text.npos; at = text.find("FreeBSD ", at + 1))
    if (std::string release = os_freebsd::release_in(text.substr(at, 64)); release.size() > 3 && release[0] >= '0' && release[0] <= '9')
      newest = std::move(release);
  return newest;
}

// Where processors can sign return addresses, kernels have them do so since 14.0 (sys/arm64/arm64/ptrauth.c): PAC_ADDR_MASK of
// sys/arm64/include/vmparam.h, and bit 55, which tells the half.
constexpr std::uint64_t signed_bits = 0xffff'0000'0000'0000;

// A dump of a running guest has CPUs' registers, and no system's name: it is FreeBSD's when FreeBSD's text is found in memory.
Result<KernelMap> map_kernel(const OsInput& in) {
  const bool foreign = in.dump.system.empty() && !in.dump.notes.empty();
  auto map = foreign ? os_freebsd::map_by_cpus(in) : os_freebsd::map_kernel(in);
  if (!map && foreign && in.symbols) map = os_freebsd::map_kernel(in);
  if (map && in.arch.linux_layout && !in.arch.linux_layout->signature_key.empty()) map->signature_mask = signed_bits;
  if (map && map->release.empty()) map->release = in.dump.release.empty() ? release_of_log(in.dump) : in.dump.release;
  if (map && foreign && !in.symbols) map->release = os_freebsd::find_release(*in.dump.memory);
  if (map && foreign && !in.symbols && map->release.empty()) return fail(Errc::not_found, "no FreeBSD kernel was found in memory");
  return map;
}

// Other kernels have other things where this file says that the version text is.
Result<void> check_version(const KernelView& view) {
  const auto at = view.address_of("version");
  const Bytes own = at ? view.symbols.contents(*at, 256) : Bytes();
  const auto memory = at ? view.text_at(*at, 256) : fail(Errc::not_found);
  if (!memory || memory->empty()) return {};
  const bool is_text = std::ranges::all_of(*memory, [](char c) { return c == '\n' || c == '\t' || (c >= ' ' && c <= '~'); });
  if (!is_text) return fail(Errc::bad_data, "the kernel's file is of another build: where it has its version, the crashed kernel has no text");
  if (own.empty() || own[0] == 0) return {};
  const std::string file(own.begin(), std::ranges::find(own, std::uint8_t{0}));
  const auto line = [](const std::string& text) { return text.substr(0, text.find('\n')); };
  if (file == *memory) return {};
  return fail(Errc::bad_data, "the kernel's file is of another build: it is '" + line(file) + "', in memory is '" + line(*memory) + "'");
}

constexpr std::string_view in_folder[] = {
    ".build-id/#.debug", "#.debug", "kernel.debug", "kernel.full", "kernel.symbols", "kernel", "boot/kernel/kernel.debug", "boot/kernel/kernel",
};
constexpr std::string_view in_system[] = {"usr/lib/debug/boot/kernel/kernel.debug", "boot/kernel/kernel.debug", "boot/kernel/kernel"};
constexpr std::string_view module_folders[] = {"usr/lib/debug/boot/kernel", "usr/lib/debug/boot/modules", "boot/kernel", "boot/modules"};
constexpr std::string_view beside_dump[] = {"kernel.debug", "kernel.full", "kernel.symbols", "kernel"};
constexpr DebugPlaces places{in_folder, in_system, module_folders, beside_dump};

}  // namespace

extern const OsKind freebsd_os;
const OsKind freebsd_os{
    .name = "freebsd",
    .title = "FreeBSD",
    .file_word = "kernel",
    .places = &places,
    .needs_types = false,
    .probe = os_freebsd::is_freebsd,
    .map = map_kernel,
    .log_copy = [](const Dump& dump, const arch::Arch& arch) -> Result<std::vector<LogLine>> {
      auto lines = os_freebsd::log_of_copy(dump, arch);
      if (lines.empty()) return fail(Errc::not_found, "the dump keeps no copy of the message buffer, and the kernel's file is not known");
      return lines;
    },
    .panic_in = os_freebsd::panic_in,
    .open = [](const KernelView& view, const Dump& dump, const KernelMap& map) -> Result<std::unique_ptr<OsModel>> {
      TRY(view.address_of("allproc"));
      TRY(check_version(view));
      TRY(os_freebsd::read_offsets(view));
      return std::make_unique<FreebsdModel>(view, dump, map);
    },
};

}  // namespace kvm
