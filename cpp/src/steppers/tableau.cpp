#include "steppers/tableau.hpp"

#include <initializer_list>

namespace grokflow {
namespace {

/// The coefficients of x, x^2, x^3, x^4 in c x (x - r) (x^2 + p x + q).
Eigen::RowVector4d quartic(double c, double r, double p, double q) {
  return {-c * r * q, c * (q - r * p), c * (p - r), c};
}

Tableau make_tsit5() {
  Tableau t{5, Matrix::Zero(7, 7), Vector(7), Matrix(7, 4)};
  const auto row = [&t](Index i, std::initializer_list<double> values) {
    Index j = 0;
    for (double value : values) t.A(i, j++) = value;
  };
  row(1, {0.161});
  row(2, {-0.008480655492356989, 0.335480655492357});
  row(3, {2.8971530571054935, -6.359448489975075, 4.3622954328695815});
  row(4, {5.325864828439257, -11.748883564062828, 7.4955393428898365, -0.09249506636175525});
  row(5,
      {5.86145544294642, -12.92096931784711, 8.159367898576159, -0.071584973281401, -0.028269050394068383});
  row(6, {0.09646076681806523, 0.01, 0.4798896504144996, 1.379008574103742, -3.290069515436081,
          2.324710524099774});
  t.e << -0.00178001105222577714, -0.0008164344596567469, 0.007880878010261995, -0.1447110071732629,
      0.5823571654525552, -0.45808210592918697, 1.0 / 66.0;
  t.D << quartic(-1.0530884977290216, 1.3299890189751412, -1.4364028541716351, 0.7139816917074209),
      quartic(0.1017, 0.0, -2.1966568338249754, 1.2949852507374631),
      quartic(2.490627285651252793, 0.0, -2.38535645472061657, 1.57803468208092486),
      quartic(-16.54810288924490272, 0.0, -11.0 / 6.0, 0.75),
      quartic(47.37952196281928122, 0.0, -1.861118501025909985, 0.79167775153886498),
      quartic(-34.87065786149660974, 0.0, -28.0 / 15.0, 0.8), quartic(2.5, 0.0, -1.6, 0.6);
  return t;
}

}  // namespace

const Tableau& tsit5() {
  static const Tableau tableau = make_tsit5();
  return tableau;
}

}  // namespace grokflow
