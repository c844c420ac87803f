"""Small networks of torch, with a layer of every kind that has a kernel of its own, and some without."""

from itertools import pairwise

import torch
from torch import nn

torch.set_num_threads(1)  # these networks are far too small for more


class Attention(nn.Module):
    """A vision transformer in one layer on images of 8 x 8: four tokens."""

    def __init__(self, dim=8, heads=2, k=3):
        super().__init__()
        self.heads = heads
        self.embed, self.position = nn.Linear(16, dim), nn.Parameter(0.1 * torch.randn(4, dim))
        self.norm, self.qkv, self.out = nn.LayerNorm(dim), nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.head = nn.Linear(dim, k)

    def forward(self, x):
        n = len(x)
        tokens = x.reshape(n, 2, 4, 2, 4).transpose(2, 3).reshape(n, 4, 16)
        z = self.embed(tokens) + self.position
        q, k, v = self.qkv(self.norm(z)).reshape(n, 4, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        a = nn.functional.scaled_dot_product_attention(q, k, v)
        return self.head((z + self.out(a.transpose(1, 2).reshape(n, 4, -1))).mean(1))


class Tied(nn.Module):
    """An embedding that is also the last layer, and a layer called twice."""

    def __init__(self):
        super().__init__()
        self.embed, self.mix, self.head = nn.Embedding(5, 4), nn.Linear(4, 4), nn.Linear(4, 5, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, x):
        return self.head(torch.tanh(self.mix(torch.tanh(self.mix(self.embed(x).sum(1))))))


class Hidden(nn.Module):
    """The same, but no layer shows the second use."""

    def __init__(self):
        super().__init__()
        self.embed, self.mix = nn.Embedding(5, 4), nn.Linear(4, 4)

    def forward(self, x):
        return nn.functional.linear(torch.tanh(self.mix(self.embed(x).sum(1))), self.embed.weight)


class Coupled(nn.Module):
    """Each sample sees the mean of all."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(64, 4), nn.Linear(4, 2)

    def forward(self, x):
        z = torch.tanh(self.first(x))
        return self.last(z - z.mean(0))


def mlp(*widths):
    layers = [nn.Linear(64, widths[0])]
    for before, after in pairwise(widths):
        layers += [nn.Tanh(), nn.Linear(before, after)]
    return nn.Sequential(*layers)


def make(name):
    """The network `name` in evaluation mode, and inputs of six samples."""
    torch.manual_seed(0)
    X = torch.randn(6, 64)
    if name in ("tied", "hidden", "padded"):
        X = torch.randint(0, 5, (6, 3))
    image, series = nn.Unflatten(1, (1, 8, 8)), nn.Unflatten(1, (4, 16))
    padding = nn.Embedding(5, 4, padding_idx=0)
    networks = {
        "mlp": lambda: mlp(5, 4, 3),
        "wide": lambda: nn.Sequential(
            series, nn.Linear(16, 60), nn.Tanh(), nn.Linear(60, 60), nn.Flatten(), nn.Linear(240, 2)
        ),
        "attention": Attention,
        "tied": Tied,
        "hidden": Hidden,
        "padded": lambda: nn.Sequential(padding, nn.Flatten(), nn.Linear(12, 2)),
        "coupled": Coupled,
        "images": lambda: nn.Sequential(
            image, nn.Conv2d(1, 4, 3, padding="same", padding_mode="circular"), nn.ReLU(inplace=True),
            nn.BatchNorm2d(4), nn.Conv2d(4, 6, 3, stride=2, padding=1), nn.GroupNorm(2, 6), nn.GELU(),
            nn.Flatten(), nn.Linear(96, 3),
        ),
        "series": lambda: nn.Sequential(
            series, nn.Conv1d(4, 4, 3, dilation=2), nn.Tanh(), nn.Conv1d(4, 4, 3, groups=2), nn.Flatten(),
            nn.Linear(40, 3, bias=False), nn.RMSNorm(3),
        ),
        "encoder": lambda: nn.Sequential(
            series, nn.TransformerEncoderLayer(16, 2, 8, dropout=0.0, batch_first=True), nn.Flatten(),
            nn.Linear(64, 2),
        ),
    }  # fmt: skip
    return networks[name]().eval(), X
