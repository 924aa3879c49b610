import pytest
import torch

from photonet.errors import InvalidArgument
from photonet.models import (
    compressed_meta,
    digital_twin,
    ideal_lenses,
    polychromatic_meta,
    polychromatic_segmentation,
    random_psfs,
    spectral_4f,
)


def small_segmentation():
    return polychromatic_segmentation((2, 3), width=8, context=(1,))


def test_random_psfs_follow_the_generator_and_are_fixed():
    a, b, c = (random_psfs(compressed_meta(), torch.Generator().manual_seed(s)) for s in (0, 0, 1))
    assert torch.equal(a.optics.weight, b.optics.weight)
    assert not torch.equal(a.optics.weight, c.optics.weight)
    assert not a.optics.weight.requires_grad


@pytest.mark.parametrize("kernels", [1, 8, 20])
def test_ideal_lenses_are_sharp_images_at_different_places(kernels):
    network = ideal_lenses(compressed_meta(kernels))
    weight = network.optics.weight
    assert weight.flatten(1).count_nonzero(1).tolist() == [1] * kernels
    assert weight.sum() == kernels
    places = {tuple(w[0].nonzero()[0].tolist()) for w in weight}
    assert len(places) == min(kernels, 16)  # a bin of 4 x 4 pixels has 16 places
    assert not weight.requires_grad


def test_lenses_of_a_coloured_scene_see_every_colour_at_a_place():
    weight = ideal_lenses(polychromatic_meta(6, readout="linear")).optics.weight
    seen = [tuple(w.nonzero()[0].tolist()) for w in weight]
    assert [colour for colour, _, _ in seen] == [0, 1, 2, 0, 1, 2]
    assert len({place[1:] for place in seen}) == 2


def test_baselines_reach_every_optic_of_a_student():
    network = random_psfs(small_segmentation(), torch.Generator().manual_seed(0))
    assert not any(p.requires_grad for p in network.frontend.parameters())
    lenses = ideal_lenses(small_segmentation())
    assert int(sum(p.count_nonzero() for p in lenses.frontend.parameters())) == 5


@pytest.mark.parametrize(
    ("build", "scene"),
    [(compressed_meta, (1, 28, 28)), (polychromatic_meta, (3, 32, 32)), (small_segmentation, (3, 8, 16))],
)
def test_the_digital_twin_gives_the_same_answers_with_as_many_parameters(build, scene):
    student = build().double().eval()
    twin = digital_twin(student.freeze_frontend())
    x = torch.rand(2, *scene, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(twin(x), student(x))
    count = [sum(p.numel() for p in model.parameters()) for model in (student, twin)]
    assert count[0] == count[1]
    assert all(p.requires_grad for p in twin.parameters())
    with torch.no_grad():
        next(twin.parameters()).mul_(2)  # its own weights, not the student's
    assert not torch.allclose(twin(x), student(x))


@pytest.mark.parametrize(
    "baseline", [digital_twin, ideal_lenses, lambda s: random_psfs(s, torch.Generator())]
)
def test_students_without_point_spread_functions_are_refused(baseline):
    with pytest.raises(InvalidArgument, match="^student: expected a network with an OpticalConv2d in front"):
        baseline(spectral_4f())


@pytest.mark.parametrize(
    "baseline", [digital_twin, ideal_lenses, lambda s: random_psfs(s, torch.Generator())]
)
def test_what_is_no_hybrid_network_is_named(baseline):
    with pytest.raises(InvalidArgument, match="^student: expected a HybridNetwork: a frontend and a backend"):
        baseline(torch.nn.Linear(2, 2))
    with pytest.raises(InvalidArgument, match="^generator: expected a torch.Generator"):
        random_psfs(compressed_meta(), 3)
