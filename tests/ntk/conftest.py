"""Small networks, one for each way a parameter can enter a model."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

IMAGE, SEQUENCE, VOLUME, VECTOR = (2, 6, 5), (4, 7), (2, 4, 3, 4), (5,)


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(5, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x + torch.tanh(self.body(x)))


class Twice(nn.Module):
    """One layer called twice, the second time on its own output."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = nn.Linear(5, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.layer(torch.tanh(self.layer(x)))))


class Tied(nn.Module):
    """An embedding whose matrix is also the readout, owned by two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(6, 4), nn.Linear(4, 6, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.embed(x.abs().long() % 6)).mean(1))


class Borrowed(nn.Module):
    """The weight of a layer used behind its back: only the walk of the graph finds it."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.head = nn.Linear(5, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(F.linear(self.inner(x), self.inner.weight)))


class Scaled(nn.Module):
    """A parameter of the model itself beside layers that end at the same tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.scale, self.layer = nn.Parameter(torch.ones(5)), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(self.scale * x)


class Brightness(nn.Module):
    """A parameter that is a single number, as a distance in optics is."""

    def __init__(self) -> None:
        super().__init__()
        self.scale, self.layer = nn.Parameter(torch.tensor(1.0)), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.layer(x) * self.scale)


class OwnNorm(nn.LayerNorm):
    """No rule is for a kind of layer that may compute something else."""


class Folded(nn.Module):
    """Positions moved onto the sample axis, where no per-sample rule can read them."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(7, 2)

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.layer(x.reshape(-1, 7))).reshape(len(x), -1)


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        x = x.mT
        return self.attention(x, x, x, need_weights=False)[0].flatten(1)[:, :3]


class Cosine(nn.Module):
    """A layer this package has never heard of."""

    def __init__(self) -> None:
        super().__init__()
        self.directions = nn.Parameter(torch.randn(3, 5))

    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(x, dim=-1) @ F.normalize(self.directions, dim=-1).mT


class Declared(nn.Linear):
    """A layer that brings its own factors."""

    def ntk_factors(self, x: Tensor, delta: Tensor) -> dict[str, Tensor]:
        return {"weight": torch.einsum("ni,nmo->nmoi", x, delta), "bias": delta}


