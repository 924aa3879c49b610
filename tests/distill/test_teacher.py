"""The stored kernel of a teacher against the exact one."""

import contextlib
import copy
import importlib

import pytest
import torch
from torch import nn

from photonet import ntk
from photonet.distill import TrainConfig, distill
from photonet.distill.teacher import gram_of, penultimate, tangent_gram, teacher_targets
from photonet.distill.terms import Features
from photonet.errors import DataError, InvalidArgument
from photonet.models import extreme_meta


@pytest.fixture
def student():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 3))


@pytest.fixture
def teacher():
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(6, 20), nn.Tanh(), nn.Linear(20, 3))


@pytest.fixture
def data(teacher):
    x = torch.randn(90, 6, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        return x, teacher(x).argmax(dim=1)


def test_the_sketch_estimates_the_kernel_along_any_direction(teacher, data):
    inputs, gram = data[0], tangent_gram(teacher, data[0])
    chosen = torch.tensor([5, 1, 40, 33, 70, 2])
    v = ntk.random_directions(3, torch.Generator().manual_seed(0))
    for directions in (None, v):
        exact = ntk.gram(teacher, inputs[chosen], outputs="trace" if directions is None else directions)
        error = torch.linalg.norm(gram(chosen, directions) - exact) / torch.linalg.norm(exact)
        assert error < 4 * (2 / 512) ** 0.5  # four standard errors of a sketch of 512


def test_dense_outputs_are_exact_and_never_stored():
    model = nn.Conv2d(1, 2, 3, padding=1)
    x = torch.rand(5, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    v = ntk.random_directions(72, torch.Generator().manual_seed(0))
    chosen = torch.tensor([3, 0])
    torch.testing.assert_close(
        tangent_gram(model, x)(chosen, v), ntk.gram(model, x[chosen], outputs=v).detach()
    )


def test_a_folder_keeps_the_sketch_and_refuses_another_teachers(teacher, student, data, tmp_path):
    one = torch.arange(4)
    first = tangent_gram(teacher, data[0], tmp_path)(one)
    written = (tmp_path / "teacher.h5").stat().st_mtime_ns
    assert torch.equal(tangent_gram(teacher, data[0], tmp_path)(one), first)
    assert (tmp_path / "teacher.h5").stat().st_mtime_ns == written
    with pytest.raises(DataError, match=r"teacher.h5: features of another teacher .*resume=False"):
        tangent_gram(student, data[0], tmp_path)
    with pytest.raises(DataError, match=r"features of another teacher"):  # the same weights, another network
        tangent_gram(nn.Sequential(teacher[0], nn.ReLU(), teacher[2]), data[0], tmp_path)
    assert (tmp_path / "teacher.h5").stat().st_mtime_ns == written


def test_what_takes_long_is_shown(teacher, data, monkeypatch):
    steps = []

    @contextlib.contextmanager
    def bar(description, total):
        steps.append((description, total))
        yield steps.append

    monkeypatch.setattr(importlib.import_module("photonet.distill.teacher"), "bar", bar)
    tangent_gram(teacher, data[0].repeat(3, 1))
    assert steps == [("sketching the teacher's tangents", 270), 128, 128, 14]


def test_blocks_of_all_classes_are_the_whole_kernel(teacher, data):
    chosen = torch.tensor([3, 0, 7])
    blocks = tangent_gram(teacher, data[0])(chosen, torch.eye(3), full=True)
    exact = gram_of(ntk.tangents(teacher, data[0][chosen]), full=True)
    assert blocks.shape == exact.shape == (9, 9)
    assert torch.linalg.norm(blocks - exact) / torch.linalg.norm(exact) < 4 * (2 / 512) ** 0.5
    # rows of a sample's classes stand together; the trace kernel is the sum of equal classes
    trace = blocks.unflatten(0, (3, 3)).unflatten(2, (3, 3)).diagonal(dim1=1, dim2=3).sum(-1)
    torch.testing.assert_close(trace, tangent_gram(teacher, data[0])(chosen, torch.eye(3)))


def test_features_are_what_the_last_dense_layer_sees(teacher, data):
    _, features = penultimate(teacher, data[0])
    torch.testing.assert_close(features, teacher[:2](data[0]))
    assert teacher_targets(teacher, data[0], [Features()])["features"].shape == (90, 20)
    with pytest.raises(InvalidArgument, match="expected a dense layer"):
        penultimate(nn.Sequential(nn.Conv2d(1, 1, 3), nn.Flatten()), torch.rand(1, 1, 4, 4))


@pytest.mark.parametrize("last", [nn.Conv2d(5, 2, 1), nn.ConvTranspose2d(5, 2, 2, stride=2)])
def test_features_of_maps_are_what_the_last_convolution_sees(last):
    model = nn.Sequential(nn.Conv2d(1, 5, 3), nn.ReLU(), last)
    x = torch.rand(3, 1, 8, 8)
    _, features = penultimate(model, x)
    torch.testing.assert_close(features, model[:2](x))
    tokens = nn.Sequential(nn.Unflatten(1, (1, 8)), nn.Linear(8, 5), nn.ReLU(), nn.Linear(5, 2))
    outputs, features = penultimate(nn.Sequential(tokens, _ChannelsFirst()), x[:, 0])  # 8 channels come last
    assert outputs.shape == (3, 2, 1, 8)
    assert features.shape == (3, 5, 1, 8)
    with pytest.raises(InvalidArgument, match="a convolution or a dense layer"):
        penultimate(nn.Identity(), x)


def test_a_bottleneck_before_the_last_layer_holds_the_features():
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 1), nn.ReLU(), nn.Conv2d(4, 6, 1))
    x = torch.rand(2, 3, 8, 8)
    torch.testing.assert_close(penultimate(model, x)[1], model[:3](x))


