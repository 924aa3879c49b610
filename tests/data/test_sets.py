import gzip
import io

import h5py
import numpy as np
import pytest
import torch
from PIL import Image

from photonet import data
from photonet.errors import DataError, DataMissing, InvalidArgument, UnknownName


def assert_same(images, expected):
    pixels, labels = expected
    np.testing.assert_array_equal(images.pixels[:, 0].numpy(), pixels)
    np.testing.assert_array_equal(images.labels.numpy(), labels)


def test_digits_are_the_bundled_scans_at_their_own_size():
    from sklearn.datasets import load_digits

    bunch = load_digits()
    splits = data.digits(size=8)
    together = torch.cat([part.pixels[:, 0] for part in splits])
    assert sum(map(len, splits)) == 1797
    # 8 x 8 is the identity, up to rounding 17 levels to 8 bits
    ours = sorted(map(tuple, together.flatten(1).tolist()))
    theirs = sorted(
        map(tuple, np.floor(bunch.images.reshape(1797, 64) / 16 * 255 + 0.5).astype(int).tolist())
    )
    assert ours == theirs


def test_digits_keep_mean_and_range_at_every_size():
    reference = data.digits(size=8).train.images
    for size in (4, 28, 64):
        train = data.digits(size=size).train
        assert train.shape == (1, size, size)
        # bilinear weights are a partition of unity inside; the border replicates, so the mean barely moves
        assert abs(float(train.images.mean() - reference.mean())) < 0.03
        assert float(train.images.max()) <= float(reference.max())


def test_digits_are_split_once_and_for_all():
    first, again, other = data.digits(), data.digits(), data.digits(seed=1)
    assert [part.hash for part in first] == [part.hash for part in again]
    assert first.test.hash != other.test.hash
    # numbers of a frozen stream: a change here changes every published table
    assert first.test.labels[:10].tolist() == DIGITS_TEST_LABELS
    for part, share in zip(first, (0.7, 0.1, 0.2), strict=True):
        assert all(
            abs(int(n) - share * m) <= 1 for n, m in zip(part.labels.bincount(), DIGIT_COUNTS, strict=True)
        )


DIGIT_COUNTS = (178, 182, 177, 183, 181, 182, 181, 179, 174, 180)
DIGITS_TEST_LABELS = [8, 7, 8, 3, 4, 4, 8, 4, 4, 8]


def test_mnist_from_hdf5(mnist_h5, grey, monkeypatch):
    splits = data.mnist(mnist_h5.parent, validation=3)
    images, labels = grey["train"]
    assert_same(splits.train, (images[:5], labels[:5]))
    assert_same(splits.val, (images[5:], labels[5:]))
    assert_same(splits.test, grey["test"])
    assert splits.train.shape == (1, 28, 28)
    monkeypatch.setenv("PHOTONET_DATA", str(mnist_h5.parent))
    assert data.mnist(validation=3).train.hash == splits.train.hash


@pytest.mark.parametrize("place", ["", "mnist", "MNIST/raw"])
def test_mnist_from_the_original_files(mnist_idx, grey, place):
    folder, end = mnist_idx
    if place:
        (folder / place).mkdir(parents=True)
        for file in folder.glob(f"*ubyte{end}"):
            file.rename(folder / place / file.name)
    splits = data.mnist(folder, validation=1)
    assert_same(splits.train, tuple(values[:7] for values in grey["train"]))
    assert_same(splits.test, grey["test"])


def test_cifar10_from_jpeg_says_so_and_keeps_the_channel_order(cifar_h5):
    train, val, test = data.cifar10(cifar_h5.parent, validation=2)
    assert (len(train), len(val), len(test)) == (4, 2, 2)
    assert train.name == "CIFAR-10 (JPEG)"
    red, green, blue = train.pixels.to(torch.int16).unbind(1)
    # JPEG of a uniform colour: only the colour conversion rounds, by one code value or two
    assert int((red - torch.tensor([40, 60, 80, 100], dtype=torch.int16)[:, None, None]).abs().max()) <= 2
    assert int((green - 10).abs().max()) <= 2
    assert int(blue.max()) <= 2


