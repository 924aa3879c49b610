"""The roads of the package on another device: they run, stay there, and say what they say on the CPU.

Not collected by itself: `tests/test_devices.py` runs it in a process of its own.
"""

from __future__ import annotations

import contextlib
import copy
import types
import warnings

import pytest
import torch
from torch import nn

from photonet import Detector, Field, Grid, Mask, correct, distill, models, ntk, optics, simulate
from photonet import measured as bench
from photonet import nn as layers
from photonet.detector import detect, pixel_irradiance
from photonet.distill import (
    KD,
    NTK,
    DeviceNoise,
    KernelResidual,
    MaskNoise,
    Moved,
    SquaredError,
    TrainConfig,
    fit_local_map,
    fit_nonlinear_map,
    fit_ridge_map,
)  # fmt: skip
from photonet.fabrication import (
    EdgeRoughness,
    HeightError,
    LateralError,
    MissingPillars,
    RefractiveIndexError,
    SurfaceRoughness,
    WidthError,
)  # fmt: skip
from photonet.measured import Measured

from .device import ELSEWHERE, There, values, world

WAVE = 532e-9
GRID = Grid((32, 32), 4e-6)
LIGHT = optics.gaussian_beam(GRID, WAVE, waist=30e-6)
CONFIG = TrainConfig(epochs=1, batch_size=8)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def rand(*shape, seed=0):
    return torch.rand(*shape, generator=generator(seed))


def number(value):
    return torch.tensor(value, dtype=torch.float64)


def moved(value):
    if isinstance(value, nn.Module):
        return copy.deepcopy(value).to(ELSEWHERE)
    if isinstance(value, (torch.Tensor, Field, Mask)):
        return value.to(ELSEWHERE)
    return value


def tensors(found):
    if isinstance(found, torch.Tensor):
        return [found]
    return [t for part in found for t in tensors(part)]


