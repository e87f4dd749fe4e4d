// The flattened form (makedumpfile, IMPLEMENTATION file, "The flattened format"): all numbers are big-endian.
#include "engine/dump/support/flattened.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "engine/dump/support/cover.h"
#include "engine/integers.h"

namespace kvm {
namespace {

struct FileHeader {
  char signature[16];
  be64 type, version;
};
struct RecordHeader {
  be64 offset, size;
};
constexpr char signature[16] = "makedumpfile";
constexpr std::uint64_t records_at = 4096;
constexpr std::uint64_t end_mark = ~std::uint64_t{0};
constexpr std::uint64_t largest = ~std::uint64_t{0} >> 1;  // both numbers are signed there

// A record header, read past the mapping: touching it there would bring in 64 KiB around each.
bool read_record(const File& file, std::uint64_t at, RecordHeader& record) {
  return file.scan(at, {reinterpret_cast<std::uint8_t*>(&record), sizeof record}) == sizeof record;
}

}  // namespace

bool is_flattened(const File& file) {
  const auto header = file.at<FileHeader>(0);
  return header && std::memcmp(header->signature, signature, sizeof signature) == 0;
}

Result<File> unflattened(File file, std::vector<std::string>& remarks) {
  const auto header = TRY(file.at<FileHeader>(0));
  if (header.type != 1 || header.version != 1)
    return fail(Errc::unsupported, fmt::format("{}: flattened form type {} version {} at 0x10, expected 1 and 1", file.path(),
                                               std::uint64_t{header.type}, std::uint64_t{header.version}));
  std::vector<Interval> records;
  std::uint64_t at = records_at;
  bool complete = false;
  RecordHeader record;
  while (read_record(file, at, record)) {
    if (record.offset == end_mark) {
      complete = true;
      break;
    }
    if (record.offset > largest || record.size > largest - record.offset)
      return fail(Errc::bad_data, fmt::format("{}: flattened record at {:#x} has offset {:#x} and size {:#x}", file.path(), at,
                                              std::uint64_t{record.offset}, std::uint64_t{record.size}));
    at += sizeof record;
    const std::uint64_t present = at < file.size() ? std::min<std::uint64_t>(record.size, file.size() - at) : 0;
    records.push_back({record.offset, present, at});
    if (present < record.size) break;
    at += present;
  }
  if (records.empty())
    return fail(Errc::bad_data, fmt::format("{}: flattened form without a record at {:#x}", file.path(), records_at));
  if (!complete)
    remarks.push_back(fmt::format("the file is cut: the flattened form ends at {:#x} without its end record", file.size()));

  std::reverse(records.begin(), records.end());  // a later record hides an earlier one
  std::vector<FilePiece> pieces;
  for (const Interval& i : visible(std::move(records))) pieces.push_back({i.first, i.size, i.source});
  return std::move(file).rearranged(std::move(pieces), complete ? Gaps::zero : Gaps::absent);
}

}  // namespace kvm
