import math

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from photonet import Display, Field, Grid
from photonet.errors import GridMismatch, InvalidArgument

GREEN = 525e-9


def test_power_and_irradiance_of_the_sources():
    wave = Field.plane_wave(shape=(4, 6), pitch=(2e-6, 1e-6), wavelength=GREEN, irradiance=3.0)
    assert bool(torch.isclose(wave.intensity(), torch.tensor(3.0, dtype=torch.float64)).all())
    assert float(wave.power()) == pytest.approx(3.0 * 24 * 2e-12, rel=1e-12)
    beam = Field.gaussian(shape=64, pitch=1e-6, wavelength=GREEN, waist=8e-6, power=2.5)
    # sampled on 8 points a waist, cut at 4 waists: exp(-2 * 16) is left out
    assert float(beam.power()) == pytest.approx(2.5, rel=1e-9)


def test_a_point_source_has_the_curvature_of_its_distance():
    z = 1e-3
    light = Field.point_source(shape=33, pitch=1e-6, wavelength=GREEN, distance=z)
    x = light.grid.x
    path = 2 * math.pi / GREEN * ((x**2 + z**2).sqrt() - z)
    found = (light.data[0, 16] * light.data[0, 16, 16].conj()).angle()
    torch.testing.assert_close(torch.exp(1j * found), torch.exp(1j * path))


@settings(deadline=None, max_examples=15)
@given(distance=st.floats(-2e-4, 2e-4), waist=st.floats(6e-6, 1e-5))
def test_propagation_keeps_power_and_comes_back(distance, waist):
    beam = Field.gaussian(shape=96, pitch=1e-6, wavelength=GREEN, waist=waist)
    there = beam.propagate(distance)
    assert float(there.power()) == pytest.approx(1, abs=1e-9)
    back = there.propagate(-distance)
    assert float((back.data - beam.data).norm() / beam.data.norm()) < 1e-6


def test_an_image_becomes_irradiance():
    scene = Field.from_image([[0, 1], [4, 9]], pitch=1e-5, wavelength=GREEN, irradiance=2.0)
    torch.testing.assert_close(scene.intensity()[0], torch.tensor([[0.0, 2.0], [8.0, 18.0]]))


@pytest.mark.parametrize("real", [np.float32, np.float64])
def test_numpy_xarray_and_torch_give_equal_fields_of_their_precision(real):
    u = np.random.default_rng(0).random((2, 4, 6)).astype(real)
    waves = [500e-9, 600e-9]
    labelled = xr.DataArray(u.transpose(2, 0, 1), dims=["x", "wavelength", "y"])  # in any order
    fields = [Field.from_array(v, pitch=1e-6, wavelength=waves) for v in (u, torch.from_numpy(u), labelled)]
    for field in fields:
        assert field.data.dtype == (torch.complex64 if real is np.float32 else torch.complex128)
        assert torch.equal(field.data, fields[0].data)


def test_xarray_carries_positions_and_units():
    field = Field.plane_wave(shape=(4, 6), pitch=(2e-6, 1e-6), wavelength=[GREEN, 600e-9])
    labelled = field.to_xarray()
    assert labelled.dims == ("wavelength", "y", "x")
    assert labelled.attrs["units"] == "sqrt(W)/m"
    assert labelled.attrs["photonet"]
    assert labelled["x"].values.tolist() == pytest.approx([-3e-6, -2e-6, -1e-6, 0, 1e-6, 2e-6])
    again = Field.from_array(labelled, pitch=(2e-6, 1e-6), wavelength=labelled["wavelength"].values)
    assert torch.equal(again.data, field.data)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"pitch": 9e-6}, "u: expected coordinates y in steps of 9e-06 m, as was said, got 2e-06"),
        ({"pitch": (2e-6, 2e-6)}, "u: expected coordinates x"),
        ({"wavelength": [GREEN, 610e-9]}, "u: expected coordinates wavelength in values of"),
        ({"wavelength": GREEN}, "wavelength: expected 2 wavelengths"),
    ],
)
def test_coordinates_that_contradict_what_is_said_are_named(change, words):
    labelled = Field.plane_wave(shape=(4, 6), pitch=(2e-6, 1e-6), wavelength=[GREEN, 600e-9]).to_xarray()
    said = {"pitch": (2e-6, 1e-6), "wavelength": [GREEN, 600e-9]}
    with pytest.raises(GridMismatch, match=words):
        Field.from_array(labelled, **said | change)
    with pytest.raises(GridMismatch, match="image: expected coordinates y"):
        Field.from_image(abs(labelled), pitch=9e-6, wavelength=said["wavelength"])
    with pytest.raises(GridMismatch, match="image: expected coordinates y"):
        Display.from_image(abs(labelled), pitch=9e-6, wavelength=said["wavelength"], distance=0.1)


def test_a_field_moves_and_changes_its_precision():
    field = Field.plane_wave(shape=4, pitch=1e-6, wavelength=GREEN)
    for dtype in (torch.complex64, torch.float32):
        single = field.to(dtype=dtype)
        assert single.data.dtype == torch.complex64
        assert single.wavelength.dtype == torch.float64
    assert single.to("cpu", torch.float64).data.dtype == torch.complex128
    with pytest.raises(InvalidArgument, match="dtype: expected float32 or float64"):
        field.to(dtype=torch.int32)
    with pytest.raises(InvalidArgument, match="device: expected a device, as 'cpu'"):
        field.to("foo")


