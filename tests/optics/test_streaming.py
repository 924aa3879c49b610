import numpy as np
import pytest
import torch

from photonet import Grid
from photonet.errors import DataError, GridMismatch, InvalidArgument, SamplingWarning
from photonet.optics import propagate, stream_psf, streaming

GRID, WINDOW, WAVES, Z = Grid((96, 80), 5e-6), Grid((9, 12), 3e-6, (4e-6, -2e-6)), [633e-9, 450e-9], 20e-3


@pytest.fixture
def mask():
    return 2 * torch.rand(GRID.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def small_strips(monkeypatch):
    monkeypatch.setattr(streaming, "STRIP_BYTES", 7 * 80 * 16)  # 7 rows: 14 strips, the last one short


def expected(mask):
    u = torch.exp(1j * mask).expand(2, -1, -1)
    v = propagate(u, GRID, WAVES, Z, output=WINDOW, method="fresnel_zoom")
    return v.abs().square() * WINDOW.cell / (GRID.cell * mask.numel())


def test_strips_add_up_from_any_array(mask, tmp_path):
    file = np.lib.format.open_memmap(tmp_path / "mask.npy", mode="w+", dtype=np.float64, shape=GRID.shape)
    file[:] = mask.numpy()
    file.flush()
    file = np.load(tmp_path / "mask.npy", mmap_mode="r")
    streamed = stream_psf(file, GRID, WAVES, Z, WINDOW, phase=True)
    torch.testing.assert_close(streamed, expected(mask))
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "mask.h5", "w") as h5:
        data = h5.create_dataset("t", data=torch.exp(1j * mask).numpy())
        torch.testing.assert_close(stream_psf(data, GRID, WAVES, Z, WINDOW), expected(mask))


def test_what_torch_cannot_read_is_converted_and_what_is_masked_refused(mask):
    streamed = stream_psf(mask, GRID, WAVES, Z, WINDOW, phase=True)
    for other in (mask.numpy().astype(">f8"), mask.numpy()[::-1].copy()[::-1]):
        assert torch.equal(stream_psf(other, GRID, WAVES, Z, WINDOW, phase=True), streamed)
    hidden = np.ma.masked_greater(mask.numpy(), 1.0)
    with pytest.raises(InvalidArgument, match="^transmission: expected no masked values"):
        stream_psf(hidden, GRID, WAVES, Z, WINDOW, phase=True)


def test_interrupted_run_goes_on_to_the_same_result(mask, tmp_path):
    read = []

    class Tape:
        shape = GRID.shape

        def __init__(self, limit):
            self.limit = limit

        def __getitem__(self, rows):
            if rows.stop - rows.start > 1:
                if len(read) == self.limit:
                    raise KeyboardInterrupt
                read.append(rows.start)
            return mask[rows]

    checkpoint = tmp_path / "sum.npz"
    with pytest.raises(KeyboardInterrupt):
        stream_psf(Tape(5), GRID, WAVES, Z, WINDOW, phase=True, checkpoint=checkpoint)
    assert checkpoint.exists()
    del read[:]
    result = stream_psf(Tape(99), GRID, WAVES, Z, WINDOW, phase=True, checkpoint=checkpoint)
    # what is done is read again, to see that it is the same mask; the sum, below, has no strip twice
    assert read == list(range(0, 96, 7))
    assert torch.equal(result, stream_psf(mask, GRID, WAVES, Z, WINDOW, phase=True))
    assert not checkpoint.exists()


@pytest.fixture
def interrupted(mask, tmp_path):
    """A checkpoint after four strips of the phase mask."""

    class Torn:
        shape = GRID.shape

        def __getitem__(self, rows):
            if rows.start >= 28:
                raise KeyboardInterrupt
            return mask[rows]

    checkpoint = tmp_path / "sum.npz"
    with pytest.raises(KeyboardInterrupt):
        stream_psf(Torn(), GRID, WAVES, Z, WINDOW, phase=True, checkpoint=checkpoint)
    return checkpoint


