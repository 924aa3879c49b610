import numpy as np
import pytest

from photonet import fabrication, materials
from photonet.errors import DataError, UnknownName
from photonet.fabrication import FabricationError
from photonet.fabrication.processes import ERRORS
from photonet.mask import Mask

MASKS = {
    "pillars": Mask.from_meta_atoms(np.full((8, 8), 150e-9), library="sin-pillars-293nm"),
    "relief": Mask.from_height(np.full((8, 8), 1e-6), pitch=1e-6, material="PMMA"),
}


@pytest.mark.parametrize("name", materials.names("processes"))
def test_every_process_makes_a_device_of_its_kind(name):
    mask = MASKS[name.split("-")[1]]
    errors = fabrication.process(name)
    assert errors
    made = mask.perturb(errors, seed=1, devices=3).transmission(532e-9)
    assert made.shape == (3, 1, 8, 8)
    assert (made[0] - made[1]).abs().max() > 1e-3
    # every error of the list does something of its own
    for i in range(len(errors)):
        without = mask.perturb(errors[:i] + errors[i + 1 :], seed=1).geometry.tensors()
        whole = mask.perturb(errors, seed=1).geometry.tensors()
        assert without.keys() != whole.keys() or any((without[k] != whole[k]).any() for k in whole)


@pytest.mark.parametrize("name", materials.names("processes"))
def test_every_number_says_how_far_it_is_trusted(name):
    data = materials.read("processes", name)
    assert data["name"] == name
    assert all(entry["source"] and entry["trust"] for entry in data["error"])


def test_every_error_of_the_package_can_be_named_in_a_file():
    public = {n for n in fabrication.__all__ if isinstance(getattr(fabrication, n), type)}
    assert {n for n in public if issubclass(getattr(fabrication, n), FabricationError)} - {
        "FabricationError"
    } == set(ERRORS)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"type": "HightError"}, "did you mean HeightError"),
        ({"type": "HeightError", "sigma": 0.1}, "sigma"),
        ({"type": "HeightError", "random": -0.1}, "random"),
        ({}, "type"),
    ],
)
def test_a_damaged_process_is_a_data_error(monkeypatch, entry, message):
    monkeypatch.setattr(materials, "read", lambda kind, name: {"error": [entry]})
    with pytest.raises(DataError, match=f"process mine: .*{message}"):
        fabrication.process("mine")


def test_unknown_process():
    with pytest.raises(UnknownName, match="did you mean duv-pillars"):
        fabrication.process("duv-pillar")
