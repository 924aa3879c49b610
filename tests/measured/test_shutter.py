"""Exposure times as cameras report them: the same one comes back a little different each time."""

import pytest
import torch

from photonet.measured import MeasuredData, Part, calibrate, write
from photonet.measured.shutter import are_among, by_exposure, shutter_times


def test_times_that_differ_by_jitter_are_one():
    exposure = torch.tensor([2e-3, 1e-3, 2.00001e-3, 1.002e-3], dtype=torch.float64)
    assert [rows.tolist() for rows in by_exposure(exposure)] == [[1], [3], [0, 2]]
    assert shutter_times(exposure).tolist() == [1e-3, 1.002e-3, 2e-3]
    assert are_among(exposure, torch.tensor([1.0000001e-3]).double()).tolist() == [False, True, False, False]


@pytest.mark.parametrize("jitter", [0.0, 1e-5])
def test_a_camera_that_reports_its_jitter_has_the_same_steps(tmp_path, jitter):
    g = torch.Generator().manual_seed(0)

    def reported(seconds):
        return seconds * (1 + jitter * torch.randn(len(seconds), generator=g, dtype=torch.float64))

    seconds = torch.arange(1.0, 11.0).repeat_interleave(2).double()
    light = torch.cat([seconds, 5 * torch.linspace(1, 0.8, 16, dtype=torch.float64)])
    times = torch.cat([torch.zeros(20), torch.linspace(0, 3600, 16)])
    seconds = reported(torch.cat([seconds, torch.full((16,), 5.0, dtype=torch.float64)]))

    def taken(light):
        return 64 + light[:, None, None] * 100 + torch.randn(len(light), 8, 8, generator=g)

    write(
        tmp_path / "a.h5",
        Part(taken(torch.ones(4)), reported(torch.full((4,), 5.0).double()), time=[0, 1000, 2000, 3000]),
        dark=Part(taken(torch.zeros(8)), reported(torch.full((8,), 5.0).double()), time=0.0),
        flat=Part(taken(light), seconds, time=times),
    )
    with MeasuredData(tmp_path / "a.h5") as data:
        found = {step.name for step in calibrate(data).steps}
    assert {"linearity", "drift"} <= found


def test_three_times_that_differ_by_jitter_tell_no_linearity(tmp_path):
    seconds = torch.tensor([1.0, 1.0, 1.00001, 1.00001, 1.00002, 1.00002]).double()
    frames = torch.full((6, 4, 4), 900.0)
    write(tmp_path / "a.h5", Part(frames, 1.0), dark=Part(0 * frames, 1.0), flat=Part(frames, seconds))
    with MeasuredData(tmp_path / "a.h5") as data:
        assert "linearity" not in [step.name for step in calibrate(data).steps]
