import copy
import math
import re

import pytest
import torch

from photonet import ntk
from photonet.errors import GridMismatch, InvalidArgument, UnknownName
from photonet.grid import Grid
from photonet.models import (
    READOUTS,
    PictureToField,
    SignedMaxPool2d,
    SpectralConv2d,
    alexnet,
    compressed_meta,
    diffractive_classifier,
    extreme_meta,
    lenet,
    polychromatic_meta,
    polychromatic_segmentation,
    spectral_4f,
)
from photonet.nn import OpticalConv2d
from photonet.optics.imaging import image_by_kernels
from photonet.provenance import module_hash


def parameters(model):
    return sum(p.numel() for p in model.parameters())


def test_parameters_of_the_published_students():
    # 8 kernels 7 x 7; 8 x 7 x 7 features to 128, to 10, with biases: about 0.05 M in Table 2 of 2508.08421
    assert parameters(compressed_meta()) == 8 * 49 + (8 * 49 * 128 + 128) + (128 * 10 + 10)
    # 16 RGB kernels 7 x 7; 64 windows of 32 maxima; 704 and 224 wide, each with scale and shift; 1.62 M
    dense = (2048 * 704 + 3 * 704) + (704 * 224 + 3 * 224) + (224 * 10 + 10)
    student = polychromatic_meta()
    assert parameters(student.frontend) == 16 * 3 * 49
    assert parameters(student.backend) == dense + 2 * 16 + 2 * 32 <= 1.62e6
    assert parameters(polychromatic_meta(readout="linear")) == 16 * 3 * 49 + dense - 1024 * 704
    # the digital convolution: 32 x 64 x 9 weights, and the maps it leaves are 4 x 4
    mixed = 2 * 16 + 2 * 32 + 32 * 64 * 9 + 2 * 64 + (1024 * 120 + 120) + 2 * 120 + (120 * 10 + 10)
    assert parameters(polychromatic_meta(mixing=64, hidden=(120,)).backend) == mixed <= 0.16e6
    # 8 + 16 + 32 RGB kernels 3 x 3; 1.06 M
    student = polychromatic_segmentation()
    assert parameters(student.frontend) == 56 * 3 * 9
    assert parameters(student) == 571_706 <= 1.06e6
    assert parameters(extreme_meta().frontend) == 16 * 3 * (121 + 25)
    assert parameters(extreme_meta()) == 129_976
    assert parameters(spectral_4f()) == 8 * 28 * 15 * 2 + (8 * 49 * 10 + 10)
    assert parameters(diffractive_classifier()) == 3 * 64 * 64


STUDENTS = [
    (compressed_meta, (1, 28, 28), (10,)),
    (polychromatic_meta, (3, 32, 32), (10,)),
    (lambda: polychromatic_meta(4, 5, hidden=(12,), pool=8, classes=3, readout="relu"), (3, 32, 32), (3,)),
    (lambda: polychromatic_meta(4, 5, mixing=6, hidden=(12,)), (3, 32, 32), (10,)),
    (spectral_4f, (1, 28, 28), (10,)),
    (lambda: diffractive_classifier(2, samples=16, magnification=1, classes=4), (1, 12, 12), (4,)),
    (lambda: polychromatic_segmentation((2, 3), width=8, context=(1,)), (3, 8, 12), (2, 8, 12)),
    (
        lambda: extreme_meta((2, 3), (3, 3), width=8, context=(1, 2), readout="maxpool"),
        (3, 16, 8),
        (2, 16, 8),
    ),
]


@pytest.mark.parametrize(("build", "scene", "outputs"), STUDENTS)
def test_students_have_tangent_kernels_and_gradients_everywhere(build, scene, outputs):
    student = build().double().eval()
    x = torch.rand(3, *scene, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert student(x).shape == (3, *outputs)
    direction = torch.randn(
        1, math.prod(outputs), dtype=torch.float64, generator=torch.Generator().manual_seed(1)
    )
    exact, general = (
        ntk.gram(student, x, outputs=direction, method=method).detach() for method in ("auto", "jacobian")
    )
    torch.testing.assert_close(exact, general, rtol=1e-9, atol=1e-12)
    student(x).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in student.parameters())


