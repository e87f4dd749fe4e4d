// What LLVM reads from an image of a kernel, as text: one line for each type, function and variable, as C would declare it.
#pragma once

#include <string>
#include <vector>

#include "engine/types.h"

namespace kvm::testing {

struct ImageText {
  struct Unit {
    std::string name;
    // "struct list 16 { struct list * next @0; int flag @8:3; }"; "[0x1000, 0x1010) void f(int code)"; "0x20 int x".
    // Records that are only declared: "struct list;"; of integers: "int 4 signed".
    std::vector<std::string> lines;
  };
  std::vector<Unit> units;
  std::vector<std::string> symbols;   // "0x1000 10 T name .text"; local ones in lower case
  std::vector<std::string> sections;  // "0xffffffff81000000 1000 AX .text"; without an address: "name"
  std::string problems;               // what is wrong with the file; empty: nothing

  const Unit& unit(std::string_view name) const;      // an empty one if there is none
  bool has(std::string_view line) const;              // in some unit
  std::string find(std::string_view word) const;      // the lines with it, each on a line
};

ImageText read_image(Bytes image);
// Only whether anything is wrong with it.
std::string image_problems(Bytes image);

}  // namespace kvm::testing
