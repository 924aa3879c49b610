import importlib
from dataclasses import replace

import pytest
import torch

from photonet.distill import CORRECTIONS, TrainConfig, correct, distill, fit_twin, gauss_newton, predict
from photonet.distill.candidates import Setting, Workshop
from photonet.distill.chain import candidates_of
from photonet.distill.frames import clean_scenes
from photonet.errors import GridMismatch, InvalidArgument, UnknownName
from photonet.grid import Grid
from photonet.measured import Measured
from photonet.models import compressed_meta
from photonet.nn import HybridNetwork, MaskConv2d

QUICK = TrainConfig(epochs=3, batch_size=16, lr=1e-3)


@pytest.fixture
def trained(network, scenes):
    distill(
        network, None, scenes, val=scenes, method="ce", config=TrainConfig(epochs=25, batch_size=24, lr=2e-2)
    )
    assert (predict(network, scenes[0]).argmax(1) == scenes[1]).all()
    return network


def measure(network, scenes, spoil=lambda maps: maps, labels=True):
    with torch.no_grad():
        return Measured(scenes[0], spoil(network.features(scenes[0])), scenes[1] if labels else None)


def swap(maps):
    return 0.4 * maps.flip(1) + 0.3


def wins(network, measured, labels):
    return float((predict(network.backend, measured.features).argmax(1) == labels).double().mean())


def test_calibration_brings_a_linear_error_back_without_labels(trained, scenes):
    measured = measure(trained, scenes, swap, labels=False)
    before = wins(trained, measured, scenes[1])
    result = correct(trained, measured, fraction=0.5, method="calibration")
    assert result.kept == "calibration"
    assert before < 0.7
    assert wins(result.student, measured, scenes[1]) == 1.0


KINDS = [
    "none",
    "ntkd-paper",
    "self-kd",
    "gauss-newton",
    "calibration+kd",
    "calibration+gauss-newton+self-kd",
    "twin+gauss-newton",
]


@pytest.mark.parametrize("method", KINDS)
def test_what_is_kept_is_not_worse_on_frames_that_were_held_out(method, trained, scenes):
    measured = measure(trained, scenes, swap)
    result = correct(trained, measured, teacher=trained, fraction=0.5, method=method, config=QUICK)
    assert result.kept in candidates_of(method)
    assert result.metrics[f"{result.kept}/loss"] <= result.metrics["none/loss"]
    assert result.reason.startswith(result.kept)


@pytest.mark.parametrize(("frames", "passes"), [(90, 300), (640, 30), (2560, 10), (6400, 10)])
def test_fine_tuning_takes_300_steps_or_ten_passes(frames, passes, network, scenes, monkeypatch):
    candidates, seen = importlib.import_module("photonet.distill.candidates"), []
    monkeypatch.setattr(candidates, "fit", lambda *args, **options: seen.append(args[4]))
    chosen = torch.arange(frames) % len(scenes[0])
    measured = measure(network, (scenes[0][chosen], scenes[1][chosen]))
    setting = candidates.Setting(network, measured.scenes)
    candidates.Workshop(setting, measured).backend("ce", "")
    assert [config.epochs for config in seen] == [passes]


@pytest.mark.parametrize("refinement", [*CORRECTIONS[CORRECTIONS.index("twin") + 1 :]])
def test_every_refinement_can_follow_a_calibration_and_another(refinement):
    found = candidates_of(f"calibration+self-kd+{refinement}")
    assert found == ("none", "calibration", "calibration+self-kd", f"calibration+self-kd+{refinement}")


def test_a_chain_starts_where_its_last_step_ended(trained, scenes):
    measured = measure(trained, scenes, swap)
    setting = Setting(trained, measured.scenes, config=QUICK)
    workshop = Workshop(setting, measured)
    solved = gauss_newton(trained.backend, measured.features, predict(trained, measured.scenes))
    nothing = TrainConfig(epochs=1, batch_size=64, lr=1e-12, weight_decay=0.0)
    left = Workshop(replace(setting, config=nothing), measured).backend("gauss-newton+self-kd", "")
    seen = [predict(backend, measured.features) for backend in (solved, left, trained.backend)]
    assert torch.allclose(seen[0], seen[1], atol=1e-4)
    assert not torch.allclose(seen[0], seen[2], atol=1e-2)
    assert workshop.backend("gauss-newton+self-kd", "") is workshop.backend("gauss-newton+self-kd", "")


