"""A batch computed in parts, one after the other or by two processes, is the whole batch."""

import copy
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from photonet.arrays import UNLABELLED
from photonet.detector import Detector
from photonet.distill import KD, NTK, CrossEntropy, Features, KernelResidual, Moved, TrainConfig, distill
from photonet.distill.parallel import Processes
from photonet.errors import InvalidArgument
from photonet.models import compressed_meta
from photonet.nn import DetectorLayer

ROOT = Path(__file__).parents[2]
EVERY_KIND = (CrossEntropy(0.3), KD(0.5), NTK(0.2, form="cka", centred=True), Features(0.1))


CASES = {"plain": None, "views": Moved(shift=1.0), "batch normalisation": None}


def networks(case="plain"):
    torch.manual_seed(0)
    student = compressed_meta(2, 3, hidden=6, image=16, classes=3).double()
    if case == "batch normalisation":
        flat, first, *rest = student.backend
        several = nn.BatchNorm1d(6, momentum=None)
        student.backend = nn.Sequential(nn.BatchNorm2d(2), flat, first, several, *rest).double()
    teacher = nn.Sequential(nn.Flatten(), nn.Linear(256, 5), nn.Tanh(), nn.Linear(5, 3)).double()
    return student, teacher


def data():
    x = torch.rand(30, 1, 16, 16, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    labels = torch.arange(30) % 3
    labels[4:9] = UNLABELLED  # so that the parts have unequal numbers of labels
    return x, labels


def agree(one, other):
    # sums of at most 256 numbers in another order: 1e-14 of a gradient. AdamW divides it by its size + 1e-8,
    # so one of nearly 0 brings at most 1e-14 / 1e-8 of the learning rate, 3e-3, into the weights: 3e-9 a step
    for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=2e-8)


def run(method, accumulate, views=None, student=None, **more):
    own, teacher = networks()
    student = own if student is None else student
    config = TrainConfig(epochs=1, batch_size=9, accumulate=accumulate, lr=3e-3)
    result = distill(student, teacher, data(), method=method, config=config, views=views, **more)
    return student, result.history


@pytest.mark.parametrize("method", [EVERY_KIND, [KernelResidual()], [NTK(outputs="full", params="backend")]])
@pytest.mark.parametrize("views", [None, Moved(shift=1.0)])
def test_an_accumulated_gradient_is_that_of_the_whole_batch(method, views):
    whole, history = run(method, 1, views)
    for parts in (2, 4):  # 9 samples in parts of 5 and 4; of 3, 3, 3
        student, again = run(method, parts, views)
        agree(student, whole)
        for name in history:
            torch.testing.assert_close(*(torch.from_numpy(h[name].values) for h in (history, again)))


def test_both_passes_over_a_part_have_the_same_noise():
    """The first pass finds the loss's slope, the second goes back; with other noise the two would not fit."""
    student, teacher = networks()
    camera = DetectorLayer(Detector())
    student.backend = nn.Sequential(nn.ReLU(), camera, nn.Dropout(0.3), *student.backend)
    seen = []
    student.backend[3].register_forward_hook(lambda _, args, out: seen.append(out.detach().clone()))
    config = TrainConfig(epochs=1, batch_size=9, accumulate=3)
    distill(student.train(), teacher, data(), method="ce", config=config)
    trained = [x for x in seen if len(x) == 3][:6]
    for first, second in zip(trained[:3], trained[3:], strict=True):
        assert torch.equal(first, second)


def test_batch_normalisation_cannot_be_computed_in_parts():
    student = nn.Sequential(nn.Flatten(), nn.Linear(256, 4), nn.BatchNorm1d(4), nn.Linear(4, 3)).double()
    with pytest.raises(InvalidArgument, match="^student: expected samples that do not mix"):
        run("ce", 2, student=student)