def agree(function, *given):
    """The same on both devices, and nothing of the answer comes back by itself."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = tensors(function(*copy.deepcopy(given)))
        with world():
            found = tensors(function(*(moved(value) for value in given)))
    assert found
    assert all(isinstance(t, There) for t in found)
    for a, b in zip(expected, found, strict=True):
        torch.testing.assert_close(values(b), a.detach())


def trained(model, *given):
    """Output and gradients."""
    found = model(*given)
    found.abs().square().sum().backward()
    return [found, *(p.grad for p in model.parameters() if p.grad is not None)]


def test_two_devices_do_not_mix():
    with world():
        there = rand(3).to(ELSEWHERE)
        with pytest.raises(RuntimeError, match="on the CPU"):
            there + rand(3)
        with pytest.raises(RuntimeError, match="a generator of the CPU"):
            torch.rand(3, device=ELSEWHERE, generator=generator())
        with pytest.raises(TypeError, match="numpy"):
            there.numpy()


@pytest.mark.parametrize("distance", [1e-5, 2e-3, 0.2])
@pytest.mark.parametrize(
    "method", ["auto", "angular_spectrum", "fresnel", "fraunhofer", "rayleigh_sommerfeld"]
)
def test_propagation(distance, method):
    agree(lambda u: optics.propagate(u, GRID, WAVE, distance, method=method), LIGHT)


def slope(u, z):
    z = z.requires_grad_()
    optics.propagate(u, GRID, WAVE, z).abs().square()[..., :16, :].sum().backward()
    return z.grad


PATTERN = rand(32, 32).to(torch.complex128)
WINDOW = Grid((24, 24), 2e-6)
OPTICS = {
    "slope": (slope, LIGHT, number(2e-3)),
    "zoom": (lambda u: optics.propagate(u, GRID, WAVE, 2e-3, output=WINDOW), LIGHT),
    "tilted": (lambda u: optics.rotate_plane(u, GRID, WAVE, about_y=0.01), LIGHT),
    "focal plane": (lambda u: optics.focal_plane(u, GRID, WAVE, 0.02, GRID), LIGHT),
    "four_f": (lambda u, p: optics.four_f(u, GRID, WAVE, 0.02, pupil=p), LIGHT, rand(1, 64, 64) + 0j),
    "psf": (lambda t, d: optics.psf(t[None], GRID, WAVE, 5e-3, source=d), PATTERN, number(1.0)),
    "strips": (lambda t: optics.stream_psf(t, GRID, WAVE, 5e-3, WINDOW), PATTERN),
    "strips of phase": (
        lambda t: optics.stream_psf(t, GRID, WAVE, 5e-3, WINDOW, phase=True),
        rand(32, 32),
    ),
    "patches": (optics.convolve_patches, rand(32, 32), rand(2, 2, 9, 9)),
    "low rank": (
        lambda x, p: optics.convolve_low_rank(x, *optics.low_rank(p, 2)),
        rand(32, 32),
        rand(3, 3, 9, 9),
    ),
    "shift": (lambda x, d: optics.shift(x, d, 0.3), rand(32, 32), number(0.4)),
    "circle": (lambda d: optics.circular_aperture(GRID, d, centre=(1e-6, 0.0)), number(5e-5)),
    "rectangle": (lambda d: optics.rectangular_aperture(GRID, (d, 4e-5)), number(5e-5)),
    "grating": (lambda d: optics.blazed_grating(GRID, d, angle=0.1), number(1e-5)),
    "sag": (lambda r: optics.aspheric_sag(GRID, r, conic=-0.5, coefficients=(1e3,)), number(0.1)),
    "wavefront": (lambda d: optics.wavefront(GRID, d, {4: 0.5, 5: 0.1}), number(1e-4)),
    "hermite": (lambda w: optics.hermite_beam(GRID, w, waist=3e-5, order=(1, 0)), number([5e-7])),
    "laguerre": (lambda w: optics.laguerre_beam(GRID, w, waist=3e-5, azimuthal=1), number([5e-7])),
    "partial": (
        lambda wave, w: optics.gaussian_schell(GRID, wave, waist=w, coherence=2e-5, modes=3),
        number([5e-7]),
        number(3e-5),
    ),
}


@pytest.mark.parametrize("name", OPTICS)
def test_optics(name):
    agree(*OPTICS[name])


MASKS = {
    "phase": Mask.from_phase(6 * rand(32, 32), pitch=4e-6, wavelength=WAVE),
    "height": Mask.from_height(1e-6 * rand(32, 32), pitch=4e-6, material="SiO2"),
    "transmission": Mask.from_transmission(rand(32, 32), pitch=4e-6),
    "pillars": Mask.from_meta_atoms(1e-7 + 1e-7 * rand(32, 32), library="sin-pillars-293nm"),
}
ERRORS = {
    "phase": [HeightError(systematic=0.02, random=0.01), LateralError(random=2e-7)],
    "height": [
        HeightError(random=0.01, correlation=2e-5), RefractiveIndexError(systematic=0.01),
        SurfaceRoughness(rms=1e-8),
    ],
    "transmission": [LateralError(random=1e-7)],
    "pillars": [
        WidthError(random=2e-9, correlation=1e-6), MissingPillars(fraction=0.01),
        EdgeRoughness(sigma=2e-9, correlation=5e-8),
    ],
}  # fmt: skip


@pytest.mark.parametrize("kind", MASKS)
@pytest.mark.parametrize("coherence", ["coherent", "incoherent"])
def test_devices_of_a_mask_in_light(kind, coherence):
    mask = MASKS[kind]
    light = Field.plane_wave(shape=mask.grid.shape, pitch=mask.grid.pitch, wavelength=WAVE)

    def look(mask, light):
        made = mask.perturb(ERRORS[kind], seed=1, devices=2)
        return made.transmission([WAVE, 635e-9]), simulate(made, light, distance=1e-3).irradiance

    agree(look, mask, light)


def test_a_camera_records_where_the_light_is():
    """Its numbers are drawn there, so they are others on a GPU; here they are the CPU's."""
    camera = Detector()
    agree(lambda e: detect(e, camera, seed=3, frames=2), 1e4 * rand(32, 32))
    agree(lambda i: pixel_irradiance(i, GRID, Grid((10, 10), 1.1e-5)), rand(32, 32))


