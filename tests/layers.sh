#!/usr/bin/env bash
# Who may include whom (docs/architecture.md), and nobody outside arch/ and engine/os/ asks which machine or system it is.
#   tests/layers.sh [SOURCE-DIR]     prints file:line: rule for each offence, exits 1 when there was one
cd "${1:-$(dirname "$0")/..}" || exit 2
shopt -s globstar nullglob
sources=({arch,engine,stub,plugin-lldb,tests}/**/*.{h,cc,c})
rows() { for row in "$@"; do basename "$row" .cc; done | grep -vx arch | paste -sd'|'; }  # files that are table rows

awk -v machines="$(rows arch/*.cc)" -v systems="$(rows engine/os/*.cc)" '
function offence(rule) { print FILENAME ":" FNR ": " rule; bad = 1 }
function std(name) { return name !~ /[.\/]/ }
function posix(name) { return name ~ /^(sys\/.*|unistd|fcntl|dlfcn|elf|netinet\/.*|arpa\/.*|termios|signal|poll)\.h$/ || name ~ /^sys\// }

# Libraries that have one home each.
function library(name) {
  if (name ~ /^llvm/) return FILENAME ~ /^engine\/symbols\/dwarf[^\/]*\.cc$/ ? "" : "LLVM only in engine/symbols/dwarf*.cc"
  if (name ~ /^openssl\//) return FILENAME == "engine/dump/support/decipher.cc" ? "" : "OpenSSL only in engine/dump/support/decipher.cc"
  if (name ~ /debuginfod/) return FILENAME == "engine/symbols/debuginfod.cc" ? "" : "debuginfod only in engine/symbols/debuginfod.cc"
  if (name ~ /^boost\/asio/) return FILENAME == "stub/server.cc" ? "" : "Asio only in stub/server.cc"
  if (name ~ /^boost\/json/) return layer == "stub" ? "" : "Boost.JSON only in stub/"
  if (name ~ /^CLI\//) return FILENAME ~ /^stub\/(cli.*\.(h|cc)|main\.cc)$/ ? "" : "CLI11 only in stub/cli* and stub/main.cc"
  if (name ~ /^(libdeflate|zstd|zlib|lzo\/.*|snappy.*)\.?h?$/) return layer == "dump" || FILENAME == "engine/symbols/ctf_entries.cc" ? "" : "codecs only in engine/dump/ and engine/symbols/ctf_entries.cc"
  if (name ~ /^(fmt|tl)\//) return layer == "arch" ? "arch includes only std and arch/" : ""
  if (name ~ /^lldb\//) return FILENAME ~ /^plugin-lldb\// ? "" : "LLDB only in plugin-lldb/"
  if (FILENAME == "engine/compat/kvm.h") return name ~ /^(stddef|stdint|nlist|sys\/.*)\.h$/ ? "" : "kvm.h is C and includes the C library"
  if (posix(name)) return layer == "arch" || layer == "os" ? layer " makes no system calls" : ""
  return std(name) ? "" : "unknown library <" name ">"
}

# Files of our own.
function own(name) {
  if (name ~ /^tests\//) return "nothing includes tests/"
  if (layer == "arch") return name ~ /^arch\// ? "" : "arch includes only std and arch/"
  if (name ~ /^arch\//) return name == "arch/arch.h" ? "" : "of arch/ only arch/arch.h"
  core = name ~ /^engine\/[^\/]*\.h$/
  if (layer == "engine") {
    if (core) return ""
    if (name ~ /^engine\/symbols\//) return FILENAME ~ /^engine\/(kernel|kernel_file|module_files)\./ ? "" : "engine core: engine/symbols/ only in kernel.cc, kernel_file and module_files"
    if (name ~ /^engine\/dump\/support\//) return FILENAME == "engine/dump.cc" ? "" : "engine core: engine/dump/support/ only in dump.cc"
    return "engine core includes arch/arch.h and engine/*.h"
  }
  if (layer == "dump") return core && name != "engine/os.h" || name ~ /^engine\/dump\/support\// ? "" : "a dump format includes the engine core and engine/dump/support/"
  if (layer == "os") return core || name ~ /^engine\/os\// || name ~ /^engine\/symbols\/(kallsyms|btf|labels)\.h$/ ? "" : "an OS model includes the engine core, engine/os/, and of engine/symbols/ what lies in memory"
  if (layer == "image") return core || name ~ /^engine\/image\// || name ~ /^engine\/symbols\/(btf_entries|name_index|elf_file)\.h$/ ? "" : "the image is made of the engine core, engine/image/ and BTF"
  if (layer == "export") return core || name ~ /^engine\/export\// || name == "engine/image/buffer.h" ? "" : "an export is made of the engine core and engine/export/"
  if (layer == "compat") {
    if (name == "engine/symbols/dwarf.h") return FILENAME == "engine/compat/dwarf/plugin.cc" ? "" : "libkvm takes types from DWARF through its plugin only"
    return core || name ~ /^engine\/compat\// ? "" : "libkvm includes the engine core and engine/compat/"
  }
  if (layer == "symbols") return core || name ~ /^engine\/symbols\// ? "" : "symbols include the engine core and engine/symbols/"
  if (layer == "stub") {
    if (core || name ~ /^stub\// || name ~ /^engine\/(symbols\/(elf_file|cold_ranges)|image\/cache|export\/(elf_core|output_file))\.h$/) return ""
    if (name ~ /^engine\/symbols\/(dwarf|debuginfod)\.h$/) return FILENAME == "stub/cli_opening.cc" ? "" : "providers only in stub/cli_opening.cc"
    return "stub includes stub/ and the public headers of the engine"
  }
  if (layer == "plugin-lldb") return core || name ~ /^(plugin-lldb\/|stub\/(session|report|lldb_files|cli_opening)\.h$)/ ? "" : "the plugin includes engine/*.h, and of stub/ session, report, lldb_files and cli_opening"
  return "no rule for this"
}

FNR == 1 {
  layer = FILENAME
  if (sub(/^engine\/(dump|os|symbols|image|export|compat)\/.*/, "", layer)) { split(FILENAME, part, "/"); layer = part[2] }
  else sub(/\/.*/, "", layer)
  row = layer != "arch" && layer != "tests"
}
/^[ \t]*#[ \t]*include/ {
  name = $0
  sub(/^[ \t]*#[ \t]*include[ \t]*/, "", name)
  quote = substr(name, 1, 1)
  name = substr(name, 2)
  sub(/[">].*/, "", name)
  if (quote == "\"") {
    if (!(name in exists)) exists[name] = (getline line < name) >= 0
    close(name)
    if (name !~ /\// || name ~ /\.\./) offence("\"" name "\": includes are written from the root")
    else if (!exists[name]) offence("\"" name "\": no such file")
    if (layer != "tests" && (rule = own(name)) != "") offence("\"" name "\": " rule)
  } else if (layer != "tests" && (rule = library(name)) != "") offence("<" name ">: " rule)
  next
}
row {
  code = $0
  sub(/\/\/.*/, "", code)
  if (code ~ ("\"(" machines ")\"") || code ~ /(if|switch) *\(arch *(==|!=)/ || code ~ /arch(\(\))?(\.|->)(name|elf_machine) *(==|!=)/)
    offence("tests for a particular processor belong in arch/")
  if (layer != "os" && (code ~ ("\"(" systems ")\"") || code ~ /(if|switch) *\(os *(==|!=)/ || code ~ /os(\(\))?(\.|->)name(\(\))? *(==|!=)/))
    offence("tests for a particular system belong in engine/os/")
}
END { exit bad }
' "${sources[@]}"
