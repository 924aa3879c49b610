"""The planner on networks whose accuracy after n samples is known by construction."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

import photonet
from photonet.errors import InvalidArgument
from photonet.measured import Measured, plan_pilot
from photonet.measured.learning import fit_curves
from photonet.models import compressed_meta
from photonet.nn import HybridNetwork


class Knows(nn.Module):
    """Right about every picture whose hardness, the second feature, is below ``skill``."""

    def __init__(self, skill):
        super().__init__()
        self.skill = skill

    def forward(self, features):
        label, hardness = features[:, 0, 0, :2].T
        answer = torch.where(hardness < self.skill, label, 1 - label)
        return torch.nn.functional.one_hot(answer.long(), 2).float()


SIMULATED, DROP, RATE = 0.95, 0.4, 0.8


def skill(n, drop=DROP):
    return SIMULATED - drop * (n / 8) ** -RATE


def correct(student, measured, *, fraction, seed, luck=0.0, drop=DROP):
    assert fraction == 1.0
    lucky = luck * torch.randn((), generator=torch.Generator().manual_seed(seed)).item()
    return SimpleNamespace(student=HybridNetwork(nn.Identity(), Knows(skill(len(measured), drop) + lucky)))


STUDENT = HybridNetwork(nn.Identity(), Knows(SIMULATED))


def pictures(count, seed, labels=True):
    g = torch.Generator().manual_seed(seed)
    truth = torch.randint(2, (count,), generator=g)
    maps = torch.stack([truth.float(), torch.rand(count, generator=g)], dim=1)[:, None, None]
    return Measured(maps, maps, truth if labels else None)


@pytest.fixture(scope="module")
def plan():
    return plan_pilot(STUDENT, pictures(100, 0), correct)


def test_the_band_holds_the_truth_in_most_cases_with_and_without_clean_scenes():
    held, widths = {True: 0, False: 0}, {True: [], False: []}
    many = pictures(4000, 999)
    cases = 12
    for clean in (True, False):
        for seed in range(cases):
            plan = plan_pilot(
                STUDENT, pictures(60, seed), correct, seed=seed, luck=0.01, drop=0.1,
                clean=(many.scenes, many.labels) if clean else None,
            )  # fmt: skip
            _, low, high = plan.at(180)
            held[clean] += low <= skill(180, drop=0.1) <= high
            widths[clean].append(high - low)
    # 90 % less two standard errors of 12 cases
    assert min(held.values()) >= 0.9 * cases - 2 * (cases * 0.09) ** 0.5
    assert np.median(widths[True]) < 0.75 * np.median(widths[False])


def test_samples_without_a_label_judge_nothing():
    measured = pictures(100, 0)
    half = torch.where(torch.arange(100) % 2 == 0, measured.labels, -100)
    some = plan_pilot(STUDENT, Measured(measured.scenes, measured.features, half), correct)
    assert some.simulated == pytest.approx(SIMULATED, abs=0.1)
    _, low, high = some.at(200)
    assert low <= skill(200) <= high
    clean = pictures(1000, 5)
    unknown = torch.where(torch.arange(1000) % 2 == 0, clean.labels, -100)
    helped = plan_pilot(
        STUDENT, Measured(measured.scenes, measured.features, half), correct, clean=(clean.scenes, unknown)
    )
    _, low, high = helped.at(200)
    assert low <= skill(200) <= high
    with pytest.raises(InvalidArgument, match="pilot: expected labels of some"):
        plan_pilot(STUDENT, Measured(measured.scenes, measured.features, 0 * half - 100), correct)


def test_a_larger_pilot_knows_more():
    narrow, wide = (plan_pilot(STUDENT, pictures(n, 1), correct) for n in (400, 50))
    spans = [high - low for _, low, high in (p.at(120) for p in (narrow, wide))]
    assert spans[0] < 0.6 * spans[1]


def test_the_curve_is_monotone_labelled_and_ends_at_three_times_the_pilot(plan):
    curve = plan.curve
    assert curve["n"].values[0] == curve["size"].values[0]
    assert curve["n"].values[-1] == plan.limit == 300
    assert (np.diff(curve["accuracy"]) > -2e-3).all()  # drawn numbers blur a monotone curve a little
    assert (curve["low"] <= curve["accuracy"]).all()
    assert (curve["accuracy"] <= curve["high"]).all()
    assert ((curve["n"] > 100) == curve["extrapolated"]).all()
    assert curve.attrs["metric"] == "accuracy"
    assert curve.attrs["level"] == 0.9


def test_the_band_widens_beyond_the_pilot(plan):
    def shape(n):  # of the curve alone: its level is as uncertain everywhere
        gain = plan.draws.expected(torch.tensor([80, n])).diff(dim=1)
        return float(gain.std())

    assert shape(100) < shape(200) < shape(300)


def test_needed_inverts_the_curve(plan):
    median, _, _ = plan.at(60)
    needed = plan.needed(median)
    assert needed.likely == pytest.approx(60, abs=6)
    assert needed.low < needed.likely
    assert needed.high is None or needed.high > needed.likely
    n = plan.draws.needed(0.9)
    reached = n.isfinite().nonzero()[:50, 0]
    at = plan.draws.expected(n[reached])[reached].diagonal()
    torch.testing.assert_close(at, torch.full_like(at, 0.9))


def test_what_cannot_be_reached_is_said():
    plan = plan_pilot(STUDENT, pictures(200, 3), correct)
    far = plan.needed(0.999)
    assert (far.likely, far.low, far.high) == (None, None, None)
    assert far.chance < 0.05
    assert "not reachable with the evidence" in str(far)
    near = plan.needed(0.5)
    assert near.likely == near.fewest == 20
    assert near.chance > 0.99
    assert "at most 20" in str(near)


def test_it_prints_a_table_that_marks_extrapolation(plan):
    lines = str(plan).splitlines()
    assert lines[0].startswith("pilot of 100: uncorrected 9")
    assert "90 % band" in lines[1]
    assert [line.split()[0] for line in lines[2:-1]] == ["10", "17", "28", "48", "80", "100", "200", "300"]
    assert [line.endswith("extrapolated") for line in lines[2:-1]] == [False] * 6 + [True] * 2
    assert "Beyond 300" in lines[-1]
    with pytest.raises(InvalidArgument, match=r"^samples: expected 10 to 300.*a larger pilot"):
        plan.at(301)


def test_the_same_seed_gives_the_same_plan():
    a, b, other = (plan_pilot(STUDENT, pictures(60, 2), correct, luck=0.05, seed=s) for s in (4, 4, 5))
    assert a.curve.identical(b.curve)
    assert not a.curve.equals(other.curve)


def test_without_labels_it_plans_agreement_with_the_simulation():
    seen = pictures(80, 5, labels=False)
    plan = plan_pilot(STUDENT, seen, correct)
    assert plan.simulated == 1.0
    assert plan.curve.attrs["metric"] == "agreement with the simulated network"
    # where both are right, or wrong in the same way: hardness up to the skill or above 0.95
    _, low, high = plan.at(80)
    assert low < skill(80) + 1 - SIMULATED < high


def test_perfect_scores_still_leave_doubt():
    plan = plan_pilot(STUDENT, pictures(40, 6), lambda *_, **__: SimpleNamespace(
        student=HybridNetwork(nn.Identity(), Knows(2.0))))  # fmt: skip
    _, low, high = plan.at(40)
    # Clopper and Pearson's one-sided 95 % bound of 40 right of 40 is 0.05 ** (1 / 40) = 0.928
    assert 0.85 < low < 0.975
    assert high > 0.99


def test_the_real_correction_is_called_with_the_options():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        student = compressed_meta(2, 3, binning=2, hidden=12, classes=3, image=8).eval()
    scenes = torch.rand(40, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        pilot = Measured(scenes, 0.4 * student.features(scenes).flip(1) + 0.3)
    plan = plan_pilot(student, pilot, photonet.correct, sizes=[8, 16, 32], method="calibration")
    assert plan.curve.attrs["method"] == "calibration"
    # channels swapped and dimmed: a linear map brings back what the simulation answers
    assert plan.at(40)[0] > 0.95


def test_scenes_of_pixels_count_once():
    scenes = torch.rand(30, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    labels = torch.randint(3, (30, 4, 4), generator=torch.Generator().manual_seed(1))
    labels[:, 0] = -100  # pixels of no class
    student = HybridNetwork(nn.Identity(), nn.Identity())
    plan = plan_pilot(
        student, Measured(scenes, scenes, labels), lambda s, *_, **__: SimpleNamespace(student=s)
    )
    right = (scenes.argmax(1) == labels)[:, 1:].double().mean((1, 2))
    assert plan.uncorrected == pytest.approx(float(right.mean()))
    # the spread of 30 scenes, not of 360 pixels, and a little for two pseudo-scenes
    expected = 2 * 1.645 * float(right.std()) / 30**0.5
    low, high = float(plan.curve["tried_low"][0]), float(plan.curve["tried_high"][0])
    assert expected < high - low < 2.5 * expected


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"sizes": [10, 20]}, "^sizes: expected three or more"),
        ({"sizes": [4, 10, 20]}, "^sizes"),
        ({"sizes": [10, 20, 81]}, "^sizes: .*from 8 to 80"),
        ({"sizes": [10, 20.5, 40]}, "^sizes"),
        ({"repeats": 9}, "^repeats"),
        ({"fraction": 1.0}, "^fraction: expected nothing"),
        ({"level": 1.0}, "^level"),
        ({"level": float("nan")}, "^level"),
        ({"seed": -1}, "^seed"),
        ({"clean": (torch.zeros(3, 1, 1, 2), torch.zeros(2))}, "^clean"),
    ],
)
def test_settings_that_cannot_be(settings, match):
    with pytest.raises(InvalidArgument, match=match):
        plan_pilot(STUDENT, pictures(100, 0), correct, **settings)


def test_pilots_that_cannot_be(plan):
    with pytest.raises(InvalidArgument, match=r"^pilot: expected at least 20"):
        plan_pilot(STUDENT, pictures(19, 0), correct)
    clean = pictures(50, 1)
    with pytest.raises(InvalidArgument, match=r"^clean: .*got a pilot without labels"):
        plan_pilot(STUDENT, pictures(50, 0, labels=False), correct, clean=(clean.scenes, clean.labels))
    for wrong in (-0.1, 1.1, float("nan")):
        with pytest.raises(InvalidArgument, match="^accuracy"):
            plan.needed(wrong)


@pytest.mark.parametrize(("count", "right", "least"), [(40, 0.97, 0.8), (100, 0.98, 0.8)])
def test_the_band_of_ten_splits_holds_what_is_stated(count, right, least):
    """Pictures that are right or wrong whatever is learned: a flat curve, and only the splits tell of it."""
    held = []
    for seed in range(60):
        g = torch.Generator().manual_seed(seed)
        answers = torch.rand(count, generator=g) < right
        sizes = torch.tensor([8, 12, 16, 24, int(0.8 * count)])
        scores = answers.double().expand(5, 10, count).clone()
        for r in range(10):
            order = torch.randperm(count, generator=g)
            for s, size in enumerate(sizes.tolist()):
                scores[s, r, order[:size]] = torch.nan
        curves, _ = fit_curves(sizes, scores, g)
        low, high = curves.single(torch.tensor([count])).quantile(torch.tensor([0.05, 0.95]).double(), dim=0)
        held.append(bool(low <= right <= high))
    assert sum(held) / len(held) > least


@pytest.mark.parametrize("kind", [lambda x: (255 * x).byte(), lambda x: x.double(), lambda x: x.numpy()])
def test_clean_scenes_of_any_kind(kind):
    def once(student, *_, **__):
        return SimpleNamespace(student=student)

    pilot, other = pictures(40, 0), pictures(60, 1)
    found = plan_pilot(STUDENT, pilot, once, clean=(kind(other.scenes), other.labels.tolist()))
    assert found.pilot == 40
    with pytest.raises(InvalidArgument, match="clean: expected a label for each scene"):
        plan_pilot(STUDENT, pilot, once, clean=(other.scenes, torch.full((60,), -100)))
