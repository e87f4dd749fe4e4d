// What the packet handlers work on: the state of one conversation, and what all conversations share.
#pragma once

#include <array>
#include <map>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "engine/registers.h"
#include "stub/dialect.h"
#include "stub/packet.h"

namespace kvm::rsp {

struct Thread {
  std::uint64_t id = 0;  // unique, never 0 and never -1: those mean "any" and "all"
  const Task* task = nullptr;  // null: the dump has no tasks and no CPUs, but debuggers insist on a thread
};

// Which tasks the client sees, and their ids.
class ThreadTable {
 public:
  ThreadTable(const Kernel& kernel, ThreadChoice choice);
  std::size_t size() const { return threads_.size(); }
  const Thread& operator[](std::size_t index) const { return threads_[index]; }
  auto begin() const { return threads_.begin(); }
  auto end() const { return threads_.end(); }
  std::optional<std::size_t> find(std::uint64_t id) const;

 private:
  void add(const Task& task);

  std::vector<Thread> threads_;  // never empty; the first is the one that stopped
  std::unordered_map<std::uint64_t, std::size_t> by_id_;
};

std::string name_of(const Thread& thread);   // "kworker/3:0", as the dump has it: any bytes
std::string state_of(const Thread& thread);  // "sleeping, process 417", for people
RegisterFile registers_of(const Kernel& kernel, const Thread& thread);  // empty when they cannot be read

// A document that is made once and served in pieces: gdb asks for 4 KiB at a time whatever the packet size is.
class Document {
 public:
  const std::string& get(const std::function<std::string()>& make) {
    std::call_once(made_, [&] { text_ = make(); });
    return text_;
  }

 private:
  std::once_flag made_;
  std::string text_;
};

struct Shared::State {
  State(const Kernel& kernel_, Settings settings_) : kernel(kernel_), settings(settings_), threads(kernel_, settings_.threads) {}

  const Kernel& kernel;
  const Settings settings;
  const ThreadTable threads;

  Document target;                             // registers
  Document thread_list, thread_list_plain;     // with and without process ids
  Document libraries;
  std::array<Document, 5> os_tables;           // `info os`, one per row of os_tables()
  Document lldb_threads, lldb_stop;
  // The files a client may open: a name that is not listed here does not exist, whatever the host has.
  const File* file(const std::string& name);
  const std::map<std::string, std::string>& module_files();  // module name to absolute path
  std::string vmlinux() const;  // absolute path; empty: none
  // Files that are made of the dump, under names that no host file has.
  static constexpr std::string_view image_name = "/vmlinux.inquest", unwind_name = "/unwind.inquest";
  // What the client is told to open, under the name that file() knows or, when it can, by itself; empty: none.
  std::string kernel_file(), unwind_file();
  std::string file_offered(const std::string& path);  // of the kernel or a module
  bool has_kernel_file() const { return !kernel.vmlinux().empty() || (settings.image && kernel.os_missing().empty()); }
  std::string offered(const std::string& path, bool as_it_is) const;  // `as_it_is`: the bytes on disk will do
  // Link addresses of the first segments of the vmlinux, and of the unwind file.
  std::optional<std::uint64_t> image_segment();

 private:
  struct Opened {
    std::optional<File> file;  // none: cannot be opened
    std::string path;          // of one that was made, on disk
  };
  const Opened& open(const std::string& name);
  Opened open_listed(const std::string& name);
  std::string offered_made(std::string_view name);

  std::mutex lock_;
  std::map<std::string, Opened> files_;
  std::once_flag modules_found_, segment_found_;
  std::optional<std::uint64_t> segment_;
  std::map<std::string, std::string> module_files_;
};

struct Session::State {
  State(const Shared& shared_, Trace trace_);

  const Kernel& kernel() const { return shared.kernel; }
  const ThreadTable& threads() const { return shared.threads; }
  const Thread& thread() const { return shared.threads[selected]; }
  // Memory as the selected thread's CPU sees it.
  const AddressSpace& space() const { return kernel().space_on(thread().task ? thread().task->cpu : std::nullopt); }
  const Dialect& dialect() const { return dialects[static_cast<std::size_t>(client)]; }
  // Registers of one thread; the last asked for is kept.
  const RegisterFile& registers(std::size_t index);
  // A packet before the reply.
  void send(std::string_view body);

  Shared::State& shared;
  Trace trace;
  Decoder decoder;
  std::string out;   // what consume() will return
  std::string last;  // what to send again when the client did not get it
  Client client = Client::unknown;
  bool acks = true, finished = false, multiprocess = false, error_strings = false;
  std::optional<std::string> unacknowledged;  // the last packet, until the client confirms our reply
  bool greeted = false;        // a packet has come
  bool silent = false;         // the handler gave no reply
  std::size_t selected = 0;    // thread of `Hg`: an index
  std::size_t listed = 0;      // threads that qfThreadInfo and qsThreadInfo gave so far
  std::vector<const File*> files;  // by descriptor; null: closed
  std::vector<std::uint8_t> buffer;  // for memory on its way out
  // A request that takes long, a slice at each call; none while it is not done.
  std::function<std::optional<Reply>()> work;

 private:
  std::optional<std::size_t> cached_thread_;
  std::optional<RegisterFile> cached_registers_;
};

// "p1.2a" or "2a".
std::string thread_id(const Session::State& session, const Thread& thread);
// The thread of "2a", "p1.2a", "-1", "0", "p1.-1": the last three mean the selected one.
Result<std::size_t> parse_thread(const Session::State& session, std::string_view text);
// Takes lldb's ";thread:HEX;" off the end of a request's arguments; the selected thread when there is none.
Result<std::size_t> take_thread_suffix(const Session::State& session, std::string_view& args);
// One piece of a document: "m..." or, when it is the last, "l...".  `args` is "OFFSET,LENGTH".
Reply piece(const Session::State& session, std::string_view document, std::string_view args);
// Why the machine stopped, as the client wants to be told.
std::string stop_reply(Session::State& session);

}  // namespace kvm::rsp