def test_cifar10_from_the_binary_version(cifar_binary):
    train, val, test = data.cifar10(cifar_binary.parent, validation=3)
    assert (len(train), len(val), len(test)) == (7, 3, 2)
    assert train.name == "CIFAR-10"
    raw = np.fromfile(cifar_binary / "data_batch_2.bin", dtype=np.uint8).reshape(2, 3073)
    np.testing.assert_array_equal(train.pixels[3].numpy().reshape(-1), raw[1, 1:])
    assert int(train.labels[3]) == raw[1, 0]


def test_camvid_has_a_class_for_every_pixel_or_none(camvid_h5):
    splits = data.camvid(camvid_h5.parent)
    with h5py.File(camvid_h5) as f:
        stored = f["val/labels"][:].astype(int)
        np.testing.assert_array_equal(splits.val.labels, np.where(stored == 2, data.UNLABELLED, stored))
        np.testing.assert_array_equal(splits.val.pixels[1, 2], f["val/images"][1, :, :, 2])
    assert splits.train.classes == ("road", "car")


def test_classes_behind_the_ignored_one_move_up(camvid_h5):
    with h5py.File(camvid_h5, "a") as f:
        f.attrs["ignore_index"] = 0
        stored = f["test/labels"][:].astype(int)
    test = data.camvid(camvid_h5.parent).test
    assert test.classes == ("car", "unlabelled")
    np.testing.assert_array_equal(test.labels, np.where(stored == 0, data.UNLABELLED, stored - 1))


def test_labels_beyond_the_classes_of_camvid_are_named(camvid_h5):
    with h5py.File(camvid_h5, "a") as f:
        f["val/labels"][1, 2, 3] = 7
    with pytest.raises(DataError, match="/val/labels: 7, for 3 class_names"):
        data.camvid(camvid_h5.parent)
    with h5py.File(camvid_h5, "a") as f:
        f.attrs["ignore_index"] = 11
    with pytest.raises(DataError, match="ignore_index is 11, for 3 class_names"):
        data.camvid(camvid_h5.parent)


@pytest.mark.parametrize("name", ["mnist", "cifar10", "camvid"])
def test_missing_data_says_where_it_looked_and_how_to_get_it(name, tmp_path, monkeypatch):
    with pytest.raises(DataMissing, match=rf"^{name}: no data folder is known; put .* set PHOTONET_DATA"):
        data.load(name)
    with pytest.raises(DataMissing, match=f"argument folder names {tmp_path / 'no'}, which is not a folder"):
        data.load(name, tmp_path / "no")
    monkeypatch.setenv("PHOTONET_DATA", str(tmp_path))
    with pytest.raises(DataMissing, match=rf"not in {tmp_path} \(from PHOTONET_DATA\); put {name}.h5 "):
        data.load(name)


def test_available_is_what_load_finds(mnist_h5, cifar_binary, monkeypatch):
    assert data.available() == ["digits"]
    assert data.available(mnist_h5.parent / "nowhere") == ["digits"]
    monkeypatch.setenv("PHOTONET_DATA", str(mnist_h5.parent))
    assert data.available() == ["digits", "mnist", "cifar10"]


@pytest.mark.parametrize("folder", [3, 0, ["a"]])
def test_a_folder_is_a_path(folder):
    for read in (data.mnist, data.available):
        with pytest.raises(InvalidArgument, match="^folder: expected the path of a folder"):
            read(folder=folder)


def test_an_unknown_name_offers_the_near_one():
    with pytest.raises(UnknownName, match=r"^name: expected one of camvid, .* did you mean mnist"):
        data.load("mnits")


@pytest.mark.parametrize("validation", [8, 0, 2.5])
def test_validation_must_leave_something_to_train_on(mnist_h5, validation):
    with pytest.raises(InvalidArgument, match="^validation: expected"):
        data.mnist(mnist_h5.parent, validation=validation)


