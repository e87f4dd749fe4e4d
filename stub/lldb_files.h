// What lldb is given to load: the kernel's debug file and the modules', with the addresses of their sections.  lldb places
// relocatable files by itself only when nothing lies between their sections, which is never so in a kernel.
#pragma once

#include "engine/kernel.h"

namespace kvm::rsp {

// `path`, or a copy of it that lldb 19 can unwind through (engine/symbols/cold_ranges.h).  The copy is made once, in
// $XDG_CACHE_HOME/inquest/lldb, and has no relocations that the linker kept: it takes a third of the space.
Result<std::string> file_for_lldb(const std::string& path);

// Whether file_for_lldb() will take no time.
bool prepared_for_lldb(const std::string& path);

struct LldbKernel {
  std::string path;                  // empty: there is nothing
  std::vector<std::string> remarks;  // what it lacks, beyond the kernel's own remarks
};
// The kernel's debug file, or the image made of the dump.  What cannot be copied is taken as it is.
LldbKernel kernel_for_lldb(const Kernel& kernel);

struct LldbModule {
  std::string path;
  std::vector<ModuleSection> sections;  // at run time
};
// The modules for which a file was found.  The image has them inside.
std::vector<LldbModule> modules_for_lldb(const Kernel& kernel);

// A word as lldb's command line reads it back.
std::string lldb_word(std::string_view text);

}  // namespace kvm::rsp
