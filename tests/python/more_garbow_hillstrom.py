"""The test functions of More, Garbow & Hillstrom (ACM TOMS 7, 1981) as residuals r(x), 2 F = ||r||^2."""

import numpy as np

rows = np.concatenate
BARD = [0.14, 0.18, 0.22, 0.25, 0.29, 0.32, 0.35, 0.39, 0.37, 0.58, 0.73, 0.96, 1.34, 2.1, 4.39]
GAUSSIAN = [0.0009, 0.0044, 0.0175, 0.054, 0.1295, 0.242, 0.3521, 0.3989]
GAUSSIAN += GAUSSIAN[-2::-1]
MEYER = [
    34780,
    28610,
    23650,
    19630,
    16370,
    13720,
    11540,
    9744,
    8261,
    7030,
    6005,
    5147,
    4427,
    3820,
    3307,
    2872,
]
KOWALIK_Y = [0.1957, 0.1947, 0.1735, 0.16, 0.0844, 0.0627, 0.0456, 0.0342, 0.0323, 0.0235, 0.0246]
KOWALIK_U = np.array([4, 2, 1, 0.5, 0.25, 0.167, 0.125, 0.1, 0.0833, 0.0714, 0.0625])
OSBORNE_1 = [
    *(0.844, 0.908, 0.932, 0.936, 0.925, 0.908, 0.881, 0.85, 0.818, 0.784, 0.751, 0.718, 0.685, 0.658, 0.628),
    *(0.603, 0.58, 0.558, 0.538, 0.522, 0.506, 0.49, 0.478, 0.467, 0.457, 0.448, 0.438, 0.431, 0.424, 0.42),
    *(0.414, 0.411, 0.406),
]
OSBORNE_2 = [
    *(
        1.366,
        1.191,
        1.112,
        1.013,
        0.991,
        0.885,
        0.831,
        0.847,
        0.786,
        0.725,
        0.746,
        0.679,
        0.608,
        0.655,
        0.616,
    ),
    *(
        0.606,
        0.602,
        0.626,
        0.651,
        0.724,
        0.649,
        0.649,
        0.694,
        0.644,
        0.624,
        0.661,
        0.612,
        0.558,
        0.533,
        0.495,
    ),
    *(0.5, 0.423, 0.395, 0.375, 0.372, 0.391, 0.396, 0.405, 0.428, 0.429, 0.523, 0.562, 0.607, 0.653, 0.672),
    *(0.708, 0.633, 0.668, 0.645, 0.632, 0.591, 0.559, 0.597, 0.625, 0.739, 0.71, 0.729, 0.72, 0.636, 0.581),
    *(0.428, 0.292, 0.162, 0.098, 0.054),
]


def rosenbrock(x):
    return rows([10 * (x[1::2] - x[::2] ** 2), 1 - x[::2]])


def freudenstein_roth(x):
    return np.array([x[0] - 13 + ((5 - x[1]) * x[1] - 2) * x[1], x[0] - 29 + ((x[1] + 1) * x[1] - 14) * x[1]])


def powell_badly_scaled(x):
    return np.array([1e4 * x[0] * x[1] - 1, np.exp(-x).sum() - 1.0001])


def brown_badly_scaled(x):
    return np.array([x[0] - 1e6, x[1] - 2e-6, x[0] * x[1] - 2])


def beale(x):
    return np.array([1.5, 2.25, 2.625]) - x[0] * (1 - x[1] ** np.arange(1, 4))


def jennrich_sampson(x):
    i = np.arange(1, 11)
    return 2 + 2 * i - np.exp(i * x[0]) - np.exp(i * x[1])


def helical_valley(x):
    theta = np.arctan(x[1] / x[0]) / (2 * np.pi) + 0.5 * (x[0].real < 0)
    return np.array([10 * (x[2] - 10 * theta), 10 * (np.sqrt(x[0] ** 2 + x[1] ** 2) - 1), x[2]])


def bard(x):
    u = np.arange(1, 16)
    v = 16 - u
    return BARD - (x[0] + u / (v * x[1] + np.minimum(u, v) * x[2]))


def gaussian(x):
    t = (7 - np.arange(15)) / 2
    return x[0] * np.exp(-x[1] * (t - x[2]) ** 2 / 2) - GAUSSIAN


def meyer(x):
    t = 45 + 5 * np.arange(1, 17)
    return x[0] * np.exp(x[1] / (t + x[2])) - MEYER


def gulf(x):
    t = np.arange(1, 11) / 100
    gap = 25 + (-50 * np.log(t)) ** (2 / 3) - x[1]
    return np.exp(-((gap * np.sign(gap.real)) ** x[2]) / x[0]) - t


def box(x):
    t = np.arange(1, 11) / 10
    return np.exp(-t * x[0]) - np.exp(-t * x[1]) - x[2] * (np.exp(-t) - np.exp(-10 * t))


