// What an operating system's model must answer.  One file in engine/os/ per system; the build collects the
// OsKind constants: engine/os/linux.cc defines linux_os.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/dump.h"
#include "engine/pieces.h"
#include "engine/record.h"
#include "engine/registers.h"
#include "engine/statistics.h"

namespace kvm {

struct Task {
  std::uint64_t pid = 0, tid = 0;  // pid is the process (thread group), tid the thread
  std::optional<std::uint64_t> ppid = 0;  // none when the parent cannot be read
  std::string comm;
  std::string thread_name;         // the thread's own, where threads have names beside their process's; empty: none
  char state = '?';                // as ps(1): R S D T t X Z P I, of FreeBSD also L (waits for a lock) and W (for an interrupt)
  std::optional<unsigned> cpu;     // where it runs or last ran
  bool on_cpu = false;             // running when the machine died: its registers are the CPU's
  bool idle = false;               // a per-CPU idle task (pid 0)
  bool kernel_thread = false;
  bool crashed = false;            // the task that panicked
  std::uint32_t uid = 0;
  unsigned place = 0;              // among its process's threads, where ids do not tell which is the first
  VirtAddr handle;                 // of task_struct, struct thread ...
  VirtAddr process;                // of struct proc; 0: there is no other record

  // "pagedaemon/laundry: dom0": as debuggers of such systems show it.
  std::string shown_name() const { return thread_name.empty() || thread_name == comm ? comm : comm + "/" + thread_name; }
};

struct ModuleSection {
  std::string name;
  VirtAddr address;
};
struct ModuleArea {
  VirtAddr base;
  std::uint64_t size = 0;
  bool code = false, writable = false;
};
struct Module {
  enum class Placing : std::uint8_t { listed, from_file };
  std::string name;
  std::string path;                // where it was loaded from, in the crashed machine; empty: not known
  VirtAddr base;                   // of its text
  std::uint64_t size = 0;          // all its memory, in bytes
  std::vector<ModuleArea> areas;   // that memory; empty: one piece from `base`
  std::vector<ModuleSection> sections;
  Placing placing = Placing::listed;  // from_file: the kernel keeps no list of sections; they follow from `base` and the module's file
  std::string build_id;            // hex; empty: not known
  VirtAddr handle;                 // of struct module, linker_file ...

  bool contains(VirtAddr address) const {
    for (const ModuleArea& area : areas)
      if (address >= area.base && address - area.base < area.size) return true;
    return areas.empty() && address >= base && address - base < size;
  }
};

// One CPU of the machine when it died.
struct Cpu {
  unsigned number = 0;
  bool online = true;
  std::optional<RegisterFile> registers;  // from its note
};

struct LogLine {
  std::optional<std::uint64_t> nanoseconds = 0;  // since the system started; none: the log does not say
  unsigned level = 0;              // syslog priority, 0 to 7
  std::string text;
};

class OsModel {
 public:
  virtual ~OsModel() = default;
  virtual std::string_view name() const = 0;                            // "linux"
  virtual std::string release() const = 0;
  // Damaged lists yield the tasks that could be found, and a remark.
  virtual Result<std::vector<Task>> tasks(std::vector<std::string>& remarks) const = 0;
  virtual Result<std::vector<Module>> modules(std::vector<std::string>& remarks) const = 0;
  virtual std::vector<Cpu> cpus() const = 0;
  // Kernel memory that no page table shows, told by structures.
  virtual std::vector<Mapping> mappings() const { return {}; }
  // Addresses that lead this CPU to memory of its own; none on most machines.
  virtual std::optional<Mapping> own_memory(const Cpu&) const { return std::nullopt; }
  virtual Result<RegisterFile> registers(const Task& task) const = 0;
  // The task's own address space, user memory included.
  virtual Result<AddressSpace> user_space(const Task&) const { return fail(Errc::unsupported, "user memory is not known here"); }
  virtual Result<std::vector<LogLine>> log() const = 0;
  virtual std::string panic_message() const = 0;                        // empty: none found
  // What the kernel keeps in memory of a module's symbols, for when there is no file of it.
  virtual Result<std::unique_ptr<Symbols>> module_symbols(const Module&) const { return fail(Errc::unsupported, "modules' symbols are not known here"); }
  // A module's own types, and the kernel's.
  virtual Result<std::unique_ptr<Types>> module_types(const Module&) const { return fail(Errc::unsupported, "modules' types are not known here"); }
  // For ps and its kind; null: not known here.
  virtual const Statistics* statistics() const { return nullptr; }
  // All that the kernel tells of itself.
  virtual Result<Pieces> pieces() const { return fail(Errc::unsupported, "what this kernel tells of itself is not known here"); }
};

// What the engine knows before an OS model exists.
struct OsInput {
  const Dump& dump;
  const arch::Arch& arch;
  const Symbols* symbols;          // at link-time addresses; null: no vmlinux
  std::optional<std::uint64_t> slide, phys_base;  // the user's word
};

// How the kernel's addresses are found.
struct KernelMap {
  std::vector<Mapping> mappings;
  VirtAddr image;                  // where the kernel image begins at run time, or an address near its beginning; 0: not known
  std::optional<VirtAddr> first;   // where exactly, as far as the kernel tells: a kernel that names functions only does not name this
  std::uint64_t slide = 0;         // run-time minus link-time address of the image
  std::uint64_t phys_base = 0;
  std::string mode;                // "4-level"
  std::string source;              // "VMCOREINFO note", "CPU 0's CR3 and IDT", for people
  std::string vmcoreinfo;          // of the note, or found in memory when the dump had none
  std::string release, build_id;   // of the crashed kernel; empty: not known
  std::uint64_t signature_mask = 0;  // bits of a kernel address that are all set, or a signature (arch::LinuxLayout); 0: none
  bool needs_symbols = false;      // the slide was guessed: map again once a vmlinux is known
};

struct OsKind {
  std::string_view name;
  std::string_view title;          // for people: "Linux"
  std::string_view file_word;      // what people call the kernel's file: "vmlinux"
  const DebugPlaces* places = nullptr;  // null: Linux's
  bool needs_types = true;         // without debug information there is no model
  bool (*probe)(const OsInput&) = nullptr;
  Result<KernelMap> (*map)(const OsInput&) = nullptr;
  // What the kernel keeps of its own symbols and types in memory, for when there is no file of it.  Null: nothing.
  // `kernel` has no symbols yet in the first, no types in either.
  Result<std::unique_ptr<Symbols>> (*own_symbols)(const KernelView& kernel, const KernelMap&, std::vector<std::string>& remarks) = nullptr;
  Result<std::unique_ptr<Types>> (*own_types)(const KernelView& kernel) = nullptr;
  // All that the kernel tells of itself, where there is no model for lack of types.  Null: nothing.
  Result<Pieces> (*pieces)(const KernelView&, const KernelMap&) = nullptr;
  // The dump's own copy of the log, and who panicked by it, where there is no model.  Null: nothing.
  Result<std::vector<LogLine>> (*log_copy)(const Dump&, const arch::Arch&) = nullptr;
  std::string (*panic_in)(const std::vector<LogLine>& log) = nullptr;
  // `cpu_states` are the notes' registers in file order.
  Result<std::unique_ptr<OsModel>> (*open)(const KernelView&, const Dump&, const KernelMap&) = nullptr;
};

std::span<const OsKind* const> os_kinds();  // generated by the build

}  // namespace kvm
