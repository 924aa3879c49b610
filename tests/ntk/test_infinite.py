from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from photonet import ntk
from photonet.errors import InvalidArgument
from photonet.ntk.infinite import relu_expectations


class Wide(nn.Module):
    """The student of finite width, in the NTK parameterisation."""

    def __init__(self, x: Tensor, kernels: int, width: int, seed: int) -> None:
        super().__init__()
        g = torch.Generator().manual_seed(seed)
        maps = kernels * (x.shape[2] // 2) ** 2

        def normal(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.randn(shape, generator=g, dtype=torch.float64))

        self.kernel, self.hidden, self.out = normal(kernels, 1, 3, 3), normal(width, maps), normal(1, width)
        self.bias = normal(width)

    def forward(self, x: Tensor) -> Tensor:
        y = nn.functional.conv2d(x, self.kernel / 3, padding=1)
        y = nn.functional.avg_pool2d(y, 2).flatten(1)
        y = torch.relu(y @ (self.hidden * (2 / y.shape[1]) ** 0.5).mT + 0.3 * self.bias)
        return y @ (self.out * (2 / y.shape[1]) ** 0.5).mT


def test_wide_networks_tend_to_the_closed_form() -> None:
    x = torch.rand(4, 1, 6, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    frozen = ["hidden", "out"]
    tangents, backend = [], []
    for seed in range(12):
        model = Wide(x, 48, 256, seed)
        with torch.no_grad():
            # the bias enters as 0.3 b with b normal: its gradient is 0.09 times the rest of the chain
            backend.append(
                ntk.gram(model, x, params=lambda name: name in [*frozen, "bias"], method="jacobian")
            )
            tangents.append(backend[-1] + ntk.gram(model, x, params="kernel", method="jacobian"))
    for kernels, frontend in ((tangents, "trained"), (backend, "frozen")):
        found = torch.stack(kernels)
        _, exact = ntk.infinite_gram(x, kernel=3, pool=2, bias_variance=0.09, frontend=frontend)
        # the readout has no bias in the finite network
        exact = exact - 0.09
        # four standard errors, and two percent for the width of 48 kernels and 256 neurons
        assert bool(((found.mean(0) - exact).abs() < 4 * found.std(0) / 12**0.5 + 0.02 * exact).all())


def test_linear_readout_is_ridge_on_pooled_patches() -> None:
    x = torch.rand(5, 2, 6, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    covariance, tangent = ntk.infinite_gram(x, x[:2], kernel=3, pool=3, hidden=0, weight_variance=1.0)
    columns = nn.functional.unfold(x, 3, padding=1).reshape(5, 18, 6, 6)
    pooled = nn.functional.avg_pool2d(columns, 3).reshape(5, -1)
    torch.testing.assert_close(covariance, (pooled @ pooled.mT / pooled.shape[1])[:, :2])
    torch.testing.assert_close(tangent, 2 * covariance)


def test_many_rectified_kernels_tend_to_the_closed_form() -> None:
    x = torch.rand(4, 1, 6, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    answers, tangents = [], []
    for seed in range(40):
        generator = torch.Generator().manual_seed(seed)
        weights = torch.randn(500, 1, 3, 3, generator=generator, dtype=torch.float64)
        out = torch.randn(500 * 9, generator=generator, dtype=torch.float64)

        def model(weights: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
            maps = nn.functional.avg_pool2d(nn.functional.conv2d(x, weights / 3, padding=1), 2)
            return torch.relu(maps).flatten(1) @ out / len(out) ** 0.5

        learnt, read = torch.func.jacrev(model, argnums=(0, 1))(weights, out)
        answers.append(read @ read.mT)
        tangents.append(answers[-1] + learnt.flatten(1) @ learnt.flatten(1).mT)
    for frontend, kernels in (("frozen", answers), ("trained", tangents)):
        _, exact = ntk.infinite_gram(
            x, kernel=3, pool=2, rectified=True, hidden=0, weight_variance=1.0, frontend=frontend
        )
        found = torch.stack(kernels)
        error = found.std(0) / len(found) ** 0.5
        assert bool((error < 0.02 * exact).all())
        assert bool(((found.mean(0) - exact).abs() < 4 * error).all())


def test_expectations_of_relu_at_known_angles() -> None:
    one = torch.ones(1, 1, dtype=torch.float64)
    for angle, value, slope in ((0, 0.5, 0.5), (math.pi / 2, 1 / (2 * math.pi), 0.25), (math.pi, 0, 0)):
        found = relu_expectations(one * math.cos(angle), one, one)
        # arccos near 1 has an error of the square root of the rounding
        assert found[0].item() == pytest.approx(value, abs=1e-7)
        assert found[1].item() == pytest.approx(slope, abs=1e-7)


def test_depth_keeps_the_scale() -> None:
    x = torch.rand(3, 1, 5, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    shallow, _ = ntk.infinite_gram(x, kernel=3, hidden=1)
    deep, tangent = ntk.infinite_gram(x, kernel=3, hidden=6)
    torch.testing.assert_close(deep.diagonal(), shallow.diagonal())
    assert bool((torch.linalg.eigvalsh(tangent) > 0).all())


def test_bad_input_is_named() -> None:
    with pytest.raises(InvalidArgument, match="images"):
        ntk.infinite_gram(torch.ones(3, 4), kernel=3)
    with pytest.raises(InvalidArgument, match="pool"):
        ntk.infinite_gram(torch.ones(3, 1, 4, 4), kernel=3, pool=5)
    with pytest.raises(InvalidArgument, match=r"^x: expected a tensor of images.*got list"):
        ntk.infinite_gram([[1.0]], kernel=3)
    with pytest.raises(InvalidArgument, match=r"^x2: .*floating-point, got torch\.int64"):
        ntk.infinite_gram(torch.ones(3, 1, 4, 4), torch.ones(3, 1, 4, 4).long(), kernel=3)
    with pytest.raises(InvalidArgument, match="^padding: expected pixels.*an even 4"):
        ntk.infinite_gram(torch.ones(3, 1, 4, 4), kernel=4)
    assert ntk.infinite_gram(torch.ones(3, 1, 4, 4), kernel=4, padding=1)[0].shape == (3, 3)
