import math

import pytest
import torch

from photonet import Detector, Display, Grid, Mask, simulate
from photonet.errors import GridMismatch, InvalidArgument
from photonet.optics import collected_power, image_display, point_source, propagate, psf

WAVE, N, PITCH = 525e-9, 64, 2e-6
OBJECT, IMAGE = 6e-3, 2e-3  # m: a third of the size
FOCUS = 1 / (1 / OBJECT + 1 / IMAGE)


def lens(distance=IMAGE):
    y, x = Grid(N, PITCH).mesh()
    return Mask.from_phase(-math.pi * (y**2 + x**2) / (WAVE * FOCUS), pitch=PITCH, distance=distance)


def screen(*lit, shape=5, pitch=30e-6, **options):
    image = torch.zeros(shape, shape, dtype=torch.float64)
    for place in lit:
        image[place] = 1
    return Display.from_image(image, pitch=pitch, wavelength=WAVE, distance=OBJECT, **options)


def test_one_pixel_is_the_psf_of_its_point_upside_down_and_smaller():
    """Against the field itself: a spherical wave from the pixel, through the lens, squared."""
    optic, place = lens(), (1, 4)  # pixels -1 and +2 from the middle
    small = 1e-7  # a pixel far smaller than the PSF is a point
    image = torch.zeros(5, 5, dtype=torch.float64)
    image[place] = 1
    dark = Display.from_image(image, pitch=small, wavelength=WAVE, distance=OBJECT)
    out = simulate(optic, dark)
    u = point_source(optic.grid, WAVE, distance=OBJECT, position=(-small, 2 * small))
    u = propagate(u * optic.transmission(WAVE), optic.grid, WAVE, IMAGE)
    expected = u.abs().square() / u.abs().square().sum()
    found = out.irradiance / out.irradiance.sum()
    # the pixel's image is spread over at most two samples per axis, linearly: curvature of the PSF, 3.3 um
    # wide, at offsets of 0.07 um in samples of 2 um; measured 0.4 % of the peak
    torch.testing.assert_close(found, expected, atol=0.02 * float(expected.max()), rtol=0)


def test_the_image_is_turned_and_magnified():
    out = simulate(lens(), screen((1, 4)))  # (-30, +60) um
    light, grid = out.irradiance[0], out.grid
    y, x = grid.mesh()
    centre = [float((light * axis).sum() / light.sum()) for axis in (y, x)]
    # +10 um and -20 um; the faint wings of the diffraction pattern are cut asymmetrically
    assert centre == pytest.approx([10e-6, -20e-6], abs=1e-6)


def test_the_light_follows_lambert():
    """On the axis M a A / (pi d^2), at 45 degrees a quarter of it, and all of it from everywhere."""
    mask, d = Grid(10, 1e-6), 0.1
    one = torch.full((1, 1), 3.0, dtype=torch.float64)
    on_axis = collected_power(one, Grid(1, 1e-5), mask, d)
    assert float(on_axis) == pytest.approx(3e-10 * 1e-10 / (math.pi * d**2), rel=1e-9)
    beside = collected_power(one, Grid(1, 1e-5, (0.0, d)), mask, d)
    assert float(beside / on_axis) == pytest.approx(0.25, rel=1e-9)
    # under an endless Lambertian plane the irradiance is its exitance; 4 m of plane miss (d / 2 m)^2 = 0.25 %
    plane = collected_power(one.expand(401, 401), Grid(401, 1e-2), mask, d)
    assert float(plane.sum()) == pytest.approx(3e-10, rel=4e-3)
    # cos^order shares the same exitance among the directions: (order + 1) / 2 as much goes ahead
    ahead = collected_power(one, Grid(1, 1e-5), mask, d, order=4.0)
    assert float(ahead / on_axis) == pytest.approx(2.5, rel=1e-9)


def test_pixels_add_and_power_is_that_of_the_formula():
    parts = [simulate(lens(), screen(p)).irradiance for p in ((2, 2), (2, 3))]
    both = simulate(lens(), screen((2, 2), (2, 3)), ledger=True)
    torch.testing.assert_close(both.irradiance, sum(parts))
    shown, mask, space = both.ledger.entries
    torch.testing.assert_close(shown.entering, torch.tensor([2 * (30e-6) ** 2], dtype=torch.float64))
    torch.testing.assert_close(shown.entering - shown.outside, mask.entering)
    received = 2 * (30e-6) ** 2 * (N * PITCH) ** 2 / (math.pi * OBJECT**2)
    assert float(mask.entering) == pytest.approx(received, rel=1e-4)
    assert float(mask.absorbed) == pytest.approx(0, abs=1e-12 * float(mask.entering))
    torch.testing.assert_close(space.leaving, both.irradiance.sum((-2, -1)) * PITCH**2)
    # an image well inside of the window keeps all but the wings of the diffraction pattern
    assert 0.9 < float(space.leaving / space.entering) < 1


