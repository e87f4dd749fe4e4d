// Images of kernels, kept in a folder of the user's: the next debugger on the same dump need not wait for one to be made.
#pragma once

#include <string>

#include "engine/file.h"
#include "engine/kernel.h"

namespace kvm {

struct ImageCache {
  std::string folder;                          // empty: keep nothing
  std::uint64_t capacity = std::uint64_t{1} << 30;  // bytes; what was not used for longest goes first
};
// $XDG_CACHE_HOME/inquest/images, or that under ~/.cache.
ImageCache user_image_cache();

struct KernelImage {
  File file;
  std::string path;                  // in the cache; empty: in memory only
  std::vector<std::string> remarks;  // what the image lacks, one line each
};

// The image of a kernel's own symbols, types and unwind tables.  One is kept when nothing was missing and the kernel has a
// build id; it is found again by that, by where kernel and modules lie, and by `producer`, the program's name and version.
Result<KernelImage> kernel_image(const Kernel& kernel, const std::string& producer, const ImageCache& cache);

// What debuggers do not find in a vmlinux: how to leave the frames of assembly code, entry code above all.  Kept likewise.
Result<KernelImage> unwind_image(const Kernel& kernel, const std::string& producer, const ImageCache& cache);

// Keeps any file, under a name that may have a folder; the path, empty when it cannot be kept.  One that is there already, of the same size, is taken for it.
std::string keep(const ImageCache& cache, const std::string& name, Bytes bytes);

// Writes a file so that nobody ever sees a part of it under its name.
Result<void> write_whole(const std::string& path, Bytes bytes);

}  // namespace kvm