@pytest.mark.parametrize("method", ["kd+calibration", "calibration+twin", "none+kd", "calibration+auto"])
def test_chains_in_no_order(method, trained, scenes):
    with pytest.raises(InvalidArgument, match=r"^method: expected calibration or twin first"):
        correct(trained, measure(trained, scenes), method=method)


@pytest.mark.parametrize("method", ["", "calibration+", "calibration+magic", "+kd"])
def test_steps_that_do_not_exist(method, trained, scenes):
    with pytest.raises(UnknownName, match="^method"):
        correct(trained, measure(trained, scenes), method=method)


def test_a_perfect_device_stays_as_it_is(trained, scenes):
    measured = measure(trained, scenes)
    reckless = TrainConfig(epochs=3, batch_size=16, lr=3.0)
    result = correct(trained, measured, fraction=0.5, method="ce", config=reckless)
    assert result.kept == "none"
    assert torch.equal(predict(result.student.backend, measured.features),
                       predict(trained.backend, measured.features))  # fmt: skip


def test_the_network_that_came_in_is_not_touched(trained, scenes):
    before = [p.detach().clone() for p in trained.parameters()]
    correct(trained, measure(trained, scenes, swap), fraction=0.5, method="calibration+ce", config=QUICK)
    assert all(torch.equal(a, b) for a, b in zip(before, trained.parameters(), strict=True))


def test_the_same_seed_gives_the_same_correction(trained, scenes):
    measured = measure(trained, scenes, swap)
    a, b = (correct(trained, measured, fraction=0.5, method="ce", config=QUICK, seed=1) for _ in range(2))
    assert a.metrics == b.metrics
    assert torch.equal(
        predict(a.student.backend, measured.features), predict(b.student.backend, measured.features)
    )


def test_other_precisions_and_pictures_of_bytes(trained, scenes):
    measured = measure(trained, scenes, swap)
    double = Measured(measured.scenes.double(), measured.features.double(), measured.labels.int())
    one, other = (correct(trained, m, fraction=1.0, method="calibration+ce") for m in (measured, double))
    assert one.metrics == other.metrics
    high = float(measured.scenes.max())
    bright = Measured(((measured.scenes / high).clamp(0, 1) * 255).byte(), measured.features)
    assert clean_scenes((255 * measured.scenes.clamp(0, 1)).byte(), bright).max() <= 1
    with pytest.raises(InvalidArgument, match=r"scenes: expected values in \[0, 1\]"):
        clean_scenes(255 * bright.scenes, bright)
    with pytest.raises(InvalidArgument, match="scenes: expected some thousands"):
        clean_scenes(bright.scenes[:0], bright)


def test_a_frontend_with_parameters_of_another_precision(trained, scenes):
    """Lengths are float64; what counts is what the backend takes."""
    front = torch.nn.Sequential(trained.frontend)
    front.register_parameter("distance", torch.nn.Parameter(torch.ones((), dtype=torch.float64)))
    student = HybridNetwork(front, trained.backend)
    result = correct(student, measure(trained, scenes, swap), fraction=0.5, method="calibration")
    assert result.kept == "calibration"


def test_random_numbers_of_the_caller_are_left_alone(trained, scenes):
    measured, before = measure(trained, scenes, swap), torch.get_rng_state()
    correct(trained, measured, fraction=0.5, method="calibration+self-kd", config=QUICK)
    assert torch.equal(torch.get_rng_state(), before)


def test_too_few_frames(trained, scenes):
    with pytest.raises(InvalidArgument, match=r"^fraction: expected at least 6 of the 120"):
        correct(trained, measure(trained, scenes), fraction=0.04, method="calibration")


@pytest.mark.parametrize("fraction", [-0.1, 1.5, float("nan")])
def test_fractions_outside_0_to_1(fraction, trained, scenes):
    with pytest.raises(InvalidArgument, match="^fraction"):
        correct(trained, measure(trained, scenes), fraction=fraction, method="calibration")