def change(path, place, value):
    with h5py.File(path, "a") as f:
        del f[place]
        f[place] = value


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("train/labels", np.zeros(7, np.uint8), "mnist.h5: /train: 7 labels for 8 images"),
        (
            "test/labels",
            np.full(4, 10, np.uint8),
            r"/test: labels: expected classes 0 to 9, got 10 at \(0,\)",
        ),
        ("test/labels", np.zeros(4), "/test/labels: expected uint8 with 1 axes, got float64"),
        ("train/images", np.zeros((8, 28), np.uint8), r"/train/images: .* got uint8 of shape \[8, 28\]"),
        ("test/images", np.zeros((0, 28, 28), np.uint8), "/test: 4 labels for 0 images"),
    ],
)
def test_inconsistent_hdf5_names_the_place(mnist_h5, place, value, message):
    change(mnist_h5, place, value)
    with pytest.raises(DataError, match=message):
        data.mnist(mnist_h5.parent, validation=3)


def test_hdf5_without_what_is_needed(mnist_h5, camvid_h5):
    with h5py.File(mnist_h5, "a") as f:
        del f["test"]
    with pytest.raises(DataError, match="no dataset /test/images; it holds train"):
        data.mnist(mnist_h5.parent, validation=3)
    with h5py.File(mnist_h5, "a") as f:
        del f.attrs["class_names"]
    with pytest.raises(DataError, match="no file attribute class_names"):
        data.mnist(mnist_h5.parent, validation=3)
    with h5py.File(camvid_h5, "a") as f:
        del f.attrs["ignore_index"]
    with pytest.raises(DataError, match="no file attribute ignore_index"):
        data.camvid(camvid_h5.parent)


def test_a_damaged_extent_is_not_read_as_terabytes_of_zeros(mnist_h5):
    with h5py.File(mnist_h5, "a") as f:
        del f["train/images"]
        f.create_dataset("train/images", (10**12, 28, 28), np.uint8, chunks=(8, 28, 28))
    with pytest.raises(DataError, match=r"/train/images: announces 784000000000000 bytes .* stores 0"):
        data.mnist(mnist_h5.parent, validation=3)


def test_hdf5_that_names_another_kind_of_object(mnist_h5):
    with h5py.File(mnist_h5, "a") as f:
        del f["train/images"]
        f["train/images"] = np.dtype("u1")
    with pytest.raises(DataError, match="no dataset /train/images"):
        data.mnist(mnist_h5.parent, validation=3)
    mnist_h5.write_bytes(mnist_h5.read_bytes().replace(b"test", b"\xffest"))
    with pytest.raises(DataError, match=r"mnist\.h5"):
        data.mnist(mnist_h5.parent, validation=3)


def test_truncated_hdf5(mnist_h5):
    whole = mnist_h5.read_bytes()
    for length in (0, 100, len(whole) // 2, len(whole) - 1):
        mnist_h5.write_bytes(whole[:length])
        with pytest.raises(DataError, match="mnist.h5: not a whole HDF5 file"):
            data.mnist(mnist_h5.parent, validation=3)


def test_a_damaged_index_of_hdf5(mnist_h5):
    mnist_h5.write_bytes(mnist_h5.read_bytes().replace(b"HEAP", b"PEAH"))
    with pytest.raises(DataError, match="mnist.h5: "):
        data.mnist(mnist_h5.parent, validation=3)


def test_a_damaged_chunk_of_hdf5(mnist_h5):
    with h5py.File(mnist_h5) as f:
        chunk = f["train/images"].id.get_chunk_info(0)
    content = bytearray(mnist_h5.read_bytes())
    content[chunk.byte_offset : chunk.byte_offset + chunk.size] = bytes(chunk.size)
    mnist_h5.write_bytes(bytes(content))
    with pytest.raises(DataError, match="mnist.h5: not a whole HDF5 file"):
        data.mnist(mnist_h5.parent, validation=3)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda b: b[:-1], r"train-images-idx3-ubyte(.gz)?: byte 6287: expected 6272 values .* got 6271"),
        (lambda b: b + b"x", "byte 6288: expected 6272 values .* got 6273"),
        (lambda b: b[:10], "byte 10: the file ends within its header of 16 bytes"),
        (lambda b: b"", "byte 0: expected the magic number 00000803, got ''"),
        (lambda b: b"\x00\x00\x0d\x03" + b[4:], "byte 0: expected the magic number 00000803, got '00000d03'"),
        (lambda b: b[:7] + b"\x07" + b[8:-784], "train-labels-.*: 8 labels for 7 images"),
    ],
)
def test_damaged_idx_names_the_byte(mnist_idx, spoil, message):
    folder, end = mnist_idx
    path = folder / f"train-images-idx3-ubyte{end}"
    content = gzip.decompress(path.read_bytes()) if end else path.read_bytes()
    path.write_bytes(gzip.compress(spoil(content)) if end else spoil(content))
    with pytest.raises(DataError, match=message):
        data.mnist(folder, validation=3)


