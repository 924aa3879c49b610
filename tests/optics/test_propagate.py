import math

import pytest
import torch

from photonet import Grid
from photonet.errors import GridMismatch, InvalidArgument, MemoryEstimateError, SamplingError, UnknownName
from photonet.optics import gaussian_beam, irradiance, kernels, plan, propagate
from photonet.optics.sampling import critical_distance

TRANSFER = ["angular_spectrum", "fresnel"]
# white noise at short distances tests the algebra, not the physics
HARSH = pytest.mark.filterwarnings("ignore::photonet.errors.SamplingWarning")
RESPONSE = ["rayleigh_sommerfeld", "fresnel_response"]


def relative(a, b):
    return float((a - b).norm() / b.norm())


@pytest.mark.parametrize("distance", [0.1, 1.0, -0.3])
def test_gaussian_agrees_with_its_exact_integral(exact_gaussian, distance):
    grid, wavelength = Grid(256, 20e-6), 633e-9
    expected = exact_gaussian(grid, 200e-6, wavelength, distance)
    u = propagate(gaussian_beam(grid, wavelength, waist=200e-6), grid, wavelength, distance)[0]
    # double rounding of phases of some 100 rad is 1e-13; what the window cuts off at 1 m is part of neither
    assert relative(u, expected) < 1e-11
    assert float(u.abs().square().sum() / expected.abs().square().sum()) == pytest.approx(1, abs=1e-12)


def test_power_is_kept_while_the_beam_stays_inside():
    grid = Grid(512, 10e-6)
    u = gaussian_beam(grid, 633e-9, waist=200e-6)
    power = float(propagate(u, grid, 633e-9, 0.1).abs().square().sum()) * grid.cell
    assert power == pytest.approx(1, abs=1e-12)


@HARSH
@pytest.mark.parametrize("shape", [(64, 64), (63, 65), (48, 81)])
@pytest.mark.parametrize("distance", [2e-3, -2e-3])
def test_rayleigh_sommerfeld_is_the_direct_sum(random_field, shape, distance):
    grid, wave = Grid(shape, (3e-6, 2e-6)), torch.tensor([600e-9, 450e-9], dtype=torch.float64)
    out = Grid((20, 31), grid.pitch, centre=(40e-6, -25e-6))
    u = random_field(2, *shape)
    v = propagate(u, grid, wave, distance, output=out, method="rayleigh_sommerfeld")
    (ys, xs), (yo, xo) = grid.mesh(), out.mesh()
    z = torch.tensor(distance, dtype=torch.float64)
    for i, j in [(0, 0), (19, 30), (7, 11)]:
        h = kernels.rayleigh_sommerfeld(yo[i, 0] - ys, xo[0, j] - xs, wave, z)
        expected = (u * h).sum((-2, -1)) * grid.cell
        torch.testing.assert_close(v[:, i, j], expected, rtol=1e-10, atol=1e-10 * float(v.abs().max()))


@pytest.mark.parametrize("method", ["auto", "angular_spectrum", "rayleigh_sommerfeld"])
def test_shifted_window_is_a_part_of_the_large_one(method):
    wave = 633e-9
    small = Grid(128, 5e-6)
    u = gaussian_beam(small, wave, waist=60e-6)
    large = propagate(u, small, wave, 20e-3, output=Grid(300, 5e-6), method=method)
    window = propagate(
        u, small, wave, 20e-3, output=Grid((90, 61), 5e-6, centre=(40e-6, -90e-6)), method=method
    )
    part = large[..., 150 + 8 - 45 : 150 + 8 + 45, 150 - 18 - 30 : 150 - 18 + 31]
    # the band limits of the two windows differ; the beam has exp(-30) of its light there
    assert relative(window, part) < 1e-9


