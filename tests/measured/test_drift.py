import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from photonet.errors import DataError, DataMissing, GridMismatch, InvalidArgument
from photonet.measured import DriftMonitor, Measured

SIGMA = 0.005


def blobs(dy=0.0, dx=0.0, blur=0.0, scenes=4, size=14, sigma=2.0):
    """Gaussian spots [scenes, 1, y, x] that are displaced and blurred exactly."""
    y, x = (torch.arange(size, dtype=torch.float64) - size / 2 for _ in range(2))
    variance = sigma**2 + blur
    spots = [
        4.0 / variance * torch.exp(-((y[:, None] - a - dy) ** 2 + (x - b - dx) ** 2) / (2 * variance))
        for a, b in [(0.5, -1.0), (-2.0, 1.5), (1.0, 2.0), (-1.0, -2.0), (0.0, 0.0)][:scenes]
    ]
    return torch.stack(spots)[:, None]


class Bench:
    """Frames of a scene with noise of its own from call to call."""

    def __init__(self, seed=0):
        self.generator = torch.Generator().manual_seed(seed)

    def __call__(self, rounds, picture=None, sigma=SIGMA, flicker=0.0):
        picture = blobs() if picture is None else picture
        noise = torch.randn(rounds, *picture.shape, generator=self.generator, dtype=torch.float64)
        power = 1 + flicker * torch.randn(rounds, 1, 1, 1, 1, generator=self.generator, dtype=torch.float64)
        return power * picture + sigma * noise


@pytest.fixture
def bench():
    return Bench()


@pytest.fixture
def monitor(bench):
    return DriftMonitor.fit(bench(16))


CHANGED = {
    "gain": (lambda: 1.05 * blobs(), {"gain": 0.05}),
    "offset": (lambda: blobs() + 0.02, {"offset": 0.02}),
    "shift": (lambda: blobs(0.3, -0.4), {"shift_y": 0.3, "shift_x": -0.4}),
    "defocus": (lambda: blobs(blur=0.2), {"defocus": 0.1}),
}


@pytest.mark.parametrize("kind", CHANGED)
def test_a_change_is_found_named_and_measured(kind, bench, monitor):
    changed, truth = CHANGED[kind]
    look = monitor.look(bench(8, changed()))
    assert look.due
    assert look.kind == kind
    assert kind in str(look)
    for name, value in truth.items():
        # four standard errors, and a tenth for differences instead of derivatives and for the linear model
        assert look.estimates[name][0] == pytest.approx(value, rel=0.1, abs=4 * look.estimates[name][1])


@pytest.mark.parametrize(("sigma", "error"), [(0.8, 0.06), (1.2, 0.015), (2.0, 0.01)])
@pytest.mark.parametrize("shift", [(0.3, -0.2), (0.05, 0.03)])
def test_shifts_of_fine_structure_are_right(sigma, error, shift, bench):
    monitor = DriftMonitor.fit(bench(16, blobs(sigma=sigma)))
    look = monitor.look(bench(8, blobs(*shift, sigma=sigma)))
    for name, value in zip(("shift_y", "shift_x"), shift, strict=True):
        found, noise = look.estimates[name]
        assert found == pytest.approx(value, rel=error, abs=4 * noise)


def test_louder_noise_is_noise_and_not_a_change_of_the_mean(bench, monitor):
    for _ in range(20):
        look = monitor.look(bench(8, sigma=1.5 * SIGMA))
        assert (look.due, look.kind) == (True, "noise")
        # the variance is known to sqrt(2 / (784 x 7)) = 2 %, that of the reference to 1.3 %
        assert look.estimates["noise"][0] == pytest.approx(0.5, abs=5 * 0.012 * 1.5)


def test_what_is_none_of_the_kinds_is_called_other(bench, monitor):
    dusty = blobs()
    dusty[:, :, 6:8, 6:8] = 0.0
    assert monitor.look(bench(8, dusty)).kind == "other"


def test_a_response_gives_a_change_its_name(bench, tmp_path):
    turned = blobs().rot90(1, (2, 3)) - blobs()
    frames, look = bench(16), bench(8, blobs() + 0.02 * turned)
    assert DriftMonitor.fit(frames).look(look).kind == "other"
    monitor = DriftMonitor.fit(frames, responses={"turn": turned[:, 0], "defocus": blobs(blur=1.0) - blobs()})
    monitor.save(tmp_path / "monitor.h5")
    found = monitor.look(look)
    assert found == DriftMonitor.load(tmp_path / "monitor.h5").look(look)
    assert found.kind == "turn"
    assert found.estimates["turn"][0] == pytest.approx(0.02, abs=4 * found.estimates["turn"][1])
    blurred = monitor.look(bench(8, 0.9 * blobs() + 0.1 * blobs(blur=1.0)))
    assert blurred.kind == "defocus"
    assert blurred.estimates["defocus"][0] == pytest.approx(0.1, abs=4 * blurred.estimates["defocus"][1])
    for name in ("gain", "shift", "shift_x", "noise", "a b"):
        with pytest.raises(InvalidArgument, match="^responses: .*does not know"):
            DriftMonitor.fit(frames, responses={name: turned})
    with pytest.raises(GridMismatch, match=r"^responses\['turn'\]"):
        DriftMonitor.fit(frames, responses={"turn": turned[1:]})
    with pytest.raises(InvalidArgument, match="look different"):
        DriftMonitor.fit(frames, responses={"twin": blobs()})


