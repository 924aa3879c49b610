"""Frames that are not those of their scenes."""

import pytest
import torch

from photonet import correct
from photonet.errors import GridMismatch, InvalidArgument
from photonet.measured import Measured, make_devices
from photonet.measured.order import out_of_step
from photonet.models import compressed_meta
from tests.measured.test_device import make_design
from tests.measured.test_photometry import pictures

BAD = {"rotation": [0.2], "scale": [-0.15], "saturation": [1.5], "vignetting": [0.35], "pixel_gain": [0.3]}


def maps(n=60, seed=0):
    return torch.rand(n, 2, 7, 7, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("lag", "start"), [(1, 0), (2, 0), (-1, 0), (1, 30), (-3, 20)])
def test_a_missed_or_doubled_frame_is_found(lag, start):
    true = maps()
    order = torch.arange(60)
    order[start:] = (order[start:] + lag) % 60
    found = out_of_step(torch.clone, true, 0.3 * true[order] + 0.1 * maps(seed=1))
    assert found is not None
    assert found[1] == lag


def test_frames_in_step_pass_however_bad_or_alike_they_are():
    assert out_of_step(torch.clone, maps(), maps(seed=1)) is None  # nothing in common
    assert out_of_step(torch.clone, maps(), maps()[:1].expand(60, -1, -1, -1)) is None
    slow = torch.cumsum(maps() - 0.5, dim=0)  # a film: neighbours are alike
    assert out_of_step(torch.clone, slow, slow + maps(seed=1)) is None
    assert out_of_step(torch.clone, maps(8), maps(8).roll(1, 0)) is None  # too few to tell


@pytest.mark.parametrize("shift", [1, 2, 3])
def test_what_moves_through_the_pictures_of_a_displaced_bench_is_in_step(shift):
    generator = torch.Generator().manual_seed(0)
    thing = torch.nn.functional.avg_pool2d(torch.rand(1, 1, 40, 24, generator=generator), 9, stride=1)
    empty = torch.nn.functional.pad(thing, (4, 80))
    scenes = torch.cat([empty.roll(x, -1) for x in range(60)])  # a pixel a frame
    simulate = torch.nn.AvgPool2d(4)
    assert out_of_step(simulate, scenes, simulate(scenes.roll(shift, -1))) is None


def test_a_bad_device_is_in_step_and_out_of_it():
    design = make_design()
    device = make_devices(design, BAD, [3], binning=4)[0]
    perfect = make_devices(design, {}, [4], binning=4)[0]
    scenes = pictures()
    simulated, seen = (one.measure(scenes).features for one in (perfect, device))
    assert out_of_step(torch.clone, simulated, seen) is None
    assert out_of_step(torch.clone, simulated[:-1], seen[1:])[1] == 1


def test_correct_refuses_frames_of_other_scenes():
    student, scenes = compressed_meta(), torch.rand(60, 1, 28, 28)
    with torch.no_grad():
        features = 0.5 * student.features(scenes)
    with pytest.raises(
        InvalidArgument, match="^measured: expected frames in the order.*scenes 1 later.*trigger was missed"
    ):
        correct(student, Measured(scenes[:-1], features[1:]), fraction=1.0, method="calibration")
    with pytest.raises(GridMismatch, match="^measured"):
        out_of_step(torch.clone, features, features[:-1])


def test_chance_orders_nothing():
    """Maps that have nothing to do with their scenes, smooth and few: the hardest case."""
    generator = torch.Generator().manual_seed(2)
    for _ in range(300):
        coarse = torch.randn(2, 30, 1, 2, 2, generator=generator)
        simulated, seen = (torch.nn.functional.interpolate(c, size=4, mode="bilinear") for c in coarse)
        assert out_of_step(torch.clone, simulated, seen) is None
