import copy
import math

import pytest
import torch
from torch.autograd import gradcheck
from torch.func import functional_call

from photonet import Detector, Field, Grid, Mask
from photonet.errors import GridMismatch, InvalidArgument, UnknownName
from photonet.nn import Aperture, DetectorLayer, FourF, FreeSpace, Lens, MaskConv2d, PhaseMask
from photonet.optics import circular_aperture, ideal_lens, propagate, psf
from photonet.optics.imaging import image_by_kernels
from photonet.optics.psf import bin_pixels

GRID, WAVES = Grid((12, 14), (2e-6, 3e-6)), (525e-9, 633e-9)


@pytest.fixture
def light():
    return torch.randn(
        2, 2, 12, 14, dtype=torch.complex128, generator=torch.Generator().manual_seed(0), requires_grad=True
    )


def test_free_space_is_propagate(light):
    out = Grid((8, 9), (2e-6, 3e-6), (4e-6, 0.0))
    layer = FreeSpace(GRID, WAVES, 40e-6, output=out, carrier=True)
    torch.testing.assert_close(layer(light), propagate(light, GRID, WAVES, 40e-6, output=out))


def test_a_lens_focuses_at_its_focal_length():
    grid, f = Grid(128, 2e-6), 4e-3
    lens, space = Lens(grid, 525e-9, f), FreeSpace(grid, 525e-9, f)
    focus = space(lens(torch.ones(1, 128, 128, dtype=torch.complex64))).abs().square()[0]
    assert int(focus.argmax()) == 64 * 128 + 64
    # Huygens: the samples add in phase on the axis, N dx dy / (w f) of amplitude, cos(theta) left out
    assert float(focus.max()) == pytest.approx((128**2 * 4e-12 / (525e-9 * f)) ** 2, rel=2e-3)


def test_single_precision_keeps_the_phase_of_a_steep_lens():
    grid = Grid(512, 4e-6)
    one = torch.ones(1, 512, 512)
    exact = torch.exp(1j * ideal_lens(grid, 525e-9, 4e-3))
    single = Lens(grid, 525e-9, 4e-3).float()(one.to(torch.complex64))
    # 4e3 rad in float32 would be wrong by 2e-4; wrapped, only the rounding of pi is left
    assert float((single - exact).abs().max()) < 1e-6


def test_a_phase_mask_scales_as_a_relief():
    mask = PhaseMask(torch.full((2, 2), 1.0), wavelength=WAVES, design_wavelength=WAVES[0])
    turned = mask(torch.ones(2, 2, 2, dtype=torch.complex64))
    assert turned.angle()[:, 0, 0].tolist() == pytest.approx([1.0, 525 / 633], rel=1e-6)
    assert PhaseMask(torch.zeros(2, 2), trainable=False).state_dict().keys() == {"phase"}


def test_an_aperture_lets_its_area_pass():
    hole = Aperture.circular(GRID, 15e-6)
    assert float(hole.transmission.sum()) * GRID.cell == pytest.approx(math.pi * 7.5e-6**2, rel=1e-12)
    torch.testing.assert_close(hole.transmission, circular_aperture(GRID, 15e-6))
    window = Aperture.rectangular(GRID, (4e-6, 6e-6))
    assert float(window.transmission.sum()) * GRID.cell == pytest.approx(24e-12, rel=1e-9)


@pytest.mark.parametrize(
    "make",
    [
        lambda: FreeSpace(GRID, WAVES, 40e-6, trainable=True),
        lambda: Lens(GRID, WAVES, 1e-3, trainable=True),
        lambda: Lens(GRID, WAVES, 1e-3, kind="quadratic", trainable=True),
        lambda: PhaseMask(torch.rand(12, 14, dtype=torch.float64), wavelength=WAVES, design_wavelength=6e-7),
    ],
)
def test_gradients_reach_field_and_parameter(make, light):
    layer = make()
    (name, parameter), *none = layer.named_parameters()
    assert not none
    # a length of 40 um needs a step of its own: gradcheck shifts by 1e-6
    size = parameter.detach().abs().max() if parameter.ndim == 0 else 1.0
    relative = (parameter.detach() / size).requires_grad_()

    def run(value, field):
        return functional_call(layer, {name: value * size}, (field,))

    small = light[:1].detach().requires_grad_()
    assert gradcheck(run, (relative, small), fast_mode=True, atol=1e-5, rtol=1e-3)
    run(relative, small).abs().square()[..., 3, 3].sum().backward()
    moved = name == "phase"  # alone, a phase moves no light
    assert moved or isinstance(layer, Lens) or float(relative.grad.abs()) > 0


