"""The table of all public callables: good arguments, and for each argument the bad values."""

import atexit
import os
from functools import cache
from tempfile import TemporaryDirectory

import grokflow as gf
import numpy as np
from bad_values import NAN, array, choice, count, function, not_negative, number, pair, positive, vector

TRUTH = []  # any object is true or false
X, Y = np.array([[1.0, 2.0], [0.5, -1.0], [0.0, 3.0]]), np.array([1.0, 0.0, 2.0])
MODEL = gf.models.LinearRegression(X, Y, test=(X, Y))
DEEP = gf.models.MLP(X, Y, (2,))
OWN = gf.LeastSquares(residual=lambda w: w - 1.0, jacobian=lambda w: np.eye(2), num_params=2, num_residuals=2)
W = np.array([1.0, -1.0])
OUTPUTS = {
    "outputs": lambda w: w,
    "jvp": lambda w, v: v,
    "vjp": lambda w, u: u,
    "num_params": 2,
    "shape": (2,),
    "targets": W,
}
OUTPUT_MODEL = gf.OutputModel(**OUTPUTS, test=(lambda w: w, W))
STARTED = gf.Integrator(MODEL, W, (0, 10), weight_decay=0.1)
GRADIENT_ONLY = gf.Objective(loss=lambda w: w @ w, gradient=lambda w: 2 * w, num_params=2)


@cache
def checkpoint():
    folder = TemporaryDirectory()
    atexit.register(folder.cleanup)
    path = f"{folder.name}/run.ckpt"
    gf.gradient_flow(MODEL, W, (0, 10), weight_decay=0.1, checkpoint=path)
    return path


@cache
def sol():
    return gf.gradient_flow(MODEL, W, (0, 10), weight_decay=0.1)


@cache
def drift():
    return gf.norm_flow(WIDE, [2.0, 0.0, 0.0], (0, 1))


@cache
def phases():
    return gf.two_phase(WIDE, np.ones(3), [1e-2, 1e-3])


WIDE = gf.models.LinearRegression([[1.0, 1.0, 0.0]], [2.0], test=([[1.0, 1.0, 0.0]], [2.0]))


def problem(name="problem"):
    return [
        (None, TypeError, f"{name} is None"),
        ("model", TypeError, f"{name} is 'model'"),
        (X, TypeError, f"{name} is array"),
    ]


def trajectory(name="sol"):
    return [
        (None, TypeError, f"{name} is None; it must be a Solution"),
        ({}, TypeError, f"{name} is {{}}; it must be a Solution"),
    ]


