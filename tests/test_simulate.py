import math

import numpy as np
import pytest
import torch
import xarray as xr

from photonet import Detector, Field, Grid, Mask, plan, simulate
from photonet.errors import GridMismatch, InvalidArgument, SamplingError, UnknownName
from photonet.fabrication import HeightError
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
    # samples that both grids share show the same light, by two methods whose band limits cut a little of
    # the light of the window's sharp edge differently: 0.4 % of the peak here
    whole = simulate(lens, light).irradiance
    torch.testing.assert_close(
        out.irradiance[0, ::2, ::2], whole[0, 20:28, 20:28], rtol=0, atol=0.01 * float(whole.max())
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
        ({"distance": math.nan}, InvalidArgument, "^distance"),
    ],
)
def test_bad_options_are_named(options, error, words, light):
    with pytest.raises(error, match=words):
        simulate(nothing(), light, **options)


def test_bad_input_is_named(light):
    with pytest.raises(InvalidArgument, match="phi: expected finite values, got 1 NaN"):
        Mask.from_phase([[0.0, math.nan]], pitch=PITCH)
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


def test_strict_raises_what_would_be_a_warning(lens, light):
    with pytest.raises(SamplingError, match="method='auto'"):
        simulate(lens, light, distance=1e-5, method="fresnel_response", strict=True)
    with pytest.raises(SamplingError, match="method='auto'"):
        light.propagate(1e-5, method="fresnel_response", strict=True)
