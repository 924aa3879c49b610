"""Small students, teachers and data on which every method can be tried in a fraction of a second."""

import pytest
import torch
from torch import nn


@pytest.fixture
def student():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 3))


@pytest.fixture
def teacher():
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(6, 20), nn.Tanh(), nn.Linear(20, 3))


@pytest.fixture
def data(teacher):
    x = torch.randn(90, 6, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        return x, teacher(x).argmax(dim=1)