@pytest.mark.parametrize("row", [0, 10, 27])
def test_checkpoint_of_another_mask_is_refused(mask, interrupted, row):
    """Whichever of the rows done differs; those that are to come may be anything."""
    other = mask.clone()
    other[row, 3] += 1
    with pytest.raises(DataError, match=r"sum.npz: the sum of another mask .* remove it to begin anew"):
        stream_psf(other, GRID, WAVES, Z, WINDOW, phase=True, checkpoint=interrupted)
    assert interrupted.exists()  # the sum of the right mask is not lost
    result = stream_psf(mask, GRID, WAVES, Z, WINDOW, phase=True, checkpoint=interrupted)
    torch.testing.assert_close(result, expected(mask))


def test_checkpoint_of_other_arguments_is_refused(mask, interrupted):
    with pytest.raises(DataError, match=r"sum.npz: the sum of .* other arguments"):
        stream_psf(mask, GRID, WAVES, 1.1 * Z, WINDOW, phase=True, checkpoint=interrupted)


def test_a_mask_that_is_being_trained_is_read(mask, tmp_path):
    phase = mask.requires_grad_()
    result = stream_psf(phase, GRID, WAVES, Z, WINDOW, phase=True, checkpoint=tmp_path / "sum.npz")
    assert not result.requires_grad
    torch.testing.assert_close(result, expected(mask.detach()))
    complex_mask = torch.exp(1j * phase).conj()  # a view that is conjugate only by name
    result = stream_psf(complex_mask, GRID, WAVES, -Z, WINDOW, checkpoint=tmp_path / "sum.npz")
    torch.testing.assert_close(result, expected(mask.detach()))


def test_wrong_masks_are_refused(mask):
    with pytest.raises(GridMismatch, match="transmission"):
        stream_psf(mask[1:], GRID, WAVES, Z, WINDOW, phase=True)
    with pytest.raises(InvalidArgument, match="phase: expected True for a real phase"):
        stream_psf(mask, GRID, WAVES, Z, WINDOW)
    with pytest.raises(InvalidArgument, match="distance"):
        stream_psf(mask, GRID, WAVES, 0, WINDOW, phase=True)
    with pytest.raises(InvalidArgument, match=r"transmission: expected an array \[y, x\], got list"):
        stream_psf(mask.tolist(), GRID, WAVES, Z, WINDOW, phase=True)
    with pytest.raises(InvalidArgument, match="output: expected a photonet.Grid"):
        stream_psf(mask, GRID, WAVES, Z, (8, 8), phase=True)


def test_a_checkpoint_that_cannot_be_written_is_named_at_once(mask, tmp_path):
    with pytest.raises(InvalidArgument, match="expected a file to write, got the folder"):
        stream_psf(mask, GRID, WAVES, Z, WINDOW, phase=True, checkpoint=tmp_path)


def test_short_distance_warns(mask):
    with pytest.warns(SamplingWarning, match="of at least"):
        stream_psf(mask, GRID, WAVES, 1e-3, WINDOW, phase=True)


def test_steep_light_warns_with_the_distance_that_holds():
    # r^2 = 2 (0.6 mm)^2 at 3 mm: the left-out phase k r^4 / (8 z^3) of the corner is 28 rad
    grid, window = Grid(2000, 0.5e-6), Grid(400, 0.5e-6)
    with pytest.warns(SamplingWarning, match="paraxial kernel is off by .* of at least 0.0425 m would hold"):
        stream_psf(torch.zeros(2000, 2000), grid, 532e-9, 3e-3, window, phase=True)


@pytest.mark.parametrize("content", [b"", b"garbage"])
def test_a_damaged_checkpoint_is_named(mask, tmp_path, content):
    checkpoint = tmp_path / "sum.npz"
    checkpoint.write_bytes(content)
    with pytest.raises(DataError, match="sum.npz: no whole checkpoint of stream_psf"):
        stream_psf(mask, GRID, WAVES, Z, WINDOW, phase=True, checkpoint=checkpoint)


def test_a_mask_without_a_number_is_named(mask):
    spoilt = mask.clone()
    spoilt[-1, 3] = float("nan")
    with pytest.raises(InvalidArgument, match="transmission: expected finite values"):
        stream_psf(spoilt, GRID, WAVES, Z, WINDOW, phase=True)
