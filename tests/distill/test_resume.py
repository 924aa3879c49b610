"""A run that is killed, again and again, ends where an uninterrupted one does."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from photonet.detector import Detector
from photonet.distill import TrainConfig, distill, predict
from photonet.errors import DataError, TrainingDiverged
from photonet.nn import DetectorLayer

ROOT = Path(__file__).parents[2]

# everything is imported once; each run is a fork, so that it starts in milliseconds
SCRIPT = """
import os, random, signal, sys, time
from pathlib import Path
import h5py, xarray, torch
from safetensors.torch import save_file
from torch import nn
from photonet.distill import Moved, TrainConfig, distill

KILLS = 10
torch.optim.AdamW([torch.zeros(1, requires_grad=True)])  # imports much, the first time

def run(out, final):
    torch.manual_seed(0)
    student = nn.Sequential(nn.Flatten(), nn.Linear(256, 8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 3))
    teacher = nn.Sequential(nn.Flatten(), nn.Linear(256, 3))
    x = torch.rand(60, 1, 16, 16)
    distill(student.train(), teacher, (x, teacher(x).argmax(1)), out=out,
            config=TrainConfig(epochs=400, batch_size=16))
    save_file(student.state_dict(), final)

def start(*arguments):
    child = os.fork()
    if child == 0:
        try:
            run(*arguments)
        finally:
            os._exit(0)
    return child

out = Path(sys.argv[1])
begin = time.monotonic()
os.waitpid(start(out / "a", out / "whole.safetensors"), 0)
whole = time.monotonic() - begin

moments, killed = random.Random(0), 0
for _ in range(KILLS):
    child = start(out / "b", out / "killed.safetensors")
    time.sleep(moments.uniform(0, whole / 6))
    os.kill(child, signal.SIGKILL)
    killed += os.WIFSIGNALED(os.waitpid(child, 0)[1])
begun = (out / "b" / "checkpoint.safetensors").exists()
os.waitpid(start(out / "b", out / "killed.safetensors"), 0)
print(killed, begun, (out / "b" / "history.csv").read_bytes() == (out / "a" / "history.csv").read_bytes())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_killed_at_ten_random_moments_it_ends_where_an_uninterrupted_run_does(tmp_path):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, tmp_path], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    # ten processes died by the signal, at least one after its first epoch
    assert done.stdout.split() == ["10", "True", "True"], done.stderr
    files = [tmp_path / f"{name}.safetensors" for name in ("whole", "killed")]
    assert files[0].read_bytes() == files[1].read_bytes()


class Burns(nn.Module):
    """A student whose outputs are NaN after some batches of training."""

    def __init__(self, batches):
        super().__init__()
        torch.manual_seed(0)
        self.layer, self._left = nn.Linear(6, 3), batches

    def forward(self, x):
        self._left -= self.training
        return self.layer(x) if self._left >= 0 else self.layer(x) * float("nan")


@pytest.mark.parametrize(
    ("batches", "place", "state"),
    [(2, "epoch 1, step 3", "no good state was saved"), (10, "epoch 3, step 1", "last good state is .*chec")],
)
def test_what_diverges_names_step_term_and_the_last_good_state(batches, place, state, tmp_path):
    x = torch.randn(50, 6, generator=torch.Generator().manual_seed(0))
    data, config = (x, torch.arange(50) % 3), TrainConfig(epochs=4, batch_size=10)
    with pytest.raises(TrainingDiverged, match=f"term 'ce' became nan in {place}; .*{state}"):
        distill(Burns(batches), None, data, val=data, method="ce", out=tmp_path, config=config)
    # a repaired student goes on from there
    repaired = distill(Burns(1000), None, data, val=data, method="ce", out=tmp_path, config=config)
    whole = distill(Burns(1000), None, data, val=data, method="ce", config=config)
    assert torch.equal(repaired.student.layer.weight, whole.student.layer.weight)


def network(bend=nn.ReLU, frozen=False):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8).requires_grad_(not frozen), bend(), nn.Linear(8, 3))


def points():
    x = torch.randn(50, 6, generator=torch.Generator().manual_seed(0))
    return x, torch.arange(50) % 3


@pytest.mark.parametrize(
    "other",
    [{"student": network(nn.Tanh)}, {"student": network(frozen=True)}, {"teacher": network(nn.Tanh)}],
    ids=["student", "frozen", "teacher"],
)
def test_equal_weights_in_another_network_are_another_run(other, tmp_path):
    config = TrainConfig(epochs=1, batch_size=10)
    plain = {"student": network(), "teacher": network(), "train": points(), "method": "kd", "config": config}
    distill(**plain, out=tmp_path)
    with pytest.raises(DataError, match="checkpoint of another run"):
        distill(**plain | {"student": network()} | other, out=tmp_path)


