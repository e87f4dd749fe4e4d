// Memory of the kernel's address space.  Addresses and lengths come from the client: every length is cut to the packet
// size first, and every sum of the two is checked.
#include <cstring>

#include <fmt/format.h>

#include "engine/signatures.h"
#include "stub/handlers.h"

namespace kvm::rsp::handle {
namespace {

// The readable bytes at ADDRESS,LENGTH, at most `limit`, in the session's buffer.  The first byte's error when it cannot
// be read; a short count is an answer like any other (gdb manual, "Packets", `m`).
Result<Bytes> read(State& s, Args args, std::size_t limit) {
  const auto range = parse_hex_pair(args);
  if (!range) return fail(Errc::bad_request);
  s.buffer.resize(s.shared.settings.packet_size);
  const std::size_t size = std::min<std::uint64_t>(range->second, std::min(limit, s.buffer.size()));
  const MutableBytes out(s.buffer.data(), size);
  const MutableBytes got = out.first(TRY(s.space().read(VirtAddr{range->first}, out)));
  remove_signatures(s.kernel(), VirtAddr{range->first}, got);
  return Bytes(got);
}

// A search that can stop and go on.  `at` to `last` is what is left to look through.
class Search {
 public:
  Search(const AddressSpace& space, std::uint64_t page_bytes, VirtAddr first, VirtAddr last, std::string pattern)
      : space_(&space), page_bytes_(page_bytes), at_(first), last_(last), pattern_(std::move(pattern)), text_(chunk + pattern_.size(), '\0') {}

  // Looks through one slice; none: call again.
  std::optional<Reply> operator()() {
    for (std::uint64_t cost = 0; cost < slice; cost += std::max<std::uint64_t>(cost_, failure_cost)) {
      if (budget_ < cost) return fail(Errc::bad_request, "searched 1 GiB without finding it, give a smaller range");
      if (auto found = step()) return found;
    }
    budget_ -= std::min(budget_, slice);
    return std::nullopt;
  }

 private:
  static constexpr std::size_t chunk = 0x10000;
  static constexpr std::uint64_t slice = 16 << 20;         // some milliseconds
  static constexpr std::uint64_t failure_cost = chunk / 16;  // of skipping a hole, in bytes read

  // gdb waits some seconds for an answer before it gives up; this is read in less.
  std::uint64_t budget_ = 1ull << 30;

  std::optional<Reply> step() {
    const std::uint64_t room = std::min<std::uint64_t>(last_ - at_, chunk - 1) + 1;
    auto got = space_->read(at_, {reinterpret_cast<std::uint8_t*>(text_.data()) + kept_, room});
    cost_ = got.value_or(0);
    if (!cost_) {
      kept_ = 0;
      return skip_to(end_of_gap());
    }
    const std::size_t size = kept_ + *got;
    if (const void* hit = memmem(text_.data(), size, pattern_.data(), pattern_.size())) {
      const auto offset = static_cast<std::size_t>(static_cast<const char*>(hit) - text_.data());
      return fmt::format("1,{:x}", (at_ - kept_ + offset).raw);
    }
    // A match may begin in the last bytes of this chunk and end in the next.
    const std::size_t keep = std::min(size, pattern_.size() - 1);
    std::memmove(text_.data(), text_.data() + size - keep, keep);
    kept_ = keep;
    return skip_to(at_ + (*got - 1));
  }

  std::optional<Reply> skip_to(VirtAddr done) {
    if (done >= last_) return "0";
    at_ = done + 1;
    return std::nullopt;
  }

  // Last address that needs no look: the end of a hole, or of a page that the dump does not have.
  VirtAddr end_of_gap() const {
    const auto extent = space_->extent_at(at_);
    if (extent && !extent->phys) return extent->last;
    return {at_.raw | (page_bytes_ - 1)};
  }

  const AddressSpace* space_;
  std::uint64_t page_bytes_;
  VirtAddr at_, last_;
  std::string pattern_;
  std::string text_;       // kept_ bytes from before at_, then the chunk
  std::size_t kept_ = 0;
  std::uint64_t cost_ = 0;  // of the last step
};

struct Region {
  VirtAddr first, last;
  std::optional<Access> access;  // none: nothing there
};

constexpr unsigned merge_limit = 4096;  // neighbours joined for one answer; a client asks again for the next

Region region_at(const AddressSpace& space, std::uint64_t page_bytes, VirtAddr address) {
  const auto extent = space.extent_at(address);
  if (extent) return {extent->first, extent->last, extent->phys ? std::optional(extent->access) : std::nullopt};
  const std::uint64_t page = page_bytes - 1;  // its table is missing
  return {{address.raw & ~page}, {address.raw | page}, std::nullopt};
}

}  // namespace

Reply read_memory(State& s, Args args) {
  const Bytes bytes = TRY(read(s, args, s.shared.settings.packet_size / 2));
  if (bytes.empty()) return fail(Errc::bad_request);  // asked for none; an empty reply would deny the packet itself
  std::string reply;
  append_hex(reply, bytes);
  return reply;
}

Reply read_memory_raw(State& s, Args args) {
  if (s.dialect().empty_read && args == "0,0") return "OK";
  const Bytes bytes = TRY(read(s, args, s.shared.settings.packet_size - 1));
  std::string reply(s.dialect().binary_mark);
  const std::string_view text = as_text(bytes);
  return reply.append(text.substr(0, fitting(text, s.shared.settings.packet_size - 1)));
}

// qSearch:memory:ADDRESS;LENGTH;PATTERN
Reply search(State& s, Args args) {
  const std::size_t first_mark = args.find(';');
  const std::size_t second_mark = args.find(';', first_mark == args.npos ? args.npos : first_mark + 1);
  if (second_mark == args.npos) return fail(Errc::bad_request);
  const auto address = parse_hex(args.substr(0, first_mark));
  const auto length = parse_hex(args.substr(first_mark + 1, second_mark - first_mark - 1));
  const std::string_view pattern = args.substr(second_mark + 1);
  if (!address || !length || pattern.empty()) return fail(Errc::bad_request);
  if (*length < pattern.size()) return "0";
  const std::uint64_t room = ~*address;  // the last byte searched must not pass the end of memory
  s.work = Search(s.space(), s.kernel().arch().page_size, VirtAddr{*address}, VirtAddr{*address + std::min(*length - 1, room)}, std::string(pattern));
  s.silent = true;
  return "";
}

Reply memory_region(State& s, Args args) {
  if (args.starts_with(':')) args.remove_prefix(1);
  if (args.empty()) return "OK";  // lldb asks whether we know the packet
  const auto address = parse_hex(args);
  if (!address) return fail(Errc::bad_request);
  const std::uint64_t page_bytes = s.kernel().arch().page_size;
  Region region = region_at(s.space(), page_bytes, VirtAddr{*address});
  for (unsigned i = 0; i < merge_limit && region.last.raw != ~std::uint64_t{0}; ++i) {
    const Region next = region_at(s.space(), page_bytes, region.last + 1);
    if (next.access != region.access) break;
    region.last = next.last;
  }
  // All of memory has 2^64 bytes, which no 64-bit number holds.
  const std::uint64_t span = region.last - region.first;
  std::string reply = fmt::format("start:{:x};size:{:x};", region.first.raw, span == ~std::uint64_t{0} ? span : span + 1);
  if (region.access)
    reply += fmt::format("permissions:r{}{};", region.access->write ? "w" : "", region.access->execute ? "x" : "");
  return reply;
}

}  // namespace kvm::rsp::handle
