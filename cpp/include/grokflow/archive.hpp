// The state of a run as a stream of typed arrays, so that a run can be taken up again in another process.
//
// A class that has state lists it once, for both directions:
//
//   void Clock::state(Archive& archive) { archive(t_, lag_); }
//
// and a run is written and read back by
//
//   grokflow::Archive out = grokflow::Archive::writer([&](const void* data, std::size_t size) { ... });
//   run.state(out);
//   grokflow::Archive in = grokflow::Archive::reader([&](void* data, std::size_t size) { ... });
//   run_made_from_the_same_arguments.state(in);
//
// What is not state is left out: arguments, memory that a step fills anew, and whatever an object computes
// from the arguments and from its state by the same operations as before (a kernel at a point, its
// factorisation). A run that is taken up takes the same steps as one that was not interrupted, to the last
// bit; the price is that a few objects remember the point at which they were made.
//
// Each field is one byte for its kind, a count of 8 bytes, and its entries, little-endian. A field of
// another kind, or an array of another size where the size is fixed, throws an ArchiveError.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "grokflow/types.hpp"

namespace grokflow {

/// The stream is not what the object has written.
class ArchiveError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

class Archive {
 public:
  using Sink = std::function<void(const void* data, std::size_t size)>;
  using Source = std::function<void(void* data, std::size_t size)>;

  static Archive writer(Sink sink) { return Archive(std::move(sink), {}); }
  static Archive reader(Source source) { return Archive({}, std::move(source)); }

  bool reading() const { return static_cast<bool>(source_); }

  /// Writes the fields, or reads them, in this order.
  template <class... Fields>
  void operator()(Fields&... fields) {
    (field(fields), ...);
  }

  /// A number that is used as an index or a count: least <= value <= most.
  template <class T>
  void bounded(T& value, Index least, Index most) {
    field(value);
    require(static_cast<Index>(value) >= least && static_cast<Index>(value) <= most);
  }

  /// The first `count` entries of an array whose room is not state.
  void entries(double* data, Index count) { block(Kind::real, data, static_cast<std::size_t>(count)); }

 private:
  enum class Kind : unsigned char { real = 'd', integer = 'i', byte = 'b' };

  Archive(Sink sink, Source source) : sink_(std::move(sink)), source_(std::move(source)) {}

  template <class T>
  void field(T& value) {
    if constexpr (std::is_same_v<T, double>) {
      block(Kind::real, &value, 1);
    } else if constexpr (std::is_same_v<T, Complex>) {
      block(Kind::real, &reinterpret_cast<double (&)[2]>(value), 2);
    } else if constexpr (std::is_enum_v<T> || std::is_integral_v<T>) {
      auto number = static_cast<std::int64_t>(value);
      block(Kind::integer, &number, 1);
      value = static_cast<T>(number);
    } else {
      value.state(*this);
    }
  }

  template <class Scalar, int Rows, int Columns>
  void field(Eigen::Matrix<Scalar, Rows, Columns>& m) {
    std::int64_t rows = m.rows(), columns = m.cols();
    (*this)(rows, columns);
    require(rows >= 0 && columns >= 0 && (Rows < 0 || rows == Rows) && (Columns < 0 || columns == Columns));
    require(m.size() == 0 || (rows == m.rows() && columns == m.cols()));  // a run keeps its sizes
    m.resize(rows, columns);
    if constexpr (sizeof(Scalar) == 1)
      block(Kind::byte, m.data(), static_cast<std::size_t>(m.size()));
    else
      block(Kind::real, reinterpret_cast<double*>(m.data()),
            static_cast<std::size_t>(m.size()) * (sizeof(Scalar) / sizeof(double)));
  }

  void field(std::string& text) {
    text.resize(size_of(text.size()));
    block(Kind::byte, text.data(), text.size());
  }

  void field(std::vector<double>& values) {
    values.resize(size_of(values.size()));
    block(Kind::real, values.data(), values.size());
  }

  template <class T>
  void field(std::vector<T>& values) {
    values.resize(size_of(values.size()));
    for (T& value : values) field(value);
  }

  template <std::size_t size>
  void field(std::array<double, size>& values) {
    block(Kind::real, values.data(), size);
  }

  /// The size of a list: that given, or the one to be read.
  std::size_t size_of(std::size_t size) {
    auto count = static_cast<std::int64_t>(size);
    field(count);
    require(count >= 0);
    return static_cast<std::size_t>(count);
  }

  static void require(bool holds);
  void block(Kind kind, void* data, std::size_t count);

  Sink sink_;
  Source source_;
};

}  // namespace grokflow