@pytest.mark.parametrize(
    ("build", "scene", "maps"),
    [
        (compressed_meta, (1, 28, 28), "(8, 9, 9) in place of 392"),
        (lambda: compressed_meta(2, readout="maxpool"), (1, 28, 28), "(4, 9, 9) in place of 196"),
        (lambda: polychromatic_meta(hidden=()), (3, 32, 32), "(32, 10, 10) in place of 2048"),
        (lambda: polychromatic_meta(mixing=6, hidden=()), (3, 32, 32), "(6, 5, 5) in place of 96"),
        (lenet, (1, 28, 28), "(16, 7, 7) in place of 400"),
        (lambda: alexnet(width=2), (3, 32, 32), "(8, 5, 5) in place of 128"),
    ],
)
def test_a_scene_of_another_size_is_named(build, scene, maps):
    network, (colours, side, _) = build().eval(), scene
    expected = f"scene: expected shape [n, {colours}, {side}, {side}], got maps {maps} features"
    with pytest.raises(GridMismatch, match=f"^{re.escape(expected)}$"):
        network(torch.rand(2, colours, side + 8, side + 8))


def test_networks_have_the_hash_of_those_that_were_stored():
    # with torch's own layer before the dense one
    for network in (compressed_meta(2, hidden=4), lenet()):
        with torch.no_grad():
            for p in network.parameters():
                p.fill_(0.5)
        plain = copy.deepcopy(network)
        layers = plain if isinstance(plain, torch.nn.Sequential) else plain.backend
        place = next(i for i, layer in enumerate(layers) if isinstance(layer, torch.nn.Flatten))
        layers[place] = torch.nn.Flatten()
        assert module_hash(plain) == module_hash(network)
        assert repr(plain) == repr(network)


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_a_teacher_can_be_traced_scripted_and_exported():
    net, x = lenet().eval(), torch.rand(2, 1, 28, 28)
    for program in (
        torch.jit.trace(net, x),
        torch.jit.script(net),
        torch.export.export(net, (x,), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},)).module(),
    ):
        torch.testing.assert_close(program(x), net(x))