def test_scores_of_several_scales_and_pictures_are_no_features():
    x = torch.rand(2, 3, 16, 16)
    outputs, features = penultimate(extreme_meta(width=8).eval(), x)
    assert features.shape[1] > outputs.shape[1]
    patches = nn.Sequential(nn.Conv2d(3, 8, 4, stride=4), _ChannelsLast(), nn.Linear(8, 32), _ChannelsFirst())
    _, features = penultimate(nn.Sequential(patches, nn.PixelShuffle(4)), x)
    torch.testing.assert_close(features, patches[0](x))
    assert penultimate(_ByName(), torch.rand(4, 3))[1].shape == (4, 3)


class _ByName(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, x):
        return self.layer(input=x)


class _ChannelsLast(nn.Module):
    def forward(self, x):
        return x.movedim(1, -1)


def test_chunks_that_a_kill_left_beside_a_whole_file_are_removed(tmp_path, teacher, data):
    tangent_gram(teacher, data[0], tmp_path)
    chunk = tmp_path / "teacher.h5.parts" / "0123456789ab-0.safetensors"
    chunk.parent.mkdir()
    chunk.write_bytes(b"")
    tangent_gram(teacher, data[0], tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["teacher.h5"]


@pytest.mark.filterwarnings("ignore:.*torch.jit.trace:DeprecationWarning")
def test_a_traced_teacher_has_no_tangents(teacher, data):
    traced = torch.jit.trace(teacher, data[0][:2])
    with pytest.raises(InvalidArgument, match="^teacher: expected layers in Python.*torch.export"):
        tangent_gram(traced, data[0])


@pytest.mark.filterwarnings("ignore:.*torch.jit.trace:DeprecationWarning")
def test_a_traced_teacher_distills_by_its_outputs(student, teacher, data):
    traced, settings = torch.jit.trace(teacher, data[0][:2]), TrainConfig(epochs=1, batch_size=27)
    other = copy.deepcopy(student)
    for network, guide in ((student, teacher), (other, traced)):
        distill(network, guide, data, method="kd", config=settings)
    assert all(map(torch.equal, student.parameters(), other.parameters()))
    with pytest.raises(InvalidArgument, match="^teacher: expected a dense layer.*method='kd'"):
        distill(student, traced, data, method="features", config=settings)


def test_a_model_without_features_is_named(student, data):
    bare, settings = nn.Sequential(nn.Bilinear(2, 3, 3)), TrainConfig(epochs=1, batch_size=27)
    bare.forward = lambda x: bare[0](x[:, :2], x[:, 3:])
    with pytest.raises(InvalidArgument, match="^teacher: expected a dense layer.*got none in Sequential"):
        distill(student, bare, data, method="features", views=lambda x, generator: x, config=settings)
    with pytest.raises(InvalidArgument, match="^student: expected a dense layer.*got none in Sequential"):
        distill(bare, student, data, method="features", config=settings)


class _ChannelsFirst(nn.Module):
    def forward(self, x):
        return x.movedim(-1, 1)
