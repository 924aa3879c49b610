import pytest
import torch
from torch import nn

from photonet.models import compressed_meta


def seeded(make, seed=0):
    """torch's layers draw from the global generator: lend them a seeded one."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return make()


@pytest.fixture
def teacher():
    return seeded(lambda: nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3)), 1)


@pytest.fixture
def data():
    """Three separable clouds in four dimensions, and their numbers."""
    labels = torch.arange(48) % 3
    noise = torch.randn(48, 4, generator=torch.Generator().manual_seed(2))
    return torch.eye(4)[labels] * 4 + noise, labels


@pytest.fixture
def network():
    """A tiny hybrid network for scenes of 8 x 8."""
    return seeded(lambda: compressed_meta(2, 3, binning=2, hidden=12, classes=3, image=8)).eval()


@pytest.fixture
def scenes():
    """Bars at three places with noise, dark at the edges as scanned digits are, and their classes."""
    labels = torch.arange(120) % 3
    scene = torch.zeros(120, 1, 8, 8)
    for index, label in enumerate(labels):
        scene[index, 0, 2:6, 2 + int(label)] = 0.8
    noise = torch.rand(120, 1, 4, 4, generator=torch.Generator().manual_seed(3))
    scene[..., 2:6, 2:6] += 0.2 * noise
    return scene, labels
