import copy
import functools
import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from photonet import Grid, __version__
from photonet.provenance import config_hash, module_hash, provenance, tensor_hash

ROOT = Path(__file__).parents[1]


def test_a_hash_sees_values_shape_and_type():
    x = torch.arange(6.0)
    others = [x + 1, x.reshape(2, 3), x.double(), torch.arange(6)]
    assert len({tensor_hash(t) for t in [x, *others]}) == 5
    assert tensor_hash(x.reshape(2, 3).T) == tensor_hash(x.reshape(2, 3).T.contiguous())
    assert tensor_hash(x, None) != tensor_hash(x)


def test_a_hash_is_sha_256_of_what_it_says():
    expected = hashlib.sha256(b"(3,)torch.float32" + bytes(12)).hexdigest()[:12]
    assert tensor_hash(torch.zeros(3)) == expected


def test_empty_and_complex_tensors_have_a_hash():
    assert tensor_hash(torch.zeros(0)) != tensor_hash(torch.zeros(0, 2))
    assert tensor_hash(torch.tensor([1j])) != tensor_hash(torch.tensor([-1j]))


def test_the_order_of_names_does_not_matter():
    assert config_hash({"a": 1, "b": 2}) == config_hash({"b": 2, "a": 1})
    assert config_hash({"a": 2, "b": 1}) != config_hash({"a": 1, "b": 2})


def test_attributes_are_plain():
    found = provenance(seed=3)
    assert found == {"photonet": __version__, "torch": str(torch.__version__), "seed": 3}
    assert type(found["torch"]) is str  # netCDF takes no subclass
    json.dumps(found)


class Bends(nn.Module):
    """Settings as a module keeps them: numbers, tensors, functions, objects."""

    def __init__(self, power=2.0, offset=0.0, function=torch.relu, grid=None, hook=None):
        super().__init__()
        self.power, self.offset, self.function, self.grid = power, torch.tensor([offset]), function, grid
        self._hook = hook

    def forward(self, x):
        return self.function(x**self.power + self.offset)


@pytest.mark.parametrize(
    "other",
    [
        lambda a, b: nn.Sequential(a, nn.Tanh(), b),
        lambda a, b: nn.Sequential(a, nn.LeakyReLU(0.3), b),
        lambda a, b: nn.Sequential(a, b, nn.LeakyReLU(0.2)),
        lambda a, b: nn.Sequential(
            a, nn.LeakyReLU(0.2), copy.deepcopy(a)
        ),  # equal weights, but not one tensor
        lambda a, b: nn.Sequential(a, nn.LeakyReLU(0.2), nn.Linear(3, 3)),
    ],
)
def test_the_hash_of_a_module_sees_structure_settings_weights_and_ties(other):
    a = nn.Linear(3, 3)
    hashed = module_hash(nn.Sequential(a, nn.LeakyReLU(0.2), a))
    assert hashed == module_hash(copy.deepcopy(nn.Sequential(a, nn.LeakyReLU(0.2), a)).eval())
    assert hashed != module_hash(other(a, a))


@pytest.mark.parametrize(
    "settings",
    [
        {"power": 3.0},
        {"offset": 1.0},
        {"function": torch.tanh},
        {"grid": Grid(8, 2e-6)},
        {"grid": (8, [1e-6])},
    ],
)
def test_the_hash_of_a_module_sees_settings_that_are_no_tensors_of_its_state(settings):
    plain = {"grid": Grid(8, 1e-6)}
    assert module_hash(Bends(**plain)) == module_hash(Bends(**plain, hook=print))
    assert module_hash(Bends(**plain)) != module_hash(Bends(**plain | settings))


def test_settings_of_one_kind_are_told_apart():
    pairs = [
        (functools.partial(torch.clamp, min=0.0), functools.partial(torch.clamp, min=0.1)),
        (functools.partial(torch.relu), functools.partial(torch.tanh)),
        (np.zeros(3), np.ones(3)),
        (slice(2), slice(3)),
        ({"a", "b"}, {"a", "c"}),
    ]
    for one, other in pairs:
        assert module_hash(Bends(grid=one)) == module_hash(Bends(grid=copy.deepcopy(one)))
        assert module_hash(Bends(grid=one)) != module_hash(Bends(grid=other))


def test_the_hash_does_not_see_what_a_hook_makes_of_weights():
    layer = prune.l1_unstructured(nn.Linear(3, 4), "weight", 0.5)
    other = prune.l1_unstructured(nn.Linear(3, 4), "weight", 0.5)
    other.load_state_dict(layer.state_dict())  # the weight itself is made by the next forward pass
    assert module_hash(other) == module_hash(layer)


def test_the_hash_of_an_exported_network_sees_its_program():
    class Net(nn.Module):
        def __init__(self, bend):
            super().__init__()
            self.bend = bend

        def forward(self, x):
            return self.bend(x)

    relu, again, tanh = (
        torch.export.export(Net(bend), (torch.rand(3, 2),)).module()
        for bend in (torch.relu, torch.relu, torch.tanh)
    )
    assert module_hash(relu) == module_hash(again) != module_hash(tanh)


class Scaled(nn.Module):
    """A network whose settings a trace turns into constants and a script into attributes."""

    def __init__(self, factor=2, offset=0.0):
        super().__init__()
        self.layer, self.factor, self.offset = nn.Linear(3, 2), factor, torch.tensor([offset, 1.0])
        nn.init.ones_(self.layer.weight)
        nn.init.zeros_(self.layer.bias)

    def forward(self, x):
        return self.layer(x) * self.factor + self.offset


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
@pytest.mark.parametrize(
    "program",
    [
        lambda net: torch.jit.trace(net, torch.ones(1, 3)),
        torch.jit.script,
        lambda net: torch.jit.freeze(torch.jit.script(net.eval())),
    ],
    ids=["trace", "script", "frozen"],
)
def test_the_hash_of_a_traced_or_scripted_network_sees_its_weights_and_settings(program):
    net = program(Scaled())
    found = module_hash(net)
    net(torch.ones(1, 3))
    assert module_hash(net) == module_hash(program(Scaled())) == found
    bent = Scaled()
    nn.init.zeros_(bent.layer.weight)
    for other in (bent, Scaled(factor=3), Scaled(offset=1.0), nn.Linear(3, 2)):
        assert module_hash(program(other)) != found


def test_the_hash_of_a_module_is_the_same_in_another_process():
    script = (
        "import torch; from torch import nn; from photonet.provenance import module_hash;"
        "torch.manual_seed(0);"
        "print(module_hash(nn.TransformerEncoderLayer(4, 2, 8, activation=lambda x: x)))"
    )
    hashes = {subprocess.check_output([sys.executable, "-c", script], cwd=ROOT) for _ in range(2)}
    assert len(hashes) == 1


def test_an_attribute_beside_a_parameter_of_a_longer_name_counts():
    def module(value):
        found = nn.Linear(2, 2)
        found.kernel = torch.full((2,), value)
        found.kernel_gain = nn.Parameter(torch.ones(1))
        found.kernel_g = nn.Parameter(torch.ones(1))
        return found

    with torch.random.fork_rng():
        torch.manual_seed(0)
        one = module(0.0)
        torch.manual_seed(0)
        other = module(1.0)
    assert module_hash(one) != module_hash(other)