def test_harmless_changes_raise_no_alarm_and_larger_ones_do(bench, tmp_path):
    limits = {"gain": 0.02, "shift_x": 0.1, "offset": 0.01, "noise": 0.3, "other": 0.05}
    frames = bench(16)
    strict, monitor = DriftMonitor.fit(frames), DriftMonitor.fit(frames, harmless=limits)
    monitor.save(tmp_path / "monitor.h5")
    dusty = blobs()
    dusty[:, :, 7, 7] *= 0.93
    for picture in (1.015 * blobs(), blobs(dx=-0.08), blobs() + 0.007, dusty):
        look = bench(8, picture)
        assert strict.look(look).due
        assert not monitor.look(look).due
    assert not monitor.look(bench(8, sigma=1.2 * SIGMA)).due
    larger = [(1.03 * blobs(), "gain"), (blobs(dx=-0.2), "shift"), (blobs(dy=0.05), "shift")]
    for picture, kind in larger:
        assert monitor.look(bench(8, picture)).kind == kind
    assert monitor.look(bench(8, sigma=1.5 * SIGMA)).kind == "noise"
    dusty[:, :, 5:8, 5:8] = 0
    look = bench(8, dusty)
    assert monitor.look(look).kind == "other"
    assert DriftMonitor.load(tmp_path / "monitor.h5").look(look) == monitor.look(look)
    assert monitor.smallest()["gain"] == pytest.approx(strict.smallest()["gain"] + 0.02)
    with pytest.raises(InvalidArgument, match="^harmless: .*'gian'; did you mean gain"):
        DriftMonitor.fit(frames, harmless={"gian": 0.1})
    with pytest.raises(InvalidArgument, match=r"^harmless\['gain'\]"):
        DriftMonitor.fit(frames, harmless={"gain": -0.1})


def alarms(runs, level, seed, rounds=4, **noise):
    bench = Bench(seed)
    looks = (DriftMonitor.fit(bench(12, **noise), false_alarm=level).look(bench(rounds, **noise))
             for _ in range(runs))  # fmt: skip
    return sum(look.due for look in looks)


@pytest.mark.parametrize("noise", [{}, {"flicker": 0.02}, {"sigma": 0.2}])
def test_the_stated_rate_of_false_alarms_is_kept(noise):
    # at most 1.5 x 20 % of 150 and at least that over 1.5, each with two standard errors of 150 runs
    runs, level = 150, 0.2
    margin = 2 * math.sqrt(runs * level * (1 - level))
    assert level / 1.5 * runs - margin < alarms(runs, level, seed=1, **noise) < 1.5 * level * runs + margin


def test_a_flickering_laser_is_learned_from_the_reference(bench):
    calm, flickering = DriftMonitor.fit(bench(16)), DriftMonitor.fit(bench(16, flicker=0.05))
    look = bench(8, 1.02 * blobs())
    assert calm.look(look).due
    assert not flickering.look(look).due
    assert flickering.smallest(8)["gain"] > 5 * calm.smallest(8)["gain"]


def test_smallest_tells_what_is_found(bench, monitor):
    least = monitor.smallest(rounds=8)["gain"]
    found = sum(monitor.look(bench(8, (1 + least) * blobs())).due for _ in range(100))
    assert found >= 88  # 95 less three standard errors


def test_more_looks_are_stricter_each(bench):
    one, many = (DriftMonitor.fit(Bench(3)(12), looks=n) for n in (1, 50))
    assert many.level == pytest.approx(one.level / 50)
    look = bench(4)
    assert many.look(look).limit > one.look(look).limit
    assert many.look(look).p == one.look(look).p


@settings(max_examples=15, deadline=None)
@given(scale=st.floats(1e-3, 1e4), add=st.floats(-5, 5))
def test_units_do_not_matter(scale, add):
    frames, look = Bench(1)(10), Bench(2)(4)
    a = DriftMonitor.fit(frames).look(look)
    b = DriftMonitor.fit(scale * frames).look(scale * look)
    assert b.p == pytest.approx(a.p, rel=1e-6)
    assert b.statistics == pytest.approx(a.statistics, rel=1e-6)
    assert b.estimates["gain"] == pytest.approx(a.estimates["gain"], rel=1e-6)
    # an added constant moves evidence between gain and offset only
    c = DriftMonitor.fit(frames + add).look(look + add)
    assert c.statistics["gain"] == pytest.approx(a.statistics["gain"], abs=0.05)