def lazy(frontend, scenes):
    network = layers.HybridNetwork(frontend, nn.Sequential(nn.Flatten(), nn.LazyLinear(2)))
    network(scenes)
    return network


FIELDS = rand(2, 1, 32, 32) + 0j
PIXELS = rand(2, 1, 16, 16)
PLANE = {"grid": Grid((64, 64), 4e-6), "wavelength": WAVE, "distance": 0.01, "pixel": 4}
LAYERS = {
    "lens": (layers.Lens(GRID, WAVE, 0.05, trainable=True), FIELDS),
    "free space": (layers.FreeSpace(GRID, WAVE, 0.01, trainable=True), FIELDS),
    "four_f": (
        layers.FourF(GRID, WAVE, 0.05, pupil=layers.PhaseMask(rand(64, 64)), trainable=True),
        FIELDS,
    ),
    "stack": (
        layers.DiffractiveStack(GRID, WAVE, 0.01, layers=2, classes=4, size=2e-5, trainable_distance=True),
        FIELDS,
    ),
    "mask": (layers.MaskConv2d(2, binning=2, **PLANE), PIXELS),
    "relief": (layers.MaskConv2d(2, material="SiO2", **PLANE), PIXELS),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers(name):
    agree(trained, *LAYERS[name])


torch.manual_seed(0)
NETWORKS = {
    "compressed_meta": (models.compressed_meta(), rand(5, 1, 28, 28)),
    "polychromatic_meta": (models.polychromatic_meta(hidden=(8,)), rand(3, 3, 32, 32)),
    "segmentation": (models.polychromatic_segmentation(width=16), rand(2, 3, 16, 16)),
    "extreme_meta": (models.extreme_meta(width=16), rand(2, 3, 16, 16)),
    "spectral_4f": (models.spectral_4f(), rand(3, 1, 28, 28)),
    "diffractive": (models.diffractive_classifier(layers=1), rand(2, 1, 28, 28)),
    "lenet": (models.lenet(), rand(3, 1, 28, 28)),
    "resnet": (models.resnet(width=4, blocks=(1, 1, 1)), rand(2, 3, 32, 32)),
    "unet": (models.unet(width=4), rand(2, 3, 16, 16)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_and_their_kernels(name):
    model, x = NETWORKS[name]

    def kernel(model, x):
        logits, gram = ntk.forward_gram(model, x, generator=generator())
        ntk.alignment(gram, torch.eye(len(x), device=x.device) + 0.5).backward()
        return [logits, gram, *(p.grad for p in model.parameters() if p.grad is not None)]

    agree(kernel, model.eval(), x)
    agree(trained, model.train(), x)


@pytest.mark.parametrize(
    "options", [{"method": "jacobian"}, {"outputs": "full"}, {"chunk": 2}, {"method": "sketch"}]
)
def test_ways_to_a_kernel(options):
    model, x = NETWORKS["compressed_meta"]
    agree(lambda model, x: ntk.gram(model, x, x[:3], generator=generator(), **options), model, x)


def test_regression_with_a_kernel():
    rows = rand(12, 5)
    k, y = rows @ rows.mT + 0.1 * torch.eye(12), rand(12, 3)
    agree(lambda k, y: ntk.regress(k, y, validation=(k[:4], y[:4])).coefficients, k, y)
    agree(lambda k: ntk.spectrum(k).values, k)
    agree(lambda x: ntk.infinite_gram(x, kernel=3, pool=2, rectified=True), rand(4, 1, 8, 8))


SCENES = rand(24, 1, 8, 8)
LABELS = (SCENES.mean((1, 2, 3)) > 0.5).long()
TEACHER = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 2))


def student():
    torch.manual_seed(0)
    return models.compressed_meta(2, 3, hidden=4, classes=2, image=8)


def end(result):
    return [p.detach() for p in result.student.parameters()]


RUNS = {
    **{name: {"method": name} for name in ("ce", "kd", "ntkd", "ntkd-paper", "features")},
    "residual": {"method": [KernelResidual(1.0)], "views": None},
    "full": {"method": [KD(), NTK(outputs="full")], "views": None},
    "moved": {"views": Moved()},
    "tuned": {"tune": (1e-3, 1e-2)},
    "in parts": {"config": TrainConfig(epochs=1, batch_size=8, accumulate=2)},
    "devices": {"noise": DeviceNoise(rotation=0.02)},
}


@pytest.mark.parametrize("name", RUNS)
def test_distillation(name):
    def run(student, teacher, x, y):
        more = None if name == "ce" else x
        options = {"config": CONFIG, **RUNS[name]}
        return end(distill(student, teacher, (x, y), val=(x, y), unlabelled=more, **options))

    agree(run, student(), TEACHER, SCENES, LABELS)


def test_distillation_of_a_mask_that_is_made_in_every_step():
    noise = MaskNoise([HeightError(systematic=0.02, random=0.01)], levels=8)
    front = layers.MaskConv2d(2, binning=2, material="SiO2", **PLANE)
    x = rand(8, 1, 16, 16)

    def run(student, x, y):
        return end(distill(student, None, (x, y), method="ce", config=CONFIG, noise=noise))

    agree(run, lazy(front, x), x, LABELS[:8])


@pytest.mark.parametrize("method", ["ce", "kd", "ntkd", "features"])
def test_distillation_on_pixels(method):
    x = rand(8, 3, 16, 16)

    def run(student, teacher, x, y):
        return end(distill(student, teacher, (x, y), val=(x, y), method=method, config=CONFIG))

    agree(run, NETWORKS["segmentation"][0], NETWORKS["unet"][0], x, (x.mean(1) > 0.5).long())


def test_regression():
    def run(model, x, y):
        return end(distill(model, None, (x, y), val=(x, y), method=[SquaredError()], config=CONFIG))

    agree(run, nn.Sequential(nn.Flatten(), nn.Linear(64, 2)), SCENES, rand(24, 2))


def test_a_fabric_takes_everything_to_its_device():
    """Student, teacher and data on the CPU; a Fabric of this device cannot be had, so it is played."""

    def run(student, teacher):
        fabric = types.SimpleNamespace(
            world_size=1, global_rank=0, device=student.frontend.weight.device,
            strategy=types.SimpleNamespace(precision=types.SimpleNamespace(precision="32-true")),
            autocast=contextlib.nullcontext, rank_zero_first=contextlib.nullcontext,
        )  # fmt: skip
        data = SCENES, LABELS
        return end(distill(student, teacher, data, val=data, unlabelled=SCENES, config=CONFIG, fabric=fabric))

    agree(run, student(), TEACHER)


@pytest.mark.parametrize("method", ["kd", "ntkd-paper", "calibration", "calibration+kd"])
def test_correction(method):
    x = rand(60, 1, 8, 8, seed=5)

    def run(student, teacher, x, y):
        with torch.no_grad():
            frames = Measured(x, 0.4 * student.features(x).flip(1) + 0.3, y)
        return end(correct(student, frames, teacher=teacher, fraction=0.5, method=method, config=CONFIG))

    agree(run, student(), TEACHER, x, (x.mean((1, 2, 3)) > 0.5).long())


def test_maps_between_features():
    for fit in (fit_ridge_map, fit_local_map, fit_nonlinear_map):
        agree(lambda a, b, fit=fit: fit(a, b)(a), rand(40, 2, 3, 3), rand(40, 2, 3, 3, seed=1))
    agree(lambda x, y: bench.estimate_psf(x, y, 3).kernels, rand(20, 1, 8, 8), rand(20, 2, 8, 8))
    agree(bench.crosstalk_matrix, rand(20, 2, 8, 8), rand(20, 2, 8, 8, seed=2))
