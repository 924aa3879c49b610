"""What is written while a run goes on."""

import sys
import types
from typing import ClassVar

import pytest
import torch
from torch import nn

from photonet.distill import TrainConfig, distill
from photonet.errors import InvalidArgument, MissingDependency

CONFIG = TrainConfig(epochs=3, batch_size=10)


@pytest.fixture
def run(tmp_path):
    x = torch.randn(40, 4, generator=torch.Generator().manual_seed(2))

    def run(teacher=None, method="ce", **more):
        torch.manual_seed(0)
        data = x, torch.arange(40) % 3
        return distill(nn.Linear(4, 3), teacher, data, method=method, config=CONFIG, **more)

    return run


class Writer:
    """Stands for torch's: TensorBoard itself is no dependency."""

    points: ClassVar[list] = []

    def __init__(self, folder):
        self.folder = folder

    def add_scalar(self, name, value, epoch):
        self.points.append((self.folder, name, value, epoch))

    def flush(self):
        pass

    close = flush


def test_curves_go_to_tensorboard_epoch_by_epoch(run, tmp_path, monkeypatch):
    board = types.ModuleType("torch.utils.tensorboard")
    board.SummaryWriter = Writer
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", board)
    monkeypatch.setattr(Writer, "points", [])
    history = run(out=tmp_path, tensorboard=True).history
    folder = str(tmp_path / "tensorboard")
    expected = [(folder, name, float(history[name][n]), n + 1) for n in range(3) for name in history]
    assert sorted(Writer.points) == sorted(expected)


def test_a_missing_tensorboard_is_said_before_anything_is_trained_or_sketched(run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    for more in ({}, {"teacher": nn.Linear(4, 3), "method": "ntkd"}):
        with pytest.raises(MissingDependency, match="pip install tensorboard"):
            run(out=tmp_path, tensorboard=True, **more)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("option", ["keep", "tensorboard"])
def test_what_is_kept_needs_a_folder(option, run):
    with pytest.raises(InvalidArgument, match="^out: expected a folder"):
        run(**{option: True})


def test_the_table_and_the_name_of_a_run(run, tmp_path):
    result = run(out=tmp_path)
    lines = (tmp_path / "history.csv").read_text().splitlines()
    assert lines[0] == "epoch,ce,val_loss,val_accuracy"
    assert [float(line.split(",")[1]) for line in lines[1:]] == result.history["ce"].values.tolist()
    assert (
        repr(result)
        == f"<Distilled: Linear by ce, 3 epochs, val_accuracy {result.metrics['val_accuracy']:.4g}>"
    )
    assert result != run()
