"""Tiny files in every format, made here: no test needs PHOTONET_DATA."""

import gzip
import io
import struct

import h5py
import numpy as np
import pytest
from PIL import Image


@pytest.fixture(autouse=True)
def no_data_folder(monkeypatch):
    monkeypatch.delenv("PHOTONET_DATA", raising=False)


def idx_bytes(values, magic=None):
    head = bytes([0, 0, 8, values.ndim]) if magic is None else magic
    return head + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()


def jpeg(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=95, subsampling=0)
    return np.frombuffer(buffer.getvalue(), np.uint8)


@pytest.fixture
def grey():
    """Eight training and four test pictures with their labels, as in MNIST."""
    rng = np.random.default_rng(0)
    return {
        part: (rng.integers(0, 256, (n, 28, 28), dtype=np.uint8), (np.arange(n) % 10).astype(np.uint8))
        for part, n in (("train", 8), ("test", 4))
    }


@pytest.fixture
def mnist_h5(tmp_path, grey):
    path = tmp_path / "mnist.h5"
    with h5py.File(path, "w") as f:
        f.attrs["class_names"] = [str(i) for i in range(10)]
        for part, (images, labels) in grey.items():
            f.create_dataset(f"{part}/images", data=images, compression="gzip", chunks=(2, 28, 28))
            f[f"{part}/labels"] = labels
    return path


@pytest.fixture(params=["", ".gz"])
def mnist_idx(tmp_path, grey, request):
    pack = gzip.compress if request.param else bytes
    for part, prefix in (("train", "train"), ("test", "t10k")):
        images, labels = grey[part]
        (tmp_path / f"{prefix}-images-idx3-ubyte{request.param}").write_bytes(pack(idx_bytes(images)))
        (tmp_path / f"{prefix}-labels-idx1-ubyte{request.param}").write_bytes(pack(idx_bytes(labels)))
    return tmp_path, request.param


@pytest.fixture
def cifar_h5(tmp_path):
    path = tmp_path / "cifar10.h5"
    with h5py.File(path, "w") as f:
        f.attrs["class_names"] = [f"class {i}" for i in range(10)]
        for part, n in (("train", 6), ("test", 2)):
            entries = f.create_dataset(f"{part}/jpeg", (n,), dtype=h5py.vlen_dtype(np.uint8))
            for i in range(n):
                # uniform red, so that JPEG loses next to nothing and the channel order shows
                entries[i] = jpeg(np.full((32, 32, 3), (20 * i + 40, 10, 0), dtype=np.uint8))
            f[f"{part}/labels"] = np.arange(n, dtype=np.uint8)
    return path


@pytest.fixture
def cifar_binary(tmp_path):
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    rng = np.random.default_rng(1)
    for name in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]:
        records = rng.integers(0, 256, (2, 3073), dtype=np.uint8)
        records[:, 0] = rng.integers(0, 10, 2)
        records.tofile(folder / f"{name}.bin")
    return folder


@pytest.fixture
def camvid_h5(tmp_path):
    path = tmp_path / "camvid.h5"
    rng = np.random.default_rng(2)
    with h5py.File(path, "w") as f:
        f.attrs["class_names"] = ["road", "car", "unlabelled"]
        f.attrs["ignore_index"] = 2
        for part in ("train", "val", "test"):
            f[f"{part}/images"] = rng.integers(0, 256, (2, 6, 8, 3), dtype=np.uint8)
            f[f"{part}/labels"] = rng.integers(0, 3, (2, 6, 8), dtype=np.uint8)
    return path
