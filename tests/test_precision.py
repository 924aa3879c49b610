"""Light in single precision where the network around it runs in eight bits."""

import pytest
import torch

from photonet import Detector, Display, Grid, Mask, simulate
from photonet.nn import DiffractiveStack
from photonet.optics import convolve_low_rank, image_display, low_rank

GRID, SCREEN, WAVES = Grid((9, 12), (2e-6, 3e-6)), Grid((3, 5), 2e-5), [5e-7, 6e-7]
LIGHT = torch.linspace(1, 2, 2 * 9 * 12).reshape(2, 9, 12)
PIXELS = torch.linspace(0, 1, 2 * 3 * 5).reshape(2, 3, 5)


def seen_by_a_camera():
    camera = Detector(pitch=4e-6, crosstalk=0.02)
    return camera.expose(camera.sample(LIGHT, GRID, (4, 6), (0.0, 0.0)), WAVES, seed=0)


def imaged():
    return image_display(PIXELS, SCREEN, torch.ones(2, 9, 12) + 0j, GRID, WAVES, 1e-3, 1e-3)


def simulated():
    mask = Mask.from_phase(torch.zeros(9, 12), pitch=GRID.pitch)
    return simulate(mask, Display(PIXELS, SCREEN, WAVES, 1e-3), distance=1e-3).irradiance


def imaged_by_modes():
    psfs = torch.rand(2, 2, 3, 3, generator=torch.Generator().manual_seed(0))
    return convolve_low_rank(LIGHT[0], *low_rank(psfs, 3))


def classified():
    stack = DiffractiveStack(Grid(32, 8e-6), 525e-9, 5e-3, layers=1)
    return stack(torch.ones(1, 32, 32, dtype=torch.complex64))


@pytest.mark.parametrize("light", [seen_by_a_camera, imaged, simulated, imaged_by_modes, classified])
def test_light_is_the_same_under_autocast(light):
    expected = light()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = light()
    assert torch.equal(found, expected)
