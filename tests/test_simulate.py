import math

import numpy as np
import pytest
import torch
import xarray as xr

from photonet import Detector, Display, Field, Grid, Mask, materials, plan, simulate
from photonet.errors import (
    GridMismatch,
    InvalidArgument,
    MemoryEstimateError,
    SamplingError,
    UnknownName,
)
from photonet.fabrication import HeightError, SurfaceRoughness
from photonet.optics.psf import convolve, psf
from photonet.units import LIGHT_SPEED, PLANCK

WAVE, PITCH, N, FOCUS = 525e-9, 1e-6, 48, 0.3e-3


def lens_phase():
    place = (torch.arange(N, dtype=torch.float64) - N // 2) * PITCH
    return -math.pi * (place[:, None] ** 2 + place**2) / (WAVE * FOCUS)


@pytest.fixture
def light():
    return Field.plane_wave(shape=N, pitch=PITCH, wavelength=WAVE)


@pytest.fixture
def lens():
    return Mask.from_phase(lens_phase(), pitch=PITCH, wavelength=WAVE, distance=FOCUS)


def test_mask_and_field_alone_go_to_the_design_distance(lens, light):
    out = simulate(lens, light)
    direct = Field(light.data * lens.transmission(WAVE), light.grid, light.wavelength).propagate(FOCUS)
    # the same product of transforms, but for the place of the carrier: rounding of 50 operations per sample
    torch.testing.assert_close(out.field.data, direct.data, atol=50 * 2.2e-16 * 6, rtol=0)
    torch.testing.assert_close(out.irradiance, direct.intensity(), atol=50 * 2.2e-16 * 36, rtol=0)
    assert out.image is None
    assert out.plan is not None
    assert out.attrs["method"] == out.plan.method
    assert int(out.irradiance.argmax()) == (N // 2) * N + N // 2  # the focus is on the axis
    assert float(out.irradiance.max()) > 10


def test_without_a_distance_it_stops_right_behind_the_mask(light):
    mask = Mask.from_transmission(torch.full((N, N), 0.5j), pitch=PITCH)
    out = simulate(mask, light)
    torch.testing.assert_close(out.field.data, 0.5j * light.data)
    assert out.plan is None
    assert out.attrs["distance"] == "behind the mask"


def test_a_stated_distance_goes_before_the_design(lens, light):
    assert torch.equal(simulate(lens, light, distance=FOCUS).irradiance, simulate(lens, light).irradiance)
    assert not torch.equal(
        simulate(lens, light, distance=FOCUS / 2).irradiance, simulate(lens, light).irradiance
    )


def test_another_output_grid(lens, light):
    spot = Grid(16, PITCH / 2)
    out = simulate(lens, light, output=spot)
    assert out.grid == spot
    # samples that both grids share show the same light, by two methods, of which one fades out the end of
    # the spectrum of the window's sharp edge: 4e-4 of the peak
    whole = simulate(lens, light).irradiance
    torch.testing.assert_close(
        out.irradiance[0, ::2, ::2], whole[0, 20:28, 20:28], rtol=0, atol=1e-3 * float(whole.max())
    )


def test_incoherent_light_is_the_scene_convolved_with_the_psf(lens):
    image = torch.zeros(N, N, dtype=torch.float64)
    image[20, 30] = 2.0
    scene = Field.from_image(image, pitch=PITCH, wavelength=WAVE)
    out = simulate(lens, scene, coherence="incoherent")
    spread = psf(lens.transmission(WAVE), lens.grid, WAVE, FOCUS)
    torch.testing.assert_close(out.irradiance, convolve(image, spread).clamp(min=0))
    assert int(out.irradiance.argmax()) == 20 * N + 30
    assert float(out.irradiance.sum()) <= 2.0


def test_incoherent_irradiances_add_and_coherent_ones_do_not(lens):
    left, right = torch.zeros(2, N, N, dtype=torch.float64)
    left[24, 22], right[24, 25] = 1.0, 1.0

    def seen(image, coherence):
        return simulate(
            lens, Field.from_image(image, pitch=PITCH, wavelength=WAVE), coherence=coherence
        ).irradiance

    both, apart = (
        (seen(left + right, c), seen(left, c) + seen(right, c)) for c in ("incoherent", "coherent")
    )
    torch.testing.assert_close(both[0], both[1])
    assert float((apart[0] - apart[1]).abs().max()) > 0.1 * float(apart[1].max())


def test_the_image_is_in_grey_values_of_the_cameras_equation(light):
    # a clear mask: every pixel gets 1 W/m^2 times the exposure
    camera = Detector(pitch=4e-6, exposure=1e-4, quantum_efficiency=0.5, gain=0.2, black_level=20.0, bits=12)
    clear = Mask.from_transmission(torch.ones(N, N, dtype=torch.complex128), pitch=PITCH)
    image = simulate(clear, light, detector=camera, seed=0).image
    assert image.shape == (12, 12)
    assert image.attrs["units"] == "DN"
    assert (image.attrs["method"], image.attrs["output"]) == ("none", str(light.grid))
    electrons = 0.5 * 16e-12 * 1e-4 * WAVE / (PLANCK * LIGHT_SPEED)
    expected = 20 + 0.2 * electrons
    # mean of 144 pixels: shot noise gain * sqrt(electrons / 144), five times that
    assert float(image.mean()) == pytest.approx(expected, abs=5 * 0.2 * math.sqrt(electrons / 144) + 0.5)
    assert np.array_equal(image.values, np.round(image.values))


def test_pixels_cover_the_window_symmetrically(light):
    clear = Mask.from_transmission(torch.ones(N, N, dtype=torch.complex128), pitch=PITCH)
    image = simulate(clear, light, detector=Detector(pitch=5e-6), seed=0).image
    assert image.shape == (9, 9)  # 45 of 48 um
    low, high = float(image["x"][0]) - 2.5e-6, float(image["x"][-1]) + 2.5e-6
    window = float(light.grid.x[0]) - PITCH / 2, float(light.grid.x[-1]) + PITCH / 2
    assert low - window[0] == pytest.approx(window[1] - high, abs=1e-12)


def test_one_seed_draws_device_and_exposure(light):
    relief = Mask.from_height(torch.rand(N, N, generator=torch.Generator().manual_seed(0)) * 1e-6,
                              pitch=PITCH, material="SiO2", distance=1e-4)  # fmt: skip

    def run(seed):
        return simulate(relief, light, detector=Detector(pitch=4e-6), seed=seed,
                        fabrication=HeightError(systematic=0.05))  # fmt: skip

    a, b, c = run(1), run(1), run(2)
    assert torch.equal(a.irradiance, b.irradiance)
    assert a.image.equals(b.image)
    assert not torch.equal(a.irradiance, c.irradiance)
    made = relief.perturb(HeightError(systematic=0.05), seed=1)
    assert torch.equal(simulate(made, light).irradiance, a.irradiance)


def test_numpy_xarray_and_torch_masks_see_the_same(light):
    phase = lens_phase()
    forms = [phase, phase.numpy(), xr.DataArray(phase.numpy(), dims=["y", "x"])]
    found = [simulate(Mask.from_phase(p, pitch=PITCH, distance=FOCUS), light).irradiance for p in forms]
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


def test_gradients_reach_the_mask(light):
    phase = lens_phase().requires_grad_()
    out = simulate(Mask.from_phase(phase, pitch=PITCH, distance=FOCUS / 2), light)
    out.irradiance[0, N // 2, N // 2].backward()
    assert float(phase.grad.abs().sum()) > 0


def test_a_saved_simulation_opens_in_xarray(lens, light, tmp_path):
    out = simulate(lens, light, detector=Detector(pitch=4e-6), seed=1)
    path = out.save(tmp_path / "new" / "focus.nc")
    assert [p.name for p in path.parent.iterdir()] == ["focus.nc"]
    with xr.open_dataset(path) as again:
        assert again["irradiance"].attrs["units"] == "W/m^2"
        assert np.array_equal(again["irradiance"].values, out.irradiance.numpy())
        assert np.array_equal(again["image"].values, out.image.values)
        assert again.attrs["seed"] == 1
        assert again.attrs["photonet"]


def test_a_file_that_cannot_be_written_leaves_the_old_one(lens, light, tmp_path, monkeypatch):
    path = simulate(lens, light).save(tmp_path / "focus.nc")
    old = path.read_bytes()

    def broken(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(xr.Dataset, "to_netcdf", broken)
    with pytest.raises(KeyboardInterrupt):
        simulate(lens, light).save(path)
    assert [p.name for p in tmp_path.iterdir()] == ["focus.nc"]
    assert path.read_bytes() == old


def test_plan_of_a_mask_and_of_a_field(lens, light):
    assert plan(lens) == simulate(lens, light).plan
    assert plan(light, FOCUS).method in {"angular_spectrum", "rayleigh_sommerfeld"}


def test_a_simulation_prints_in_a_line(lens, light):
    text = repr(simulate(lens, light, detector=Detector(pitch=4e-6), seed=1))
    assert text == "<Simulation of irradiance on 48 x 48 at 1e-06 x 1e-06 m, image 12 x 12 DN>"


def nothing():
    return Mask.from_phase(torch.zeros(N, N), pitch=PITCH)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"coherence": "coherant"}, UnknownName, "did you mean coherent"),
        ({"distance": 1e-3, "method": "angular"}, UnknownName, "^method"),
        ({"coherence": "incoherent"}, InvalidArgument, "distance: expected the distance from mask"),
        ({"detector": Detector()}, InvalidArgument, "seed: expected a whole number"),
        ({"fabrication": HeightError(systematic=0.1)}, InvalidArgument, "seed: expected a whole number"),
        ({"detector": Detector(), "seed": -1}, InvalidArgument, "^seed"),
        ({"output": Grid(8, PITCH)}, InvalidArgument, "output: expected a distance"),
        ({"output": (8, 8), "distance": 1e-3}, InvalidArgument, "^output: expected a photonet.Grid"),
        ({"method": "nonsense"}, UnknownName, "^method"),
        ({"patches": "abc"}, InvalidArgument, "^patches"),
        ({"patches": (1, 3)}, InvalidArgument, "^patches: expected 1 for a Field"),
        ({"seed": "abc"}, InvalidArgument, "^seed: expected a whole number"),
        ({"detector": "cam", "seed": 1}, InvalidArgument, "^detector: expected a photonet.Detector"),
        ({"detector": Detector(pitch=1e-3), "seed": 1}, InvalidArgument, "^detector: expected pixels within"),
        ({"distance": math.nan}, InvalidArgument, "^distance: expected a finite"),
        ({"distance": torch.tensor(math.inf)}, InvalidArgument, "^distance: expected a finite"),
        (
            {"distance": 1e-3, "output": Grid(8, PITCH, (5e-3, 0))},
            SamplingError,
            "^output: expected a window",
        ),
        (
            {"distance": 1e-3, "output": Grid(2**20, PITCH)},
            MemoryEstimateError,
            "needs about .* GiB and .* are free; .*stream_psf",
        ),
    ],
)
def test_bad_options_are_named(options, error, words, light):
    with pytest.raises(error, match=words):
        simulate(nothing(), light, **options)


