import math

import pytest
import torch

from photonet import materials
from photonet.design import kernels_to_masks
from photonet.errors import InvalidArgument, UnknownName

SETUP = {"wavelength": 525e-9, "distance": 0.25e-3, "pitch": 1e-6, "pixel": 6, "samples": 42, "steps": 60}


def kernels():
    """A difference along x, and a spot without a negative part."""
    k = torch.zeros(2, 1, 3, 3)
    k[0, 0, 1] = torch.tensor([-1.0, 0.0, 2.0])
    k[1, 0, 1, 1] = 3.0
    return k


@pytest.fixture(scope="module")
def design():
    return kernels_to_masks(kernels(), **SETUP)


def test_the_psfs_are_near_the_wished_ones(design):
    # measured by a hand-made sum here, not by the design's own error
    wished = torch.zeros(2, 2, 1, 7, 7)
    wished[0, 0, 0, 3, 4] = wished[1, 0, 0, 3, 2] = wished[:, 1, 0, 3, 3] = 1.0
    got = design.psf()
    error = (got - wished).flatten(2).norm(dim=-1) / wished.flatten(2).norm(dim=-1)
    torch.testing.assert_close(error, design.error)
    assert float(error.max()) < 0.5
    assert bool((got.flatten(2).argmax(-1) == wished.flatten(2).argmax(-1)).all())


def test_the_kernels_have_the_wished_scale_and_sign(design):
    made = design.kernels()[..., 2:5, 2:5]
    torch.testing.assert_close(made[0, 0, 1, 2], torch.tensor(2.0), atol=0.4, rtol=0)
    torch.testing.assert_close(made[0, 0, 1, 0], torch.tensor(-1.0), atol=0.2, rtol=0)
    assert design.gain[1, 1] == 0  # nothing to subtract from a kernel without a negative part


def test_light_is_conserved(design):
    total = design.psf().sum((-3, -2, -1))
    assert bool((total <= 1 + 1e-5).all())  # rounding of float32 over 42 x 42 samples
    assert bool((design.efficiency <= total + 1e-6).all())
    assert bool((design.efficiency > 0.5).all())
    torch.testing.assert_close(design.efficiency, design.psf()[..., 0, 2:5, 2:5].sum((-2, -1)))


def test_the_relief_gives_at_most_one_turn(design):
    contrast = float(materials.load("SiO2").index(525e-9).real - materials.load("air").index(525e-9).real)
    height = design.mask.height
    assert height.shape == (2, 2, 42, 42)
    assert float(height.min()) >= 0
    assert float(height.max()) <= 525e-9 / contrast * (1 + 1e-6)
    phase = design.mask.transmission(525e-9)
    torch.testing.assert_close(phase.abs(), torch.ones_like(phase.abs()))


def test_the_same_seed_gives_the_same_masks():
    quick = SETUP | {"steps": 3}
    a, b, c = (kernels_to_masks(kernels(), **quick, seed=s).mask.height for s in (0, 0, 1))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def test_more_steps_come_nearer(design):
    assert bool((kernels_to_masks(kernels(), **SETUP | {"steps": 3}).error > design.error).all())


def test_a_design_prints_in_a_line(design):
    assert repr(design) == "<MaskDesign of <HeightMask 2 x 2 masks of 42 x 42 at 1 um for 525 nm at 0.25 mm>>"


@pytest.mark.parametrize(
    ("kernel", "change", "error", "words"),
    [
        (torch.zeros(1, 1, 3, 3), {}, InvalidArgument, "kernels: expected kernels that are not all zero"),
        (torch.ones(1, 3, 3, 3), {}, InvalidArgument, r"kernels: expected shape \[k, 1, v, u\]"),
        (torch.ones(1, 1, 4, 4), {}, InvalidArgument, "kernels: expected square kernels of an odd size"),
        (torch.full((1, 1, 3, 3), math.nan), {}, InvalidArgument, "kernels: expected finite"),
        (torch.ones(1, 1, 9, 9), {}, InvalidArgument, "samples: expected a window of at least"),
        (torch.ones(1, 1, 3, 3), {"distance": -1e-3}, InvalidArgument, "distance: expected a positive"),
        (torch.ones(1, 1, 3, 3), {"pitch": -1e-6}, InvalidArgument, "pitch: expected a positive"),
        (torch.ones(1, 1, 3, 3), {"wavelength": 525}, InvalidArgument, "525 is in nm, pass 525e-9"),
        (torch.ones(1, 1, 3, 3), {"steps": 0}, InvalidArgument, "steps: expected"),
        (torch.ones(1, 1, 3, 3), {"material": "SiO3"}, UnknownName, "did you mean SiO2"),
    ],
)
def test_bad_input_is_named(kernel, change, error, words):
    with pytest.raises(error, match=words):
        kernels_to_masks(kernel, **SETUP | {"steps": 1} | change)


@pytest.mark.parametrize(("samples", "pixel"), [(48, 6), (40, 5), (32, 1)])
def test_windows_of_any_number_of_pixels(samples, pixel):
    options = SETUP | {"samples": samples, "pixel": pixel, "steps": 3}
    with torch.no_grad():
        found = kernels_to_masks(kernels().numpy(), **options)
    assert found.psf().shape[-1] in (samples // pixel, samples // pixel - 1)
    assert bool((found.efficiency > 0).all())


def test_one_wavelength_is_wanted():
    with pytest.raises(InvalidArgument, match="wavelength: expected one wavelength"):
        kernels_to_masks(kernels(), **SETUP | {"wavelength": [525e-9, 630e-9]})


def test_what_the_material_absorbs_is_in_the_efficiency():
    """Amorphous silicon takes three quarters of the light at 525 nm."""
    found = kernels_to_masks(kernels(), **SETUP, material="a-Si")
    assert bool((found.efficiency < 0.3).all())
    assert bool((found.error > 0.7).all())