class Pooled(nn.Module):
    """A map that is read by a pool and by something else, so the two must not be folded."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.pool, self.head = nn.Conv2d(2, 3, 3), nn.AvgPool2d(2), nn.LazyLinear(3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return self.head(torch.cat([self.pool(y).flatten(1), torch.tanh(y).flatten(1)], dim=1))


def _chain(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(*layers, nn.Tanh(), nn.Flatten(), nn.LazyLinear(3))


MODELS: dict[str, tuple[tuple[int, ...], Callable[[], nn.Module]]] = {
    "linear": (VECTOR, lambda: nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3))),
    "linear on positions": (SEQUENCE, lambda: _chain(nn.Linear(7, 2))),
    "conv1d": (SEQUENCE, lambda: _chain(nn.Conv1d(4, 6, 3, stride=2, padding=1, groups=2))),
    "conv2d": (IMAGE, lambda: _chain(nn.Conv2d(2, 3, 3, padding=1))),
    "conv2d strided, dilated": (IMAGE, lambda: _chain(nn.Conv2d(2, 3, (3, 2), (2, 1), (2, 1), (2, 1)))),
    "conv2d groups, no bias": (IMAGE, lambda: _chain(nn.Conv2d(2, 4, 3, groups=2, bias=False))),
    "conv2d same": (IMAGE, lambda: _chain(nn.Conv2d(2, 3, (2, 3), padding="same", dilation=(2, 1)))),
    "conv2d valid": (IMAGE, lambda: _chain(nn.Conv2d(2, 3, 3, padding="valid"))),
    "conv2d reflect": (IMAGE, lambda: _chain(nn.Conv2d(2, 3, 3, padding=(1, 2), padding_mode="reflect"))),
    "conv2d circular": (
        IMAGE,
        lambda: _chain(nn.Conv2d(2, 3, (2, 3), padding="same", padding_mode="circular")),
    ),
    "conv2d replicate": (IMAGE, lambda: _chain(nn.Conv2d(2, 3, 3, padding=1, padding_mode="replicate"))),
    "conv2d and pool": (IMAGE, lambda: _chain(nn.Conv2d(2, 4, 3, padding=1, groups=2), nn.AvgPool2d(2))),
    "conv2d dilated and overlapping pool": (
        IMAGE,
        lambda: _chain(nn.Conv2d(2, 3, 2, padding=2, dilation=2), nn.AvgPool2d((3, 2), (2, 1))),
    ),
    "conv1d and pool": (SEQUENCE, lambda: _chain(nn.Conv1d(4, 3, 3), nn.AvgPool1d(2))),
    "pool and skip": (IMAGE, lambda: Pooled()),
    "conv3d": (VOLUME, lambda: _chain(nn.Conv3d(2, 3, (3, 2, 2), (1, 1, 2), padding=1, dilation=(1, 2, 1)))),
    "conv_transpose1d": (SEQUENCE, lambda: _chain(nn.ConvTranspose1d(4, 2, 3, 2, 1, output_padding=1))),
    "conv_transpose2d": (IMAGE, lambda: _chain(nn.ConvTranspose2d(2, 4, 3, 2, 1, 1, groups=2))),
    "conv_transpose2d dilated": (
        IMAGE,
        lambda: _chain(nn.ConvTranspose2d(2, 3, 2, stride=1, output_padding=1, dilation=2, bias=False)),
    ),
    "conv_transpose3d": (VOLUME, lambda: _chain(nn.ConvTranspose3d(2, 2, 2, 2))),
    "batch_norm1d": (SEQUENCE, lambda: _chain(nn.BatchNorm1d(4))),
    "batch_norm2d": (IMAGE, lambda: _chain(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3))),
    "batch_norm on vectors": (VECTOR, lambda: nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4))),
    "group_norm": (IMAGE, lambda: _chain(nn.Conv2d(2, 4, 3), nn.GroupNorm(2, 4))),
    "layer_norm": (SEQUENCE, lambda: _chain(nn.LayerNorm(7))),
    "layer_norm behind a layer": (
        VECTOR,
        lambda: nn.Sequential(nn.Linear(5, 4), nn.LayerNorm(4), nn.Linear(4, 3)),
    ),
    "layer_norm of another kind": (
        VECTOR,
        lambda: nn.Sequential(nn.Linear(5, 4), OwnNorm(4), nn.Linear(4, 3)),
    ),
    "instance_norm": (IMAGE, lambda: _chain(nn.Conv2d(2, 3, 3), nn.InstanceNorm2d(3, affine=True))),
    "instance_norm with statistics": (
        SEQUENCE,
        lambda: _chain(nn.InstanceNorm1d(4, affine=True, track_running_stats=True)),
    ),
    "layer_norm without bias": (IMAGE, lambda: _chain(nn.LayerNorm((6, 5), bias=False))),
    "embedding": (SEQUENCE, lambda: nn.Sequential(_Index(), nn.Embedding(6, 3, padding_idx=2), _Mean())),
    "bag of embeddings": (SEQUENCE, lambda: _chain(_Index(flat=True), nn.EmbeddingBag(6, 3, mode="sum"))),
    "mean of embeddings": (SEQUENCE, lambda: _chain(_Index(flat=True), nn.EmbeddingBag(6, 3, padding_idx=2))),
    "largest of embeddings": (
        SEQUENCE,
        lambda: _chain(_Index(flat=True), nn.EmbeddingBag(6, 3, mode="max", padding_idx=2)),
    ),
    "prelu": (IMAGE, lambda: _chain(nn.Conv2d(2, 3, 3), nn.PReLU(3))),
    "bilinear readout": (VECTOR, lambda: nn.Sequential(nn.Linear(5, 5), Cosine())),
    "in-place relu": (IMAGE, lambda: _chain(nn.Conv2d(2, 3, 3), nn.ReLU(inplace=True))),
    "residual": (VECTOR, Residual),
    "layer called twice": (VECTOR, Twice),
    "tied embedding": (SEQUENCE, Tied),
    "borrowed weight": (VECTOR, Borrowed),
    "parameter of the model": (VECTOR, Scaled),
    "a single number": (VECTOR, Brightness),
    "positions on the sample axis": (SEQUENCE, Folded),
    "attention": (SEQUENCE, Attention),
    "declared": (VECTOR, lambda: nn.Sequential(Declared(5, 4), nn.Tanh(), nn.Linear(4, 3))),
    "weight norm": (
        VECTOR,
        lambda: nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(5, 4)), nn.Linear(4, 3)),
    ),
    "dense output": (IMAGE, lambda: nn.Sequential(nn.Conv2d(2, 3, 3), nn.Tanh(), nn.Conv2d(3, 2, 1))),
}


class _Index(nn.Module):
    def __init__(self, flat: bool = False) -> None:
        super().__init__()
        self.flat = flat

    def forward(self, x: Tensor) -> Tensor:
        index = (x.abs() * 3).long().clamp_max(5)
        return index.flatten(1) if self.flat else index


class _Mean(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x).mean((1, 2))


def build(name: str, n: int = 5) -> tuple[nn.Module, Tensor]:
    """A model of the table in float64, in eval mode but with all statistics and scales off their defaults."""
    shape, make = MODELS[name]
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(n, *shape, generator=generator, dtype=torch.float64)
    model = make().double()
    model(x)  # lazy layers take their shape
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn(p.shape, generator=generator, dtype=torch.float64) / 2)
        for key, statistic in model.named_buffers():
            if "running" in key:
                statistic.copy_(torch.rand(statistic.shape, generator=generator, dtype=torch.float64) + 0.5)
    return model.eval(), x


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)
