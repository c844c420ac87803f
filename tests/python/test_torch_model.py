"""Modules of torch as problems: what they compute, how they train, and what is refused before any work."""

import pickle
import warnings

import grokflow as gf
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch_networks import Coupled, Hidden, make, mlp  # noqa: E402

RNG = np.random.default_rng(0)
X = RNG.standard_normal((6, 64))
CLASSES = np.array([0, 1, 2, 0, 1, 2])
Y = np.eye(3)[CLASSES]
LOSSES = {
    "mse": ("mse", Y),
    "huber": (gf.losses.Huber(delta=0.3), Y),
    "cross_entropy": ("cross_entropy", CLASSES),
    "soft": ("cross_entropy", 0.7 * Y + 0.1),
    "smoothed": (gf.losses.CrossEntropy(label_smoothing=0.2), CLASSES),
    "logistic": ("logistic", 2 * Y - 1),
}


def network():
    torch.manual_seed(0)
    return mlp(5, 4, 3)


@pytest.mark.parametrize("loss", LOSSES)
def test_all_derivatives_agree(loss):
    loss, y = LOSSES[loss]
    problem = gf.from_torch(network(), X, y, loss=loss, kernel="hooks")
    report = gf.check_problem(problem, problem.initial_weights())
    assert report, report


@pytest.mark.parametrize("loss", ["mse", "smoothed", "cross_entropy"])
def test_a_flow_is_that_of_the_model_of_the_library(loss):
    """The two lay out w alike: weights row by row, then biases, layer by layer."""
    loss, y = LOSSES[loss]
    problem = gf.from_torch(network(), X, y, loss=loss, test=(X[:2], y[:2]), kernel="hooks")
    twin = gf.models.MLP(X, y, (5, 4), activation="tanh", loss=loss, test=(X[:2], y[:2]))
    w0 = problem.initial_weights()
    assert problem.num_params == twin.num_params
    assert problem.gradient(w0) == pytest.approx(twin.gradient(w0), rel=1e-12, abs=1e-14)
    ours, theirs = (
        gf.gradient_flow(p, w0, (0, 100), weight_decay=1e-2, rtol=1e-5, t_eval=[1.0, 30.0, 100.0])
        for p in (problem, twin)
    )
    assert ours.w == pytest.approx(theirs.w, abs=1e-4)
    assert ours["test_loss"] == pytest.approx(theirs["test_loss"], rel=1e-3)


class Own(nn.Module):
    """A network of one hidden layer, as one writes it."""

    def __init__(self, activation, order=("first", "last")):
        super().__init__()
        sizes = {"first": (64, 5), "last": (5, 3)}
        for name in order:
            setattr(self, name, nn.Linear(*sizes[name]))
        self.activation = activation

    def forward(self, x):
        return self.last(self.activation(self.first(torch.flatten(x, 1))))


def hooked():
    net = network()
    net[0].register_forward_hook(lambda layer, inputs, output: 2.0 * output)
    return net


def partly_frozen():
    net = network()
    net[2].bias.requires_grad_(False)
    return net


def linear(bias=True):
    return nn.Linear(64, 64, bias=bias)


TANH = nn.Tanh()
CHAINS = {
    "tanh": network,
    "own, flat": lambda: Own(nn.functional.gelu),
    "nested": lambda: nn.Sequential(
        nn.Flatten(), nn.Sequential(linear(False), nn.Sigmoid()), nn.Linear(64, 3)
    ),
    "idle": lambda: nn.Sequential(linear(), nn.Identity(), nn.Dropout(0.5), TANH, nn.Linear(64, 3)).eval(),
    "linear": lambda: nn.Sequential(linear(bias=False), nn.Linear(64, 3, bias=False)),
    "relu": lambda: Own(torch.relu),
}
OTHERS = {
    "approximate": lambda: Own(nn.GELU(approximate="tanh")),
    "scaled": lambda: Own(lambda z: 2.0 * torch.tanh(z)),
    "two activations": lambda: nn.Sequential(linear(), nn.Tanh(), linear(), nn.Sigmoid(), nn.Linear(64, 3)),
    "last activation": lambda: nn.Sequential(linear(), nn.Tanh(), nn.Linear(64, 3), nn.Tanh()),
    "no hidden layer": lambda: nn.Sequential(nn.Linear(64, 3)),
    "normalised": lambda: nn.Sequential(linear(), nn.LayerNorm(64), nn.Tanh(), nn.Linear(64, 3)),
    "other order": lambda: Own(torch.tanh, order=("last", "first")),
    "by number": lambda: Own(lambda z: z.tanh() if z.sum() > 0 else z),
    "twice": lambda: nn.Sequential(layer := linear(), nn.Tanh(), layer, nn.Tanh(), nn.Linear(64, 3)),
    "frozen": partly_frozen,
    "hooked": hooked,
}


