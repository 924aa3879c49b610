import hashlib
import json

import torch
from torch import nn

from photonet import __version__
from photonet.provenance import config_hash, provenance, state_hash, tensor_hash


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
    a, b = {"x": torch.zeros(1), "y": torch.ones(1)}, {"y": torch.ones(1), "x": torch.zeros(1)}
    assert state_hash(a) == state_hash(b)
    assert state_hash({"x": torch.ones(1), "y": torch.zeros(1)}) != state_hash(a)
    assert config_hash({"a": 1, "b": 2}) == config_hash({"b": 2, "a": 1})
    assert state_hash(nn.Linear(2, 1).state_dict()) != state_hash(nn.Linear(2, 1).state_dict())


def test_attributes_are_plain():
    found = provenance(seed=3)
    assert found == {"photonet": __version__, "torch": str(torch.__version__), "seed": 3}
    assert type(found["torch"]) is str  # netCDF takes no subclass
    json.dumps(found)
