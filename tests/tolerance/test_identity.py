"""A study is continued by its own system and metric alone, whatever holds their state."""

import functools
import os
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn

from photonet.errors import DataError, InvalidArgument
from photonet.tolerance import Normal, tolerance
from photonet.tolerance.identity import identity


@dataclass(frozen=True)
class Judge:
    k: float
    network: nn.Module | None = None

    def __call__(self, device):
        return self.k * float(device)


class Scaled:
    """As people write it: a private setting, and working state that is not passed in."""

    def __init__(self, k, generator=None):
        self._k, self.generator = k, generator
        self._calls, self._lock = 0, threading.Lock()

    def __call__(self, device):
        self._calls += 1
        if isinstance(self.generator, np.random.Generator):
            self.generator.random()
        elif self.generator is not None:
            torch.rand(1, generator=self.generator)
        return self._k * float(device) * self.kept

    def other(self, device):
        return self._k * float(device) + 1

    @functools.cached_property
    def kept(self):
        return 1.0


class Holds(nn.Module):
    def __init__(self, weight=1.0, settings=None):
        super().__init__()
        self.weight, self.settings = nn.Parameter(torch.tensor(weight)), settings

    def forward(self, device):
        return float(device * self.weight.detach())


class Slotted:
    __slots__ = ("k",)

    def __init__(self, k):
        self.k = k


class Own(dict):
    pass


def closed_over(k, _counted=None):
    def metric(device):
        if _counted is not None:
            _counted.append(device)
        return k * float(device)

    return metric


def with_default(k):
    def metric(device, k=k):
        return k * float(device)

    return metric


def network(weight):
    layer = nn.Linear(1, 1)
    nn.init.constant_(layer.weight, weight)
    nn.init.zeros_(layer.bias)
    return layer


MADE = {
    "dataclass": Judge,
    "network of a dataclass": lambda k: Judge(1.0, network(k)),
    "private setting": Scaled,
    "bound method": lambda k: Scaled(k).other,
    "network": Holds,
    "settings of a network": lambda k: Holds(settings=Slotted(k)),
    "closure": closed_over,
    "default": with_default,
    "cache": lambda k: functools.cache(closed_over(k)),
    "partial": lambda k: functools.partial(Judge.__call__, Judge(k)),
    "items": lambda k: Judge([Own(a=k)]),
    "slots": lambda k: Judge((Slotted(k),)),
    "array of words": lambda k: Judge(np.array([str(k)])),
    "labelled array": lambda k: Judge(xr.DataArray([0.0, 1.0], coords={"x": [0.0, k]}, dims="x")),
    "set": lambda k: Judge({"a", "b", k}),
    "seed of torch": lambda k: Scaled(1.0, torch.Generator().manual_seed(int(k))),
    "seed of numpy": lambda k: Scaled(1.0, np.random.default_rng(int(k))),
}


@pytest.mark.parametrize("kind", MADE)
def test_what_is_held_tells_functions_apart_wherever_it_is(kind):
    one, again, other = MADE[kind](1.0), MADE[kind](1.0), MADE[kind](3.0)
    assert identity(one) == identity(again)
    assert identity(one)[0] != identity(other)[0]
    assert identity(one)[1] == []


def test_lambdas_are_told_by_their_code():
    double, again, triple = lambda x: 2 * float(x), lambda x: 2 * float(x), lambda x: 3 * float(x)
    assert identity(double) == identity(again) != identity(triple)


def test_functions_of_one_name_in_two_files_are_two():
    names = {identity(torch.relu)[0], identity(nn.functional.relu)[0], identity(torch.nn.ReLU)[0]}
    assert len(names) == 3


@pytest.mark.parametrize(
    "function",
    [
        Scaled(2.0),
        Scaled(2.0, torch.Generator()),
        Scaled(2.0, np.random.default_rng(0)),
        closed_over(2.0, []),
    ],
)
def test_what_changes_while_it_runs_does_not_count(function):
    before = identity(function)
    function(torch.tensor(1.0))
    assert identity(function) == before


