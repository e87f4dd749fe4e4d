// A function is followed from its entry, where the caller's stack pointer is sp, and frame pointer and return address are in their
// registers.  Each instruction keeps what it was first reached with: compilers make frames that do not depend on the way.
//  What is true of all code: a call takes the return address with it, so one that goes on without having saved it has no caller.
#include "engine/code_frames.h"

#include <algorithm>
#include <limits>
#include <map>
#include <optional>
#include <set>

#include "engine/registers.h"

namespace kvm {
namespace {

constexpr std::int32_t nowhere = arch::FrameStep::nowhere;
constexpr std::uint64_t longest_start = 8;  // instructions before an interrupt's entry begins to save

struct State {
  enum class Ra : std::uint8_t { kept, saved, lost };
  std::int32_t sp = 0, fp = nowhere;        // the cfa's distance from them; nowhere: not known
  std::int32_t fp_at = nowhere, ra_at = 0;  // where they are saved, from the cfa; nowhere: the frame pointer is in its register
  std::int32_t sp_at = nowhere;             // where the caller's stack pointer is saved, if it is
  std::int32_t chain = nowhere;             // on another stack: sp as it was before
  Ra ra = Ra::kept;
  bool copied = false;                      // the return address is in its copy's register, too
  bool interrupt = false, called = false;   // the cfa is a record of what was interrupted, or called
  bool switched = false;                    // the caller is on another stack
  bool left = false;                        // the frame is no more: what follows leaves the function
};

// What is farther than any kernel's stack is not known.
std::int32_t less(std::int32_t distance, std::int32_t amount) {
  constexpr std::int64_t farthest = std::numeric_limits<std::int16_t>::max();
  const std::int64_t result = std::int64_t{distance} - amount;
  return distance == nowhere || result < -farthest || result > farthest ? nowhere : static_cast<std::int32_t>(result);
}

class Follower {
 public:
  Follower(const arch::Arch& arch, VirtAddr start, Bytes code, const std::vector<CodeFunction>& functions)
      : frame_code_(*arch.frame_code), start_(start), code_(code), functions_(functions), size_(frame_code_.unit) {
    const auto number = [&](arch::Role role) {
      const auto index = register_index(arch, role);
      return static_cast<std::uint8_t>(index ? std::max<int>(arch.registers[*index].dwarf, 0) : 0);
    };
    sp_ = number(arch::Role::sp), fp_ = number(arch::Role::fp);
  }

  std::vector<UnwindRow> rows();

 private:
  using States = std::vector<std::optional<State>>;
  struct Found {
    std::vector<UnwindRow> rows;
    bool is_entry = false;  // of interrupts
  };

  Found follow(std::size_t function, const State& entry);
  void run(const CodeFunction& function, Bytes code);
  void reach(std::uint64_t offset, const State& state);
  void step(const CodeFunction& function, Bytes code, std::uint64_t offset);
  void leave(std::uint64_t target, const State& state);
  State behind(std::uint64_t offset, const State& entry) const;
  State after(State state, const arch::FrameStep& step) const;
  void words_after(State& state, const arch::FrameStep& step) const;
  static arch::FrameStep::Sp sp_after(const State& state, const arch::FrameStep& step);
  bool deeper(const State& state) const;
  bool framed(const State& state) const { return state.ra == State::Ra::saved && (frame_code_.fp_is_any || state.fp != nowhere); }
  std::size_t length(Bytes code, std::uint64_t offset) const;
  UnwindRow record_row(VirtAddr address) const;
  UnwindRow row(VirtAddr address, const State& state) const;
  Bytes code_of(std::size_t function) const;