def test_bad_input_is_named(light):
    with pytest.raises(InvalidArgument, match="distance: expected a finite length"):
        FreeSpace(GRID, WAVES, math.nan)
    with pytest.raises(InvalidArgument, match="focal_length"):
        Lens(GRID, WAVES, 0.0)
    with pytest.raises(UnknownName, match="did you mean quadratic"):
        Lens(GRID, WAVES, 1e-3, kind="quadratik")
    with pytest.raises(InvalidArgument, match="phase: expected a real phase"):
        PhaseMask(torch.ones(2, 2, dtype=torch.complex64))
    with pytest.raises(InvalidArgument, match="both wavelengths"):
        PhaseMask(torch.ones(2, 2), wavelength=WAVES)
    with pytest.raises(UnknownName, match="^method: expected one of"):
        FreeSpace(GRID, WAVES, 1e-3, method="foo")
    for layer in (FreeSpace, Lens):
        with pytest.raises(InvalidArgument, match="^grid: expected a Grid"):
            layer("grid", WAVES, 1e-3)
    with pytest.raises(InvalidArgument, match="^output: expected a Grid"):
        FreeSpace(GRID, WAVES, 1e-3, output=(8, 8))
    for layer in (PhaseMask(torch.zeros(3, 3)), Aperture(torch.ones(3, 3)), Lens(Grid(3, 1e-6), WAVES, 1.0)):
        with pytest.raises(GridMismatch, match="u: expected"):
            layer(light)


