from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from photonet import ntk
from photonet.errors import DataError, DataMissing, InvalidArgument


@pytest.fixture
def teacher() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 20), nn.ReLU(), nn.Linear(20, 3))


@pytest.fixture
def x() -> torch.Tensor:
    return torch.randn(10, 6, generator=torch.Generator().manual_seed(1))


def test_what_is_read_is_what_was_computed(tmp_path: Path, teacher: nn.Module, x: torch.Tensor) -> None:
    steps: list[tuple[int, int]] = []
    sketch = ntk.Sketch(256)
    ntk.TeacherFeatures.compute(
        tmp_path / "t.h5", teacher, x, sketch=sketch, chunk=4, progress=lambda *s: steps.append(s)
    )
    assert steps == [(4, 10), (8, 10), (10, 10)]
    stored = ntk.TeacherFeatures.open(tmp_path / "t.h5", teacher=teacher, x=x)
    assert len(stored) == 10
    batch = torch.tensor([7, 0, 3, 3])
    torch.testing.assert_close(stored.outputs(batch), teacher(x[batch]).detach())
    expected = sketch(ntk.tangents(teacher, x[batch])).detach()
    torch.testing.assert_close(stored.features(batch), expected, rtol=1e-4, atol=1e-5)
    v = ntk.centred_directions(3)
    along = sketch(ntk.tangents(teacher, x[batch], outputs=v)).detach()
    torch.testing.assert_close(stored.features(batch, v), along, rtol=1e-4, atol=1e-5)
    exact = ntk.gram(teacher, x)
    # 256 numbers: relative error about sqrt(2 / 256) = 0.09 per entry
    assert ntk.alignment(stored.gram(range(10)), exact) > 0.95
    assert [p.name for p in tmp_path.iterdir()] == ["t.h5"]


def test_features_of_another_teacher_are_refused(tmp_path: Path, teacher: nn.Module, x: torch.Tensor) -> None:
    path = tmp_path / "t.h5"
    ntk.TeacherFeatures.compute(path, teacher, x, sketch=ntk.Sketch(8))
    with pytest.raises(DataError, match="another data"):
        ntk.TeacherFeatures.open(path, x=x + 1)
    with torch.no_grad():
        teacher[0].weight[0, 0] += 1
    with pytest.raises(DataError, match="another teacher"):
        ntk.TeacherFeatures.open(path, teacher=teacher, x=x)
    with pytest.raises(InvalidArgument, match="samples 0 to 9"):
        ntk.TeacherFeatures.open(path).outputs([10])
    with pytest.raises(DataMissing, match="compute"):
        ntk.TeacherFeatures.open(tmp_path / "none.h5")
    path.write_bytes(b"not a file of features")
    with pytest.raises(DataError, match="not a file"):
        ntk.TeacherFeatures.open(path)


def test_an_interrupted_computation_leaves_nothing(
    tmp_path: Path, teacher: nn.Module, x: torch.Tensor
) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ntk.TeacherFeatures.compute(tmp_path / "t.h5", teacher, x, chunk=4, progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_under_autocast_features_are_kept_in_single_precision(
    tmp_path: Path, teacher: nn.Module, x: torch.Tensor
) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        found = ntk.TeacherFeatures.compute(tmp_path / "t.h5", teacher, x)
    assert found.outputs([0]).dtype == found.features([0]).dtype == torch.float32
    # bfloat16 has 8 bits, and two layers add up
    torch.testing.assert_close(found.outputs(range(10)), teacher(x).detach(), rtol=2e-2, atol=2e-2)
