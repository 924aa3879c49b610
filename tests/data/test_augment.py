import pytest
import torch

from photonet.data import Images, augmented, cropped, random_moves
from photonet.errors import InvalidArgument


def spots(n=6, size=12):
    pixels = torch.zeros(n, 1, size, size, dtype=torch.uint8)
    pixels[..., 5:7, 5:7] = 200
    return Images(pixels, torch.arange(n) % 3, ("a", "b", "c"), "spots")


def moved(seed=0, images=None, **limits):
    still = {"rotation": 0.0, "scale": 0.0, "shift": 0.0}
    return augmented(images or spots(), 2, torch.Generator().manual_seed(seed), **still | limits)


def test_the_originals_come_first_and_labels_follow():
    result = moved(rotation=0.3, scale=0.1, shift=2.0)
    assert torch.equal(result.pixels[:6], spots().pixels)
    assert result.labels.tolist() == spots().labels.tolist() * 3
    assert not torch.equal(result.pixels[6:12], spots().pixels)


def test_no_movement_changes_nothing():
    assert torch.equal(moved().pixels, spots().pixels.repeat(3, 1, 1, 1))


def test_displacements_stay_within_their_limit_and_keep_the_light():
    result = moved(shift=2.0).images[6:]
    place = torch.arange(12.0)
    total = result.sum((-2, -1))
    row, column = (result.sum(axis) @ place / total - 5.5 for axis in (-1, -2))
    # rounding to 8 bits moves a centroid by less than 0.02 pixels
    assert float(torch.cat([row, column]).abs().max()) < 2.02
    assert float(row.abs().max()) > 0.5
    torch.testing.assert_close(total, spots().images.sum((-2, -1)).repeat(2, 1), rtol=0.02, atol=0)


def test_a_quarter_turn_about_the_middle():
    pixels = torch.zeros(50, 1, 9, 9, dtype=torch.uint8)
    pixels[..., 4, 6] = 255  # two pixels right of the middle
    images = Images(pixels, torch.zeros(50, dtype=torch.int64), ("a",), "dot")
    result = moved(images=images, rotation=0.5).images[50:]
    y, x = torch.meshgrid(*2 * [torch.arange(9.0) - 4], indexing="ij")
    radius = (result * (y**2 + x**2)).sum((-3, -2, -1)) / result.sum((-3, -2, -1))
    angle = torch.atan2((result * y).sum((-3, -2, -1)), (result * x).sum((-3, -2, -1)))
    assert float(angle.abs().max()) < 0.55
    assert float(angle.max()) > 0.3 > -0.3 > float(angle.min())
    torch.testing.assert_close(radius, torch.full_like(radius, 4.0), atol=0.8, rtol=0)  # bilinear blur


def test_the_same_seed_gives_the_same_pictures():
    assert torch.equal(moved(3, shift=2.0).pixels, moved(3, shift=2.0).pixels)
    assert not torch.equal(moved(3, shift=2.0).pixels, moved(4, shift=2.0).pixels)


@pytest.mark.parametrize("limits", [{"rotation": -0.1}, {"scale": 1.5}, {"shift": -1.0}])
def test_limits_outside_their_range_are_named(limits):
    with pytest.raises(InvalidArgument, match=f"^{next(iter(limits))}: expected"):
        moved(**limits)


def test_what_cannot_be_moved_is_refused():
    still = {"rotation": 0.0, "scale": 0.0, "shift": 0.0}
    for generator in (0, None):
        with pytest.raises(InvalidArgument, match="^generator: expected a torch.Generator"):
            random_moves(1, (4, 4), generator, **still)
        with pytest.raises(InvalidArgument, match="^generator: expected a torch.Generator"):
            augmented(spots(), 1, generator)
        with pytest.raises(InvalidArgument, match="^generator: expected a torch.Generator"):
            cropped(torch.rand(2, 1, 4, 4), generator)
    with pytest.raises(InvalidArgument, match="^size: expected a whole number"):
        random_moves(1, (0, 0), torch.Generator(), **still)
    with pytest.raises(InvalidArgument, match="^x: expected pictures"):
        cropped(torch.rand(4, 4), torch.Generator())
    with pytest.raises(InvalidArgument, match="^images: expected Images"):
        augmented(torch.rand(2, 1, 4, 4), 1, torch.Generator())
    with pytest.raises(InvalidArgument, match="^copies"):
        augmented(spots(), 0, torch.Generator())
    labels = torch.zeros(2, 4, 4, dtype=torch.int64)
    scenes = Images(torch.zeros(2, 1, 4, 4), labels, ("road",), "scenes")
    with pytest.raises(InvalidArgument, match="^images: expected pictures with one class each"):
        augmented(scenes, 1, torch.Generator())


def test_crops_are_displacements_by_whole_pixels_and_mirror_images():
    x = torch.rand(40, 2, 5, 7, generator=torch.Generator().manual_seed(0))
    views = cropped(x, torch.Generator().manual_seed(1), shift=1)
    padded = torch.nn.functional.pad(x, (1, 1, 1, 1))
    mirrored = torch.nn.functional.pad(x.flip(-1), (1, 1, 1, 1))
    seen = set()
    for view, *sources in zip(views, padded, mirrored, strict=True):
        matches = [
            (side, row, column)
            for side, source in enumerate(sources)
            for row in range(3)
            for column in range(3)
            if torch.equal(view, source[:, row : row + 5, column : column + 7])
        ]
        assert len(matches) == 1
        seen.update(matches)
    assert len(seen) > 12  # of the 18 places; 40 draws leave out two of them on average
    upright = cropped(x, torch.Generator().manual_seed(1), shift=0, flip=False)
    assert torch.equal(upright, x)
    with pytest.raises(InvalidArgument, match="^shift: expected"):
        cropped(x, torch.Generator(), shift=-1)
