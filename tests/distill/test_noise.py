"""Students that are trained as devices."""

import pytest
import torch
from torch import nn

from photonet import data
from photonet.detector import Detector
from photonet.distill import (
    NTK,
    DeviceNoise,
    MaskNoise,
    Mixed,
    Moved,
    TrainConfig,
    accuracy,
    distill,
    fit_twin,
    predict,
)
from photonet.errors import InvalidArgument
from photonet.fabrication import HeightError, SurfaceRoughness
from photonet.grid import Grid
from photonet.models import compressed_meta, polychromatic_segmentation
from photonet.nn import HybridNetwork, MaskConv2d, OpticalConv2d
from photonet.ntk import Sketch

IDEAL = {"gain": 0.0, "shift": 0.0, "kernel": 0.0}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def small():
    torch.manual_seed(0)
    return compressed_meta(2, 3, hidden=6, image=16, classes=3)


def masks():
    torch.manual_seed(0)
    layer = MaskConv2d(2, grid=Grid(24, 1e-6), wavelength=525e-9, distance=0.3e-3, pixel=6, binning=4)
    return HybridNetwork(layer, nn.Sequential(nn.Flatten(), nn.Linear(8, 3)))


@pytest.mark.parametrize(
    ("noise", "build", "size"),
    [(DeviceNoise(**IDEAL), small, 16), (MaskNoise([HeightError(systematic=0.0)]), masks, 8)],
)
def test_a_perfect_device_is_the_design_and_so_is_its_gradient(noise, build, size):
    x = torch.rand(4, 1, size, size, generator=generator())
    model = build()
    made, designed = noise(model, x, generator=generator()), model(x)
    torch.testing.assert_close(made, designed, rtol=1e-4, atol=1e-5)
    slopes = [torch.autograd.grad(y.square().sum(), list(model.parameters())) for y in (made, designed)]
    for a, b in zip(*slopes, strict=True):
        # the height of a mask is wrapped by another way to round: 1e-5 rad of the phase
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3 * float(b.abs().max()))