def test_a_wide_pixel_is_a_square_of_its_geometric_size():
    """In its middle it is as bright as power over area says, less the wings of the PSF beyond its edges."""
    one = screen((0, 0), shape=1, pitch=180e-6)
    out = simulate(lens(), one, output=Grid(65, 2e-6)).irradiance[0]
    power = float(collected_power(one.exitance, one.grid, lens().grid, OBJECT))
    # sinc^2 of a square lens: beyond u widths lie 1 / (pi^2 u) of the light on each axis
    wings = 2 * (WAVE * IMAGE / (N * PITCH)) / (math.pi**2 * 30e-6)
    assert float(out[32, 32]) == pytest.approx(power / 60e-6**2 * (1 - wings), rel=0.01)
    assert float(out[32, 32 + 15] / out[32, 32]) == pytest.approx(0.5, abs=0.05)  # on the edge


def test_field_points_agree_where_the_optic_is_the_same_everywhere():
    near = screen((2, 2))
    flat, varied = (simulate(lens(), near, patches=p).irradiance for p in (1, 3))
    # a paraxial lens is isoplanatic but for the curvature of the wave over the window of the field
    torch.testing.assert_close(varied, flat, atol=2e-3 * float(flat.max()), rtol=0)


def test_field_points_follow_the_coma_of_a_steep_lens():
    """A pixel 12 degrees beside the axis, against the exact PSF of its own place."""
    grid, d, z = Grid(96, 0.5e-6), 400e-6, 100e-6
    y, x = grid.mesh()
    paths = (y**2 + x**2 + d**2).sqrt() + (y**2 + x**2 + z**2).sqrt()  # ideal on the axis
    steep = Mask.from_phase(-2 * math.pi / WAVE * (paths - d - z), pitch=0.5e-6, distance=z)
    place = 80e-6
    pixel = Display(torch.ones(1, 1, 1, dtype=torch.float64), Grid(1, 1e-9, (0.0, place)), WAVE, d)
    window = Grid((31, 41), 0.5e-6, (0.0, -20e-6))
    transmission = steep.transmission(WAVE)
    exact = psf(transmission, grid, WAVE, z, source=d, position=(0.0, place), output=window)
    errors = []
    for patches in (1, (1, 2), (1, 6)):
        found = simulate(steep, pixel, output=window, patches=patches).irradiance
        errors.append(
            float((found / found.sum() - exact / exact.sum()).norm() / (exact / exact.sum()).norm())
        )
    assert errors[2] < 0.1 < errors[0]


def test_field_points_lie_on_the_image_of_the_screen():
    """Points beyond it would send light that is too steep for the mask: 2 % of the power went astray."""
    grid, pixels = Grid(64, 2e-6), torch.ones(1, 3, 3, dtype=torch.float64)
    y, x = grid.mesh()
    thin = torch.exp(-1j * math.pi * (y**2 + x**2) / (WAVE * 1e-3))[None]
    power = [
        float(image_display(pixels, Grid(3, 50e-6), thin, grid, WAVE, 4e-3, 4e-3 / 3, patches=p).sum())
        for p in (1, 2, 3, (5, 1))
    ]
    assert power == pytest.approx([power[0]] * 4, rel=1e-4)


def test_a_dark_corner_and_a_screen_beside_the_window_have_no_light():
    options = {"pitch": 20e-6, "wavelength": WAVE, "distance": OBJECT}
    away = Display(torch.ones(1, 2, 2), Grid(2, 20e-6, (5e-3, 0.0)), WAVE, OBJECT)
    assert float(simulate(lens(), away, patches=2).irradiance.abs().max()) == 0
    assert float(simulate(lens(), Display.from_image(torch.zeros(2, 2), **options)).irradiance.max()) == 0


def test_power_is_collected_from_the_mask_s_own_place():
    one, mask = torch.ones(1, 1, dtype=torch.float64), Grid(10, 1e-6, (20e-3, -10e-3))
    there = collected_power(one, Grid(1, 1e-5, (20e-3, -10e-3)), mask, 0.1)
    torch.testing.assert_close(there, collected_power(one, Grid(1, 1e-5), Grid(10, 1e-6), 0.1))