@pytest.mark.filterwarnings("ignore:module holds")
@pytest.mark.parametrize("name", [*CHAINS, *OTHERS])
def test_a_network_that_the_library_has_is_computed_by_it(name):
    torch.manual_seed(0)
    net = (CHAINS | OTHERS)[name]()
    options = {"loss": "cross_entropy", "test": (X[:2], CLASSES[:2])}
    problem, other = (gf.from_torch(net, X, CLASSES, **options, kernel=k) for k in ("auto", "parameters"))
    assert (problem.kernel == "library") == (name in CHAINS)
    assert problem.unflatten(problem.initial_weights()).keys() == other.blocks.keys()
    w = problem.initial_weights() + 0.1
    v = np.random.default_rng(1).standard_normal(w.size)
    assert problem.gradient(w) == pytest.approx(other.gradient(w), rel=1e-9, abs=1e-12)
    assert problem.hvp(w, v) == pytest.approx(other.hvp(w, v), rel=1e-9, abs=1e-11)
    assert problem.predict(w) == pytest.approx(other.predict(w), rel=1e-10)
    assert problem.quantity("test_loss", w) == pytest.approx(other.quantity("test_loss", w), rel=1e-10)


def test_decay_goes_by_the_names_of_the_module():
    own, other = (gf.from_torch(network(), X, Y, kernel=kernel) for kernel in ("auto", "parameters"))
    options = {"weight_decay": {"*": 1e-1, "*.bias": 0.0}, "rtol": 1e-5}
    ends = [gf.gradient_flow(p, p.initial_weights(), (0, 3), **options) for p in (own, other)]
    assert [end.stats["kernel"] for end in ends] == ["library", "parameters"]
    assert ends[0].final == pytest.approx(ends[1].final, abs=1e-4)
    part = gf.models.Trained(own, own.initial_weights(), train=["0.weight"])
    assert list(part.blocks) == ["0.weight"]


def test_kinks_of_a_layer_are_told_before_a_flow():
    net = nn.Sequential(nn.Linear(64, 4), nn.ReLU(), nn.Linear(4, 3))
    problem = gf.from_torch(net, X, Y)
    with pytest.warns(UserWarning, match=r"module holds ReLU \('1'\): its flow has kinks"):
        gf.gradient_flow(problem, problem.initial_weights(), (0, 0.1), weight_decay=1e-2, rtol=1e-3)


def test_biases_without_decay_by_the_kernel_of_the_others():
    problem = gf.from_torch(network(), X, Y, kernel="hooks")
    options = {"weight_decay": {"*": 1e-1, "*.bias": 0.0}, "rtol": 1e-5}
    w0 = problem.initial_weights()
    gram, dense = (
        gf.gradient_flow(problem, w0, (0, 20), curvature=curvature, **options)
        for curvature in ("gram", "dense")
    )
    assert gram.final == pytest.approx(dense.final, abs=1e-4)
    assert gram.stats["njvp"] <= gram.stats["nsolve"] + gram.stats["niter"] + 10  # no kernel by products
    assert gram.stats["kernel"] == "hooks"


