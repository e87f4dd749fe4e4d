// Compares what BTF and DWARF of one vmlinux say about every member of every struct, with each other and with pahole,
// whose text comes from standard input:  pahole -F btf VMLINUX | types VMLINUX [N]   (DWARF for every Nth struct only).
#include <fmt/format.h>

#include <cctype>
#include <iostream>
#include <set>
#include <string>
#include <vector>

#include "engine/symbols/btf.h"
#include "engine/symbols/dwarf.h"
#include "engine/symbols/elf_file.h"

namespace {

using namespace kvm;

struct Expected {
  std::string path;
  std::uint64_t offset = 0, size = 0;
  int bit = -1;  // position in the storage unit; -1: not a bit-field
  unsigned bits = 0;
};

struct Record {
  std::string name;
  std::vector<Expected> members;
};

// "int (*fn[4])(void)" -> fn, "u16 type:4" -> type, "char comm[16]" -> comm, "struct page *" -> nothing
std::string declared_name(std::string text) {
  if (const auto at = text.find("__attribute__"); at != text.npos) text.erase(at, text.find("))", at) + 2 - at);
  std::size_t end;
  if (const auto pointer = text.find("(*"); pointer != text.npos) {
    text.erase(0, pointer + 2);
    end = text.find_first_of(")[");
  } else {
    end = text.find_first_of("[:;");
  }
  text = text.substr(0, end);
  while (!text.empty() && text.back() == ' ') text.pop_back();
  std::size_t begin = text.size();
  while (begin > 0 && (std::isalnum(static_cast<unsigned char>(text[begin - 1])) || text[begin - 1] == '_')) --begin;
  return text.substr(begin);
}

// The comment at the end of a line: "/*    24     8 */" or "/*     4:12  2 */".
bool read_place(const std::string& line, Expected& member) {
  const auto at = line.rfind("/*");
  if (at == line.npos) return false;
  unsigned long offset = 0, size = 0;
  unsigned bit = 0;
  if (std::sscanf(line.c_str() + at, "/* %lu:%u %lu */", &offset, &bit, &size) == 3) member.bit = static_cast<int>(bit);
  else if (std::sscanf(line.c_str() + at, "/* %lu %lu */", &offset, &size) != 2) return false;
  member.offset = offset;
  member.size = size;
  return true;
}

// One "struct name {" to "};" of pahole's text, whose offsets all count from the outermost record.
Record read_record(std::string name, std::istream& in) {
  Record record{std::move(name), {}};
  std::vector<std::size_t> open;  // number of members where each inner block began
  for (std::string line; std::getline(in, line) && line[0] != '}';) {
    if (line.ends_with("{")) {
      open.push_back(record.members.size());
      continue;
    }
    Expected member;
    const bool placed = read_place(line, member);
    const std::string text = line.substr(0, line.rfind("/*"));
    const auto first = text.find_first_not_of('\t');
    if (first != text.npos && text[first] == '}' && !open.empty()) {
      const std::string block = declared_name(text.substr(first + 1));
      // An array's inner members are reached through an index; its first element will do.
      const std::string prefix = text.find('[') == text.npos ? block + "." : block + "[0].";
      if (text.find('*') != text.npos) record.members.resize(open.back());  // what it points to is elsewhere
      for (std::size_t i = open.back(); !block.empty() && i < record.members.size(); ++i)
        record.members[i].path = prefix + record.members[i].path;
      open.pop_back();
      member.path = block;
    } else if (placed) {
      member.path = declared_name(text);
    }
    if (member.bit >= 0) member.bits = static_cast<unsigned>(std::stoul(text.substr(text.rfind(':') + 1)));
    if (placed && !member.path.empty()) record.members.push_back(member);
  }
  return record;
}

std::string show(const Result<Member>& m) {
  if (!m) return to_string(m.error());
  return fmt::format("at {} size {} bits {}+{} signed {} kind {} type '{}' {} x {}", m->offset, m->size, m->bit_offset,
                     m->bit_size, m->is_signed, static_cast<int>(m->kind), m->type_name, m->count, m->element_size);
}

// Little-endian: both ways to name a storage unit give the same bit.
bool agrees(const Expected& expected, const Member& m) {
  if (expected.bit < 0) return m.bit_size == 0 && m.offset == expected.offset && m.size == expected.size;
  return m.bit_size == expected.bits &&
         m.offset * 8 + m.bit_offset == expected.offset * 8 + static_cast<std::uint64_t>(expected.bit);
}

// The same, except that makers of BTF fold an array's dimensions into one (pahole 1.24: [2][40] becomes [80]).
bool same(const Result<Member>& btf, const Result<Member>& dwarf) {
  if (!btf || !dwarf || btf->kind != Member::Kind::array) return show(btf) == show(dwarf);
  Member folded = *dwarf;
  folded.count = btf->count;
  folded.element_size = btf->element_size;
  return show(btf) == show(folded) && dwarf->count * dwarf->element_size == btf->count * btf->element_size;
}

struct Counts {
  std::size_t records = 0, members = 0, pahole = 0, compared = 0, dwarf = 0, namesakes = 0;
};

void check(const Record& record, const Types& btf, const Types* dwarf, Counts& counts) {
  ++counts.records;
  if (dwarf && btf.size_of(record.name).value_or(0) != dwarf->size_of(record.name).value_or(0)) {
    ++counts.namesakes;
    fmt::print("{}: BTF and DWARF know different ones\n", record.name);
    dwarf = nullptr;
  }
  for (const Expected& expected : record.members) {
    ++counts.members;
    const auto ours = btf.member(record.name, expected.path);
    if (!ours || !agrees(expected, *ours)) {
      ++counts.pahole;
      fmt::print("{}.{}: pahole at {} size {} bit {}+{}, BTF {}\n", record.name, expected.path, expected.offset, expected.size,
                 expected.bit, expected.bits, show(ours));
    }
    if (!dwarf) continue;
    ++counts.compared;
    const auto theirs = dwarf->member(record.name, expected.path);
    if (same(ours, theirs)) continue;
    ++counts.dwarf;
    fmt::print("{}.{}:\n  BTF   {}\n  DWARF {}\n", record.name, expected.path, show(ours), show(theirs));
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) return 2;
  const unsigned long every = argc > 2 ? std::stoul(argv[2]) : 1;
  const auto file = ElfFile::open(argv[1]);
  if (!file || !file->section(".BTF")) return 2;
  const auto btf = open_btf(file->contents(*file->section(".BTF")), file->is_64() ? 8 : 4);
  const auto dwarf = open_dwarf_types(argv[1]);
  if (!btf || !dwarf) return 2;

  Counts counts;
  std::set<std::string> seen;
  for (std::string line; std::getline(std::cin, line);) {
    if ((!line.starts_with("struct ") && !line.starts_with("union ")) || !line.ends_with(" {")) continue;
    const auto begin = line.find(' ') + 1;
    const Record record = read_record(line.substr(begin, line.size() - begin - 2), std::cin);
    // Kernels have a few different structs of one name; which one an answer means is not settled.
    if (!seen.insert(record.name).second) continue;
    check(record, **btf, counts.records % every == 0 ? dwarf->get() : nullptr, counts);
  }
  fmt::print("{} records, {} members; {} differ from pahole; {} of {} differ between BTF and DWARF; {} namesakes\n",
             counts.records, counts.members, counts.pahole, counts.dwarf, counts.compared, counts.namesakes);
  return counts.pahole + counts.dwarf == 0 ? 0 : 1;
}