def powell_singular(x):
    a, b, c, d = x[::4], x[1::4], x[2::4], x[3::4]
    return rows([a + 10 * b, 5**0.5 * (c - d), (b - 2 * c) ** 2, 10**0.5 * (a - d) ** 2])


def wood(x):
    a, b, c, d = x
    tail = [10**0.5 * (b + d - 2), (b - d) / 10**0.5]
    return np.array([10 * (b - a**2), 1 - a, 90**0.5 * (d - c**2), 1 - c, *tail])


def kowalik_osborne(x):
    u = KOWALIK_U
    return KOWALIK_Y - x[0] * (u**2 + u * x[1]) / (u**2 + u * x[2] + x[3])


def brown_dennis(x):
    t = np.arange(1, 21) / 5
    return (x[0] + t * x[1] - np.exp(t)) ** 2 + (x[2] + x[3] * np.sin(t) - np.cos(t)) ** 2


def osborne_1(x):
    t = 10 * np.arange(33)
    return OSBORNE_1 - (x[0] + x[1] * np.exp(-t * x[3]) + x[2] * np.exp(-t * x[4]))


def biggs(x):
    t = np.arange(1, 14) / 10
    y = np.exp(-t) - 5 * np.exp(-10 * t) + 3 * np.exp(-4 * t)
    return x[2] * np.exp(-t * x[0]) - x[3] * np.exp(-t * x[1]) + x[5] * np.exp(-t * x[4]) - y


def osborne_2(x):
    t = np.arange(65) / 10
    bells = sum(x[k] * np.exp(-((t - x[k + 7]) ** 2) * x[k + 4]) for k in (1, 2, 3))
    return OSBORNE_2 - (x[0] * np.exp(-t * x[4]) + bells)


def watson(x):
    t, j = np.arange(1, 30)[:, None] / 29, np.arange(len(x))
    slope = t ** np.maximum(j - 1, 0) * j @ x
    return rows([slope - (t**j @ x) ** 2 - 1, [x[0], x[1] - x[0] ** 2 - 1]])


def penalty_1(x):
    return rows([1e-5**0.5 * (x - 1), [x @ x - 0.25]])


def penalty_2(x):
    n = len(x)
    i = np.arange(2, n + 1)
    e = np.exp(x / 10)
    pairs = e[1:] + e[:-1] - np.exp(i / 10) - np.exp((i - 1) / 10)
    sphere = (n - np.arange(n)) @ x**2 - 1
    return rows([[x[0] - 0.2], 1e-5**0.5 * pairs, 1e-5**0.5 * (e[1:] - np.exp(-0.1)), [sphere]])


def variably_dimensioned(x):
    s = np.arange(1, len(x) + 1) @ (x - 1)
    return rows([x - 1, [s, s**2]])


def trigonometric(x):
    n = len(x)
    return n - np.cos(x).sum() + np.arange(1, n + 1) * (1 - np.cos(x)) - np.sin(x)


def brown_almost_linear(x):
    return rows([x[:-1] + x.sum() - (len(x) + 1), [x.prod() - 1]])


def discrete_boundary_value(x):
    h = 1 / (len(x) + 1)
    t, padded = h * np.arange(1, len(x) + 1), np.pad(x, 1)
    return 2 * x - padded[:-2] - padded[2:] + h**2 * (x + t + 1) ** 3 / 2


def discrete_integral_equation(x):
    h = 1 / (len(x) + 1)
    t = h * np.arange(1, len(x) + 1)
    green = np.minimum(t, t[:, None]) * (1 - np.maximum(t, t[:, None]))
    return x + h * green @ (x + t + 1) ** 3 / 2


def broyden_tridiagonal(x):
    padded = np.pad(x, 1)
    return (3 - 2 * x) * x - padded[:-2] - 2 * padded[2:] + 1


def broyden_banded(x):
    i, j = np.indices((len(x), len(x)))
    band = (i != j) & (j >= i - 5) & (j <= i + 1)
    return x * (2 + 5 * x**2) + 1 - band @ (x * (1 + x))


def linear_full_rank(x, m=20):
    return np.pad(x, (0, m - len(x))) - 2 / m * x.sum() - 1


def linear_rank_1(x, m=20):
    return np.arange(1, m + 1) * (np.arange(1, len(x) + 1) @ x) - 1


def linear_rank_1_with_zeros(x, m=20):
    s = np.arange(2, len(x)) @ x[1:-1]
    return rows([[0 * s - 1], np.arange(1, m - 1) * s - 1, [0 * s - 1]])


def chebyquad(x):
    y, i = 2 * x - 1, np.arange(1, len(x) + 1)
    before, now, means = 1 + 0 * y, y, []
    for _ in i:
        means.append(now.mean())
        before, now = now, 2 * y * now - before
    return np.array(means) - np.where(i % 2 == 0, -1 / np.maximum(i**2 - 1, 1), 0)
