import pytest
import torch

from photonet import correct, plot
from photonet.errors import InvalidArgument
from photonet.measured import DriftMonitor, Measured, plan_pilot
from photonet.models import compressed_meta


def test_the_learning_curve_shows_band_points_and_pilot():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        student = compressed_meta(2, 3, binning=2, hidden=12, classes=3, image=8).eval()
    scenes = torch.rand(40, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        pilot = Measured(scenes, student.features(scenes) * 0.5)
    plan = plan_pilot(student, pilot, correct, method="none")
    [axes] = plot.learning_curve(plan).axes
    names = axes.get_legend_handles_labels()[1]
    assert names[:2] == ["90 % band", "median"]
    assert list(axes.containers[0].lines[0].get_xdata()) == list(plan.curve["size"].values)
    assert axes.get_ylabel() == "agreement with the simulated network (%)"
    assert [40, 40] in [list(line.get_xdata()) for line in axes.get_lines()]


def test_drift_crosses_one_where_a_look_is_due_and_names_it():
    g = torch.Generator().manual_seed(0)
    picture = torch.rand(4, 1, 12, 12, generator=g)

    def bench(rounds, gain=1.0):
        return gain * picture + 0.01 * torch.randn(rounds, *picture.shape, generator=g)

    monitor = DriftMonitor.fit(bench(16))
    looks = [monitor.look(bench(4, gain)) for gain in (1.0, 1.0, 1.05)]
    [axes] = plot.drift(looks).axes
    gain = next(line for line in axes.get_lines() if line.get_label() == "gain")
    assert [bool(value > 1) for value in gain.get_ydata()] == [False, False, True]
    assert [text.get_text() for text in axes.texts] == ["gain"]
    with pytest.raises(InvalidArgument, match="^looks"):
        plot.drift([])