@pytest.mark.parametrize(
    "wrong", [-torch.ones(1, 2, 2), torch.full((1, 2, 2), math.nan), torch.ones(1, 2, 2) + 0j]
)
def test_light_below_nothing_is_refused(wrong):
    mask, screen = Grid(8, 1e-6), Grid(2, 1e-5)
    with pytest.raises(InvalidArgument, match="exitance: expected real values of at least 0"):
        collected_power(wrong, screen, mask, 0.1)
    with pytest.raises(InvalidArgument, match="exitance: expected real values of at least 0"):
        image_display(wrong, screen, torch.ones(1, 8, 8) + 0j, mask, WAVE, 0.1, 0.1)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"screen": (2, 2)}, InvalidArgument, "screen: expected a photonet.Grid"),
        ({"grid": 8}, InvalidArgument, "grid: expected a photonet.Grid"),
        ({"output": (8, 8)}, InvalidArgument, "output: expected a photonet.Grid"),
        ({"exitance": [[1.0]]}, InvalidArgument, "exitance: expected a real tensor"),
        ({"transmission": torch.ones(1, 8, 9) + 0j}, GridMismatch, "transmission: expected shape"),
    ],
)
def test_bad_arguments_of_an_image_are_named(change, error, words):
    values = {
        "exitance": torch.ones(1, 2, 2),
        "screen": Grid(2, 1e-5),
        "transmission": torch.ones(1, 8, 8) + 0j,
        "grid": Grid(8, 1e-6),
    }
    with pytest.raises(error, match=words):
        image_display(**{**values, **change}, wavelength=WAVE, object_distance=0.1, distance=0.1)


def test_colours_follow_the_axis_of_wavelengths():
    colours, white = [635e-9, 532e-9, 450e-9], torch.ones(3, 4, 4)
    rgb = Display.from_image(white, pitch=20e-6, wavelength=colours, distance=OBJECT, exitance=[1, 2, 3])
    assert rgb.power().tolist() == pytest.approx([v * (80e-6) ** 2 for v in (1, 2, 3)])
    out = simulate(lens(), rgb, detector=Detector(pitch=4e-6), seed=0)
    assert out.irradiance.shape == (3, N, N)
    assert out.image.shape == (32, 32)
    assert out.attrs["coherence"] == "incoherent"
    mono = Display(rgb.exitance[1:2], rgb.grid, 532e-9, OBJECT)
    torch.testing.assert_close(simulate(lens(), mono).irradiance[0], out.irradiance[1])


@pytest.mark.parametrize("patches", [1, (1, 2)])
def test_gradients_reach_every_parameter(patches):
    generator = torch.Generator().manual_seed(0)
    light = torch.rand(1, 2, 2, dtype=torch.float64, generator=generator)
    y, x = Grid(12, 1e-6).mesh()
    mask = torch.exp(-(y**2 + x**2) / (3e-6) ** 2 + 1j * (y + 0.3 * x) ** 2 / 1e-11)[None]
    lengths = [torch.tensor(v, dtype=torch.float64) for v in (0.55, 6.1, 4.03, 1.5)]  # um, 1e-4 m, 1e-4 m

    def irradiance(light, wave, d, z, order):
        return 1e3 * image_display(
            light, Grid(2, 7e-6), mask, Grid(12, 1e-6), wave * 1e-6, d * 1e-4, z * 1e-4,
            output=Grid((3, 2), 1.3e-6), order=order, patches=patches)  # fmt: skip

    inputs = tuple(t.requires_grad_() for t in (light, *lengths))
    assert torch.autograd.gradcheck(irradiance, inputs)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"distance": 0.0}, InvalidArgument, "distance: expected a positive length"),
        ({"distance": math.inf}, InvalidArgument, "distance: expected a positive length"),
        ({"order": -1.0}, InvalidArgument, "order: expected an order of at least 0"),
        ({"exitance": -torch.ones(1, 4, 4)}, InvalidArgument, "exitance: expected real values"),
        ({"exitance": torch.ones(1, 4, 5)}, GridMismatch, "exitance"),
        ({"wavelength": [5e-7, 6e-7]}, GridMismatch, "wavelength: expected 1 wavelengths"),
    ],
)
def test_bad_screens_are_named(change, error, words):
    values = {"exitance": torch.ones(1, 4, 4), "grid": Grid(4, 1e-5), "wavelength": WAVE, "distance": OBJECT}
    with pytest.raises(error, match=words):
        Display(**{**values, **change})


def test_bad_images_and_uses_are_named():
    options = {"pitch": 1e-5, "wavelength": WAVE, "distance": OBJECT}
    with pytest.raises(InvalidArgument, match="image: expected real pixel values"):
        Display.from_image(-torch.ones(2, 2), **options)
    with pytest.raises(GridMismatch, match="exitance: expected one value, or 1"):
        Display.from_image(torch.ones(2, 2), exitance=[1, 2], **options)
    with pytest.raises(InvalidArgument, match="distance: expected the distance from mask"):
        simulate(lens(None), screen((2, 2)))
    with pytest.raises(InvalidArgument, match="patches: expected a whole number"):
        simulate(lens(), screen((2, 2)), patches=0)
    with pytest.raises(GridMismatch, match="exitance: expected the screen's pixels"):
        collected_power(torch.ones(2, 3), Grid(2, 1e-5), Grid(4, 1e-6), 0.1)