def test_powers_and_irradiances_have_gradients():
    """The power through the window is what was asked for, so its slope is 1 (window areas: 16e-12 m^2)."""
    place = {"shape": 4, "pitch": 1e-6, "wavelength": GREEN}
    beam = {"shape": 64, "pitch": 1e-6, "wavelength": GREEN, "waist": 8e-6}
    cases = [
        (lambda v: Field.plane_wave(irradiance=v, **place), 16e-12),
        (lambda v: Field.from_image(torch.ones(4, 4), irradiance=v, pitch=1e-6, wavelength=GREEN), 16e-12),
        (lambda v: Field.gaussian(power=v, **beam), 1.0),
        (lambda v: Field.hermite(power=v, **beam), 1.0),
        (lambda v: Field.laguerre(power=v, **beam), 1.0),
        (lambda v: Field.gaussian_schell(power=v, coherence=8e-6, **beam), 0.999),
    ]
    for make, slope in cases:
        value = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
        (gradient,) = torch.autograd.grad(make(value).power().sum(), value)
        assert float(gradient) == pytest.approx(slope, rel=2e-3)


def test_the_graph_is_kept():
    u = torch.ones(1, 8, 8, dtype=torch.complex128, requires_grad=True)
    Field(u, Grid(8, 1e-6), GREEN).propagate(1e-5).intensity()[0, 4, 4].backward()
    assert float(u.grad.abs().sum()) > 0


def test_a_field_prints_in_a_line_and_compares_by_identity():
    field = Field.plane_wave(shape=(4, 6), pitch=1e-6, wavelength=[GREEN, 6e-7])
    assert repr(field) == "<Field 4 x 6 at 1e-06 x 1e-06 m, 525, 600 nm>"
    assert field == field
    assert field != Field.plane_wave(shape=(4, 6), pitch=1e-6, wavelength=[GREEN, 6e-7])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"wavelength": 525}, "pass 525e-9"),
        ({"wavelength": 0.525}, "pass 0.525e-6"),
        ({"wavelength": "525 nm"}, "wavelength: expected one wavelength or a list"),
        ({"pitch": -1e-6}, "pitch: expected a positive length"),
        ({"pitch": (1e-6, 1e-6, 1e-6)}, "pitch: expected one value, or a pair"),
        ({"shape": 0}, "shape: expected a whole number"),
        ({"power": -1}, "power: expected"),
        ({"waist": 0}, "waist: expected"),
    ],
)
def test_bad_sources_are_named(change, words):
    with pytest.raises(InvalidArgument, match=words):
        Field.gaussian(**{"shape": 4, "pitch": 1e-6, "wavelength": GREEN, "waist": 1e-6} | change)


@pytest.mark.parametrize(
    ("u", "error", "words"),
    [
        ([1.0, 2.0], InvalidArgument, "^u: expected at least 2 axes"),
        ([[math.nan]], InvalidArgument, "^u: expected finite values, got 1 NaN"),
        ([["a"]], InvalidArgument, "^u: expected numbers"),
        (np.ones((3, 2, 2)), GridMismatch, "^wavelength: expected 3 wavelengths"),
    ],
)
def test_bad_arrays_are_named(u, error, words):
    with pytest.raises(error, match=words):
        Field.from_array(u, pitch=1e-6, wavelength=GREEN)


def test_data_that_is_no_light_is_refused():
    with pytest.raises(InvalidArgument, match="^data: expected complex"):
        Field(torch.ones(1, 2, 2), Grid(2, 1e-6), GREEN)
    with pytest.raises(GridMismatch, match="^data"):
        Field(torch.ones(1, 2, 2) + 0j, Grid(3, 1e-6), GREEN)
    with pytest.raises(InvalidArgument, match="^image: expected real pixel values"):
        Field.from_image([[-1.0]], pitch=1e-6, wavelength=GREEN)
    with pytest.raises(InvalidArgument, match="^irradiance"):
        Field.plane_wave(shape=4, pitch=1e-6, wavelength=GREEN, irradiance=-1)


def test_a_dark_screen_has_gradients_too():
    image = torch.ones(2, 2, requires_grad=True)
    Field.from_image(image, pitch=1e-6, wavelength=525e-9, irradiance=0.0).intensity().sum().backward()
    assert image.grad.tolist() == [[0.0, 0.0], [0.0, 0.0]]


def test_dark_pixels_have_no_gradient_instead_of_no_number():
    image = torch.tensor([[0.0, 1.0], [4.0, 9.0]], requires_grad=True)
    Field.from_image(image, pitch=1e-6, wavelength=525e-9).intensity().sum().backward()
    assert image.grad.tolist() == [[0.0, 1.0], [1.0, 1.0]]


def test_conjugates_are_fields_like_others():
    light = Field.plane_wave(shape=4, pitch=1e-6, wavelength=525e-9, angle=(0.0, 0.1))
    turned = Field(light.data.conj(), light.grid, light.wavelength)
    np.testing.assert_allclose(turned.to_xarray().values, light.to_xarray().values.conj())


@pytest.mark.parametrize("data", [np.ones((1, 4, 4), complex), None])
def test_what_is_no_tensor_is_named(data):
    with pytest.raises(InvalidArgument, match="data: expected a tensor on a Grid"):
        Field(data, Grid(4, 1e-6), 525e-9)


def test_a_pair_of_numbers_keeps_its_gradients():
    y, x = (torch.tensor(0.01, requires_grad=True) for _ in range(2))
    light = Field.plane_wave(shape=8, pitch=1e-6, wavelength=525e-9, angle=(y, x))
    light.data.real.sum().backward()
    assert bool(y.grad)
    assert bool(x.grad)
    assert Grid(4, np.array(1e-6)).pitch == (1e-6, 1e-6)
