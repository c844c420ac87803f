"""Products and kernels of networks of torch, against their Jacobian, row by row."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from grokflow.frameworks.torch_kernel import Kernel  # noqa: E402
from grokflow.frameworks.torch_network import Network  # noqa: E402
from grokflow.frameworks.torch_point import Point  # noqa: E402
from torch_networks import make  # noqa: E402

NAMES = ["mlp", "wide", "attention", "tied", "hidden", "images", "series", "encoder"]
PADDED = "padded"  # its gradient leaves a row out: it is none
BY_ROWS = {
    "attention": {"position"},
    "tied": {"embed.weight"},
    "series": {"3.weight", "3.bias"},
    "encoder": {"1.self_attn.in_proj_weight", "1.self_attn.in_proj_bias"},
}


def at_a_point(name):
    """A network, its graphs at random weights, and J (n k, d)."""
    network = Network(*make(name)[:1], "float64")
    X = network.inputs("X", make(name)[1])
    w = network.weights() + 0.1 * np.random.default_rng(0).standard_normal(network.num_params)
    with network.computing():
        point = Point(network, Kernel(network, 4), w, X, lambda f: (f**2 / 2 + f.cos()).sum())
        eye = torch.eye(point.f.numel(), dtype=torch.float64)
        J = np.stack([network.to_host(point.vjp(row.view_as(point.f))) for row in eye])
    return network, point, J


@pytest.mark.parametrize("name", NAMES)
def test_products_are_those_of_the_jacobian(name):
    network, point, J = at_a_point(name)
    v = np.random.default_rng(1).standard_normal((2, network.num_params))
    with network.computing():
        jvps, hvps = (
            [network.to_host(product(torch.tensor(x))) for x in v] for product in (point.jvp, point.hvp)
        )
        assert np.ravel(jvps) == pytest.approx(np.ravel((J @ v.T).T), rel=1e-10, abs=1e-12)
        assert v[0] @ hvps[1] == pytest.approx(v[1] @ hvps[0], rel=1e-9)
        step = 1e-6 * torch.tensor(v[0])
        ahead, behind = (
            Point(network, point.kernel, network.to_host(point.w + s * step), point.X, point.loss)
            for s in (1, -1)
        )
        difference = (network.to_host(ahead._gradient) - network.to_host(behind._gradient)) / 2e-6
    assert hvps[0] == pytest.approx(difference, rel=1e-6, abs=1e-6 * np.abs(difference).max())


@pytest.mark.parametrize("name", [*NAMES, PADDED])
def test_the_kernel_is_that_of_the_jacobian_parameter_by_parameter(name, monkeypatch):
    monkeypatch.setattr("grokflow.frameworks.torch_gram.ROWS", 5)
    monkeypatch.setattr("grokflow.frameworks.torch_gram.ENTRIES", 1000)
    network, point, J = at_a_point(name)
    assert set(network.names) - point.kernel.hooked == BY_ROWS.get(name, set())
    begin = 0
    with network.computing():
        for parameter, size in zip(network.names, network.sizes, strict=True):
            part = J[:, begin : begin + size]
            begin += size
            if (name, parameter) != ("hidden", "embed.weight"):
                found = network.to_host(point.gram([parameter]))
                assert found == pytest.approx(part @ part.T, rel=1e-10, abs=1e-11 * np.abs(J @ J.T).max())
        point.kernel.hooked -= {"embed.weight"}
        found = network.to_host(point.gram(network.names))
    assert found == pytest.approx(J @ J.T, rel=1e-10, abs=1e-11 * np.abs(J @ J.T).max())
    assert np.array_equal(found, found.T)
