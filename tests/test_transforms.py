"""What is decided by values is decided for all of a batch of `torch.func.vmap`."""

import pytest
import torch

from photonet import Field, Grid, Mask, simulate
from photonet.errors import InvalidArgument, SamplingWarning
from photonet.optics import propagate, psf

GRID = Grid((12, 15), (2e-6, 3e-6))
BESIDE, FINE = Grid(12, GRID.pitch, centre=(1e-4, 0)), Grid(9, 1e-6)


def by_phase(phase):
    mask = Mask.from_phase(phase, pitch=GRID.pitch)
    return simulate(mask, Field.plane_wave(shape=(12, 15), pitch=GRID.pitch, wavelength=5e-7), distance=1e-4)


@pytest.mark.filterwarnings("ignore::photonet.errors.SamplingWarning")
@pytest.mark.parametrize(
    "light",
    [
        lambda phase: propagate(torch.exp(1j * phase)[None], GRID, 5e-7, 1e-3, output=BESIDE),
        lambda phase: propagate(torch.exp(1j * phase)[None], GRID, 5e-7, 1e-5, method="fresnel_response"),
        lambda phase: propagate(torch.exp(1j * phase)[None], GRID, 5e-7, 1e-3, method="fresnel"),
        lambda phase: propagate(
            torch.exp(1j * phase)[None], GRID, 5e-7, 1e-3, output=FINE, method="fraunhofer"
        ),
        lambda phase: psf(torch.exp(1j * phase)[None], GRID, 5e-7, 1e-4, source=1e-4, position=(1e-5, 0.0)),
        lambda phase: by_phase(phase).irradiance,
    ],
)
@pytest.mark.parametrize("axis", [0, 1])
def test_vmap_is_a_loop(light, axis):
    phases = torch.rand(3, 12, 15, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = torch.func.vmap(light, in_dims=axis)(phases.movedim(0, axis))
    torch.testing.assert_close(found, torch.stack([light(phase) for phase in phases]))


def test_warnings_are_given_and_bad_values_found_within_vmap():
    noise = torch.randn(2, 1, 12, 15, dtype=torch.complex128, generator=torch.Generator().manual_seed(0))
    with pytest.warns(SamplingWarning, match="in the wrong place"):
        torch.func.vmap(lambda u: propagate(u, GRID, 5e-7, 1e-5, method="fresnel_response"))(noise)
    holes = torch.zeros(2, 12, 15)
    holes[1, 3, 4] = torch.nan
    with pytest.raises(InvalidArgument, match=r"phi: expected finite values, .* the first at \(1, 3, 4\)"):
        torch.func.vmap(lambda phase: by_phase(phase).irradiance)(holes)


def test_what_the_sampling_hangs_on_is_no_batch():
    u, waves = torch.ones(1, 12, 15, dtype=torch.complex128), torch.tensor([4e-7, 5e-7])
    with pytest.raises(InvalidArgument, match="wavelength: expected wavelengths that are known"):
        torch.func.vmap(lambda wave: propagate(u, GRID, wave, 1e-4))(waves)
    with pytest.raises(InvalidArgument, match="distance: expected a finite length"):
        torch.func.vmap(lambda z: propagate(u, GRID, 5e-7, z))(waves)
