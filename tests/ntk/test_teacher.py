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


def test_the_same_weights_in_another_network_are_another_teacher(
    tmp_path: Path, teacher: nn.Module, x: torch.Tensor
) -> None:
    path = tmp_path / "t.h5"
    ntk.TeacherFeatures.compute(path, teacher, x, sketch=ntk.Sketch(8))
    other = nn.Sequential(teacher[0], nn.Tanh(), teacher[2])  # its kernel is 37 % off
    with pytest.raises(DataError, match=r"t\.h5: features of another teacher \(\w{12} in place of \w{12}\)"):
        ntk.TeacherFeatures.open(path, teacher=other)


@pytest.mark.parametrize(
    ("sketch", "message"),
    [
        (ntk.Sketch(16), r"sketch size \(8 in place of 16\)"),
        (ntk.Sketch(8, "gaussian"), r"sketch kind \(count in place of gaussian\)"),
        (ntk.Sketch(8, seed=5), r"sketch seed \(0 in place of 5\)"),
        (ntk.Sketch(8, blocks=2), r"number of sketch blocks \(4 in place of 2\)"),
    ],
)
def test_features_of_another_sketch_are_refused(
    sketch: ntk.Sketch, message: str, tmp_path: Path, teacher: nn.Module, x: torch.Tensor
) -> None:
    path = tmp_path / "t.h5"
    ntk.TeacherFeatures.compute(path, teacher, x, sketch=ntk.Sketch(8))
    assert len(ntk.TeacherFeatures.open(path, teacher=teacher, x=x, sketch=ntk.Sketch(8))) == 10
    with pytest.raises(DataError, match=f"features of another {message}; compute"):
        ntk.TeacherFeatures.open(path, sketch=sketch)


def test_features_of_other_parameters_are_refused(
    tmp_path: Path, teacher: nn.Module, x: torch.Tensor
) -> None:
    path = tmp_path / "t.h5"
    kept = teacher[2].parameters()
    ntk.TeacherFeatures.compute(path, teacher, x, sketch=ntk.Sketch(8), params=kept, chunk=4)
    assert len(ntk.TeacherFeatures.open(path, teacher=teacher, params="2")) == 10
    with pytest.raises(DataError, match=r"choice of parameters \(2\.weight, 2\.bias in place of 0\.weight, "):
        ntk.TeacherFeatures.open(path, teacher=teacher)


def test_an_interrupted_computation_goes_on_to_the_same_file(
    tmp_path: Path, teacher: nn.Module, x: torch.Tensor
) -> None:
    def stop(done: int, total: int) -> None:
        if done == 8:
            raise KeyboardInterrupt

    seen: list[int] = []
    teacher.register_forward_hook(lambda _, args, out: seen.append(len(out)))
    ntk.TeacherFeatures.compute(tmp_path / "whole.h5", teacher, x, chunk=4)
    assert seen == [1, 4, 4, 2]  # the first tells which layers see the samples
    path = tmp_path / "t.h5"
    with pytest.raises(KeyboardInterrupt):
        ntk.TeacherFeatures.compute(path, teacher, x, chunk=4, progress=stop)
    assert not path.exists()
    seen.clear()
    ntk.TeacherFeatures.compute(path, teacher, x, chunk=4)
    assert seen == [2]
    assert path.read_bytes() == (tmp_path / "whole.h5").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["t.h5", "whole.h5"]


@pytest.mark.parametrize("left", [0, 4, 100, -1])
def test_a_damaged_chunk_is_computed_again(
    left: int, tmp_path: Path, teacher: nn.Module, x: torch.Tensor
) -> None:
    def stop(done: int, total: int) -> None:
        if done == 8:
            raise KeyboardInterrupt

    path, whole = tmp_path / "t.h5", ntk.TeacherFeatures.compute(tmp_path / "whole.h5", teacher, x, chunk=4)
    with pytest.raises(KeyboardInterrupt):
        ntk.TeacherFeatures.compute(path, teacher, x, chunk=4, progress=stop)
    part = min((tmp_path / "t.h5.parts").iterdir())
    part.write_bytes(part.read_bytes()[:left])
    stored = ntk.TeacherFeatures.compute(path, teacher, x, chunk=4)
    assert torch.equal(stored.features(range(10)), whole.features(range(10)))


def test_chunks_of_another_computation_are_not_taken(
    tmp_path: Path, teacher: nn.Module, x: torch.Tensor
) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    path = tmp_path / "t.h5"
    with pytest.raises(KeyboardInterrupt):
        ntk.TeacherFeatures.compute(path, teacher, x, chunk=4, progress=stop)
    stored = ntk.TeacherFeatures.compute(path, teacher, x + 1, chunk=4)
    torch.testing.assert_close(stored.outputs([0]), teacher(x[:1] + 1).detach())
    assert [p.name for p in tmp_path.iterdir()] == ["t.h5"]