def test_what_a_method_needs_is_asked_for(trained, scenes):
    with pytest.raises(InvalidArgument, match="measured: expected labels"):
        correct(trained, measure(trained, scenes, labels=False), fraction=0.5, method="ce")
    with pytest.raises(InvalidArgument, match="teacher: expected"):
        correct(trained, measure(trained, scenes), fraction=0.5, method="kd")
    with pytest.raises(UnknownName, match="did you mean calibration"):
        correct(trained, measure(trained, scenes), method="calibrate")


def with_labels(labels):
    return lambda m: {"measured": Measured(m.scenes, m.features, labels)}


def with_features(*shape):
    return lambda m: {"measured": Measured(m.scenes, torch.rand(len(m), *shape))}


@pytest.mark.parametrize(
    ("method", "change", "error", "words"),
    [
        ("ce", with_labels(torch.full((120,), 7)), InvalidArgument, "^labels: expected classes 0 to 2, .* 7"),
        ("calibration", with_labels(torch.zeros(120, 8, 8).long()), InvalidArgument, "^labels: .* shape"),
        ("ce", with_labels(torch.full((120,), -100)), InvalidArgument, "^measured: expected labels"),
        ("self-kd", with_features(2, 8, 8), GridMismatch, r"^measured: .*\(2, 4, 4\).* got \(2, 8, 8\)"),
        ("calibration", with_features(5, 4, 4), GridMismatch, r"^measured: .* got \(5, 4, 4\)"),
        ("auto", lambda m: {"scenes": torch.rand(9, 1, 9, 9)}, GridMismatch, r"^scenes: .*\(1, 8, 8\)"),
        ("auto", lambda m: {"scenes": torch.full((9, 1, 8, 8), torch.nan)}, InvalidArgument, "^scenes"),
        (
            "auto",
            lambda m: {"measured": "a.h5"},
            InvalidArgument,
            "^measured: .* str; Measured.from_file",
        ),
        ("auto", lambda m: {"student": torch.nn.Linear(2, 2)}, InvalidArgument, "^student: .* got Linear"),
        ("none", lambda m: {"seed": 1.5}, InvalidArgument, "^seed: expected a whole number"),
        ("calibration+kd", lambda m: {}, InvalidArgument, "^teacher: expected"),
    ],
)
def test_what_does_not_belong_together_is_said_before_anything_is_fitted(
    method, change, error, words, network, scenes, monkeypatch
):
    module = importlib.import_module("photonet.distill.correct")
    monkeypatch.setattr(module, "Workshop", None)
    monkeypatch.setattr(module, "register_bench", None)
    measured = measure(network, scenes)
    arguments = {"student": network, "measured": measured, "seed": 0, **change(measured)}
    with pytest.raises(error, match=words):
        correct(fraction=0.5, method=method, **arguments)


@pytest.mark.parametrize("known", [0, 1])
def test_agreement_is_a_number_however_few_labels_there_are(known, network, scenes):
    labels = torch.where(torch.arange(120) < known, scenes[1], -100)
    measured = measure(network, (scenes[0], labels), swap)
    metrics = correct(network, measured, fraction=1.0, method="none").metrics
    assert 0 <= metrics["none/agreement"] <= 1