def test_a_display_is_not_partially_coherent_and_a_field_has_its_wavelength(light):
    screen = Display(torch.rand(1, 4, 4), Grid(4, 1e-4), WAVE, 0.1)
    with pytest.raises(InvalidArgument, match="^coherence: expected incoherent for a Display"):
        simulate(nothing(), screen, distance=1e-3, coherence="partial")
    with pytest.raises(InvalidArgument, match="^distance: expected the distance from mask"):
        simulate(nothing(), screen)
    with pytest.raises(InvalidArgument, match="^wavelength: expected none, as the field has its own"):
        plan(light, 1e-3, wavelength="red")


def test_free_space_behind_a_relief_in_water_is_refused(light):
    """It would be vacuum; right behind the mask, where only the phase counts, the relief may lie in water."""
    water = materials.constant(1.33, "water")
    relief = Mask.from_height(torch.zeros(N, N), pitch=PITCH, material="SiO2", surround=water)
    simulate(relief, light)
    with pytest.raises(InvalidArgument, match="distance: expected no distance behind a relief in water"):
        simulate(relief, light, distance=1e-4)


def test_bad_input_is_named(light):
    with pytest.raises(InvalidArgument, match="phi: expected finite values, got 1 NaN"):
        Mask.from_phase([[0.0, math.nan]], pitch=PITCH)
    with pytest.raises(InvalidArgument, match="phi: expected"):
        Mask.from_phase(torch.ones(4, 4, dtype=torch.complex64), pitch=PITCH)
    with pytest.raises(GridMismatch, match="wavelength: expected 1 wavelengths, as the data has, got 2"):
        Field(light.data, light.grid, [WAVE, 6e-7])
    with pytest.raises(InvalidArgument, match="pitch: expected a positive length"):
        Mask.from_phase([[0.0]], pitch=-PITCH)
    with pytest.raises(GridMismatch, match="mask: expected the grid"):
        simulate(Mask.from_phase(torch.zeros(N, N), pitch=2 * PITCH), light)
    with pytest.raises(GridMismatch, match="mask: expected the grid"):
        simulate(Mask.from_phase(torch.zeros(N, N + 1), pitch=PITCH), light)
    with pytest.raises(InvalidArgument, match="mask: expected a photonet.Mask, got Tensor"):
        simulate(torch.zeros(N, N), light)
    with pytest.raises(
        InvalidArgument, match="field: expected a photonet.Field or a photonet.Display, got ndarray"
    ):
        simulate(nothing(), np.ones((N, N)))
    coarse = Field.from_image(np.ones((N, N)), pitch=2 * PITCH, wavelength=WAVE)
    with pytest.raises(GridMismatch, match="field: expected the grid"):
        simulate(nothing(), coarse, coherence="incoherent", distance=1e-4)
    with pytest.raises(InvalidArgument, match="wavelength"):
        plan(nothing(), 1e-3)
    with pytest.raises(InvalidArgument, match="distance"):
        plan(light)