LOSS = [
    ("hinge", ValueError, "loss is 'hinge'; choose from 'squares', 'mse', 'cross_entropy'"),
    (None, TypeError, "loss is None; choose from"),
    (gf.losses.Squares, TypeError, "or give a grokflow.losses.Loss"),
]
ENDLESS: list = []
ENDLESS.append(ENDLESS)
SEED = [
    (ENDLESS, (TypeError, ValueError), "seed is [[...]]"),
    (-1, ValueError, "seed is -1"),
    ("one", TypeError, "seed is 'one'"),
    (1.5, TypeError, "seed is 1.5"),
]
RTOL = positive("rtol")
METHOD = [
    *choice("method", "BDF"),
    ("LSODA", ValueError, "method is 'LSODA'; choose from 'auto', 'BDF'"),
    (gf.Tsit5(), ValueError, "method is Tsit5()"),
]
CURVATURE = [*choice("curvature", "gram"), (gf.BDF(), ValueError, "curvature is BDF(max_order=5)")]
T_EVAL = [
    ("linear", ValueError, "t_eval is 'linear'; it must be 'log', None or an array"),
    ([0.5, 0.1], ValueError, "t_eval is not sorted: t_eval[0] = 0.5 > t_eval[1] = 0.1"),
    ([0.0, NAN], ValueError, "t_eval[1] is nan"),
    ([[0.0, 1.0]], ValueError, "t_eval has shape (1, 2)"),
    (["a"], TypeError, "t_eval is dtype <U1"),
    ([[0.0], [0.0, 1.0]], ValueError, "t_eval is ragged"),
    ([-1.0], ValueError, "t_eval holds -1, which is outside"),
]
OBSERVE = [
    ("norm", TypeError, "observe is 'norm'; it must be a list of names or a mapping"),
    (["nothing"], ValueError, "unknown observable 'nothing'; this problem offers"),
    ({"a": 3}, TypeError, "observe['a'] is 3; it must be a name or a function"),
    ({1: "norm"}, TypeError, "observe names 1; names must be strings"),
    (5, TypeError, "observe is 5"),
    ([5], TypeError, "observe names 5; names must be strings"),
    ([["norm"]], TypeError, "observe names ['norm']; names must be strings"),
]
SAVE_STATES = [
    ("states.csv", ValueError, "save_states is 'states.csv'; a file for states must end in .npy"),
    ("nowhere/states.npy", FileNotFoundError, "save_states is 'nowhere/states.npy', but"),
    ("a\0.npy", ValueError, "save_states is 'a\\x00.npy', which names no file"),
    (None, ValueError, "save_states is None; it must be 'auto', True, False or a path"),
    (3, ValueError, "save_states is 3"),
]
EVENTS = [
    (3, TypeError, "events is 3; it must be a function f(t, w) or a list"),
    ([None], TypeError, "events[0] is None; it must be a function"),
    ("norm", TypeError, "events"),
]
CALLBACK = function("callback", none=True)
REGULARIZER = [
    ("l2", ValueError, "regularizer is 'l2'; choose from 'norm', 'hessian_trace', 'l1'"),
    ({"nothing": 1.0}, ValueError, "regularizer names 'nothing'; this problem has the blocks"),
    ({"w": -1.0}, ValueError, "regularizer['w'] is -1.0; it must not be negative"),
    (None, ValueError, "regularizer is None"),
]
DECAY = [
    *not_negative("weight_decay"),
    (None, TypeError, "weight_decay is None"),
    ({"nothing": 1.0}, ValueError, "weight_decay names 'nothing'; this problem has the blocks"),
    ({}, ValueError, "weight_decay names no rate for 'w'"),
    ({"w": NAN}, ValueError, "weight_decay['w'] is nan"),
    ({"w": "0.1"}, TypeError, "weight_decay['w'] is '0.1'"),
]
KEPT = {
    "checkpoint": [
        (3, TypeError, "checkpoint is 3; it must be a path"),
        ("", ValueError, "checkpoint is '', which names no file"),
        ("a\0b", ValueError, "checkpoint is 'a\\x00b', which names no file"),
        (".", IsADirectoryError, "checkpoint is '.', which is a folder"),
        ("nowhere/run.ckpt", FileNotFoundError, "checkpoint is 'nowhere/run.ckpt', but"),
        (os.devnull, FileExistsError, "there is a file already: resume its run, or remove it"),
    ],
    "checkpoint_every": [
        (0, ValueError, "checkpoint_every is 0"),
        (None, TypeError, "checkpoint_every is None"),
        ("soon", ValueError, "checkpoint_every is 'soon'; it must be seconds, or such as '30s'"),
        ("2 weeks", ValueError, "checkpoint_every is '2 weeks'"),
    ],
    "checkpoint_errors": choice("checkpoint_errors", "warn"),
}
RUN = {
    **KEPT,
    "rtol": RTOL,
    "t_eval": T_EVAL,
    "observe": OBSERVE,
    "save_states": SAVE_STATES,
    "max_step": positive("max_step", none=True, inf=True),
    "max_steps": count("max_steps", none=True),
    "max_time": positive("max_time", none=True, inf=True),
    "callback": CALLBACK,
    "progress": TRUTH,
}
FLOW = {
    **RUN,
    "problem": problem(),
    "w0": vector("w0", 2),
    "t_span": pair("t_span"),
    "weight_decay": DECAY,
    "regularizer": REGULARIZER,
    "method": METHOD,
    "curvature": CURVATURE,
    "atol": [
        *positive("atol")[:2],
        (0, ValueError, "atol is 0"),
        ([1e-6, 0.0], ValueError, "atol[1] is 0.0"),
        ([1.0] * 3, ValueError, "atol has shape (3,)"),
        ([[1.0], [1.0, 2.0]], ValueError, "atol is ragged"),
    ],
    "events": EVENTS,
    "first_step": [
        *positive("first_step", none=True, inf=True),
        (20.0, ValueError, "first_step is 20, longer than t_span"),
    ],
}
MODEL_X = [
    *array("X", X),
    (np.ones(3), ValueError, "X has 1 dimension"),
    (np.ones((0, 2)), ValueError, "X has shape (0, 2)"),
    (np.ones((2, 2)), ValueError, "y has shape (3,)"),
]
MODEL_Y = [*array("y", Y), (np.ones(2), ValueError, "y has shape (2,)")]
TEST = [
    (X, ValueError, "test must be a tuple (X, y)"),
    ((X,), ValueError, "test must be a tuple (X, y)"),
    ((X[:, :1], Y), ValueError, "test X has 1 columns; the training inputs have 2"),
    ((X, Y[:2]), ValueError, "test y has shape (2,)"),
    ((X, [NAN] * 3), ValueError, "test y[0] is nan"),
]
SCALE = [*positive("scale")[1:], ("median", ValueError, "scale is 'median'; choose from 'mean', 'sum'")]
ACTIVATION = {
    "activation": choice("activation", "tanh"),
    "negative_slope": [
        (0.1, ValueError, "negative_slope is 0.1, and activation 'tanh' has no such parameter")
    ],
    "smoothing": [(0.1, ValueError, "smoothing is 0.1, and activation 'tanh' has no such parameter")],
    "coefficients": [
        ([1.0], ValueError, "coefficients is [1.0], and activation 'tanh' has no such parameter")
    ],
}
MATRICES = np.arange(12.0).reshape(3, 2, 2)
OUTPUT_SCALE = [
    *positive("output_scale")[1:],
    ("large", ValueError, "output_scale is 'large'; choose from 'mean-field', 'ntk'"),
]
WIDTHS = [
    (3, TypeError, "widths is 3"),
    ([], ValueError, "widths"),
    ([0], ValueError, "widths[0] is 0"),
    ([2.5], TypeError, "widths[0] is 2.5"),
    ("33", TypeError, "widths"),
    (b"33", TypeError, "widths is b'33'"),
    (np.array(3), TypeError, "widths is array(3)"),
    ([2**70], ValueError, "GiB"),
]
SHAPE = [
    (3, ValueError, "shape is 3; it must be a pair"),
    ((1, 2, 3), ValueError, "shape is (1, 2, 3)"),
    ((0, 2), ValueError, "shape[0] is 0"),
    ((2, 2.5), TypeError, "shape[1] is 2.5"),
    ((2**62, 2**62), ValueError, "GiB"),
]
TEST_ENTRIES = [
    (3, ValueError, "test must be a tuple (rows, cols, values)"),
    (([5], [0], [1.0]), ValueError, "test rows[0] is 5"),
    (([0], [0], [NAN]), ValueError, "test values[0] is nan"),
]
MEASURED = [
    (None, TypeError, "A is None"),
    (np.where(MATRICES == 0, NAN, MATRICES), ValueError, "A[0, 0, 0] is nan"),
    (np.ones(3), ValueError, "A has shape (3,)"),
    (MATRICES + 1j, TypeError, "A is dtype complex128"),
    (np.ones((2, 2, 2)), ValueError, "y has shape (3,)"),
]
TEST_MEASURED = [
    (3, ValueError, "test must be a tuple (A, y)"),
    ((np.ones((1, 3, 3)), [1.0]), ValueError, "test A has matrices of shape (3, 3)"),
]
NEGATIVE = [
    (-1, ValueError, "negative is -1; it must be 0 or more"),
    (1.5, TypeError, "negative is 1.5; it must be an integer"),
]
ROWS = [
    ([0.5], TypeError, "rows is dtype float64; indices must be integers"),
    ([-1], ValueError, "rows[0] is -1; indices must lie in 0 <= i < 2"),
    ([2], ValueError, "rows[0] is 2"),
    ([[0]], ValueError, "rows has shape (1, 1)"),
    ([], ValueError, "rows"),
    (None, TypeError, "rows is None"),
    ([0, 0], ValueError, "rows"),
]
FUNCTIONS = {"residual": lambda w: w, "jvp": lambda w, v: v, "vjp": lambda w, u: u}

