// Laying intervals over each other: what stays visible when some hide others.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <vector>

namespace kvm {

// [first, first + size) shows `source + (address - first)`; `tag` travels along.
struct Interval {
  std::uint64_t first, size, source;
  bool tag = false;
};

// The disjoint, ascending intervals left when an earlier element hides those after it.  No interval may wrap.
inline std::vector<Interval> visible(std::vector<Interval> layers) {
  std::erase_if(layers, [](const Interval& i) { return i.size == 0; });
  // Nearly every file keeps them apart: then sorting is all.
  std::vector<Interval> sorted = layers;
  std::sort(sorted.begin(), sorted.end(), [](const Interval& a, const Interval& b) { return a.first < b.first; });
  const auto overlap = std::adjacent_find(sorted.begin(), sorted.end(),
                                          [](const Interval& a, const Interval& b) { return b.first - a.first < a.size; });
  if (overlap == sorted.end()) return sorted;

  std::map<std::uint64_t, Interval> shown;  // by first address
  for (const Interval& layer : layers) {
    std::uint64_t at = layer.first;
    const std::uint64_t last = layer.first + (layer.size - 1);  // inclusive: the end may be 2^64
    auto next = shown.upper_bound(at);
    if (next != shown.begin()) {
      const Interval& before = std::prev(next)->second;
      if (at - before.first < before.size) {
        if (last - before.first < before.size) continue;
        at = before.first + before.size;
      }
    }
    while (true) {  // fill the gaps between those already shown
      const bool blocked = next != shown.end() && next->first <= last;
      const std::uint64_t gap = blocked ? next->first - at : last - at + 1;
      if (gap) shown.emplace_hint(next, at, Interval{at, gap, layer.source + (at - layer.first), layer.tag});
      if (!blocked) break;
      const Interval& block = next->second;
      if (last - block.first < block.size) break;
      at = block.first + block.size;
      ++next;
    }
  }
  std::vector<Interval> result;
  for (const auto& [first, interval] : shown) result.push_back(interval);
  return result;
}

}  // namespace kvm