def test_dense_outputs(trained, scenes):
    """Segmentation: a map of logits instead of one decision."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        backend = torch.nn.Conv2d(2, 3, 3, padding=1)
    student = HybridNetwork(trained.frontend, backend)
    wanted = predict(student, scenes[0])
    measured = Measured(scenes[0], swap(predict(student.frontend, scenes[0])), wanted.argmax(dim=1))
    before = wins(student, measured, measured.labels)
    for method in ("auto", "calibration", "ce", "calibration+self-kd"):
        result = correct(student, measured, fraction=1.0, method=method, config=QUICK)
        assert "gauss-newton" not in result.kept
        assert ("; without gauss-newton: dense outputs" in result.reason) == (method == "auto")
        assert wins(result.student, measured, measured.labels) > before
    with pytest.raises(GridMismatch, match="logits"):
        correct(student, measured, fraction=1.0, method="gauss-newton")


@pytest.mark.parametrize("colours", [1, 3])
def test_frontends_of_masks_and_of_colours(colours):
    """They are registered and calibrated as any other; the twin knows their colours."""
    grid, wavelength = Grid(12, 1e-6), [525e-9, 630e-9, 460e-9][:colours]
    mask = MaskConv2d(2, grid=grid, wavelength=wavelength, distance=0.1e-3, pixel=4, binning=2)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        student = HybridNetwork(mask, torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(32, 3))).eval()
    shown = torch.rand(24, colours, 8, 8, generator=torch.Generator().manual_seed(0))
    measured = Measured(shown, 0.5 * predict(mask, shown) + 0.1)
    result = correct(student, measured, fraction=1.0)
    assert result.registration is not None
    assert result.metrics["calibration/loss"] < 0.1 * result.metrics["none/loss"]
    twin, _ = fit_twin(student, measured, registration=result.registration)
    error = (predict(twin, shown) - measured.features).norm() / measured.features.norm()
    assert error < 0.2


def test_large_scenes_are_not_registered_and_the_reason_says_so():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        student = compressed_meta(2, 3, binning=20, hidden=12, classes=3, image=80).eval()
    shown = torch.rand(12, 1, 80, 80, generator=torch.Generator().manual_seed(0))
    measured = Measured(shown, swap(predict(student.frontend, shown)))
    result = correct(student, measured, fraction=1.0, scenes=shown)
    assert result.registration is None
    assert result.reason.endswith(
        "; without registration, twin: scenes of 80 x 80 have more than 4096 pixels"
    )
    alone = correct(student, measured, fraction=1.0, method="calibration")
    assert "; without registration: scenes of 80 x 80" in alone.reason
    assert "without" not in correct(student, measured, fraction=1.0, method="self-kd", config=QUICK).reason


def test_maps_that_would_not_fit_are_named_with_the_reason(network, scenes, monkeypatch):
    candidates = importlib.import_module("photonet.distill.candidates")
    measured = measure(network, scenes, swap)
    assert "without" not in correct(network, measured, fraction=0.2, method="calibration").reason
    monkeypatch.setattr(candidates, "MOST_FEATURES", 31)
    result = correct(network, measured, fraction=0.2, method="calibration")
    assert result.reason.endswith("registered nonlinear: a scene has 32 features, more than 31")
    assert "; without local, full, nonlinear," in result.reason
    monkeypatch.setattr(candidates, "MOST_FEATURES", 32)
    monkeypatch.setattr(candidates, "MOST_UNKNOWNS", 80)
    result = correct(network, measured, fraction=0.2, method="calibration")
    assert result.reason.endswith("; without registered kernels: a kernel has 81 unknowns, more than 80")


def test_a_frontend_of_another_kind_is_calibrated_without_registration(scenes):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        student = HybridNetwork(
            torch.nn.Conv2d(1, 2, 3, stride=2, padding=1),
            torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(32, 3)),
        )
    measured = Measured(scenes[0], swap(predict(student.frontend, scenes[0])))
    result = correct(student, measured, fraction=0.5)
    assert result.registration is None
    assert "; without registration: frontend: expected an OpticalConv2d or a MaskConv2d" in result.reason
    assert not any("registered" in name for name in result.metrics)
    with pytest.raises(InvalidArgument, match="frontend: expected an OpticalConv2d or a MaskConv2d"):
        correct(student, measured, method="twin")


def test_labels_of_a_few_frames_decide_by_those_frames(trained, scenes):
    """None of the first quarter is labelled: what judged nothing had a loss of 0."""
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(120, generator=generator)  # the draw of seed 0
    labels = scenes[1].clone()
    labels[order[::4]] = -100
    measured = measure(trained, (scenes[0], labels), swap)
    result = correct(trained, measured, fraction=1.0, method="ce", config=QUICK, seed=0)
    assert result.metrics["none/loss"] > 0.1
    assert "90 held-out frames" in result.reason


@pytest.mark.parametrize(
    ("wrong", "words"),
    [({"config": "foo"}, "config: expected a TrainConfig, got str"),
     ({"config": {}}, "config: expected a TrainConfig, got dict"),
     ({"teacher": 3}, "teacher: expected a torch module, or None, got int")],
)  # fmt: skip
def test_settings_and_teachers_of_another_kind_are_named(wrong, words, network, scenes):
    with pytest.raises(InvalidArgument, match=words):
        correct(network, measure(network, scenes), **wrong)