def test_measured_objects_and_tensors_say_the_same():
    frames, look, scenes = Bench(1)(10), Bench(2)(4), blobs().float()
    rounds, later = ([Measured(scenes, one) for one in part] for part in (frames, look))
    monitor = DriftMonitor.fit(rounds)
    assert monitor.look(later) == DriftMonitor.fit(frames).look(look)
    assert monitor.look(later) == DriftMonitor.fit(frames.numpy()).look(look.numpy())
    with pytest.raises(GridMismatch, match="^frames: .* other scenes"):
        monitor.look([Measured(scenes.flip(0), one) for one in look])
    with pytest.raises(GridMismatch, match=r"^reference\[1\]"):
        DriftMonitor.fit([rounds[0], Measured(scenes.flip(0), frames[1]), *rounds[2:]])


def test_a_saved_monitor_says_the_same(tmp_path, bench, monitor):
    monitor.save(tmp_path / "monitor.h5")
    again, look = DriftMonitor.load(tmp_path / "monitor.h5"), bench(4)
    assert again.look(look) == monitor.look(look)
    assert repr(again) == repr(monitor)


def test_damaged_and_foreign_files_are_refused(tmp_path, monitor):
    path = tmp_path / "monitor.h5"
    with pytest.raises(DataMissing):
        DriftMonitor.load(path)
    monitor.save(path)
    whole = path.read_bytes()
    for place in range(0, len(whole), 997):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        with pytest.raises(DataError, match="monitor.h5"):
            DriftMonitor.load(path)
    path.write_bytes(whole[:-100])
    with pytest.raises(DataError, match="cut off"):
        DriftMonitor.load(path)


@pytest.mark.parametrize(
    ("spoil", "error", "match"),
    [
        (lambda f: f[:7], InvalidArgument, "^reference: expected at least 8 rounds"),
        (lambda f: f[:, 0, 0], InvalidArgument, "^reference: expected real frames"),
        (lambda f: f.to(torch.complex128), InvalidArgument, "^reference: expected real frames"),
        (lambda f: f.index_fill(0, torch.tensor(3), math.nan), InvalidArgument, "^reference: .*NaN"),
        (lambda f: f[:1].expand_as(f), InvalidArgument, "^reference: expected repeated exposures"),
        (lambda f: f - f.mean(0), InvalidArgument, "^reference: expected a picture"),
        (lambda f: f[..., :2], InvalidArgument, "^reference: expected frames of at least 3 x 3"),
        (lambda f: [], InvalidArgument, "^reference: expected rounds"),
        (lambda f: list(f), InvalidArgument, "^reference: expected rounds.*Tensor"),
    ],
)
def test_a_reference_that_cannot_be_used(spoil, error, match, bench):
    with pytest.raises(error, match=match):
        DriftMonitor.fit(spoil(bench(10)))


def test_a_look_that_cannot_be_used(bench, monitor):
    frames = bench(4)
    with pytest.raises(InvalidArgument, match="^frames: expected at least 2 rounds"):
        monitor.look(frames[:1])
    with pytest.raises(GridMismatch, match="^frames: expected rounds of shape"):
        monitor.look(frames[..., 1:])
    with pytest.raises(GridMismatch, match="^frames: expected rounds of shape"):
        monitor.look(frames[:, 1:])
    with pytest.raises(InvalidArgument, match="^frames: .*NaN"):
        monitor.look(frames.index_fill(0, torch.tensor(0), math.inf))
    for wrong in (0, 1, -0.1, math.nan, "often"):
        with pytest.raises(InvalidArgument, match="^false_alarm"):
            DriftMonitor.fit(bench(8), false_alarm=wrong)
        with pytest.raises(InvalidArgument, match="^power"):
            monitor.smallest(power=wrong)
    with pytest.raises(InvalidArgument, match="^looks"):
        DriftMonitor.fit(bench(8), looks=0)
    with pytest.raises(InvalidArgument, match="^frames: expected rounds.*got int"):
        monitor.look(3)


def test_a_dead_channel_does_not_drown_the_others(bench):
    def two(frames):
        return torch.cat([frames, torch.zeros_like(frames)], dim=2)

    monitor = DriftMonitor.fit(two(bench(12)))
    assert not monitor.look(two(bench(6))).due
    assert monitor.look(two(bench(6, 1.05 * blobs()))).kind == "gain"
    assert replace(monitor, rounds=12).look(two(bench(6))).kind == "none"


def test_noise_is_named_only_where_its_own_test_alarms():
    """A fixed pattern that grows, unlike any change of the model: barely seen, it used to be called noise."""
    g = torch.Generator().manual_seed(0)
    scenes = torch.rand(4, 1, 12, 12, generator=g, dtype=torch.float64)

    def bench(rounds):
        return scenes + 0.01 * torch.randn(rounds, *scenes.shape, generator=g, dtype=torch.float64)

    monitor = DriftMonitor.fit(bench(32))
    pattern = torch.randn(scenes.shape, generator=g, dtype=torch.float64)
    looks = [monitor.look(bench(8) + a * pattern) for a in torch.linspace(0, 0.004, 200).tolist()]
    due = [look for look in looks if look.due]
    assert len(due) > 50
    assert sum(look.kind == "other" for look in due) > 0.9 * len(due)
    for look in due:
        if look.kind == "noise":
            assert abs(look.statistics["noise"]) > look.limit