@pytest.mark.parametrize("spoil", [lambda b: b[:-20], lambda b: b[:20] + bytes(30) + b[50:], lambda b: b"no"])
def test_damaged_gzip(mnist_idx, spoil):
    folder, end = mnist_idx
    path = folder / "train-labels-idx1-ubyte.gz"
    path.write_bytes(spoil(gzip.compress(np.random.default_rng(0).bytes(200))))
    if not end:
        path.rename(folder / "train-images-idx3-ubyte.gz")
        for file in folder.glob("*ubyte"):
            file.unlink()
        for name in ("train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
            (folder / f"{name}-ubyte.gz").write_bytes(b"")
    with pytest.raises(DataError, match="ubyte.gz: not a whole gzip file"):
        data.mnist(folder, validation=3)


def test_an_incomplete_set_of_files_names_the_missing_one(mnist_idx, cifar_binary):
    folder, end = mnist_idx
    (folder / f"t10k-labels-idx1-ubyte{end}").unlink()
    with pytest.raises(
        DataError, match=f"has train-images-idx3-ubyte{end} but no t10k-labels-idx1-ubyte{end}"
    ):
        data.mnist(folder, validation=3)
    (cifar_binary / "data_batch_4.bin").unlink()
    with pytest.raises(DataError, match="has no data_batch_4.bin"):
        data.cifar10(cifar_binary.parent, validation=3)


def test_damaged_cifar_binary(cifar_binary):
    path = cifar_binary / "data_batch_3.bin"
    content = path.read_bytes()
    path.write_bytes(content[:-5])
    with pytest.raises(DataError, match="data_batch_3.bin: byte 6141: .* the last one has 3068"):
        data.cifar10(cifar_binary.parent, validation=3)
    path.write_bytes(bytes([11]) + content[1:])
    with pytest.raises(DataError, match=r"expected classes 0 to 9, got 11 at \(4,\)"):
        data.cifar10(cifar_binary.parent, validation=3)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("no JPEG", r"cifar10.h5: /train/jpeg\[1\]: not a whole JPEG"),
        ("cut short", r"cifar10.h5: /train/jpeg\[1\]: not a whole JPEG"),
        ("too small", r"cifar10.h5: /train/jpeg\[1\]: expected 32 x 32, got \(16, 16\)"),
    ],
)
def test_damaged_jpeg_names_the_entry(cifar_h5, kind, message):
    small = io.BytesIO()
    Image.new("RGB", (16, 16)).save(small, "JPEG")
    with h5py.File(cifar_h5, "a") as f:
        entries = {
            "no JPEG": np.zeros(50, np.uint8),
            "cut short": f["train/jpeg"][1][:400],
            "too small": np.frombuffer(small.getvalue(), np.uint8),
        }
        f["train/jpeg"][1] = entries[kind]
    with pytest.raises(DataError, match=message):
        data.cifar10(cifar_h5.parent, validation=3)