def test_the_module_is_left_alone_until_weights_are_loaded():
    net, inputs = make("images")
    before = {name: x.clone() for name, x in net.state_dict().items()}
    problem = gf.from_torch(net, inputs, Y)
    w = problem.initial_weights()
    problem.gradient(w)
    problem.gram(w)
    assert all(torch.equal(x, before[name]) for name, x in net.state_dict().items())
    assert problem.predict(w) == pytest.approx(net(inputs).detach().numpy(), abs=1e-5)
    problem.load_into(net, w + 0.1)
    assert problem.predict(w + 0.1, inputs) == pytest.approx(net(inputs).detach().numpy(), abs=1e-4)
    assert list(problem.blocks) == [name for name, _ in net.named_parameters()]
    with pytest.raises(ValueError, match=r"parameter '1.weight' is missing in this module"):
        problem.load_into(network(), w)


def test_frozen_parameters_are_constants():
    net = network()
    net[0].weight.requires_grad_(False)
    problem = gf.from_torch(net, X, Y)
    assert "0.weight" not in problem.blocks
    assert gf.check_problem(problem, problem.initial_weights())


def test_accuracy_and_prediction():
    problem = gf.from_torch(network(), X, CLASSES, loss="cross_entropy")
    w = gf.gradient_flow(problem, problem.initial_weights(), (0, 1e3), weight_decay=1e-3, rtol=1e-4).final
    assert problem.accuracy(w) == 1.0
    assert problem.accuracy(w, X[:2], [1, 1]) == 0.5
    assert problem.predict(w, X[:2]) == pytest.approx(problem.predict(w)[:2], rel=1e-12)
    with pytest.raises(ValueError, match="takes X and y, or neither"):
        problem.accuracy(w, X)
    with pytest.raises(ValueError, match="y tells the classes of 1 samples, and X holds 2"):
        problem.accuracy(w, X[:2], [1])
    with pytest.raises(TypeError, match="y is dtype <U1; it must hold real numbers"):
        problem.accuracy(w, X[:2], ["a", "b"])


def test_what_takes_over_from_a_kernel_that_is_wrong():
    tokens = torch.randint(0, 5, (6, 3))
    with pytest.warns(UserWarning, match=r"does not see all that embed\.weight does .*rows of J take over"):
        problem = gf.from_torch(Hidden(), tokens, np.eye(5)[[0, 1, 2, 3, 4, 0]])
    assert problem.kernel == "mixed"
    assert gf.check_problem(problem, problem.initial_weights())
    with pytest.warns(UserWarning, match="do samples see each other"):
        problem = gf.from_torch(Coupled(), X, Y[:, :2])
    assert problem.kernel == "none"
    assert gf.check_problem(problem, problem.initial_weights())
    assert gf.from_torch(network(), X, Y, kernel="parameters").kernel == "parameters"


class Crooked(torch.autograd.Function):
    """The square, with a gradient whose own derivative is half of what it is."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * (x + x.detach())


class Bent(nn.Linear):
    def forward(self, x):
        return Crooked.apply(super().forward(x))


def test_differences_take_over_where_second_derivatives_are_wrong():
    """As those of torch's weight norm are."""
    with pytest.warns(UserWarning, match="not the change of the gradient.*differences take over"):
        problem = gf.from_torch(Bent(64, 3), X, Y, kernel="none")
    gf.check_problem(problem).raise_if_failed()


class Padded(nn.Module):
    """Where a row has no gradient, though the outputs have it."""

    def __init__(self):
        super().__init__()
        self.rows, self.head = nn.Embedding(4, 5, padding_idx=0), nn.Linear(5, 3)

    def forward(self, x):
        return self.head(torch.tanh(self.rows(x)).sum(1))


def test_second_derivatives_that_vanish_are_right():
    words = np.arange(6)[:, None] % 4
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gf.from_torch(Padded(), words, Y)
        flat = gf.from_torch(nn.Linear(64, 3), X, 1e6 * (1.0 + Y), loss="huber")  # linear beyond delta
    assert not flat.hvp(flat.initial_weights(), np.ones(flat.num_params)).any()


