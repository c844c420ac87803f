"""The integrators as methods of :func:`scipy.integrate.solve_ivp`, for any system dy/dt = fun(t, y).

>>> from scipy.integrate import solve_ivp
>>> sol = solve_ivp(lambda t, y: -1e3 * (y - t), (0, 1), [1.0], method=gf.scipy.BDF)

It needs SciPy 1.12 or later, and is imported when ``gf.scipy`` is first used.
"""

from grokflow.scipy.solvers import BDF, ROCK2, Radau, Tsit5

__all__ = ["BDF", "ROCK2", "Radau", "Tsit5"]