def test_what_leads_back_to_itself_has_an_end():
    one, other = Judge([]), Judge([])
    for judge, k in ((one, 1), (other, 2)):
        judge.k.extend([judge, k])
    assert identity(one) == identity(one) != identity(other)
    deep = []
    for _ in range(100):
        deep = [deep, deep]  # 2 ** 100 ways, each told once
    assert identity(Judge(deep))[1] == []


SCRIPT = """
import sys
sys.path.insert(0, {here!r})
import functools, torch
from test_identity import MADE
from photonet.tolerance.identity import identity
for kind, make in MADE.items():
    print(identity(make(1.0))[0])
print(identity(lambda x: x in {{"a", "b", "c"}})[0])
"""


def test_words_are_the_same_in_every_process():
    code, root = SCRIPT.format(here=str(Path(__file__).parent)), str(Path(__file__).parents[2])
    told = [
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True,
            env={**os.environ, "PYTHONPATH": root, "PYTHONHASHSEED": seed, "OMP_NUM_THREADS": "1"},
        ).stdout
        for seed in ("1", "2")
    ]  # fmt: skip
    assert told[0] == told[1]
    assert len(told[0].splitlines()) == len(MADE) + 1


def test_a_script_is_called_as_if_it_were_imported(tmp_path):
    (tmp_path / "study.py").write_text(
        "from photonet.tolerance.identity import identity\n"
        "def metric(x): return x\n"
        "print(identity(metric)[0])\n"
    )
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    run = functools.partial(subprocess.run, cwd=tmp_path, env=env, capture_output=True, text=True, check=True)
    ways = (["study.py"], ["-m", "study"], ["-c", "import study"])
    assert len({run([sys.executable, *way]).stdout for way in ways}) == 1


def study(path, system=None, metric=float, **more):
    return tolerance(
        system or (lambda draws, seeds: draws["x"]), metric, {"x": Normal(0, 1)},
        samples=4, progress=False, out=path, **more,
    )  # fmt: skip


@pytest.mark.parametrize(
    "kind", ["dataclass", "network of a dataclass", "private setting", "network", "closure"]
)
def test_the_numbers_of_another_metric_are_not_taken_for_its_own(tmp_path, kind):
    out = tmp_path / "study.nc"
    found = study(out, metric=MADE[kind](1.0))
    before = out.read_bytes()
    with pytest.raises(DataError, match="holds another study"):
        study(out, metric=MADE[kind](100.0))
    assert out.read_bytes() == before
    xr.testing.assert_equal(study(out, metric=MADE[kind](1.0)), found)


def test_a_metric_that_counts_its_calls_goes_on(tmp_path):
    metric = Scaled(2.0)
    found = study(tmp_path / "study.nc", metric=metric)
    xr.testing.assert_equal(study(tmp_path / "study.nc", metric=metric), found)
    assert metric._calls == 4


@pytest.mark.parametrize("held", [threading.Lock(), iter(x for x in ())])
def test_what_cannot_be_told_is_not_continued(tmp_path, held):
    with pytest.raises(
        InvalidArgument, match=r"metric: expected what can be told.*network \(a .*resume=False"
    ):
        study(tmp_path / "study.nc", metric=Judge(1.0, held))
    assert not (tmp_path / "study.nc").exists()
    study(tmp_path / "study.nc", metric=Judge(1.0, held), resume=False)
    study(None, metric=Judge(1.0, held))


def test_the_quickstart_is_told_by_its_design_and_its_network():
    from photonet.data import digits
    from photonet.models import compressed_meta
    from photonet.quickstart import QuickstartConfig
    from photonet.quickstart.study import _Bench

    splits, student = digits(), compressed_meta()
    assert splits.test.images.shape[1] == 1  # kept once made
    bench = identity(_Bench(student, splits, QuickstartConfig()))
    assert bench == identity(_Bench(student, digits(), QuickstartConfig()))
    assert bench[1] == []
    others = [
        _Bench(compressed_meta(), splits, QuickstartConfig()),
        _Bench(student, splits, QuickstartConfig(fraction=0.2)),
        _Bench(student, splits._replace(test=splits.val), QuickstartConfig()),
    ]
    assert len({bench[0], *(identity(other)[0] for other in others)}) == 4
