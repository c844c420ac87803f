#include "grokflow/archive.hpp"

#include <algorithm>

namespace grokflow {
namespace {

constexpr std::size_t kWords = 8192;  // turned round at a time, on a big-endian machine

bool little_endian() {
  const std::uint16_t one = 1;
  unsigned char first = 0;
  std::copy_n(reinterpret_cast<const unsigned char*>(&one), 1, &first);
  return first == 1;
}

/// Reverses the bytes of each of `count` words of 8.
void turn_round(unsigned char* data, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) std::reverse(data + 8 * i, data + 8 * i + 8);
}

}  // namespace

void Archive::require(bool holds) {
  if (!holds) throw ArchiveError("the state does not fit this run: it was made with other arguments");
}

void Archive::block(Kind kind, void* data, std::size_t count) {
  const std::size_t width = kind == Kind::byte ? 1 : 8;
  auto* bytes = static_cast<unsigned char*>(data);
  const bool turned = width == 8 && !little_endian();
  std::array<unsigned char, 9> head{static_cast<unsigned char>(kind)};
  for (std::size_t i = 0; i < 8; ++i)
    head[i + 1] = static_cast<unsigned char>(static_cast<std::uint64_t>(count) >> (8 * i));
  if (reading()) {
    std::array<unsigned char, 9> found{};
    source_(found.data(), found.size());
    require(found == head);
    source_(bytes, width * count);
    if (turned) turn_round(bytes, count);
    return;
  }
  sink_(head.data(), head.size());
  if (!turned) return sink_(bytes, width * count);
  std::vector<unsigned char> copy;
  for (std::size_t begin = 0; begin < count; begin += kWords) {
    const std::size_t words = std::min(kWords, count - begin);
    copy.assign(bytes + 8 * begin, bytes + 8 * (begin + words));
    turn_round(copy.data(), words);
    sink_(copy.data(), copy.size());
  }
}

}  // namespace grokflow