def test_one_process_is_alone():
    alone, x = Processes(None), torch.rand(3)
    assert (alone.count, alone.first, alone.rows(5)) == (1, True, slice(0, 5))
    assert alone.gather(x) is x


class Pair:
    """As much of a Fabric as decides who does what."""

    world_size, global_rank = 2, 1

    class strategy:
        class precision:
            precision = "32-true"


def test_a_batch_that_cannot_be_shared_and_other_precisions_are_refused():
    assert Processes(Pair()).rows(8) == slice(4, 8)
    with pytest.raises(InvalidArgument, match="^batch_size: expected a multiple of the 2 processes, got 9"):
        Processes(Pair()).rows(9)
    half = Pair()
    half.strategy = type("S", (), {"precision": type("P", (), {"precision": "16-mixed"})})
    with pytest.raises(InvalidArgument, match="^fabric: expected precision 32-true or bf16-mixed"):
        Processes(half)


SCRIPT = """
import json, os, sys
from pathlib import Path
sys.path[:0] = [str(Path("tests/distill"))]
import torch
from lightning.fabric import Fabric
from safetensors.torch import save_file
from test_parallel import CASES, EVERY_KIND, data, networks
from photonet.distill import Moved, TrainConfig, distill
from photonet.errors import InvalidArgument

out = Path(sys.argv[1])

def train(fabric):
    for name, views in CASES.items():
        student, teacher = networks(name)
        result = distill(student, teacher, data(), method=EVERY_KIND, views=views, fabric=fabric,
                         config=TrainConfig(epochs=2, batch_size=6, lr=3e-3), out=out / name)
        if fabric.is_global_zero:
            save_file(student.state_dict(), out / f"{name}.safetensors")
            history = {k: v.values.tolist() for k, v in result.history.items()}
            (out / f"{name}.json").write_text(json.dumps(history))
    torch.manual_seed(fabric.global_rank)
    try:
        distill(torch.nn.Linear(3, 2), None, (torch.rand(9, 3), torch.zeros(9).long()), method="ce",
                config=TrainConfig(batch_size=2), fabric=fabric)
    except InvalidArgument as error:
        (out / f"error-{fabric.global_rank}").write_text(str(error))

Fabric(accelerator="cpu", devices=2, strategy="ddp_fork").launch(train)

losses = {}
for precision in ("32-true", "bf16-mixed"):
    fabric = Fabric(accelerator="cpu", devices=1, precision=precision)
    fabric.launch()
    student, teacher = (network.float() for network in networks())
    x, labels = data()
    run = distill(student, teacher, (x.float(), labels), views=Moved(), fabric=fabric,
                  config=TrainConfig(epochs=2, batch_size=6))
    losses[precision] = run.history["kd"].values.tolist()
    assert run.config["precision"] == precision and student.frontend.weight.dtype == torch.float32
(out / "losses.json").write_text(json.dumps(losses))
"""


def test_two_processes_give_the_loss_and_the_weights_of_one(tmp_path):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, tmp_path], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    from safetensors.torch import load_file

    for name, views in CASES.items():
        student, teacher = networks(name)
        config = TrainConfig(epochs=2, batch_size=6, lr=3e-3)
        result = distill(student, teacher, data(), method=EVERY_KIND, views=views, config=config)
        pair = copy.deepcopy(student)
        pair.load_state_dict(load_file(tmp_path / f"{name}.safetensors"))
        agree(pair, student)
        history = json.loads((tmp_path / f"{name}.json").read_text())
        for term, values in result.history.items():
            assert history[term] == pytest.approx(values.values.tolist(), rel=1e-6), term
    for rank in (0, 1):
        assert "the same first weights in every process" in (tmp_path / f"error-{rank}").read_text()
    losses = json.loads((tmp_path / "losses.json").read_text())
    # 8 bits of mantissa: 2^-8 in each product
    assert losses["bf16-mixed"] != losses["32-true"]
    assert losses["bf16-mixed"] == pytest.approx(losses["32-true"], rel=0.02)