@pytest.mark.parametrize("noise", [DeviceNoise(**IDEAL | {name: 0.3}) for name in (*IDEAL, "rotation")])
def test_every_error_does_something_and_comes_from_the_generator(noise):
    model, x = small(), torch.rand(4, 1, 16, 16, generator=generator())
    one, same, other = (noise(model, x, generator=generator(s)) for s in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.allclose(one, other, rtol=1e-3)
    assert not torch.allclose(one, model(x), rtol=1e-3)


def test_a_device_is_the_same_for_all_samples_but_each_has_an_exposure():
    x = torch.rand(1, 1, 16, 16, generator=generator()).expand(3, -1, -1, -1)
    rows = DeviceNoise(gain=0.3, kernel=0.3)(small(), x, generator=generator())
    torch.testing.assert_close(rows[0], rows[2])
    rows = DeviceNoise(**IDEAL, camera=Detector())(small(), x, generator=generator())
    assert not torch.equal(rows[0], rows[2])


def test_a_relief_too_high_turns_the_phase_by_as_much():
    model, x = masks(), torch.rand(4, 1, 8, 8, generator=generator())
    error = HeightError(systematic=0.1)
    made = MaskNoise([error])(model, x, generator=generator())
    assert not torch.allclose(made, model(x), rtol=1e-2)
    assert torch.equal(made, MaskNoise([error])(model, x, generator=generator()))
    (slope,) = torch.autograd.grad(made.sum(), model.frontend.phase)
    assert float(slope.abs().max()) > 0


def test_a_relief_of_few_levels_is_what_is_trained():
    model, x = masks(), torch.rand(4, 1, 8, 8, generator=generator())
    made = MaskNoise(levels=4)(model, x, generator=generator())
    assert not torch.allclose(made, model(x), rtol=1e-2)
    (slope,) = torch.autograd.grad(made.sum(), model.frontend.phase)
    assert float(slope.abs().max()) > 0
    with torch.no_grad():  # a relief that has these levels already stays as it is
        model.frontend.phase.copy_(torch.round(model.frontend.phase / (torch.pi / 2)) * torch.pi / 2)
    torch.testing.assert_close(made, model(x), rtol=1e-4, atol=1e-5)
    with pytest.raises(InvalidArgument, match="^levels"):
        MaskNoise(levels=1)


def test_a_student_trained_as_devices_repeats_and_is_another(tmp_path):
    x = torch.rand(30, 1, 16, 16, generator=generator())
    samples, config = (x, torch.arange(30) % 3), TrainConfig(epochs=2, batch_size=9)

    def trained(noise, **more):
        run = distill(small(), small(), samples, val=samples, config=config, noise=noise, **more)
        return run.student.frontend.weight, run

    noise = DeviceNoise(camera=Detector())
    one, run = trained(noise)
    assert torch.equal(one, trained(noise)[0])
    assert not torch.equal(one, trained(None)[0])
    assert "DeviceNoise(gain=0.1" in run.config["noise"]
    # any function of a model, inputs and a generator will do
    assert not torch.equal(one, trained(lambda model, x, generator: model(x + 0.1))[0])


def test_masks_learn_under_fabrication_errors():
    x = torch.rand(12, 1, 8, 8, generator=generator())
    samples = (x, (x.mean((1, 2, 3)) > 0.5).long())
    before = masks()
    noise = MaskNoise([HeightError(systematic=0.03), SurfaceRoughness(rms=10e-9)])
    run = distill(masks(), None, samples, val=samples, method="ce", noise=noise,
                  config=TrainConfig(epochs=1, batch_size=6))  # fmt: skip
    assert not torch.equal(run.student.frontend.phase, before.frontend.phase)


def test_wrong_noise_is_named():
    x = torch.rand(2, 1, 16, 16)
    with pytest.raises(InvalidArgument, match="^gain"):
        DeviceNoise(gain=-1.0)
    with pytest.raises(InvalidArgument, match="^student: expected a HybridNetwork with a OpticalConv2d"):
        DeviceNoise()(nn.Linear(2, 2), x, generator=generator())
    with pytest.raises(InvalidArgument, match="with a MaskConv2d.*got OpticalConv2d as frontend"):
        MaskNoise([HeightError(systematic=0.1)])(small(), x, generator=generator())
    with pytest.raises(InvalidArgument, match="^frontend.*got AvgPool2d"):
        DeviceNoise().make(nn.AvgPool2d(2), generator=generator())


def test_optics_side_by_side_have_errors_of_their_own_and_the_rest_is_shared():
    torch.manual_seed(0)
    model, x = polychromatic_segmentation((2, 2), width=8).eval(), torch.rand(2, 3, 16, 16)
    torch.testing.assert_close(DeviceNoise(**IDEAL)(model, x, generator=generator()), model(x))
    optics = [part for part in model.frontend.modules() if isinstance(part, OpticalConv2d)]
    optics[1].set_kernels(optics[0].weight)
    device = DeviceNoise(gain=0.3).make(model.frontend, generator=generator())
    large = x.repeat_interleave(2, -2).repeat_interleave(2, -1)
    fine, coarse = device(x)[0], device(large)[1]  # the same scene behind the same kernels
    assert not torch.allclose(fine, coarse, rtol=0.05)
    assert torch.equal(coarse, device(large)[1])
    assert device[1][0] is model.frontend[1][0]
    (slope,) = torch.autograd.grad(fine.sum(), optics[0].weight)
    assert float(slope.abs().max()) > 0


def test_a_noise_aware_student_loses_less_on_devices():
    train, val, test = data.digits()
    camera = Detector(bits=8, gain=255 / 32000)
    noise = DeviceNoise(gain=0.2, shift=0.5, kernel=0.5, camera=camera)
    config = TrainConfig(epochs=12, batch_size=64, lr=1e-2)
    made, lost = {}, {}
    for kind, loop in (("plain", None), ("aware", noise)):
        torch.manual_seed(0)
        student = compressed_meta()
        distill(student, None, train, val=val, method="ce", config=config, noise=loop)
        with torch.no_grad():  # devices that no training step has seen
            each = [
                accuracy(noise(student, test.images, generator=generator(1000 + d)), test.labels)
                for d in range(10)
            ]
        made[kind] = sum(each) / 10
        lost[kind] = accuracy(predict(student, test.images), test.labels) - made[kind]
    # 12 devices: 83.4 +- 9.9 against 87.2 +- 6.1 %, losses of 14.1 and 7.0 points, standard errors of 3 and 2
    assert made["aware"] > made["plain"]
    assert lost["aware"] < lost["plain"] - 0.03


PICTURE, NETWORK = torch.rand(2, 1, 16, 16), compressed_meta(2, 3, image=16)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda: DeviceNoise(camera="foo"), "camera: expected a photonet.detector.Detector, or None"),
        (lambda: DeviceNoise(frames=0), "frames: expected a whole number of at least 1"),
        (lambda: MaskNoise(errors="foo"), "errors: expected a fabrication error or a sequence"),
        (lambda: DeviceNoise()(NETWORK, PICTURE, generator=3), "generator: expected a torch.Generator"),
        (lambda: MaskNoise()(masks(), torch.rand(2, 1, 8, 8), generator=3), "generator: expected a torch"),
        (lambda: Moved()(PICTURE, 3), "generator: expected a torch.Generator for views"),
        (lambda: Mixed()(PICTURE, 3), "generator: expected a torch.Generator for views"),
        (lambda: NTK(centred="no"), "centred: expected True or False, got str 'no'"),
        (lambda: NTK(params=float("nan")), "params: expected a prefix of parameter names, or None"),
        (lambda: Sketch(seed="x"), "seed: expected a whole number"),
        (lambda: fit_twin(nn.Linear(2, 2), None), "student: expected a HybridNetwork"),
        (lambda: distill(NETWORK, None, (PICTURE, [0, 1]), method="ce", fabric=3),
         "fabric: expected a lightning.Fabric, or None, got 3"),
    ],
)  # fmt: skip
def test_arguments_of_another_kind_are_named(wrong, words):
    with pytest.raises(InvalidArgument, match=words):
        wrong()


def test_pixels_that_are_read_and_averaged_have_less_noise():
    x = torch.rand(16, 1, 16, 16, generator=generator())
    front, left = small().frontend, []
    for n in (1, 16):
        device = DeviceNoise(**IDEAL, camera=Detector(), frames=n).make(front, generator=generator())
        with torch.no_grad():
            left.append(float((device(x) - front(x)).std()))
    # a quarter, of 512 numbers
    assert 0.2 < left[1] / left[0] < 0.3