@HARSH
@pytest.mark.parametrize("method", [*TRANSFER, *RESPONSE])
def test_propagation_is_linear_and_reciprocal(random_field, method):
    grid, wave, z = Grid((24, 31), 4e-6), 500e-9, 3e-3
    a, b = random_field(1, 24, 31), random_field(1, 24, 31, seed=1)

    def through(u):
        return propagate(u, grid, wave, z, method=method)

    torch.testing.assert_close(through(2j * a + b), 2j * through(a) + through(b))
    # <b, A a> = <A b, a> without conjugation: source and detector may be exchanged
    torch.testing.assert_close((b * through(a)).sum(), (through(b) * a).sum())


@pytest.mark.parametrize("method", ["auto", "fresnel"])
def test_there_and_back_and_two_short_steps(method):
    grid, wave = Grid(256, 4e-6), [633e-9, 450e-9]
    u = gaussian_beam(grid, wave, waist=80e-6)
    there = propagate(u, grid, wave, 8e-3, method=method)
    assert relative(propagate(there, grid, wave, -8e-3, method=method), u) < 1e-10
    half = propagate(propagate(u, grid, wave, 3e-3, method=method), grid, wave, 5e-3, method=method)
    assert relative(half, there) < 1e-10


def test_evanescent_waves_decay_both_ways(random_field):
    grid, wave = Grid(32, 50e-9), 500e-9  # most of this spectrum is evanescent
    u = random_field(1, 32, 32)
    for z in (1e-6, -1e-6):
        v = propagate(u, grid, wave, z, method="angular_spectrum", padding=1)
        assert torch.isfinite(torch.view_as_real(v)).all()
        assert float(v.abs().square().sum()) < 0.2 * float(u.abs().square().sum())


def over_many_windows(u, grid, wavelength, distance, windows=12):
    """The Fourier integral of [y, x] by a sum so fine that the field around it comes back from nowhere."""
    n = windows * grid.shape[0]
    f = torch.fft.fftfreq(n, grid.pitch[0], dtype=torch.float64)
    kz = (wavelength**-2 - f[:, None] ** 2 - f**2).to(torch.complex128).sqrt()
    around = torch.zeros(n, n, dtype=torch.complex128)
    around[: grid.shape[0], : grid.shape[1]] = u
    return torch.fft.ifft2(torch.fft.fft2(around) * (2j * math.pi * distance * kz).exp())[
        : grid.shape[0], : grid.shape[1]
    ]


@pytest.mark.parametrize("distance", [1e-12, 2e-8, 80e-9, 300e-9])
def test_fine_structure_decays_and_is_not_cut(distance):
    grid, wave = Grid(64, 150e-9), 633e-9
    y, x = grid.mesh()
    gauss = (-(y**2 + x**2) / 1.2e-6**2).exp()
    # 1.6 waves per wavelength: nothing travels; and an aperture, part of whose edge is as fine
    for field, bound in (
        (gauss * torch.cos(2 * math.pi * 1.6 / wave * x), 1e-6),
        (1.0 * (y**2 + x**2 < 3e-6**2), 2e-3),
    ):
        u = field.to(torch.complex128)
        found = propagate(u[None], grid, wave, distance)[0]
        assert relative(found, over_many_windows(u, grid, wave, distance)) < bound


