"""A run that is taken up from its checkpoint takes the steps of one that was not interrupted, bit by bit."""

import dataclasses

import grokflow as gf
import numpy as np
import pytest
from checkpoints import PROBLEMS, X, Y, own, same, soft, weights

FLOWS = [
    ("linear", {"max_step": 50.0}),
    ("linear", {"method": "BDF", "curvature": "dense"}),
    ("diagonal", {"curvature": "gram"}),
    ("diagonal", {"method": "Radau", "curvature": "dense"}),
    ("completion", {"curvature": "gram", "weight_decay": {"U": 1e-3, "V": 2e-3}}),
    ("tanh", {"curvature": "gram"}),
    ("tanh", {"method": "Radau", "curvature": "gram"}),
    ("tanh", {"curvature": "krylov"}),
    ("tanh", {"method": "Radau", "curvature": "krylov"}),
    ("tanh", {"curvature": "dense"}),
    ("tanh", {"method": "ROCK2", "t_end": 300.0}),
    ("mlp", {"curvature": "gram", "t_eval": None}),
    ("mlp", {"curvature": "krylov", "t_eval": np.linspace(0.0, 2e3, 7)}),
    ("relu", {}),
    ("relu", {"rtol": 1e-8, "weight_decay": 1e-2}),
    ("own", {"curvature": "gram"}),
    ("own", {"curvature": "krylov"}),
    ("soft", {"curvature": "dense"}),
    ("soft", {"curvature": "krylov"}),
]


def interrupted_at(step, run, path, problem, **resumed):
    """Run until some attempted step, in as many pieces as there are in `step`, then to the end."""
    first, *rest = step
    run(checkpoint=path, max_steps=first)
    given = {} if isinstance(problem, gf.models.model.Model) else {"problem": problem}
    for attempts in rest:
        gf.resume(path, **given, max_steps=attempts, **resumed)
    return gf.resume(path, **given, max_steps=10**6, **resumed)


@pytest.mark.parametrize("steps", [(1,), (2,), (7,), (23,), (5, 6, 40)], ids=str)
@pytest.mark.parametrize(("name", "options"), FLOWS, ids=lambda value: str(value))
def test_a_flow_goes_on_to_the_same_bits(name, options, steps, tmp_path):
    problem = PROBLEMS[name]()
    options = {"weight_decay": 1e-3, "t_end": 2e3, **options}
    end = options.pop("t_end")

    def run(**others):
        return gf.gradient_flow(problem, weights(name, problem), (0.0, end), **options, **others)

    whole = run()
    assert whole.stats["nsteps"] > 40
    same(interrupted_at(steps, run, tmp_path / "run.ckpt", problem), whole)


def test_a_flow_that_a_callback_stops_goes_on(tmp_path):
    problem = PROBLEMS["tanh"]()
    w0 = problem.initial_weights(seed=3)
    whole = gf.gradient_flow(problem, w0, (0.0, 2e3), weight_decay=1e-3)
    path = tmp_path / "run.ckpt"
    part = gf.gradient_flow(
        problem, w0, (0.0, 2e3), weight_decay=1e-3, checkpoint=path, callback=lambda t, w: t > 5.0
    )
    assert part.status == "interrupted"
    same(gf.resume(path, callback=None), whole)


def test_every_moment_is_a_good_one(tmp_path):
    problem = PROBLEMS["diagonal"]()
    w0 = problem.initial_weights(seed=1)

    def run(**others):
        return gf.gradient_flow(problem, w0, (0.0, 1e3), weight_decay=1e-2, **others)

    whole = run()
    attempts = whole.stats["nsteps"] + whole.stats["nrejected"] + whole.stats["nfailed"]
    for step in range(1, attempts):
        same(interrupted_at((step,), run, tmp_path / f"{step}.ckpt", problem), whole)


def test_functions_events_and_states_on_disk_go_on(tmp_path):
    problem = PROBLEMS["own"]()
    w0 = weights("own", problem)

    def size(t, w):
        return np.array([t, w @ w])

    def event(t, w):
        return t - 7.0

    functions = {"observe": {"size": size, "loss": "train_loss"}, "events": [event]}

    def run(states, **others):
        return gf.gradient_flow(
            problem, w0, (0.0, 1e4), weight_decay=1e-3, save_states=tmp_path / states, **functions, **others
        )

    whole = run("whole.npy")
    assert whole.t_events[0].size
    path = tmp_path / "run.ckpt"
    run("pieces.npy", checkpoint=path, max_steps=30)
    with pytest.raises(ValueError, match=r"problem held .*LeastSquares.*: give resume the same problem"):
        gf.resume(path, max_steps=10**6)
    with pytest.raises(ValueError, match=r"observe held .*size.*: give resume the same observe= again"):
        gf.resume(path, problem, max_steps=10**6)
    pieces = gf.resume(path, problem, max_steps=10**6, **functions)
    same(pieces, whole)
    assert np.load(tmp_path / "pieces.npy")["w"].tobytes() == whole.w.tobytes()


LIMITS = [("tanh", "gram"), ("tanh", "dense"), ("tanh", "krylov"), ("diagonal", "gram"), ("relu_fit", "gram")]