  const arch::FrameCode& frame_code_;
  VirtAddr start_;
  Bytes code_;
  const std::vector<CodeFunction>& functions_;
  std::size_t size_;  // of a unit
  std::uint8_t sp_ = 0, fp_ = 0;
  // Of the function that is being followed.
  States states_;              // of each unit; only those with which instructions begin have one
  std::vector<bool> inside_;   // the others
  std::vector<std::uint64_t> reached_;  // still to follow
  struct Behind {
    std::uint64_t offset;
    State state;
    bool trap;
  };
  std::vector<Behind> behind_calls_;    // reached if the call returns
  std::optional<State> body_;           // of a place that has a frame
  std::map<std::uint64_t, State> tables_;  // where jumps go nobody knows where to
  bool is_entry_ = false;
  std::size_t function_ = 0;
  // Jumps to other functions: with an interrupt's record, and with a frame of another kind.
  std::vector<std::pair<std::uint64_t, State>> interrupted_;
  std::vector<std::pair<std::size_t, std::uint64_t>> leaves_;
};

Bytes Follower::code_of(std::size_t function) const {
  const std::uint64_t first = functions_[function].address - start_;
  const std::uint64_t end = function + 1 < functions_.size() ? functions_[function + 1].address - start_ : code_.size();
  return first < code_.size() && first <= end ? code_.subspan(first, std::min<std::uint64_t>(end, code_.size()) - first) : Bytes{};
}

// Of the instruction at an offset; 0: it goes on outside.
std::size_t Follower::length(Bytes code, std::uint64_t offset) const {
  const std::size_t bytes = frame_code_.length ? frame_code_.length(code.subspan(offset, size_)) : size_;
  return bytes <= code.size() - offset ? bytes : 0;
}

// `offset` in the function; what lies outside is not its own.
void Follower::reach(std::uint64_t offset, const State& state) {
  if (offset % size_ || offset / size_ >= states_.size() || states_[offset / size_]) return;
  states_[offset / size_] = state;
  reached_.push_back(offset);
}

void Follower::leave(std::uint64_t target, const State& state) {
  if (state.interrupt) interrupted_.emplace_back(target, state);
  else if (state.sp != frame_code_.cfa_above_sp) leaves_.emplace_back(function_, target);
}

// What is saved first are the caller's; from another place comes a number of the function's own.
void Follower::words_after(State& state, const arch::FrameStep& step) const {
  using enum arch::FrameStep::Words;
  const std::int32_t base = step.by_fp ? state.fp : state.sp;
  const auto from_cfa = [&](std::int32_t at) { return less(at, base); };
  const bool is_saved = state.ra == State::Ra::saved;
  if (step.words == saved && base != nowhere && !state.interrupt) {
    if (step.fp_at != nowhere && state.fp == nowhere && state.fp_at == nowhere) state.fp_at = from_cfa(step.fp_at);
    const std::int32_t ra_at = step.copy_at != nowhere && state.copied ? step.copy_at : step.ra_at;
    if (step.sp_at != nowhere && state.sp == frame_code_.cfa_above_sp) state.sp_at = from_cfa(step.sp_at);
    if (ra_at != nowhere && !is_saved) state.ra = State::Ra::saved, state.ra_at = from_cfa(ra_at);
  }
  if (step.words == restored) {
    if (step.fp_at != nowhere) state.fp = nowhere;
    if (base == nowhere) return;
    if (step.fp_at != nowhere && from_cfa(step.fp_at) == state.fp_at) state.fp_at = nowhere;
    if (step.ra_at != nowhere && from_cfa(step.ra_at) == state.ra_at && is_saved) state.ra = State::Ra::kept, state.left = true;
    if (step.copy_at != nowhere) state.copied = is_saved && from_cfa(step.copy_at) == state.ra_at;
  }
}

// What is no caller's leads to another stack.
arch::FrameStep::Sp Follower::sp_after(const State& state, const arch::FrameStep& step) {
  if (step.words != arch::FrameStep::Words::restored || step.sp_at == nowhere) return step.sp;
  const std::int32_t base = step.by_fp ? state.fp : state.sp;
  return base == nowhere || less(step.sp_at, base) == state.sp_at ? arch::FrameStep::Sp::restored : arch::FrameStep::Sp::switched;
}

State Follower::after(State state, const arch::FrameStep& step) const {
  const arch::FrameStep::Sp sp = sp_after(state, step);
  words_after(state, step);
  switch (step.link) {
    using enum arch::FrameStep::Link;
    case kept: break;
    case changed: if (state.ra == State::Ra::kept) state.ra = State::Ra::lost; break;
    case copied: state.copied = state.ra == State::Ra::kept; break;
    case from_copy:
      state.left = state.copied && state.ra == State::Ra::saved;
      state.ra = state.copied ? State::Ra::kept : state.ra == State::Ra::kept ? State::Ra::lost : state.ra;
      break;
    case copy_changed: state.copied = false; break;
  }
  if (step.flow == arch::FrameStep::Flow::call) state.copied = false;
  if (step.fp == arch::FrameStep::Fp::changed) state.fp = nowhere;
  if (step.fp == arch::FrameStep::Fp::from_sp) state.fp = less(state.sp, step.amount);
  switch (sp) {
    case arch::FrameStep::Sp::kept: break;
    case arch::FrameStep::Sp::moved: state.sp = less(state.sp, step.amount); break;
    case arch::FrameStep::Sp::from_fp: state.sp = less(state.fp, step.amount), state.chain = nowhere, state.switched = false; break;
    case arch::FrameStep::Sp::varied: state.sp = state.chain, state.switched = state.switched && state.chain == nowhere, state.chain = nowhere; break;
    case arch::FrameStep::Sp::switched:
      if (!state.switched) state.chain = state.sp;
      state.sp = nowhere, state.switched = true;
      break;
    case arch::FrameStep::Sp::restored:
      state.sp = state.switched && state.chain != nowhere ? state.chain : frame_code_.cfa_above_sp;
      state.switched = false, state.chain = nowhere;
      break;
  }
  return state;
}

// Where nothing but the stack pointer tells, a frame is whole when that is farthest from its caller's.
bool Follower::deeper(const State& state) const {
  if (state.left || (state.sp <= frame_code_.cfa_above_sp && !framed(state))) return false;
  return !body_ || state.sp > body_->sp || (state.sp == body_->sp && framed(state) >= framed(*body_));
}

void Follower::step(const CodeFunction& function, Bytes code, std::uint64_t offset) {
  using enum arch::FrameStep::Flow;
  State& here = *states_[offset / size_];
  if (!here.interrupt && frame_code_.saves_all && frame_code_.saves_all(code.subspan(offset))) {
    here = {.interrupt = true, .called = function.called};
    is_entry_ = is_entry_ || offset <= longest_start * size_;
  }
  const std::size_t bytes = length(code, offset);
  if (bytes == 0) return;
  for (std::size_t unit = offset / size_ + 1; unit < (offset + bytes) / size_; ++unit) inside_[unit] = true;
  const arch::FrameStep step = frame_code_.step(code.subspan(offset, bytes), (function.address + offset).raw);
  if (frame_code_.fp_is_any ? deeper(here) : !body_ && framed(here)) body_ = here;
  State then = after(here, step);
  if (step.flow == call && then.ra == State::Ra::kept && !then.interrupt) then.ra = State::Ra::lost;
  if (step.flow == call || step.flow == trap) behind_calls_.push_back({offset + bytes, then, step.flow == trap});
  if (step.flow == computed && !then.left) tables_.emplace(offset, then);
  if (step.flow == next || step.flow == branch) reach(offset + bytes, then);
  if (step.flow != branch && step.flow != jump) return;
  const std::uint64_t target = step.target - function.address.raw;
  if (target < code.size()) reach(target, then);
  else leave(step.target, then);
}

// What certainly follows goes first.  A trap where there is no frame yet, in a function that has one, is no way to the rest.
void Follower::run(const CodeFunction& function, Bytes code) {
  while (!reached_.empty() || !behind_calls_.empty()) {
    if (reached_.empty()) {
      const Behind behind = behind_calls_.back();
      behind_calls_.pop_back();
      if (!behind.trap || !body_ || framed(behind.state)) reach(behind.offset, behind.state);
    } else {
      const std::uint64_t offset = reached_.back();
      reached_.pop_back();
      step(function, code, offset);
    }
  }
}

// Of code that is gone: what it left is found from the frame pointer, as in nearly all code.
UnwindRow Follower::record_row(VirtAddr address) const {
  if (!frame_code_.record) return {.address = address};
  UnwindRow row{.address = address, .kind = UnwindRow::Kind::call};
  row.cfa_register = fp_;
  row.cfa_offset = frame_code_.record->end;
  row.fp = UnwindRow::Saved::at_cfa;
  row.ra = UnwindRow::Ra::at_cfa;
  row.fp_offset = static_cast<std::int16_t>(frame_code_.record->fp - frame_code_.record->end);
  row.ra_offset = static_cast<std::int16_t>(frame_code_.record->ra - frame_code_.record->end);
  return row;
}

UnwindRow Follower::row(VirtAddr address, const State& state) const {
  UnwindRow row{.address = address};
  const bool leads_to_record = frame_code_.record && state.fp != nowhere && state.fp_at != nowhere && state.fp_at + state.fp == frame_code_.record->fp;
  const bool trusted = frame_code_.fp_is_any ? leads_to_record : !state.interrupt;
  const bool by_fp = state.fp != nowhere && (trusted || state.sp == nowhere);
  const bool by_chain = frame_code_.chained && !by_fp && state.sp == nowhere && state.chain != nowhere;
  if (state.ra == State::Ra::lost) row.kind = UnwindRow::Kind::end;
  else if (by_fp || by_chain || state.sp != nowhere) row.kind = state.interrupt ? UnwindRow::Kind::interrupt : UnwindRow::Kind::call;
  if (state.ra == State::Ra::saved && state.ra_at == nowhere) row.kind = UnwindRow::Kind::unknown;
  if (row.kind == UnwindRow::Kind::end || row.kind == UnwindRow::Kind::unknown) return row;
  row.cfa = by_chain ? UnwindRow::Cfa::word_offset : UnwindRow::Cfa::offset;
  row.cfa_register = by_fp ? fp_ : sp_;
  row.cfa_offset = static_cast<std::int16_t>(by_fp ? state.fp : by_chain ? state.chain : state.sp);
  row.interrupted = state.interrupt && !state.called;
  row.switched = state.switched;
  if (state.interrupt) return row;
  if (state.fp_at != nowhere) row.fp = UnwindRow::Saved::at_cfa, row.fp_offset = static_cast<std::int16_t>(state.fp_at);
  row.ra = UnwindRow::Ra::in_register;
  if (state.ra == State::Ra::saved) row.ra = UnwindRow::Ra::at_cfa, row.ra_offset = static_cast<std::int16_t>(state.ra_at);
  return row;
}

// What no way leads to is behind a jump through a table.
State Follower::behind(std::uint64_t offset, const State& entry) const {
  const auto next = tables_.lower_bound(offset);
  return next == tables_.begin() ? body_.value_or(entry) : std::prev(next)->second;
}

Follower::Found Follower::follow(std::size_t index, const State& entry) {
  const CodeFunction& function = functions_[index];
  const Bytes code = code_of(index);
  states_.assign(code.size() / size_, std::nullopt);
  inside_.assign(states_.size(), false);
  body_.reset();
  tables_.clear();
  is_entry_ = false;
  function_ = index;
  reach(0, entry);
  run(function, code);
  for (std::uint64_t offset = 0; offset < states_.size() * size_; offset += size_)
    if (!states_[offset / size_] && !inside_[offset / size_]) {
      reach(offset, behind(offset, entry));
      run(function, code);
    }
  Found found{{}, is_entry_};
  for (std::uint64_t offset = 0; offset < states_.size() * size_; offset += size_) {
    if (!states_[offset / size_]) continue;
    const VirtAddr address = function.address + offset;
    const bool is_code = std::ranges::any_of(code.subspan(offset, size_), [](std::uint8_t byte) { return byte != 0; });
    UnwindRow next = is_code ? row(address, *states_[offset / size_]) : record_row(address);
    if (offset != 0) next.address = found.rows.back().address;
    if (offset != 0 && next == found.rows.back()) continue;
    next.address = address;
    found.rows.push_back(next);
  }
  return found;
}

// Where interrupts enter, the code goes on in other functions, of which all that is known is who jumps to them.  What jumps there
// itself, such as the vectors, has not saved yet what it interrupted: nobody can tell where it would go back to.
std::vector<UnwindRow> Follower::rows() {
  std::vector<Found> found;
  for (std::size_t i = 0; i < functions_.size(); ++i) found.push_back(follow(i, {.sp = frame_code_.cfa_above_sp}));
  const auto index_of = [&](std::uint64_t address) {
    const auto at = std::ranges::lower_bound(functions_, VirtAddr{address}, {}, &CodeFunction::address);
    return at != functions_.end() && at->address.raw == address ? std::optional(static_cast<std::size_t>(at - functions_.begin())) : std::nullopt;
  };
  std::set<std::uint64_t> done;
  for (std::size_t i = 0; i < interrupted_.size(); ++i) {
    const auto [address, state] = interrupted_[i];
    const auto function = index_of(address);
    if (function && done.insert(address).second && !found[*function].is_entry) found[*function] = follow(*function, state);
  }
  for (const auto& [function, target] : leaves_)
    if (const auto entered = index_of(target); entered && found[*entered].is_entry && !found[function].is_entry)
      found[function].rows = {UnwindRow{.address = functions_[function].address}};
  std::vector<UnwindRow> all;
  for (const Found& one : found) all.insert(all.end(), one.rows.begin(), one.rows.end());
  return all;
}

}  // namespace

std::vector<UnwindRow> frames_of_code(const arch::Arch& arch, VirtAddr start, Bytes code, const std::vector<CodeFunction>& functions) {
  return arch.frame_code ? Follower(arch, start, code, functions).rows() : std::vector<UnwindRow>{};
}

}  // namespace kvm