@pytest.mark.parametrize("part", [0.1, 0.6, 0.95])
def test_what_light_as_fine_as_the_pitch_rings_is_predicted(part):
    grid, wave = Grid(64, 1e-6), 500e-9
    z = part * critical_distance(wave, 1e-6, 64e-6)
    y, x = grid.mesh()
    phase = torch.rand(64, 64, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for u, most in (
        (torch.exp(2j * math.pi * phase), 1.3),
        (1.0 * (y**2 + x**2 < 20e-6**2) + 0j, 2.0),
    ):
        true = relative(propagate(u[None], grid, wave, z)[0], over_many_windows(u, grid, wave, z))
        predicted = plan(grid, wave, z, field=u[None]).ring_error
        assert true / most < predicted < true * most
        if predicted > 0.01:
            with pytest.raises(SamplingError, match="details as fine as the pitch"):
                propagate(u[None], grid, wave, z, strict=True)
        else:
            propagate(u[None], grid, wave, z, strict=True)


def test_zero_distance_is_the_identity(random_field):
    grid = Grid(16, 1e-6)
    u = random_field(1, 16, 16)
    assert torch.equal(propagate(u, grid, 5e-7, 0), u)
    z = torch.zeros((), dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(propagate(u, grid, 5e-7, z).detach(), u)


def test_precision_of_the_caller_is_kept_and_single_is_good(exact_gaussian):
    grid = Grid(256, 20e-6)
    u = gaussian_beam(grid, 633e-9, waist=200e-6)
    v = propagate(u.to(torch.complex64), grid, 633e-9, 1.0)
    assert v.dtype == torch.complex64
    # the bar for single precision: a float32 phase of k z would be wrong by 25 %
    assert relative(v[0].to(u.dtype), exact_gaussian(grid, 200e-6, 633e-9, 1.0)) < 1e-6


@HARSH
def test_periodic_fresnel_is_one_multiplication(random_field):
    grid, wave, z = Grid((12, 15), 5e-6), 500e-9, 2e-3
    u = random_field(1, 12, 15)
    fy, fx = (torch.fft.fftfreq(n, 5e-6, dtype=torch.float64) for n in grid.shape)
    phase = -math.pi * wave * z * (fy[:, None] ** 2 + fx**2)
    expected = torch.fft.ifft2(
        torch.fft.fft2(u) * torch.exp(1j * (phase + 2 * math.pi * math.fmod(z, wave) / wave))
    )
    torch.testing.assert_close(propagate(u, grid, wave, z, method="fresnel", padding=1), expected)


@HARSH
@pytest.mark.parametrize("method", [*TRANSFER, *RESPONSE])
def test_gradients_reach_field_distance_and_wavelength(random_field, method):
    grid = Grid((5, 6), (2e-6, 1.5e-6))
    u = random_field(2, 5, 6).requires_grad_()
    # in units that make all three of order one
    z = torch.tensor(0.2, dtype=torch.float64, requires_grad=True)
    pitch = torch.tensor([2.0, 1.5], dtype=torch.float64, requires_grad=True)
    wave = torch.tensor([0.6, 0.5], dtype=torch.float64, requires_grad=True)

    def run(u, z, wave, pitch):
        return propagate(u, grid, wave * 1e-6, z * 1e-4, method=method, pitch=pitch * 1e-6)

    # k z = 250 rad: central differences are off by (k z eps)^2 / 6 = 1e-9 of a slope of 250
    assert torch.autograd.gradcheck(run, (u, z, wave, pitch), eps=1e-7, atol=1e-4, rtol=1e-5)


@HARSH
@pytest.mark.parametrize("count", [6, 260])
@pytest.mark.parametrize("method", ["fresnel_zoom", "fraunhofer"])
@pytest.mark.parametrize("own", [False, True])
def test_the_pitch_of_a_far_field_has_its_gradient(random_field, method, count, own):
    """Without an output of its own, that is the source's grid, which moves with the pitch."""
    grid = Grid((4, count), (2e-6, 1.5e-6), (3e-6, 0.0))
    output = Grid((3, count), (1e-6, 0.2e-6), (1e-6, 0.0)) if own else None
    u = random_field(1, 4, count)

    def run(pitch):
        v = propagate(u, grid, 600e-9, 1e-3, method=method, output=output, pitch=pitch * 1e-6, carrier=False)
        return v if count < 10 else v[..., ::90]

    pitch = torch.tensor([2.0, 1.5], dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(
        run(pitch).detach(),
        propagate(u, grid, 600e-9, 1e-3, method=method, output=output, carrier=False)[
            ..., :: 1 if count < 10 else 90
        ],
    )
    assert torch.autograd.gradcheck(run, (pitch,), eps=1e-6, atol=1e-5, rtol=1e-4)


def test_pitch_takes_the_output_along_but_not_one_of_another(random_field):
    grid, u = Grid(8, 2e-6), random_field(1, 8, 8)
    expected = propagate(u, Grid(8, 2.1e-6), 5e-7, 1e-3, output=Grid(6, 2.1e-6, (4e-6, 0)))
    for output in (Grid(6, 2e-6, (4e-6, 0)), Grid(6, 2.1e-6, (4e-6, 0))):
        torch.testing.assert_close(propagate(u, grid, 5e-7, 1e-3, output=output, pitch=2.1e-6), expected)
    with pytest.raises(GridMismatch, match="output: expected the pitch of the source, where pitch is passed"):
        propagate(u, grid, 5e-7, 1e-3, output=Grid(6, 1e-6), pitch=2.1e-6)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"distance": float("nan")}, InvalidArgument, "distance: expected a finite"),
        ({"distance": math.inf}, InvalidArgument, "distance: expected a finite"),
        ({"wavelength": 525}, InvalidArgument, "525e-9"),
        ({"wavelength": [5e-7, 6e-7]}, GridMismatch, "u: expected a wavelength axis of length 2"),
        ({"method": "angular"}, UnknownName, "did you mean angular_spectrum"),
        ({"u": torch.ones(1, 8, 8)}, InvalidArgument, "u: expected a complex field"),
        ({"u": torch.ones(8, 8, dtype=torch.complex64)}, GridMismatch, "u: expected shape"),
        ({"u": torch.ones(1, 8, 9, dtype=torch.complex64)}, GridMismatch, "u: expected shape"),
        ({"u": [[[1j]]]}, InvalidArgument, "u: expected a complex tensor"),
        ({"grid": (8, 8)}, InvalidArgument, "grid: expected a photonet.Grid"),
        ({"output": (8, 8)}, InvalidArgument, "output: expected a photonet.Grid"),
        ({"padding": 1.5}, InvalidArgument, "padding"),
        ({"padding": 1, "output": Grid(9, 1e-6)}, InvalidArgument, "padding"),
        ({"method": "rayleigh_sommerfeld", "distance": 0}, InvalidArgument, "method"),
    ],
)
def test_bad_input_says_what_came(change, error, message):
    arguments = {
        "u": torch.ones(3, 8, 8, dtype=torch.complex64),
        "grid": Grid(8, 1e-6),
        "wavelength": [5e-7, 6e-7, 7e-7],
        "distance": 1e-3,
    }
    if "wavelength" in change and change["wavelength"] == 525:
        arguments["u"] = arguments["u"][:1]
    with pytest.raises(error, match=message):
        propagate(**{**arguments, **change})


