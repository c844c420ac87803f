"""The peers: SciPy and SUNDIALS CVODE (through scikit-sundae), called as their manuals say."""

from __future__ import annotations

from scipy.integrate import BDF, Radau, odeint, solve_ivp
from sksundae.cvode import CVODE, CVODEJacTimes, CVODEPrecond

from benchmarks.flow import GaussNewton


def scipy_lsoda(problem, rtol, atol, flow):
    """``odeint`` is the LSODA without a Python loop over the steps, and so the faster of SciPy's two."""
    w, info = odeint(
        flow.rhs,
        problem.w0,
        problem.grid,
        Dfun=flow.jacobian,
        tfirst=True,
        rtol=rtol,
        atol=atol,
        mxstep=10**8,
        full_output=True,
    )
    if info["message"] != "Integration successful.":
        raise RuntimeError(info["message"])
    return w, int(info["nst"][-1]), {"LU": int(info["nje"][-1])}


def scipy_ivp(method, problem, rtol, atol, flow):
    steps = 0

    class Counted(method):
        def step(self):
            nonlocal steps
            steps += 1
            return super().step()

    sol = solve_ivp(
        flow.rhs,
        (0, problem.t_end),
        problem.w0,
        method=Counted,
        jac=flow.jacobian,
        t_eval=problem.grid,
        rtol=rtol,
        atol=atol,
    )
    if not sol.success:
        raise RuntimeError(sol.message)
    return sol.y.T, steps, {"LU": sol.nlu}


def scipy_bdf(problem, rtol, atol, flow):
    return scipy_ivp(BDF, problem, rtol, atol, flow)


def scipy_radau(problem, rtol, atol, flow):
    return scipy_ivp(Radau, problem, rtol, atol, flow)


def cvode(problem, rtol, atol, flow, **options):
    def rhs(t, w, out):
        out[:] = flow.rhs(t, w)

    solver = CVODE(rhs, rtol=rtol, atol=atol, max_num_steps=10**8, **options)
    sol = solver.solve(problem.grid, problem.w0)
    if not sol.success:
        raise RuntimeError(sol.message)
    return sol.y, flow.counts["times"], {}


def cvode_dense(problem, rtol, atol, flow):
    def jacobian(t, w, dw, out):
        out[:] = flow.jacobian(t, w)

    return cvode(problem, rtol, atol, flow, linsolver="lapackdense", jacfn=jacobian)


def cvode_gmres(problem, rtol, atol, flow, krylov_dim=40, **options):
    frozen = None

    def setup(t, w, dw):
        nonlocal frozen
        frozen = flow.point(w)

    def times(t, w, dw, v, out):
        out[:] = flow.jacobian_times(frozen, v)

    return cvode(
        problem,
        rtol,
        atol,
        flow,
        linsolver="gmres",
        krylov_dim=krylov_dim,
        jactimes=CVODEJacTimes(setup, times),
        **options,
    )


def cvode_gmres_gn(problem, rtol, atol, flow, always_renew=False):
    gauss_newton = GaussNewton(flow)

    def setup(t, w, dw, reuse, renewed, gamma):
        renewed[0] = always_renew or not reuse
        if renewed[0]:
            gauss_newton.linearize(w)
        gauss_newton.factor(gamma)

    def solve(t, w, dw, r, out, gamma, delta, side):
        out[:] = gauss_newton.solve(r)

    return cvode_gmres(problem, rtol, atol, flow, precond=CVODEPrecond(setup, solve))


def cvode_gmres_gn_new(problem, rtol, atol, flow):
    """CVODE is content with an old kernel for long, which costs it iterations where a kernel is cheap."""
    return cvode_gmres_gn(problem, rtol, atol, flow, always_renew=True)


def cvode_gmres_default(problem, rtol, atol, flow):
    """CVODE keeps 5 Krylov vectors unless it is told otherwise, too few for these problems."""
    return cvode_gmres(problem, rtol, atol, flow, krylov_dim=5)


PEERS = {
    "SciPy LSODA": scipy_lsoda,
    "SciPy BDF": scipy_bdf,
    "SciPy Radau": scipy_radau,
    "CVODE dense": cvode_dense,
    "CVODE GMRES(5)": cvode_gmres_default,
    "CVODE GMRES": cvode_gmres,
    "CVODE GMRES+GN": cvode_gmres_gn,
    "CVODE GMRES+GN(K)": cvode_gmres_gn_new,
}

#: d x d matrices alive at once: the Jacobian and its factors (real, and complex for Radau), CVODE's copies.
MATRICES = {"SciPy LSODA": 2, "SciPy BDF": 3, "SciPy Radau": 7, "CVODE dense": 4}


def memory_needed(solver, problem):
    """Bytes of the d x d matrices that the solver needs."""
    return 8 * problem.d**2 * MATRICES.get(solver, 0)