# callable, good arguments, and for each argument the bad values
CALLABLES = {
    "gradient_flow": (
        gf.gradient_flow,
        {"problem": MODEL, "w0": W, "t_span": (0, 10), "weight_decay": 0.1},
        FLOW,
    ),
    "Integrator": (
        gf.Integrator,
        {"problem": MODEL, "w0": W, "t_span": (0, 10), "weight_decay": 0.1},
        {name: values for name, values in FLOW.items() if name not in {"progress", *KEPT}},
    ),
    "limit_map": (
        gf.limit_map,
        {"problem": MODEL, "w0": W},
        {
            **RUN,
            "problem": problem(),
            "w0": vector("w0", 2),
            "method": METHOD,
            "curvature": CURVATURE,
            "atol": positive("atol", none=True),
            "rtol_rank": positive("rtol_rank", none=True),
            "t_max": [*positive("t_max", inf=True), (W, TypeError, "t_max is array")],
        },
    ),
    "norm_flow": (
        gf.norm_flow,
        {"problem": WIDE, "w": [2.0, 0.0, 0.0], "s_span": (0, 1)},
        {
            **RUN,
            "problem": problem(),
            "w": [*vector("w", 3), ([0.0, 0.0, 0.0], ValueError, "manifold")],
            "s_span": pair("s_span"),
            "regularizer": REGULARIZER,
            "on_rank_change": choice("on_rank_change", "record"),
            "kkt_tol": positive("kkt_tol", none=True),
            "rtol_rank": positive("rtol_rank", none=True),
            "method": [*choice("method", "Tsit5"), (gf.BDF(), ValueError, "method is BDF(max_order=5)")],
            "curvature": CURVATURE,
            "atol": [
                (0, ValueError, "atol is 0"),
                ([1.0], ValueError, "atol has shape (1,); it must be (3,)"),
                ([1.0, -1.0, 1.0], ValueError, "atol[1] is -1.0"),
            ],
            "events": EVENTS,
            "first_step": positive("first_step", none=True, inf=True),
        },
    ),
    "two_phase": (
        gf.two_phase,
        {"problem": WIDE, "w0": np.ones(3)},
        {
            **KEPT,
            **{
                name: RUN[name]
                for name in ("rtol", "observe", "max_steps", "max_time", "callback", "progress")
            },
            "problem": problem(),
            "w0": vector("w0", 3),
            "weight_decay": [
                (0.1, TypeError, "weight_decay is 0.1; it must be a list of rates"),
                ([], ValueError, "weight_decay is empty"),
                ([0.0], ValueError, "weight_decay[0] is 0.0; a rate must be positive"),
                ([0.1, 0.1], ValueError, "weight_decay holds the rate 0.1 twice"),
                ([0.1, NAN], ValueError, "weight_decay[1] is nan"),
                (["0.1"], TypeError, "weight_decay[0] is '0.1'"),
                ("0.1", TypeError, "weight_decay is '0.1'"),
                (b"0", TypeError, "weight_decay is b'0'"),
                (np.array(0.1), TypeError, "weight_decay is array(0.1)"),
            ],
            "regularizer": [*REGULARIZER, (W, ValueError, "regularizer is array")],
            "s_end": positive("s_end"),
            "eps": [*positive("eps"), (20.0, ValueError, "eps is 20; it must be smaller than s_end")],
            "kappa": positive("kappa"),
            "method": METHOD,
            "curvature": CURVATURE,
            "atol": positive("atol", none=True),
        },
    ),
    "tangent_projection": (
        gf.tangent_projection,
        {"problem": WIDE, "w": [2.0, 0.0, 0.0], "v": np.ones(3)},
        {
            "problem": problem(),
            "w": vector("w", 3),
            "v": vector("v", 3),
            "curvature": CURVATURE,
            "rtol_rank": positive("rtol_rank", none=True),
            "land": [("yes", TypeError, "land is 'yes'; it must be True or False")],
        },
    ),
    "minimum_norm": (
        gf.minimum_norm,
        {"problem": WIDE, "w": [2.0, 0.0, 0.0]},
        {
            "problem": [*problem(), (GRADIENT_ONLY, TypeError, "has no residuals")],
            "w": [*vector("w", 3), ([9.0, 0.0, 0.0], ValueError, "w is not on the manifold of minimisers")],
            "regularizer": [
                (None, ValueError, "regularizer is None"),
                ({"nothing": 1.0}, ValueError, "regularizer names 'nothing'"),
            ],
            "tol": positive("tol"),
            "max_steps": count("max_steps"),
            "rtol_rank": positive("rtol_rank", none=True),
        },
    ),
    "first_order_residual": (
        gf.first_order_residual,
        {"problem": WIDE, "w": [2.0, 0.0, 0.0], "weight_decay": 0.1},
        {
            "problem": [*problem(), (GRADIENT_ONLY, (TypeError, ValueError), "has shape")],
            "w": vector("w", 3),
            "weight_decay": DECAY,
        },
    ),
    "horizon": (
        gf.horizon,
        {"sol": drift, "weight_decay": 0.1},
        {
            "sol": [*trajectory(), (sol, ValueError, "sol has no monitor: it must be a drift")],
            "weight_decay": positive("weight_decay"),
            "kappa": positive("kappa"),
        },
    ),
    "clocks": (
        gf.clocks,
        {"sol": sol},
        {
            "sol": [*trajectory(), (drift, ValueError, "sol is a drift")],
            "eps": [*number("eps"), (0.0, ValueError, "eps is 0"), (1.0, ValueError, "eps is 1")],
        },
    ),
    "crossing_time": (
        lambda sol=None, name="norm", **level: gf.crossing_time(sol, name, **level or {"below": 1.0}),
        {"sol": sol},
        {
            "sol": trajectory(),
            "name": [
                ("nothing", KeyError, "'nothing' was not observed"),
                (3, KeyError, "3 was not observed"),
                (["norm"], KeyError, "['norm'] was not observed"),
            ],
            "below": [*positive("below", none=True), (None, ValueError, "below is None and above is None")],
            "above": [*positive("above", none=True), (None, ValueError, "below is None and above is None")],
        },
    ),
    "plot_flows": (
        lambda flows=None, **options: gf.plot_flows(FLOWS() if flows is None else flows, **options),
        {},
        {
            "flows": [
                ({}, ValueError, "flows is empty"),
                (3, TypeError, "flows is 3; it must be a mapping"),
                ({1.0: 3}, TypeError, "sol is 3; it must be a Solution"),
            ],
            "value": [("nothing", KeyError, "'nothing' was not observed")],
            "beside": [("nothing", KeyError, "'nothing' was not observed")],
            "symbol": [(3, TypeError, "symbol is 3; it must be a text")],
            "yscale": choice("yscale", "auto"),
            "ax": [(3, TypeError, "ax is 3; it must be axes of matplotlib")],
        },
    ),
    "plot_law": (
        gf.plot_law,
        {"x": [1.0, 2.0], "times": {"t": [1.0, 2.0]}},
        {
            "x": [
                *array("x", np.ones(2)),
                ([0.0, 1.0], ValueError, "x has numbers that are not positive"),
                ([1.0], ValueError, "t has shape (2,); that of x is (1,)"),
            ],
            "times": [
                (None, TypeError, "times is None; it must be a mapping"),
                ({}, ValueError, "times is empty"),
                ({"t": [1.0]}, ValueError, "t has shape (1,); that of x is (2,)"),
                ({"t": [0.0, 1.0]}, ValueError, "t has numbers that are not positive"),
                ({"t": ["a", "b"]}, TypeError, "t is dtype <U1; it must hold real numbers"),
            ],
            "xlabel": [(3, TypeError, "xlabel is 3; it must be a text")],
            "ylabel": [(3, TypeError, "ylabel is 3; it must be a text")],
            "y": choice("y", "log"),
            "ax": [(3, TypeError, "ax is 3; it must be axes of matplotlib")],
        },
    ),
    "kernel_alignment": (
        gf.observables.kernel_alignment,
        {"problem": MODEL, "y": Y},
        {"problem": problem(), "y": vector("y", 3)},
    ),
    "kernel_similarity": (
        gf.observables.kernel_similarity,
        {"problem": MODEL, "w0": W},
        {"problem": problem(), "w0": vector("w", 2)},
    ),
    "sharpness": (
        gf.observables.sharpness,
        {"problem": MODEL},
        {
            "problem": problem(),
            "rtol": positive("rtol"),
            "seed": [(-1, ValueError, "seed is -1"), ("one", TypeError, "seed is 'one'")],
        },
    ),
    "tangent_norm": (gf.observables.tangent_norm, {"problem": MODEL}, {"problem": problem()}),
    "update_cosine": (
        gf.observables.update_cosine,
        {"problem": MODEL, "weight_decay": 0.1},
        {"problem": problem(), "weight_decay": positive("weight_decay")},
    ),
    "effective_rank": (
        gf.observables.effective_rank,
        {"matrix": np.diag},
        {"matrix": function("matrix")},
    ),
    "active_neurons": (
        gf.observables.active_neurons,
        {"problem": gf.models.TwoLayerNetwork(X, Y, width=2)},
        {"problem": [*problem(), (MODEL, TypeError, "it must be a TwoLayerNetwork")]},
    ),
    "fourier_power": (
        gf.observables.fourier_power,
        {"weights": np.diag, "p": 2},
        {"weights": function("weights"), "p": count("p")},
    ),
    "check_problem": (
        gf.check_problem,
        {"problem": OWN},
        {"problem": problem(), "w": vector("w", 2)[1:], "seed": SEED},
    ),
    "modular_addition": (
        gf.modular_addition,
        {"p": 5},
        {
            "p": [*count("p", huge="GiB"), (1, ValueError, "p is 1; it must be at least 2")],
            "fraction": [
                *positive("fraction"),
                (1.0, ValueError, "fraction is 1.0, which gives 25 of 25"),
                (1e308, ValueError, "fraction is 1e+308, which gives 25 of 25"),
            ],
            "seed": SEED,
        },
    ),
    "resume": (
        gf.resume,
        {"path": checkpoint},
        {
            "path": [
                (3, TypeError, "path is 3; it must be a path"),
                ("nothing.ckpt", FileNotFoundError, "nothing.ckpt"),
                (__file__, gf.FileError, "is no checkpoint of grokflow"),
            ],
            "problem": [
                (3, TypeError, "problem is 3"),
                (WIDE, ValueError, "the checkpoint is of another problem: num_params is 3, not 2"),
            ],
            "changes": [(3, ValueError, "changes cannot be changed in a run of gradient_flow")],
        },
    ),
    "set_num_threads": (gf.set_num_threads, {}, {"n": count("the number of threads")}),
    "get_num_threads": (gf.get_num_threads, {}, {}),
    "set_memory_limit": (gf.set_memory_limit, {}, {"limit": positive("limit", none=True)}),
    "get_memory_limit": (gf.get_memory_limit, {}, {}),
    "get_include": (gf.get_include, {}, {}),
    "get_cmake_dir": (gf.get_cmake_dir, {}, {}),
    "BDF": (
        gf.BDF,
        {},
        {
            "max_order": [
                (0, ValueError, "max_order is 0"),
                (6, ValueError, "max_order is 6"),
                (2.5, ValueError, "max_order is 2.5; it must be an integer from 1 to 5"),
                ("2", ValueError, "max_order is '2'"),
                (W, ValueError, "max_order is array"),
            ]
        },
    ),
    "Radau": (gf.Radau, {}, {}),
    "ROCK2": (gf.ROCK2, {}, {}),
    "Exponential": (gf.Exponential, {}, {}),
    "Tsit5": (gf.Tsit5, {}, {}),
    **{
        kind.__name__: (kind, {}, {"memory_budget": positive("memory_budget")})
        for kind in (gf.Auto, gf.Dense, gf.Gram)
    },
    "Krylov": (gf.Krylov, {}, {"rank": count("rank", none=True), "memory_budget": positive("memory_budget")}),
    "L1": (
        gf.L1,
        {},
        {
            "weights": [
                *not_negative("weights"),
                ({"w": -1.0}, ValueError, "weights['w'] is -1.0; it must not"),
            ]
        },
    ),
    "Regularizer": (
        gf.Regularizer,
        {"value": np.sum, "gradient": np.ones_like},
        {"value": function("value"), "gradient": function("gradient")},
    ),
    "Objective": (
        gf.Objective,
        {"loss": np.sum, "gradient": np.ones_like, "num_params": 2},
        {
            "loss": function("loss"),
            "gradient": function("gradient"),
            "num_params": count("num_params", huge="GiB"),
            "hvp": function("hvp", none=True),
            "solve": function("solve", none=True),
            "hessian": function("hessian", none=True),
            "parameters": [
                (["u"], TypeError, "parameters is ['u']; it must map names to shapes"),
                ({"u": 3}, ValueError, "parameters hold 3 entries; num_params is 2"),
                ({"u": (0, 2)}, ValueError, "an extent of parameters['u'] is 0"),
                ({"u": "2"}, TypeError, "an extent of parameters['u'] is '2'"),
            ],
        },
    ),
    "LeastSquares": (
        gf.LeastSquares,
        {**FUNCTIONS, "num_params": 2, "num_residuals": 2},
        {
            **{name: function(name) for name in FUNCTIONS},
            **{name: function(name, none=True) for name in ("jacobian", "gram", "hvp")},
            "num_params": count("num_params", huge="GiB"),
            "num_residuals": count("num_residuals", huge="GiB"),
            "scale": SCALE,
            "parameters": [({"u": 3}, ValueError, "parameters hold 3 entries; num_params is 2")],
        },
    ),
    "OutputModel": (
        gf.OutputModel,
        OUTPUTS,
        {
            **{name: function(name) for name in ("outputs", "jvp", "vjp")},
            **{name: function(name, none=True) for name in ("gram", "hvp", "solve", "linearize")},
            "num_params": count("num_params", huge="GiB"),
            "shape": [
                (3, ValueError, "shape is 3; it must be (n,) or (n, k)"),
                ("3", ValueError, "shape is '3'"),
                ((2, 0), ValueError, "shape[1] is 0"),
                ((2, 1, 1), ValueError, "shape is (2, 1, 1)"),
            ],
            "targets": array("targets", np.ones(2)),
            "loss": LOSS,
            "test": [
                (3, ValueError, "test must be a tuple (outputs, targets)"),
                ((3, [1.0, 2.0]), TypeError, "the function of test is 3; it must be a function"),
                ((lambda w: w, 3.0), TypeError, "test targets is 3.0"),
                ((lambda w: w, [1.0, NAN]), ValueError, "test targets[1] is nan"),
            ],
            "scale": SCALE,
            "parameters": [({"u": 3}, ValueError, "parameters hold 3 entries; num_params is 2")],
        },
    ),
    "OutputModel.outputs": (OUTPUT_MODEL.outputs, {"w": W}, {"w": vector("w", 2)}),
    "OutputModel.test_outputs": (OUTPUT_MODEL.test_outputs, {"w": W}, {"w": vector("w", 2)}),
    "Squares": (gf.losses.Squares, {}, {}),
    "Logistic": (gf.losses.Logistic, {}, {}),
    "Huber": (gf.losses.Huber, {}, {"delta": positive("delta")}),
    "CrossEntropy": (
        gf.losses.CrossEntropy,
        {},
        {
            "label_smoothing": [
                *number("label_smoothing"),
                (-0.1, ValueError, "label_smoothing is -0.1; it must lie in 0 <= s < 1"),
                (1.0, ValueError, "label_smoothing is 1; it must lie in 0 <= s < 1"),
            ]
        },
    ),
    **{
        kind.__name__: (
            kind,
            {"X": X, "y": Y},
            {"X": MODEL_X, "y": MODEL_Y, "loss": LOSS, "test": TEST, "scale": SCALE},
        )
        for kind in (gf.models.LinearRegression, gf.models.DiagonalLinearNetwork)
    },
    "TwoLayerNetwork": (
        gf.models.TwoLayerNetwork,
        {"X": X, "y": Y, "width": 3},
        {
            **ACTIVATION,
            "X": MODEL_X,
            "y": MODEL_Y,
            "width": count("width", huge="GiB"),
            "output_bias": TRUTH,
            "bias": TRUTH,
            "output_scale": OUTPUT_SCALE,
            "loss": LOSS,
            "test": TEST,
            "scale": SCALE,
        },
    ),
    "MLP": (
        gf.models.MLP,
        {"X": X, "y": Y, "widths": (3, 3)},
        {
            **ACTIVATION,
            "X": MODEL_X,
            "y": MODEL_Y,
            "widths": WIDTHS,
            "bias": [
                (3, TypeError, "bias is 3; it must be True or False"),
                ([True], ValueError, "bias has 1 entries; there are 3 layers, the last one included"),
                ([True, 1, True], TypeError, "bias[1] is 1"),
            ],
            "loss": LOSS,
            "test": TEST,
            "scale": SCALE,
        },
    ),
    "MatrixCompletion": (
        gf.models.MatrixCompletion,
        {"rows": [0], "cols": [1], "values": [1.0], "shape": (2, 2), "width": 1},
        {
            "rows": ROWS,
            "cols": [(bad, error, words.replace("rows", "cols")) for bad, error, words in ROWS],
            "values": vector("values", 1),
            "shape": SHAPE,
            "width": count("width", huge="GiB"),
            "test": TEST_ENTRIES,
            "scale": SCALE,
        },
    ),
    "DeepMatrixCompletion": (
        gf.models.DeepMatrixCompletion,
        {"rows": [0], "cols": [1], "values": [1.0], "shape": (2, 2), "widths": (2, 3)},
        {
            "rows": ROWS,
            "cols": [(bad, error, words.replace("rows", "cols")) for bad, error, words in ROWS],
            "values": vector("values", 1),
            "shape": SHAPE,
            "widths": WIDTHS,
            "test": TEST_ENTRIES,
            "scale": SCALE,
        },
    ),
    "SymmetricCompletion": (
        gf.models.SymmetricCompletion,
        {"rows": [0], "cols": [1], "values": [1.0], "size": 2, "width": 1},
        {
            "rows": ROWS,
            "cols": [(bad, error, words.replace("rows", "cols")) for bad, error, words in ROWS],
            "values": vector("values", 1),
            "size": count("size", huge="GiB"),
            "width": count("width", huge="GiB"),
            "negative": NEGATIVE,
            "test": TEST_ENTRIES,
            "scale": SCALE,
        },
    ),
    "MatrixSensing": (
        gf.models.MatrixSensing,
        {"A": MATRICES, "y": Y, "width": 1},
        {"A": MEASURED, "y": vector("y", 3), "width": count("width", huge="GiB"), "test": TEST_MEASURED}
        | {"scale": SCALE},
    ),
    "DeepMatrixSensing": (
        gf.models.DeepMatrixSensing,
        {"A": MATRICES, "y": Y, "widths": [2]},
        {"A": MEASURED, "y": vector("y", 3), "widths": WIDTHS, "test": TEST_MEASURED, "scale": SCALE},
    ),
    "SymmetricSensing": (
        gf.models.SymmetricSensing,
        {"A": MATRICES, "y": Y, "width": 1},
        {
            "A": [
                *MEASURED,
                (np.ones((3, 2, 1)), ValueError, "those that measure a symmetric one are square"),
            ],
            "y": vector("y", 3),
            "width": count("width", huge="GiB"),
            "negative": NEGATIVE,
            "test": TEST_MEASURED,
            "scale": SCALE,
        },
    ),
    "DeepDiagonalNetwork": (
        gf.models.DeepDiagonalNetwork,
        {"X": X, "y": Y, "depth": 3},
        {
            "X": MODEL_X,
            "y": MODEL_Y,
            "depth": count("depth", least=2),
            "form": choice("form", "difference"),
            "loss": LOSS,
            "test": TEST,
            "scale": SCALE,
        },
    ),
    "DeepLinearNetwork": (
        gf.models.DeepLinearNetwork,
        {"X": X, "y": Y, "widths": (3, 3)},
        {"X": MODEL_X, "y": MODEL_Y, "widths": WIDTHS, "loss": LOSS, "test": TEST, "scale": SCALE},
    ),
    "Trained": (
        gf.models.Trained,
        {"problem": DEEP, "w": np.ones(DEEP.num_params), "train": ["W1"]},
        {
            "problem": problem(),
            "w": vector("w", DEEP.num_params),
            "train": [
                ("W1", TypeError, "train is 'W1'; it must be a list of names of blocks"),
                (3, TypeError, "train is 3"),
                (["W9"], ValueError, "train names 'W9'; this problem has the blocks"),
                ([], ValueError, "nothing is trained"),
            ],
            "adapt": [
                (["W2"], TypeError, "adapt is ['W2']; it must map names of blocks to ranks"),
                ({"W9": 1}, ValueError, "adapt names 'W9'"),
                ({"W1": 1}, ValueError, "'W1' is both in train and in adapt"),
                ({"b1": 1}, ValueError, "an adapter is of a matrix"),
                ({"W2": 0}, ValueError, "adapt['W2'] is 0; it must be at least 1"),
                ({"W2": 1.5}, TypeError, "adapt['W2'] is 1.5"),
            ],
        },
    ),
    "Centred": (
        gf.models.Centred,
        {"problem": MODEL, "w0": W},
        {
            "problem": [
                (3, TypeError, "problem is 3; it must be a model of samples"),
                (OWN, TypeError, "LeastSquares"),
            ],
            "w0": vector("w0", 2),
            "alpha": positive("alpha"),
        },
    ),
    "RandomFeatures": (
        gf.models.RandomFeatures,
        {"X": X, "y": Y, "width": 3, "activation": "tanh"},
        {
            **ACTIVATION,
            "X": MODEL_X,
            "y": MODEL_Y,
            "width": count("width", huge="GiB"),
            "seed": SEED,
            "output_scale": OUTPUT_SCALE,
            "loss": LOSS,
            "test": TEST,
            "scale": SCALE,
        },
    ),
    **{
        f"Problem.{name}": (getattr(MODEL, name), {"w": W}, {"w": vector("w", 2)})
        for name in ["loss", "gradient", "residual", "jacobian", "gram", "hessian", "unflatten"]
    },
    **{
        f"Problem.{name}": (
            getattr(MODEL, name),
            {"w": W, "v": W},
            {"w": vector("w", 2), "v": vector("v", 2)},
        )
        for name in ("jvp", "hvp")
    },
    "Problem.vjp": (MODEL.vjp, {"w": W, "u": Y}, {"w": vector("w", 2), "u": vector("u", 3)}),
    "Problem.quantity": (
        MODEL.quantity,
        {"name": "norm", "w": W},
        {"name": choice("name", "norm"), "w": vector("w", 2)},
    ),
    "Model.test_loss": (MODEL.test_loss, {"w": W}, {"w": vector("w", 2)}),
    "Model.initial_weights": (
        MODEL.initial_weights,
        {},
        {
            "std": [
                *not_negative("std of w"),
                ({"nothing": 1.0}, ValueError, "block in std is 'nothing'; choose from 'w'"),
            ],
            "seed": SEED,
            "init": choice("init", "normal"),
            "scale": number("scale"),
        },
    ),
    "Regression.predict": (
        MODEL.predict,
        {"w": W},
        {
            "w": vector("w", 2),
            "X": [
                *array("X", X)[1:],
                (np.ones((1, 3)), ValueError, "X has 3 columns; the training inputs have 2"),
            ],
        },
    ),
    "Integrator.interpolate": (
        lambda t: gf.Integrator(MODEL, W, (0, 10), weight_decay=0.1).interpolate(t),
        {},
        {"t": [*number("t"), (5.0, ValueError, "t is 5.0, outside the last step")]},
    ),
    "Integrator.advance": (STARTED.advance, {}, {"to_end": TRUTH}),
    "Integrator.solution": (
        gf.Integrator(MODEL, W, (0, 10), weight_decay=0.1).solution,
        {},
        {"interrupted_by": TRUTH},
    ),
    "Integrator.step": (STARTED.step, {}, {}),
    "Solution.save": (
        lambda path: sol().save(path),
        {},
        {
            "path": [
                ("nowhere/a.npz", FileNotFoundError, "nowhere"),
                (None, TypeError, "path is None"),
                (3, TypeError, "path is 3"),
            ]
        },
    ),
    "Solution.load": (
        gf.Solution.load,
        {},
        {
            "path": [
                ("nowhere/a.npz", FileNotFoundError, "nowhere"),
                (None, TypeError, "path is None"),
                (3, TypeError, "path is 3"),
                (__file__, gf.FileError, "not a Solution file"),
            ]
        },
    ),
    "Solution.plot": (
        lambda ax: sol().plot(ax),
        {},
        {"ax": [(3, TypeError, "ax is 3; it must be axes of matplotlib")]},
    ),
    "Solution.plot_components": (
        lambda name="margins", **options: VECTORS().plot_components(name, **options),
        {},
        {
            "name": [
                ("nothing", KeyError, "'nothing' was not observed"),
                ("norm", ValueError, "'norm' is a number"),
            ],
            "highlight": [
                ([5], ValueError, "highlight is [5]; the components of 'margins' are 0 to 1"),
                ("a", TypeError, "highlight is dtype <U1"),
                ([0.5], ValueError, "highlight is [0.5]"),
            ],
            "ax": [(3, TypeError, "ax is 3; it must be axes of matplotlib")],
        },
    ),
    "Solution.plot_modes": (
        lambda problem=None, ax=None: sol().plot_modes(problem, ax),
        {},
        {
            "problem": [
                (None, TypeError, "plot_modes draws networks, and problem is LinearRegression"),
                (3, TypeError, "plot_modes draws networks, and problem is int"),
            ],
            "ax": [(3, TypeError, "plot_modes draws networks")],
        },
    ),
    "Solution.plot_function": (
        lambda times=(0.0,), problem=None, teacher=None, ax=None: LINE_SOL().plot_function(
            times, problem, teacher, ax
        ),
        {},
        {
            "times": [
                ([NAN], ValueError, "times is nan"),
                (["1"], TypeError, "times is '1'"),
                ([1e9], ValueError, "times has 1000000000.0; recorded are"),
            ],
            "problem": [(3, TypeError, "problem is int"), (OWN, TypeError, "problem is LeastSquares")],
            "teacher": function("teacher", none=True),
            "ax": [(3, TypeError, "ax is 3; it must be axes of matplotlib")],
        },
    ),
    "Solution.to_xarray": (lambda: sol().to_xarray(), {}, {}),
    "Solution.to_scipy": (lambda: sol().to_scipy(), {}, {}),
    "TwoPhase.composite": (
        lambda **options: phases().composite(**options),
        {"weight_decay": 1e-2},
        {
            "weight_decay": [(0.5, ValueError, "0.5"), (None, (TypeError, ValueError), "None")],
            "t": [([NAN], ValueError, "t[0] is nan"), (["a"], TypeError, "t is dtype")],
            "save_states": [
                ("a.csv", ValueError, "must end in .npy"),
                ("nowhere/a.npy", FileNotFoundError, "nowhere"),
            ],
            "normal_correction": [("yes", TypeError, "normal_correction is 'yes'"), (2, TypeError, "2")],
        },
    ),
    "TwoPhase.limits": (lambda: phases().limits(), {}, {}),
    "TwoPhase.predicted_loss": (
        lambda **options: phases().predicted_loss(**options),
        {"weight_decay": 1e-2},
        {"weight_decay": [(-1.0, ValueError, "weight_decay"), ("a", TypeError, "weight_decay is 'a'")]},
    ),
    "TwoPhase.grokking_times": (
        lambda **options: phases().grokking_times(**options),
        {"train_tol": 1e-2, "test_tol": 1e-2},
        {
            "train_tol": positive("train_tol"),
            "test_tol": positive("test_tol"),
            "by": [("size", ValueError, "by is 'size'"), (["norm"], ValueError, "by is ['norm']")],
        },
    ),
    "TwoPhase.plot": (
        lambda **options: phases().plot(**options),
        {},
        {"weight_decay": [(0.5, ValueError, "0.5"), ("a", (TypeError, ValueError), "a")]},
    ),
    "TwoPhase.report": (
        lambda file: phases().report(file),
        {},
        {"file": [(3, TypeError, "file is 3; it must be a text stream")]},
    ),
    "TwoPhase.table": (lambda: phases().table(), {}, {}),
}


@cache
def FLOWS():
    return {1.0: sol()}


@cache
def VECTORS():
    return gf.gradient_flow(
        MODEL, W, (0, 1), weight_decay=0.1, observe={"norm": "norm", "margins": lambda t, w: w}
    )


@cache
def LINE_SOL():
    line = gf.models.LinearRegression(X[:, :1], Y)
    return gf.gradient_flow(line, [1.0], (0, 1), weight_decay=0.1)