def test_single_precision_is_told_what_it_can_keep():
    problem = gf.from_torch(network(), X, Y, dtype="module")
    exact = gf.from_torch(network(), X, Y, kernel="hooks")
    w0 = problem.initial_weights()
    options = {"weight_decay": 1e-2, "max_steps": 20}
    with pytest.warns(gf.PrecisionWarning, match=r"rtol = 1e-05, or for dtype='float64'"):
        gf.gradient_flow(problem, w0, (0, 1.0), **options)
    with pytest.warns(gf.PrecisionWarning, match="rtol = 1e-05, or for dtype='float64'"):
        gf.limit_map(problem, w0, max_steps=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        coarse, fine = (gf.gradient_flow(p, w0, (0, 1.0), **options, rtol=1e-4) for p in (problem, exact))
    assert coarse.final == pytest.approx(fine.final, abs=1e-4)


def test_problems_are_pickled():
    problem = gf.from_torch(network(), X, Y, test=(X, Y))
    again = pickle.loads(pickle.dumps(problem))
    w = problem.initial_weights()
    assert np.array_equal(again.gradient(w), problem.gradient(w))
    assert again.quantities == problem.quantities


VALUE, ENTROPY = ValueError, {"loss": "cross_entropy"}
ELSEWHERE = torch.zeros(6, 64, device="meta")


def with_layer(layer):
    return nn.Sequential(nn.Linear(64, 3), layer)


class Ending(nn.Module):
    """A network whose outputs go through a function."""

    def __init__(self, function):
        super().__init__()
        self.network, self.function = network(), function

    def forward(self, x):
        return self.function(self.network(x))


def overflowing():
    layer = nn.Linear(64, 3)
    nn.init.constant_(layer.bias, torch.inf)
    return layer


@pytest.mark.parametrize(
    ("module", "inputs", "targets", "options", "error", "message"),
    [
        (with_layer(nn.Dropout(0.5)), X, Y, {}, VALUE, r"holds Dropout \('1'\) in training .*eval\(\)"),
        (with_layer(nn.BatchNorm1d(3)), X, Y, {}, VALUE, r"BatchNorm1d .*couples the samples.*eval\(\)"),
        (nn.LSTM(64, 3, dropout=0.5, num_layers=2), X, Y, {}, VALUE, "LSTM in training mode"),
        (network(), ELSEWHERE, Y, {}, VALUE, "X is on meta, the parameters of module on cpu"),
        (with_layer(nn.Flatten(0)), X, Y, {}, VALUE, r"outputs have shape \(18,\), expected \(6, k\)"),
        (network(), np.nan * X, Y, {}, VALUE, "X holds numbers that are not finite"),
        (overflowing(), X, Y, {}, VALUE, "outputs of module are not finite at the weights that it has"),
        (network(), X, [0, 1, 2, 3, 0, 0], ENTROPY, VALUE, r"y\[3\] is class 3; there are 3 outputs"),
        (network(), X, Y[:4], {}, VALUE, r"y has shape \(4, 3\)"),
        (network(), X, 0.5 * Y, ENTROPY, VALUE, r"y\[0\] sums to 0.5"),
        (network(), X, Y, {"loss": "hinge"}, VALUE, "loss is 'hinge'; choose from 'squares', 'mse'"),
        (network(), X, Y, {"label_smoothing": 0.1}, VALUE, "is 0.1, which is of loss='cross_entropy'"),
        (network(), X, Y, {"kernel": "fast"}, VALUE, "kernel is 'fast'; choose from 'auto', 'hooks'"),
        (network(), X, Y, {"dtype": "float16"}, VALUE, "dtype is 'float16'; choose from 'float64'"),
        (network(), X, Y, {"chunk": 0}, VALUE, "chunk is 0"),
        (network(), X, Y, {"test": X}, VALUE, r"test must be a tuple \(X, y\)"),
        (network(), X, Y, {"test": (X, Y[:2])}, VALUE, r"test y has shape \(2, 3\), and outputs"),
        (network(), np.zeros((0, 64)), Y, {}, VALUE, "X has shape"),
        (network(), np.full(X.shape, "a"), Y, {}, TypeError, "X is dtype <U1; it must hold real numbers"),
        (network(), [[1.0], [1.0, 2.0]], Y, {}, VALUE, "X is ragged"),
        (network(), np.ma.masked_array(X, X > 2), Y, {}, VALUE, "X has masked entries"),
        (network().half(), X, Y, {"dtype": "module"}, VALUE, "torch.float16, too coarse.*dtype='float64'"),
        (network().to("meta"), X, Y, {}, VALUE, "module is on meta, which holds no numbers"),
        (network(), X, ELSEWHERE[:, :3], {}, VALUE, "y is on meta, which holds no numbers"),
        (nn.LazyLinear(3), X, Y, {}, VALUE, "'weight' has no shape yet; call module once"),
        (nn.Linear(64, 3, dtype=torch.cfloat), X, Y, {}, TypeError, "'weight' is torch.complex64"),
        (Ending(torch.detach), X, Y, {}, VALUE, "outputs do not depend on the weights"),
        (Ending(torch.Tensor.float), X, Y, {}, TypeError, "outputs are torch.float32, and module is"),
        (Ending(torch.Tensor.long), X, CLASSES, ENTROPY, TypeError, "outputs are torch.int64"),
        (nn.Flatten(), X, Y, {}, VALUE, "no parameter that requires grad"),
        (np.tanh, X, Y, {}, TypeError, "it must be a torch.nn.Module"),
        (network(), X.astype(int), Y, {}, TypeError, "does not take X of torch.int64; give it real numbers"),
    ],
)  # fmt: skip
def test_bad_input_is_told_before_any_work(module, inputs, targets, options, error, message):
    with pytest.raises(error, match=message):
        gf.from_torch(module, inputs, targets, **options)


def test_inputs_may_lie_in_memory_as_they_like():
    expected = gf.from_torch(network(), X, Y)
    w = expected.initial_weights()
    frozen = X.copy()
    frozen.setflags(write=False)
    for inputs in (X[::-1][::-1], np.asfortranarray(X), X.astype(">f8"), X.astype(np.longdouble), frozen):
        assert gf.from_torch(network(), inputs, Y).loss(w) == expected.loss(w)
    backward = gf.from_torch(network(), X[::-1], Y[::-1])
    assert backward.loss(w) == pytest.approx(expected.loss(w), rel=1e-14)


class Noisy(nn.Linear):
    def forward(self, x):
        return super().forward(x) + torch.rand(())


def test_chance_is_told_before_any_work():
    with pytest.raises(ValueError, match="two calls of module at the same weights differ"):
        gf.from_torch(Noisy(64, 3), X, Y)
    net = with_layer(nn.Dropout(0.5)).eval()
    problem = gf.from_torch(net, X, Y)
    net.train()
    with pytest.raises(ValueError, match="in training mode"):
        gf.gradient_flow(problem, problem.initial_weights(), (0, 1.0), weight_decay=0.1)


@pytest.mark.parametrize("name", ["residual", "jvp", "vjp", "loss", "gradient", "hvp"])
def test_a_tensor_that_requires_grad_is_refused_by_the_name_of_the_callback(name):
    leaf = torch.ones(2, dtype=torch.float64, requires_grad=True)
    right = {
        "residual": lambda w: w[:1], "jvp": lambda w, v: v[:1], "vjp": lambda w, u: np.append(u, 0.0),
        "loss": lambda w: w @ w / 2, "gradient": lambda w: w, "hvp": lambda w, v: v,
    }  # fmt: skip
    wrong = {
        **right,
        name: lambda *_: leaf.sum() if name == "loss" else leaf[: 1 + (name in ("vjp", "gradient", "hvp"))],
    }
    w = np.ones(2)
    if name in ("residual", "jvp", "vjp"):
        functions = {f: wrong[f] for f in ("residual", "jvp", "vjp")}
        problem = gf.LeastSquares(**functions, num_params=2, num_residuals=1)
    else:
        problem = gf.Objective(**{f: wrong[f] for f in ("loss", "gradient", "hvp")}, num_params=2)
    with pytest.raises(gf.CallbackError, match=rf"{name} returned a Tensor.*\.detach\(\)"):
        getattr(problem, name)(
            w, *([w[: 1 if name == "vjp" else 2]] if name in ("jvp", "vjp", "hvp") else [])
        )