class Tied(nn.Module):
    """An encoder whose transpose decodes."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.encode, self.decode = nn.Linear(6, 6, bias=False), nn.Linear(6, 6, bias=False)
        self.decode.weight = self.encode.weight
        self.read, self._left = nn.Linear(6, 3), 1000

    def forward(self, x):
        self._left -= self.training
        if self._left < 0:
            raise KeyboardInterrupt
        return self.read(self.decode(torch.relu(self.encode(x))))


def test_weights_that_are_tied_are_resumed_and_still_tied(tmp_path):
    arguments = {"method": "ce", "config": TrainConfig(epochs=4, batch_size=10)}
    whole = distill(Tied(), None, points(), **arguments).student
    stops = Tied()
    stops._left = 9  # batches: two epochs
    with pytest.raises(KeyboardInterrupt):
        distill(stops, None, points(), **arguments, out=tmp_path, keep=True)
    resumed = distill(Tied(), None, points(), **arguments, out=tmp_path, keep=True).student
    assert resumed.decode.weight is resumed.encode.weight
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), resumed.parameters(), strict=True))


class Jolted(Burns):
    """A student whose loss is finite but whose gradient is NaN at one batch of training."""

    def forward(self, x):
        outputs = self.layer(x)
        self._left -= self.training
        if self._left == 0 and self.training:
            outputs.register_hook(lambda gradient: gradient * float("nan"))
        return outputs


def test_a_checkpoint_never_holds_weights_that_are_not_finite(tmp_path):
    arguments = {"train": points(), "val": points(), "method": "ce"}
    config = TrainConfig(epochs=4, batch_size=10)  # five batches an epoch
    with pytest.raises(
        TrainingDiverged, match="weight became nan in epoch 1, step 5; no good state was saved"
    ):
        distill(Jolted(5), None, **arguments, config=config, out=tmp_path, keep=True)
    assert not list(tmp_path.rglob("*.*"))
    last = "largest weight became nan in epoch 3, step 5; the last good state is .*checkpoint.safetensors"
    with pytest.raises(TrainingDiverged, match=last):
        distill(Jolted(15), None, **arguments, config=config, out=tmp_path, keep=True)
    assert [file.stem for file in sorted((tmp_path / "epochs").iterdir())] == ["0001", "0002"]
    assert all(t.isfinite().all() for t in load_file(tmp_path / "checkpoint.safetensors").values())
    resumed = distill(Jolted(0), None, **arguments, config=config, out=tmp_path).student
    whole = distill(Jolted(0), None, **arguments, config=config).student
    assert torch.equal(resumed.layer.weight, whole.layer.weight)


def test_an_interrupted_run_has_its_history_and_a_resumed_one_all_of_it(tmp_path):
    arguments = {"train": points(), "method": "ce", "config": TrainConfig(epochs=4, batch_size=10)}
    distill(Tied(), None, **arguments, out=tmp_path / "whole")
    whole = (tmp_path / "whole" / "history.csv").read_text()
    stops = Tied()
    stops._left = 9  # batches: two epochs of four
    with pytest.raises(KeyboardInterrupt):
        distill(stops, None, **arguments, out=tmp_path / "run")
    history = tmp_path / "run" / "history.csv"
    assert history.read_text().splitlines() == whole.splitlines()[:3]
    distill(Tied(), None, **arguments, out=tmp_path / "run")
    assert history.read_text() == whole


def test_starting_afresh_removes_all_of_an_earlier_run_and_nothing_else(tmp_path):
    arguments = {"teacher": network(), "train": points(), "method": "ntkd"}
    longer, once = (TrainConfig(epochs=n, batch_size=10) for n in (3, 1))
    distill(network(), **arguments, config=longer, out=tmp_path, keep=True)
    distill(network(), **arguments, config=longer, out=tmp_path, keep=True, tune=(1e-3, 1e-2))
    (tmp_path / "tensorboard").mkdir()
    killed = ("epochs/.0004-x1y2.safetensors", ".checkpoint-x1y2.safetensors", "lr-0.01/.history-x1y2.csv")
    for name in (*killed, "tensorboard/events.out.tfevents.17.host"):
        (tmp_path / name).touch()
    own = {"notes.txt", "student.safetensors", "epochs/best.txt", "lr-0.001/plot.png", "lr-notes/a.csv"}
    (tmp_path / "lr-notes").mkdir()
    for name in own:
        (tmp_path / name).touch()
    distill(network(), **arguments, config=once, out=tmp_path, resume=False)
    files = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert files == own | {"checkpoint.safetensors", "history.csv", "teacher.h5"}
    assert not (tmp_path / "lr-0.01").exists()
    assert not (tmp_path / "tensorboard").exists()


def test_a_finished_run_that_is_resumed_has_the_same_metrics_and_noise(tmp_path):
    inputs = torch.rand(60, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(60) % 3

    def run():
        torch.manual_seed(0)
        dim = Detector(full_well=50.0, gain=50.0)
        student = nn.Sequential(DetectorLayer(dim), nn.Flatten(), nn.Linear(16, 3))
        found = distill(
            student, None, (inputs, labels), method="ce", config=TrainConfig(epochs=2), out=tmp_path
        )
        return found.metrics, predict(student, inputs)

    (first, outputs), (again, others) = run(), run()
    assert first == again
    assert torch.equal(outputs, others)