@pytest.mark.parametrize("coherence", ["coherent", "incoherent"])
def test_the_ledger_adds_up(light, coherence):
    mask = Mask.from_transmission(torch.full((N, N), 0.6j, dtype=torch.complex128), pitch=PITCH)
    out = simulate(mask, light, distance=FOCUS, coherence=coherence, ledger=True)
    first, space = out.ledger.entries
    torch.testing.assert_close(first.entering, light.power())
    torch.testing.assert_close(first.absorbed, 0.64 * light.power())
    torch.testing.assert_close(space.entering, first.leaving)
    torch.testing.assert_close(space.outside + space.leaving, space.entering)
    torch.testing.assert_close(space.leaving, out.irradiance.sum((-2, -1)) * out.grid.cell)
    assert simulate(mask, light, distance=FOCUS).ledger is None
    assert [e.element for e in simulate(mask, light, ledger=True).ledger.entries] == ["mask"]


def slope(dtype, name):
    """How fast the irradiance on the axis of a soft lens changes with distance (m) or wavelength (m)."""
    n, pitch = 64, 2e-6
    grid = Grid(n, pitch)
    y, x = grid.mesh()
    soft = torch.exp(-(y**2 + x**2) / (30e-6) ** 2)
    phase = (-math.pi * (y**2 + x**2) / (WAVE * 2e-3)).to(
        torch.float32 if dtype == torch.complex64 else torch.float64
    )
    inputs = {
        "distance": torch.tensor(1.7e-3, dtype=torch.float64),
        "wavelength": torch.tensor([WAVE], dtype=torch.float64),
    }
    inputs[name].requires_grad_()
    light = Field(soft[None].to(dtype), grid, inputs["wavelength"])
    mask = Mask.from_phase(phase, pitch=pitch)
    out = simulate(mask, light, distance=inputs["distance"])
    assert out.irradiance.dtype == (torch.float32 if dtype == torch.complex64 else torch.float64)
    out.irradiance[0, n // 2, n // 2].backward()
    return float(inputs[name].grad)


@pytest.mark.parametrize("name", ["distance", "wavelength"])
def test_gradients_of_lengths_survive_single_precision(name):
    """exp(ikz) has a slope of 1e7 rad/m: with it in the irradiance, single precision would lose them."""
    assert slope(torch.complex64, name) == pytest.approx(slope(torch.complex128, name), rel=1e-3)


def test_gradcheck_of_distance_wavelength_and_phase():
    grid = Grid(6, 2e-6)
    generator = torch.Generator().manual_seed(0)
    phase = torch.rand(6, 6, dtype=torch.float64, generator=generator, requires_grad=True)
    distance = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    wave = torch.tensor([0.5], dtype=torch.float64, requires_grad=True)

    def seen(phase, distance, wave):
        ones = torch.ones(1, 6, 6, dtype=torch.complex128)
        out = simulate(
            Mask.from_phase(phase, pitch=2e-6), Field(ones, grid, wave * 1e-6), distance=distance * 1e-4
        )
        return out.irradiance[0, 2:4, 2:4]

    assert torch.autograd.gradcheck(seen, (phase, distance, wave))


def test_partial_coherence_spreads_by_the_closed_form():
    """Beam and coherence width of Gaussian-Schell light, Friberg and Sudol, Opt. Commun. 41, 383 (1982)."""
    waist, coherence, z, n, pitch = 40e-6, 30e-6, 5e-3, 64, 6e-6
    light = Field.gaussian_schell(
        shape=(n, n), pitch=pitch, wavelength=WAVE, waist=waist, coherence=coherence, modes=7
    )
    clear = Mask.from_transmission(torch.ones(n, n, dtype=torch.complex128), pitch=pitch)
    out = simulate(clear, light, distance=z, coherence="partial", ledger=True)
    assert out.irradiance.shape == (1, n, n)
    assert out.field.data.shape == (49, 1, n, n)
    k, sigma = 2 * math.pi / WAVE, waist / 2
    delta2 = 1 / (1 / (4 * sigma**2) + 1 / coherence**2)
    growth2 = 1 + (z / (k * sigma)) ** 2 / delta2
    y, _ = out.grid.mesh()
    found = float((out.irradiance * y**2).sum() / out.irradiance.sum())
    assert growth2 > 1.5  # far enough to tell
    # modes beyond the seventh hold 4e-5 of the power, but the widest of it
    assert found == pytest.approx(sigma**2 * growth2, rel=2e-3)
    line = out.field.data[:, 0, n // 2]
    cross = torch.einsum("ma,mb->ab", line, line.conj()).abs()
    degree = cross / (cross.diagonal()[:, None] * cross.diagonal()).sqrt()
    middle = slice(n // 2 - 8, n // 2 + 9)  # where the light is
    apart = out.grid.x[middle][:, None] - out.grid.x[middle]
    expected = torch.exp(-(apart**2) / (2 * coherence**2 * growth2))
    torch.testing.assert_close(degree[middle, middle], expected, atol=5e-3, rtol=0)
    first, space = out.ledger.entries
    assert float(first.entering) == pytest.approx(1, abs=1e-3)
    torch.testing.assert_close(space.entering, space.outside + space.leaving)


def test_partial_light_of_one_mode_is_coherent_and_devices_have_their_own_axis(lens, light):
    modes = Field(light.data[None], light.grid, light.wavelength)
    torch.testing.assert_close(
        simulate(lens, modes, coherence="partial").irradiance, simulate(lens, light).irradiance
    )
    many = lens.perturb(HeightError(systematic=0.05), seed=0, devices=3)
    twice = Field(light.data.expand(2, -1, -1, -1), light.grid, light.wavelength)
    out = simulate(many, twice, coherence="partial")
    assert out.irradiance.shape == (3, 1, N, N)
    torch.testing.assert_close(out.irradiance, 2 * simulate(many, light).irradiance)
    with pytest.raises(GridMismatch, match="field: expected axes .*mode"):
        simulate(lens, light, coherence="partial")


def test_errors_that_are_known_need_no_seed(light):
    relief = Mask.from_height(torch.full((N, N), 1e-6), pitch=PITCH, material="SiO2", distance=1e-4)
    known = HeightError(mean=0.05)
    out = simulate(relief, light, fabrication=known)
    assert out.attrs["seed"] == "none"
    torch.testing.assert_close(out.irradiance, simulate(relief, light, fabrication=known, seed=7).irradiance)
    assert not torch.equal(out.irradiance, simulate(relief, light).irradiance)
    with pytest.raises(InvalidArgument, match="^seed"):
        simulate(relief, light, fabrication=[known, HeightError(random=0.01)])


def test_a_plan_is_as_strict_as_a_simulation(lens, light):
    options = {"distance": 1e-5, "method": "fresnel_response"}
    for run in (lambda **o: simulate(lens, light, **options, **o), lambda **o: plan(lens, **options, **o)):
        with pytest.raises(SamplingError, match="would hold"):
            run(strict=True)
    with pytest.raises(SamplingError, match="fraunhofer"):
        plan(lens, method="fraunhofer", strict=True)
    assert plan(lens, strict=True) == plan(lens)


def test_strict_raises_what_would_be_a_warning(lens, light):
    with pytest.raises(SamplingError, match="method='auto'"):
        simulate(lens, light, distance=1e-5, method="fresnel_response", strict=True)
    with pytest.raises(SamplingError, match="method='auto'"):
        light.propagate(1e-5, method="fresnel_response", strict=True)


def test_an_output_beside_the_scene_is_refused():
    mask = Mask.from_phase(torch.zeros(16, 16), pitch=1e-6)
    scene = Field.from_image(torch.rand(16, 16), pitch=1e-6, wavelength=525e-9)
    options = {"distance": 2e-4, "coherence": "incoherent"}
    with pytest.raises(GridMismatch, match="output: expected the centre of the scene"):
        simulate(mask, scene, output=Grid(16, 1e-6, (0.0, 4e-6)), **options)
    moved = Field(scene.data, Grid(16, 1e-6, (0.0, 4e-6)), scene.wavelength)
    here = simulate(mask, scene, output=scene.grid, **options)
    there = simulate(mask, moved, output=moved.grid, **options)
    torch.testing.assert_close(there.irradiance, here.irradiance)


def test_light_without_a_number_is_named():
    data = torch.ones(1, 4, 4, dtype=torch.complex64)
    data[0, 1, 2] = float("nan")
    light = Field(data, Grid(4, 1e-6), 525e-9)
    with pytest.raises(InvalidArgument, match=r"field: expected finite values.*\(0, 1, 2\)"):
        simulate(Mask.from_phase(torch.zeros(4, 4), pitch=1e-6), light)
    with pytest.raises(InvalidArgument, match="optic: expected a Mask or a Field"):
        plan(torch.zeros(4, 4), 1e-3)


def test_each_of_several_devices_has_errors_of_its_own():
    mask = Mask.from_height(torch.full((8, 8), 1e-6), pitch=1e-6, material="SiO2")
    made = mask.perturb(HeightError(systematic=0.02), seed=3, devices=3)
    light, rough = Field.plane_wave(shape=8, pitch=1e-6, wavelength=525e-9), SurfaceRoughness(rms=1e-8)
    found = simulate(made, light, distance=1e-4, fabrication=rough, seed=5).irradiance
    expected = simulate(made.perturb(rough, seed=5, devices=3), light, distance=1e-4).irradiance
    assert torch.equal(found, expected)
    assert not torch.allclose(
        made.perturb(rough, seed=5).height[0], made.perturb(rough, seed=5).height[1], atol=5e-9
    )


def test_the_ledger_of_several_devices_has_labels():
    mask = Mask.from_height(torch.full((16, 16), 1e-6), pitch=1e-6, material="SiO2")
    screen = Display(torch.rand(1, 4, 4), Grid(4, 1e-4), 525e-9, 0.1)
    made = mask.perturb(HeightError(systematic=0.02), seed=3, devices=3)
    book = simulate(made, screen, distance=2e-4, ledger=True).ledger.to_xarray()
    assert book.sizes["batch_0"] == 3