def test_the_linear_students_are_linear_in_the_scene_up_to_their_dense_layers():
    a, b = torch.rand(2, 1, 1, 28, 28, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    student = spectral_4f().double()
    torch.testing.assert_close(student(a + b) - student(b), student(a) - student(torch.zeros_like(a)))
    features = compressed_meta(readout="linear").double().features
    torch.testing.assert_close(features(a + b), features(a) + features(b))


@pytest.mark.parametrize("readout", READOUTS)
def test_every_readout_acts_on_the_same_optics(readout):
    student = compressed_meta(3, readout=readout)
    assert isinstance(student.optics, OpticalConv2d)
    # the sensor bins for a linear readout only; the others need every pixel
    assert student.optics.binning == (4 if readout == "linear" else 1)
    assert student(torch.rand(2, 1, 28, 28)).shape == (2, 10)


def test_pooled_extremes_are_the_largest_and_the_most_negative():
    maps = torch.randn(2, 3, 4, 6, generator=torch.Generator().manual_seed(0))
    pooled = SignedMaxPool2d(2)(maps)
    windows = maps.unfold(-2, 2, 2).unfold(-2, 2, 2).flatten(-2)
    torch.testing.assert_close(pooled, torch.cat([windows.amax(-1), -windows.amin(-1)], dim=1))
    # swapping the two captures of every kernel swaps the two halves
    torch.testing.assert_close(SignedMaxPool2d(2)(-maps), pooled.roll(3, dims=1))


def test_a_spectral_filter_is_a_cyclic_convolution_with_its_kernel():
    layer = SpectralConv2d(2, 3, (6, 5)).double()
    scene = torch.rand(2, 2, 6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = torch.zeros(2, 3, 6, 5, dtype=torch.float64)
    for y in range(6):
        for x in range(5):
            moved = scene.roll((y, x), dims=(-2, -1))
            expected += torch.einsum("kc,ncyx->nkyx", layer.kernels().detach()[:, :, y, x], moved)
    torch.testing.assert_close(layer(scene), expected)
    with pytest.raises(GridMismatch, match=r"^scene: expected shape \[n, 2, 6, 5\]"):
        layer(scene.mT)


def test_spots_at_a_scale_are_kernels_with_gaps():
    student = polychromatic_segmentation((2, 3), width=8, readout="linear")
    scene = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    kernels = student.frontend[1][1].weight
    spread = torch.zeros(3, 3, 5, 5)
    spread[..., ::2, ::2] = kernels
    wide = image_by_kernels(scene, spread.detach())
    torch.testing.assert_close(student.features(scene)[1], torch.nn.functional.avg_pool2d(wide, 4))


def test_the_backend_sees_far_by_way_of_the_finest_maps():
    """What the finest optic sees at one place reaches scores beyond the decoder's own small windows."""
    student = polychromatic_segmentation().eval()
    finest, *coarser = (m.detach() for m in student.features(torch.rand(1, 3, 64, 64)))
    finest.requires_grad_(True)
    student.backend([finest, *coarser])[0, :, 32, 32].sum().backward()
    reached = finest.grad[0].abs().sum(0).nonzero()
    assert reached.amin() < 10
    assert reached.amax() > 54


@pytest.mark.parametrize("kernels", [(4,), (4, 6), (2, 3, 4, 5)])
def test_any_number_of_scales_gives_a_score_to_every_pixel(kernels):
    scores = polychromatic_segmentation(kernels, width=16, classes=3)(torch.rand(2, 3, 32, 48))
    assert scores.shape == (2, 3, 32, 48)


def test_a_picture_lies_in_the_middle_of_its_field():
    field = PictureToField(Grid(8, 1e-6), 2)(torch.ones(1, 1, 3, 3))
    assert field.abs()[0, 0, 1:7, 1:7].sum() == 36 == field.abs().sum()
    with pytest.raises(InvalidArgument, match=r"^picture: expected at most \(4, 4\) pixels, got \(5, 5\)"):
        PictureToField(Grid(8, 1e-6), 2)(torch.ones(1, 1, 5, 5))


@pytest.mark.parametrize(
    ("build", "options", "name"),
    [(compressed_meta, {"binning": 5}, "binning"), (compressed_meta, {"hidden": 0}, "hidden"),
     (compressed_meta, {"classes": -1}, "classes"), (compressed_meta, {"kernels": 0}, "kernels"),
     (compressed_meta, {"kernel_size": 6}, "kernel_size"), (polychromatic_meta, {"pool": 5}, "pool"),
     (polychromatic_meta, {"hidden": (3, 0)}, "hidden"), (spectral_4f, {"binning": 3}, "binning"),
     (diffractive_classifier, {"magnification": 0}, "magnification"),
     (diffractive_classifier, {"pitch": 0.0}, "pitch"),
     (polychromatic_segmentation, {"kernels": ()}, "kernels"),
     (polychromatic_segmentation, {"width": 0}, "width"),
     (polychromatic_segmentation, {"context": ()}, "context"), (extreme_meta, {"context": (0,)}, "context"),
     (extreme_meta, {"classes": 0}, "classes"), (extreme_meta, {"classes": -3}, "classes"),
     (extreme_meta, {"colours": 0}, "colours"), (polychromatic_segmentation, {"colours": 0}, "colours")],
)  # fmt: skip
def test_sizes_that_do_not_work_are_named(build, options, name):
    with pytest.raises(InvalidArgument, match=f"^{name}: expected"):
        build(**options)


@pytest.mark.parametrize(
    "build", [compressed_meta, polychromatic_meta, polychromatic_segmentation, extreme_meta]
)
def test_an_unknown_readout_offers_the_near_one(build):
    with pytest.raises(UnknownName, match="did you mean maxpool"):
        build(readout="max_pool")


@pytest.mark.parametrize("build", [polychromatic_segmentation, extreme_meta])
@pytest.mark.parametrize("rows", [36, 33])
def test_scenes_that_no_scale_divides_are_refused(build, rows):
    with pytest.raises(InvalidArgument, match="^scene: expected rows and columns in multiples of 8"):
        build()(torch.rand(1, 3, rows, 32))
    with pytest.raises(InvalidArgument, match="^scene: expected rows and columns in multiples of"):
        build(readout="linear")(torch.rand(1, 3, rows, 32))


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: polychromatic_meta(hidden=128), "hidden: expected several whole numbers, got 128"),
        (lambda: polychromatic_segmentation(8), "kernels: expected several"),
        (lambda: extreme_meta((16,)), "kernels: expected 2 whole numbers"),
        (lambda: extreme_meta(context=3), "context: expected several"),
    ],
)
def test_one_number_where_several_are_meant(build, words):
    with pytest.raises(InvalidArgument, match=words):
        build()