@pytest.mark.parametrize("step", [3, 20])
@pytest.mark.parametrize(("name", "curvature"), LIMITS)
def test_a_landing_goes_on_to_the_same_bits(name, curvature, step, tmp_path):
    problem = PROBLEMS[name]()
    w0 = weights(name, problem)

    def run(**others):
        return gf.limit_map(problem, w0, curvature=curvature, **others)

    same(interrupted_at((step,), run, tmp_path / "run.ckpt", problem), run())


@pytest.mark.parametrize("step", [1, 9])
@pytest.mark.parametrize(("name", "curvature"), LIMITS)
def test_a_drift_goes_on_to_the_same_bits(name, curvature, step, tmp_path):
    problem = PROBLEMS[name]()
    landed = gf.limit_map(problem, weights(name, problem)).w

    def run(**others):
        return gf.norm_flow(problem, landed, (0.0, 3.0), curvature=curvature, **others)

    same(interrupted_at((step,), run, tmp_path / "run.ckpt", problem), run())


@pytest.mark.parametrize("step", [4, 60])
def test_two_phases_go_on_to_the_same_bits(step, tmp_path):
    problem = PROBLEMS["tanh"]()
    w0 = problem.initial_weights(seed=3)

    def run(**others):
        return gf.two_phase(problem, w0, [1e-2, 1e-3], s_end=2.0, **others)

    same(interrupted_at((step,), run, tmp_path / "run.ckpt", problem), run())


class Stop(Exception):
    """Raised by a callback in the middle of a run."""


@pytest.mark.parametrize("calls", [5, 90, 150, 210])
def test_two_phases_go_on_from_any_of_their_runs(calls, tmp_path):
    problem = PROBLEMS["diagonal"]()
    w0 = problem.initial_weights(seed=3)
    whole = gf.two_phase(problem, w0, [1e-2, 1e-3], s_end=2.0)
    left = calls

    def stop(t, w):
        nonlocal left
        left -= 1
        if left == 0:
            raise Stop

    path = tmp_path / "run.ckpt"
    with pytest.raises(Stop):
        gf.two_phase(
            problem, w0, [1e-2, 1e-3], s_end=2.0, callback=stop, checkpoint=path, checkpoint_every=1e-9
        )
    same(gf.resume(path, callback=None), whole)


def test_a_run_that_has_ended_is_returned_at_once(tmp_path):
    problem = PROBLEMS["linear"]()
    calls = []
    sol = gf.gradient_flow(
        problem, np.ones(6), (0.0, 10.0), weight_decay=0.1, checkpoint=tmp_path / "run.ckpt"
    )
    same(gf.resume(tmp_path / "run.ckpt", callback=lambda t, w: calls.append(t)), sol)
    assert not calls


def test_another_problem_is_refused(tmp_path):
    problem = own()
    w0 = weights("own", problem)
    path = tmp_path / "run.ckpt"
    gf.gradient_flow(problem, w0, (0.0, 10.0), weight_decay=0.1, max_steps=3, checkpoint=path)
    with pytest.raises(ValueError, match="another problem: num_params is 3, not 9"):
        gf.resume(path, soft())
    other = dataclasses.replace(problem) if dataclasses.is_dataclass(problem) else None
    assert other is None
    changed = gf.LeastSquares(
        residual=lambda w: problem.residual(w) + 1e-6,
        jvp=problem.jvp,
        vjp=problem.vjp,
        num_params=9,
        num_residuals=4,
    )
    with pytest.raises(ValueError, match="another problem: the loss at the start differs by"):
        gf.resume(path, changed)


def trained(network, blocks):
    return gf.models.Trained(network, network.initial_weights(seed=1), train=blocks)


def torch_chain(kernel):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    chain = torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.Tanh(), torch.nn.Linear(5, 1)).double()
    return gf.from_torch(chain, torch.tensor(X), torch.tensor(Y[:, None]), kernel=kernel)


MADE_OF_OTHERS = {
    "trained": lambda: trained(PROBLEMS["tanh"](), ["V", "b"]),
    "trained with kinks": lambda: trained(PROBLEMS["relu"](), ["V", "b"]),
    "torch": lambda: torch_chain("auto"),
    "torch by hooks": lambda: torch_chain("hooks"),
}


@pytest.mark.parametrize("name", MADE_OF_OTHERS)
def test_problems_made_of_others_go_on_to_the_same_bits(name, tmp_path):
    """The user makes the same one again; torch is no part of a file, and it says so."""
    make, path = MADE_OF_OTHERS[name], tmp_path / "run.ckpt"
    start = make().initial_weights(**({"seed": 3} if "trained" in name else {}))
    whole = gf.gradient_flow(make(), start, (0.0, 30.0), weight_decay=1e-2)
    gf.gradient_flow(make(), start, (0.0, 30.0), weight_decay=1e-2, max_steps=20, checkpoint=path)
    if "torch" in name:
        with pytest.raises(
            ValueError, match="TorchModel, which a file cannot: give resume the same problem="
        ):
            gf.resume(path, max_steps=10_000)
    same(gf.resume(path, make(), max_steps=10_000), whole)