def test_the_file_knows_the_error_of_its_kernel(tmp_path: Path, teacher: nn.Module, x: torch.Tensor) -> None:
    errors = []
    for seed in range(20):
        stored = ntk.TeacherFeatures.compute(tmp_path / "t.h5", teacher, x, sketch=ntk.Sketch(256, seed=seed))
        exact = ntk.gram(teacher, x).detach()
        true = float((stored.gram(range(10)) - exact).norm() / exact.norm())
        errors.append((true, stored.attributes["error"]))
    true, told = torch.tensor(errors).square().mean(0).sqrt().tolist()
    # root mean squares over 20 seeds of three degrees of freedom each: about 13 % either way
    assert 0.6 < told / true < 1.6


def test_under_autocast_features_are_kept_in_single_precision(
    tmp_path: Path, teacher: nn.Module, x: torch.Tensor
) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        found = ntk.TeacherFeatures.compute(tmp_path / "t.h5", teacher, x)
    assert found.outputs([0]).dtype == found.features([0]).dtype == torch.float32
    # bfloat16 has 8 bits, and two layers add up
    torch.testing.assert_close(found.outputs(range(10)), teacher(x).detach(), rtol=2e-2, atol=2e-2)


def test_folders_of_the_user_and_of_other_files_stay(
    tmp_path: Path, teacher: nn.Module, x: torch.Tensor
) -> None:
    (tmp_path / "t.h5.parts").mkdir()
    kept = [tmp_path / "t.parts" / "work.txt", tmp_path / "t.h5.parts" / "notes.txt"]
    for file in kept:
        file.parent.mkdir(exist_ok=True)
        file.write_text("mine")
    for name in ("t.h5", "t.hdf5"):
        ntk.TeacherFeatures.compute(tmp_path / name, teacher, x, chunk=4)
    assert all(file.read_text() == "mine" for file in kept)
    assert [p.name for p in (tmp_path / "t.h5.parts").iterdir()] == ["notes.txt"]
    assert not (tmp_path / "t.hdf5.parts").exists()


def test_what_cannot_be_stored_or_read_is_named(tmp_path: Path, teacher: nn.Module, x: torch.Tensor) -> None:
    with pytest.raises(InvalidArgument, match="x: expected finite values"):
        ntk.TeacherFeatures.compute(tmp_path / "t.h5", teacher, x * torch.nan)
    stored = ntk.TeacherFeatures.compute(tmp_path / "t.h5", teacher, x)
    for indices in ([0.7], "a", 3, [[0, 1], [2, 3]], [[0], [1, 2]], [None]):
        with pytest.raises(InvalidArgument, match="indices: expected samples 0 to 9, got "):
            stored.outputs(indices)
    for directions in ("trace", torch.ones(3), torch.ones(1, 4)):
        with pytest.raises(InvalidArgument, match=r"directions: expected combinations \[m, 3\]"):
            stored.gram([0], directions)
    assert len(stored.outputs([])) == 0
    given = {"teacher": teacher, "x": x, "sketch": None}
    for name, wrong in (("sketch", 7), ("teacher", torch.relu), ("x", [1.0])):
        with pytest.raises(InvalidArgument, match=f"{name}: expected a"):
            ntk.TeacherFeatures.open(tmp_path / "t.h5", **{**given, name: wrong})
    given = {"path": tmp_path / "t.h5", "teacher": teacher, "x": x}
    for name, wrong in (("sketch", 7), ("teacher", torch.relu), ("path", 7)):
        with pytest.raises(InvalidArgument, match=f"{name}: expected"):
            ntk.TeacherFeatures.compute(**{**given, name: wrong})


def test_dropout_in_training_is_refused(tmp_path: Path, x: torch.Tensor) -> None:
    dropping = nn.Sequential(nn.Linear(6, 20), nn.Dropout(0.5), nn.Linear(20, 3))
    with pytest.raises(InvalidArgument, match=r"1 in training mode.*model\.eval\(\)"):
        ntk.TeacherFeatures.compute(tmp_path / "t.h5", dropping, x)
    assert list(tmp_path.iterdir()) == []
    stored = ntk.TeacherFeatures.compute(tmp_path / "t.h5", dropping.eval(), x)
    assert ntk.alignment(stored.gram(range(10)), ntk.gram(dropping, x)) > 0.98