class TestMaskConv:
    def make(self, **options):
        return MaskConv2d(
            2, grid=Grid(30, 1e-6), wavelength=WAVES, distance=0.3e-3, pixel=6, binning=2, **options
        )

    def test_kernels_are_the_psfs_of_the_masks(self):
        layer = self.make(material="SiO2")
        assert layer.kernels().shape == (2, 2, 5, 5)
        # through the package's own relief: the same light
        mask = Mask.from_height(layer.height(), pitch=1e-6, material="SiO2")
        seen = bin_pixels(psf(mask.transmission(WAVES), layer.grid, WAVES, 0.3e-3), 6)
        torch.testing.assert_close(layer.psf(), seen, atol=1e-6, rtol=1e-4)
        assert bool((layer.psf() >= 0).all())
        assert bool((layer.psf().sum((-2, -1)) <= 1 + 1e-5).all())

    def test_captures_subtract_to_the_signed_convolution(self):
        scene = torch.rand(3, 2, 8, 8, generator=torch.Generator().manual_seed(0))
        layer = self.make()
        expected = image_by_kernels(scene, layer.kernels(), 2)
        torch.testing.assert_close(layer(scene), expected)
        positive, negative = layer.captures(scene).unbind(1)
        torch.testing.assert_close(positive - negative, expected, atol=1e-6, rtol=1e-4)

    def test_gradients_reach_the_masks_by_finite_differences(self):
        layer = MaskConv2d(1, grid=Grid(12, 1e-6), wavelength=WAVES[0], distance=30e-6, pixel=4).double()
        scene = torch.rand(1, 1, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

        def run(phase, gain):
            return functional_call(layer, {"phase": phase, "gain": gain}, (scene,))

        phase, gain = (p.detach().clone().requires_grad_() for p in (layer.phase, layer.gain))
        assert gradcheck(run, (phase, gain), fast_mode=True)
        run(phase, gain).square().sum().backward()
        assert float(phase.grad.abs().max()) > 0

    def test_it_learns_an_edge(self):
        layer = MaskConv2d(1, grid=Grid(18, 1e-6), wavelength=WAVES[0], distance=0.1e-3, pixel=6)
        wished = torch.tensor([[1.0, 0, -1]] * 3)[None, None] / 3
        optimizer = torch.optim.Adam([layer.phase], lr=0.2)
        first = (layer.kernels() - wished).square().sum().item()
        for _ in range(20):
            optimizer.zero_grad()
            loss = (layer.kernels() - wished).square().sum()
            loss.backward()
            optimizer.step()
        assert loss.item() < 0.5 * first

    def test_a_camera_reads_the_captures(self):
        scene = torch.rand(3, 2, 8, 8, generator=torch.Generator().manual_seed(0))
        quiet, noisy = self.make(), self.make(camera=DetectorLayer(Detector(), full_scale=1.0))
        difference = (noisy(scene) - quiet(scene)).detach().abs()
        assert 0 < float(difference.max()) < 0.1
        noisy(scene).square().sum().backward()
        assert bool(torch.isfinite(noisy.phase.grad).all())

    def test_bad_input_is_named(self):
        with pytest.raises(InvalidArgument, match="pixel: expected at most"):
            MaskConv2d(1, grid=Grid(4, 1e-6), wavelength=5e-7, distance=1e-4, pixel=5)
        with pytest.raises(GridMismatch, match="scene"):
            self.make()(torch.rand(1, 1, 8, 8))
        with pytest.raises(GridMismatch, match="scene"):
            self.make().captures(torch.rand(2, 8, 8))
        with pytest.raises(InvalidArgument, match="camera: expected a torch module"):
            self.make(camera="foo")
        with pytest.raises(InvalidArgument, match="material: expected one of"):
            self.make(material="Foo")


class TestDetectorLayer:
    def test_the_mean_of_many_readings_is_the_feature(self):
        features = torch.full((200, 20, 20), 0.4)
        camera = Detector()
        layer = DetectorLayer(camera, full_scale=1.0, exposure=0.8)
        seen = layer(features)
        electrons = 0.4 * 0.8 * camera.saturation
        # shot, read and rounding noise of EMVA 1288, in units of the feature
        sigma = math.sqrt(
            electrons + camera.dark_electrons + camera.dark_noise**2 + 1 / 12 / camera.gain**2
        ) / (0.8 * camera.saturation)
        count = features.numel()
        assert float(seen.mean()) == pytest.approx(0.4, abs=5 * sigma / math.sqrt(count))
        assert float(seen.std()) == pytest.approx(sigma, rel=5 / math.sqrt(2 * count) + 0.01)

    def test_seed_and_copies(self):
        features = torch.rand(4, 4)
        a, b = DetectorLayer(Detector(), seed=3), DetectorLayer(Detector(), seed=3)
        first = a(features)
        assert torch.equal(first, b(features))
        assert not torch.equal(first, a(features))
        a.reseed(3)
        assert torch.equal(first, copy.deepcopy(a)(features))

    def test_gradient_is_near_one(self):
        features = torch.full((64, 64), 0.5, requires_grad=True)
        DetectorLayer(Detector())(features).sum().backward()
        assert float(features.grad.mean()) == pytest.approx(1.0, abs=0.01)

    def test_features_below_zero_are_read_as_darkness(self):
        dark, negative = torch.zeros(64, 64), torch.full((64, 64), -0.5, requires_grad=True)
        seen = DetectorLayer(Detector(), seed=1)(negative)
        assert torch.equal(seen.detach(), DetectorLayer(Detector(), seed=1)(dark))
        seen.sum().backward()
        assert not bool(negative.grad.any())

    def test_frames_stand_for_pixels_that_are_read_one_by_one(self):
        features, b = torch.full((64, 64), 0.5), 2
        single = DetectorLayer(Detector(), seed=1)(features.expand(b * b, -1, -1)).mean(0)
        frames = DetectorLayer(Detector(), seed=2, frames=b * b)(features)
        # the spread of 4096 samples is known to 1.1 %: five times that, of two of them
        assert float(frames.std() / single.std()) == pytest.approx(1, abs=0.08)

    def test_features_that_are_no_numbers_are_refused(self):
        with pytest.raises(InvalidArgument, match="features: expected finite"):
            DetectorLayer(Detector())(torch.full((8, 8), math.nan))

    def test_bad_input_is_named(self):
        with pytest.raises(InvalidArgument, match="full_scale"):
            DetectorLayer(Detector(), full_scale=0)
        with pytest.raises(InvalidArgument, match="exposure"):
            DetectorLayer(Detector(), exposure=1.5)


@pytest.mark.parametrize("material", ["SiO2", "a-Si"])
def test_masks_that_are_trained_are_those_that_are_made(material):
    """Dispersion and absorption are those of the relief: amorphous silicon keeps a quarter at 525 nm."""
    layer = MaskConv2d(
        2, grid=Grid(30, 1e-6), wavelength=[525e-9, 625e-9], distance=0.2e-3, pixel=6, material=material
    )
    mask = Mask.from_height(layer.height(), pitch=1e-6, material=material, wavelength=525e-9, distance=0.2e-3)
    waves = torch.tensor(layer.wavelength, dtype=torch.float64)
    made = bin_pixels(psf(mask.transmission(waves), mask.grid, waves, mask.distance), 6)
    torch.testing.assert_close(layer.psf().detach(), made, rtol=1e-4, atol=1e-7)
    assert (float(made[..., 0, :, :].sum((-2, -1)).max()) < 0.5) == (material == "a-Si")


def test_layers_compose_with_fields():
    beam = Field.gaussian(shape=64, pitch=5e-6, wavelength=633e-9, waist=60e-6)
    system = torch.nn.Sequential(
        Lens(beam.grid, 633e-9, 20e-3), FreeSpace(beam.grid, 633e-9, 20e-3, carrier=True)
    )
    focus = Field(system(beam.data), beam.grid, beam.wavelength)
    assert float(focus.power()) == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("cast", [torch.nn.Module.float, torch.nn.Module.half])
def test_lengths_stay_in_double_precision_where_a_network_is_cast(cast):
    grid, length = Grid(8, 1e-6), 0.0123456789
    space, lens = FreeSpace(grid, 5e-7, length, trainable=True), Lens(grid, 5e-7, length, trainable=True)
    space.distance.grad = torch.ones_like(space.distance)
    system = FourF(grid, 5e-7, length, pupil=PhaseMask(torch.zeros(8, 8).double()), trainable=True)
    network = cast(torch.nn.Sequential(space, lens, system))
    lengths = [space.distance, lens.focal_length, system.focal_length]
    assert all(p.dtype == torch.float64 and p.item() == length for p in lengths)
    assert space.distance.grad.dtype == torch.float64
    assert system.pupil.phase.dtype != torch.float64  # what is no length is cast
    assert all(p.device.type == "meta" for p in network.to("meta").parameters())