@pytest.mark.parametrize("method", ["auto", "angular_spectrum", "fresnel_zoom"])
def test_gradient_of_the_distance_survives_single_precision(method):
    """k z is 1e7 rad here: with the carrier single precision is off by a factor of 200."""
    grid = Grid(96, 40e-6)
    weight = torch.rand(96, 96, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def slope(dtype):
        z = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
        u = gaussian_beam(grid, 633e-9, waist=200e-6).to(dtype)
        v = propagate(u, grid, 633e-9, z, method=method, carrier=False)
        (irradiance(v) * weight).sum().backward()
        return float(z.grad)

    assert slope(torch.complex64) == pytest.approx(slope(torch.complex128), rel=1e-4)


@HARSH
@pytest.mark.parametrize("method", ["auto", "angular_spectrum", "fresnel_zoom"])
def test_carrier_is_the_common_phase(random_field, method):
    grid, wave, z = Grid(8, 5e-6), [633e-9, 500e-9], 2e-3
    u = random_field(1, 8, 8)
    with_it, without = (propagate(u, grid, wave, z, method=method, carrier=c) for c in (True, False))
    for index, w in enumerate(wave):
        phase = 2 * math.pi * math.fmod(z, w) / w
        turned = without[index] * complex(math.cos(phase), math.sin(phase))
        torch.testing.assert_close(with_it[index], turned)


def test_too_large_a_job_says_so_before_it_starts():
    huge = torch.ones(1, 1, 1, dtype=torch.complex64).expand(1, 400_000, 400_000)
    with pytest.raises(MemoryEstimateError, match=r"needs about .* GiB and .* are free; .*stream_psf"):
        propagate(huge, Grid(400_000, 1e-6), 5e-7, 1e-3)
