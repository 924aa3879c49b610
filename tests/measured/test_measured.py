import os
import pickle
from multiprocessing import get_context

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from photonet.errors import DataError, DataMissing, InvalidArgument, UnknownName
from photonet.measured import DriftMonitor, MeasuredData, Part, check, write
from photonet.measured.container import BLOCK, HEADER_BYTES, SealedFile
from tests.measured.fuzz import everything, reseal, run, same, sample


@pytest.fixture
def path(tmp_path):
    return tmp_path / "device.h5"


def frames(n=10, low=200, high=3000, seed=0):
    return torch.randint(low, high, (n, 6, 7), generator=torch.Generator().manual_seed(seed))


def flip(path, at):
    data = bytearray(path.read_bytes())
    data[at] ^= 4
    path.write_bytes(data)


def test_what_was_written_is_read(path):
    scenes, dark = frames(), frames(4, 0, 50)
    write(
        path,
        Part(
            scenes,
            exposure=torch.full((10,), 1e-3),
            label=np.arange(10),
            temperature=31.5,
            time=[1e9 + i for i in range(10)],
            name=[f"Ziffer «{i}»" for i in range(10)],
        ),
        dark=Part(dark, exposure=1e-3),
        psf=Part(frames(2), exposure=1e-3, position=[[0, 0], [1e-3, -2e-3]]),
        bits=12,
        camera="IMX249",
        mask="run 7",
        wavelength=[450e-9, 635e-9],
        notes="müde",
    )
    assert check(path) == []
    with MeasuredData(path) as measured:
        torch.testing.assert_close(measured.scenes[:], scenes.float(), rtol=0, atol=0)
        torch.testing.assert_close(measured.dark[:], dark.float(), rtol=0, atol=0)
        assert measured.flat is None
        assert measured.scenes.label.tolist() == list(range(10))
        assert measured.scenes.name[3] == "Ziffer «3»"
        assert measured.scenes.time[9] == 1e9 + 9
        assert measured.scenes.temperature.unique().item() == 31.5
        assert measured.psf.position.tolist() == [[0, 0], [1e-3, -2e-3]]
        assert bool(measured.dark.temperature.isnan().all())
        assert (measured.bits, measured.camera, measured.mask, measured.notes) == (
            12,
            "IMX249",
            "run 7",
            "müde",
        )
        assert measured.wavelength == [450e-9, 635e-9]
        torch.testing.assert_close(measured.scenes.mean, scenes.double().mean((1, 2)))


@pytest.mark.parametrize(
    "index", [3, -1, slice(2, 9, 3), slice(None, None, 2), [5, 1, 1, 8], torch.tensor([[0, 2]]), []]
)
def test_frames_are_indexed_as_tensors_are(path, index):
    write(path, Part(frames(), exposure=1e-3))
    with MeasuredData(path) as measured:
        key = torch.tensor(index, dtype=torch.long) if isinstance(index, list) else index
        torch.testing.assert_close(measured.scenes[index], frames()[key].float(), rtol=0, atol=0)
        with pytest.raises(IndexError):
            measured.scenes[10]


@pytest.mark.parametrize(
    ("data", "dtype"),
    [
        (torch.rand(3, 2, 4, 4), torch.float32),
        (torch.rand(3, 2, 4, 4, dtype=torch.float64), torch.float64),
        (np.random.default_rng(0).random((3, 4, 4)).astype(">f8"), torch.float64),
        (torch.full((3, 4, 4), 2**24 + 1), torch.float64),
        (np.full((3, 4, 4), 65535, dtype=np.uint16), torch.float32),
    ],
)
def test_numbers_keep_their_precision(path, data, dtype):
    write(path, Part(data, exposure=1.0), kind="features")
    with MeasuredData(path) as measured:
        assert measured.scenes[:].dtype == dtype
        expected = (
            data
            if isinstance(data, torch.Tensor)
            else torch.from_numpy(data.astype(data.dtype.newbyteorder("=")))
        )
        torch.testing.assert_close(measured.scenes[:], expected.to(dtype), rtol=0, atol=0)


def test_streaming_writes_what_one_array_does(tmp_path):
    data = frames(10)
    write(tmp_path / "a.h5", Part(data, exposure=1e-3), bits=12)
    write(tmp_path / "b.h5", Part((data[i : i + 3] for i in range(0, 10, 3)), exposure=1e-3), bits=12)
    write(tmp_path / "c.h5", Part(data, exposure=1e-3), bits=12)
    assert same(everything(tmp_path / "a.h5"), everything(tmp_path / "b.h5"))
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "c.h5").read_bytes()
    with MeasuredData(tmp_path / "b.h5") as measured:
        assert torch.equal(torch.cat(list(measured.scenes.batches(4))), data.float())


def test_reading_is_lazy(path):
    data = np.random.default_rng(0).integers(0, 4000, (4096, 32, 32)).astype(np.uint16)
    write(path, Part(data, exposure=1e-3))  # eight blocks of frames
    flip(path, HEADER_BYTES + 5 * BLOCK)
    with MeasuredData(path) as measured:
        assert torch.equal(measured.scenes[10], torch.from_numpy(data[10].astype(np.float32)))
        with pytest.raises(
            DataError, match=r"device\.h5: scenes, frame \d+ to \d+: bytes \d+ to \d+ do not match"
        ):
            measured.scenes[:]
        assert torch.equal(measured.scenes[4000], torch.from_numpy(data[4000].astype(np.float32)))
    (finding,) = check(path)
    assert finding.kind == "damage"
    first, last = (int(word) for word in finding.place.split() if word.isdigit())
    assert (
        first <= 5 * BLOCK // 2048 <= last + 1
    )  # 2048 bytes a frame; metadata shifts frames by less than one
    assert last - first < 2048


def test_a_flipped_byte_in_what_was_shown_is_placed_there(path):
    shown = np.random.default_rng(0).integers(0, 256, (2048, 1, 64, 32), np.uint8)  # four blocks of it
    write(path, Part(np.full((2048, 4, 4), 9, np.uint8), exposure=1e-3, shown=shown))
    flip(path, HEADER_BYTES + 3 * BLOCK)
    with MeasuredData(path) as measured:
        assert measured.scenes[:].unique().tolist() == [9.0]
        with pytest.raises(DataError, match=r"device\.h5: scenes/shown, frame \d+ to \d+: bytes \d+ to"):
            measured.scenes.shown[:]
    (finding,) = check(path)
    assert finding.kind == "damage"
    assert finding.place.startswith("scenes/shown, frames")


def test_other_programs_read_the_file_as_it_is(path):
    sample(path)
    with h5py.File(path) as f:
        assert f["scenes/data"].shape == (12, 6, 7)
        assert f.attrs["camera"] == b"camera"


def test_systems_without_pread_read_the_same(path, monkeypatch):
    sample(path)
    expected = everything(path)
    monkeypatch.delattr(os, "pread")
    assert same(everything(path), expected)


def test_workers_read_for_themselves(path):
    write(path, Part(frames(), exposure=1e-3))
    with MeasuredData(path) as measured:
        copy = pickle.loads(pickle.dumps(measured))
        assert torch.equal(copy.scenes[:], measured.scenes[:])
        frames_alone = pickle.loads(pickle.dumps(measured.scenes))
        assert torch.equal(frames_alone[:], measured.scenes[:])
        copy.close()
        loader = torch.utils.data.DataLoader(
            measured.scenes, batch_size=5, num_workers=2, multiprocessing_context=get_context("fork")
        )
        assert torch.equal(torch.cat(list(loader)), frames().float())


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"scenes": Part(torch.rand(3, 4), exposure=1.0)}, "scenes.data"),
        ({"scenes": Part(torch.rand(0, 4, 4), exposure=1.0)}, "scenes.data"),
        ({"scenes": Part([], exposure=1.0)}, "scenes.data"),
        ({"scenes": Part(torch.full((1, 4, 4), -1), exposure=1.0)}, "scenes.data"),
        ({"scenes": Part(torch.full((1, 4, 4), 2**32), exposure=1.0)}, "scenes.data"),
        ({"scenes": Part(np.full((1, 4, 4), 2**63, dtype=np.uint64), exposure=1.0)}, "scenes.data"),
        ({"scenes": Part(torch.rand(3, 4, 4) * 1j, exposure=1.0)}, "scenes.data"),
        ({"scenes": Part(iter([torch.rand(3, 4, 4), torch.rand(3, 4, 5)]), exposure=1.0)}, "scenes.data"),
        (
            {"scenes": Part(iter([torch.rand(3, 4, 4), torch.rand(3, 4, 4).double()]), exposure=1.0)},
            "scenes.data",
        ),
        ({"scenes": Part(frames(), exposure=[1.0, 2.0])}, "scenes.exposure"),
        ({"scenes": Part(frames(), exposure=0.0)}, "scenes.exposure"),
        ({"scenes": Part(frames(), exposure=1.0, temperature=float("inf"))}, "scenes.temperature"),
        ({"dark": Part(frames(), exposure=1.0, time=float("-inf"))}, "dark.time"),
        ({"scenes": Part(frames(), exposure="long")}, "scenes.exposure"),
        ({"scenes": Part(frames(), exposure=1.0, label=[1, 2])}, "scenes.label"),
        ({"scenes": Part(frames(), exposure=1.0, label=[0.5] * 10)}, "scenes.label"),
        ({"scenes": Part(frames(), exposure=1.0, label=[-2] * 10)}, "scenes.label"),
        ({"scenes": Part(frames(), exposure=1.0, name=["a"])}, "scenes.name"),
        ({"scenes": Part(frames(), exposure=1.0, name=["a" * 65] * 10)}, "scenes.name"),
        ({"dark": Part(frames()[:, :5], exposure=1.0)}, "dark.data"),
        ({"dark": Part(frames(), exposure=1.0, label=[1] * 10)}, "dark.label"),
        ({"dark": Part(frames(), exposure=1.0, position=[[0, 0]] * 10)}, "dark.position"),
        ({"psf": Part(frames(), exposure=1.0, position=[0, 0])}, "psf.position"),
        ({"kind": "raw"}, "kind"),
        ({"bits": 12.5}, "bits"),
        ({"saturation": 0.0}, "saturation"),
        ({"saturation": 4096.0, "bits": 12}, "saturation"),
        ({"camera": 3}, "camera"),
        ({"notes": "n" * 70_000}, "notes"),
        ({"wavelength": 525}, "wavelength"),
    ],
)
def test_what_cannot_be_written_names_the_argument_and_leaves_no_file(path, arguments, name):
    with pytest.raises(InvalidArgument, match=rf"^{name}: expected"):
        write(path, **{"scenes": Part(frames(), exposure=1.0)} | arguments)
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "name"),
    [({"scenes": None}, "scenes"), ({"scenes": "foo"}, "scenes"), ({"dark": 3}, "dark")],
)
@pytest.mark.parametrize("bits", [None, 12])
def test_a_good_file_is_not_replaced_by_one_without_parts(path, arguments, name, bits):
    write(path, Part(frames(), exposure=1.0))
    before = path.read_bytes()
    with pytest.raises(InvalidArgument, match=rf"^{name}: expected a Part"):
        write(path, **{"scenes": Part(frames(), exposure=1.0)} | arguments, bits=bits)
    assert path.read_bytes() == before


SCENES = Part(frames(), exposure=1e-3, label=list(range(10)))
SOME_LABELS = Part(frames(), exposure=1e-3, label=[1, 2, -1, 4, -1, 5, 6, 7, 8, 9])
MAPS = torch.zeros(10, 6, 7, dtype=torch.long)
MAPS[3, 0, 0] = -1


BRIGHT = frames()
BRIGHT[6] = 4095
HALF_BRIGHT = frames()
HALF_BRIGHT[6, :3] = 4095
NAN = Part(torch.full((2, 3, 3), float("nan")), exposure=1.0)
FAULTY = {
    "dark, frames 0 to 2: not darker than the scenes": (
        "dark",
        {"scenes": SCENES, "dark": Part(frames(3, 3000, 3500), exposure=1e-3)},
    ),
    "dark, frame 0: not darker than the scenes": (
        "dark",
        {
            "scenes": SCENES,
            "dark": Part(frames(2, 3000, 3500), exposure=[1e-3, 1.0]),
            "psf": Part(frames(2), exposure=1.0),
        },
    ),
    "dark, frame 1: an exposure of 0.002 s": (
        "exposure",
        {"scenes": SCENES, "dark": Part(frames(3, 0, 9), exposure=[1e-3, 2e-3, 1e-3])},
    ),
    r"scenes, 2 frames \(2, 4\): no label": ("labels", {"scenes": SOME_LABELS}),
    "scenes, frame 3: no label": ("labels", {"scenes": Part(frames(), exposure=1e-3, label=MAPS)}),
    "scenes, frame 6: saturated in 100 % of the pixels": (
        "saturated",
        {"scenes": Part(BRIGHT, exposure=1e-3)},
    ),
    "flat, frame 6: saturated": ("saturated", {"scenes": SCENES, "flat": Part(BRIGHT, exposure=1e-3)}),
    "flat, frame 6: saturated in 100 %": (
        "saturated",
        {"scenes": SCENES, "flat": Part(BRIGHT, exposure=1e-3), "bits": None},
    ),
    "flat, frame 6: saturated in 50 %": (  # 12 bits at the upper end of 16
        "saturated",
        {"scenes": SCENES, "flat": Part(16 * HALF_BRIGHT, exposure=1e-3), "bits": None},
    ),
    "scenes, frame 6: saturated in 50 %": (  # the full well ends before the converter
        "saturated",
        {"scenes": Part(HALF_BRIGHT.clamp(max=3904), exposure=1e-3), "saturation": 3904.0},
    ),
    "scenes, frames 0 to 1: NaN": ("values", {"scenes": NAN, "kind": "features"}),
}


@pytest.mark.parametrize("message", FAULTY)
def test_faulty_measurements_are_found_and_refused_unless_accepted(path, message):
    kind, arguments = FAULTY[message]
    write(path, **{"bits": 12} | arguments)
    before = path.read_bytes()
    (finding,) = check(path)
    assert finding.kind == kind
    with pytest.raises(DataError, match=rf"device\.h5: {message}.*; accept='{kind}' reads it nevertheless"):
        MeasuredData(path)
    MeasuredData(path, accept=[kind]).close()
    assert path.read_bytes() == before


@pytest.mark.parametrize("top", [4000, 127, 4095.5])
def test_the_brightest_value_is_no_saturation_where_no_converter_ends(path, top):
    write(path, Part(torch.full((3, 6, 7), top), exposure=1e-3))
    assert check(path) == []


def test_one_kind_can_be_accepted_by_its_name_as_the_message_says(path):
    write(path, Part(BRIGHT, exposure=1e-3), bits=12)
    MeasuredData(path, accept="saturated").close()
    with pytest.raises(UnknownName, match="accept: expected one of .*; did you mean saturated"):
        MeasuredData(path, accept="saturate")


def test_an_infinite_temperature_is_found(path):
    write(path, SCENES)

    def change(file):
        file["scenes/temperature"][3] = np.inf

    reseal(path, change)
    (finding,) = check(path)
    assert str(finding) == "scenes, frame 3: an infinite temperature"


def test_damage_cannot_be_accepted(path):
    with pytest.raises(InvalidArgument, match=r"^accept: expected one of"):
        MeasuredData(path, accept=["damage"])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda b: b[:100], "cut off in the header"),
        (lambda b: b[: len(b) // 2], "cut off: "),
        (lambda b: b[:-1], "cut off: "),
        (lambda b: b + b"\0", "bytes added at its end"),
        (lambda b: b"\x89HDF" + b[4:], "not a measured-data file"),
        (lambda b: b[:300] + b"\1" + b[301:], "the header"),
        (lambda b: b[:-1] + bytes([b[-1] ^ 1]), "table of checksums"),
        (lambda b: b[:520] + bytes([b[520] ^ 1]) + b[521:], "bytes 512 to .* do not match their checksum"),
        (lambda b: b"", "cut off in the header: 0 bytes"),
    ],
)
def test_damage_is_named(path, damage, message):
    sample(path)
    path.write_bytes(damage(path.read_bytes()))
    (finding,) = check(path)
    assert finding.kind == "damage"
    with pytest.raises(DataError, match=rf"device\.h5: .*{message}"):
        MeasuredData(path)


@pytest.mark.parametrize("path", [None, 3, "a\0.h5"])
@pytest.mark.parametrize("action", [MeasuredData, check, DriftMonitor.load])
def test_what_is_no_path_is_named(action, path):
    with pytest.raises(InvalidArgument, match="^path: expected the path of a file"):
        action(path)


@pytest.mark.parametrize("name", ["a\0.h5", "a" * 300 + ".h5"])
def test_names_that_no_file_can_have_are_refused_before_anything_is_written(tmp_path, name):
    with pytest.raises(InvalidArgument, match="^path: expected"):
        write(tmp_path / name, SCENES)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises((InvalidArgument, DataMissing)):
        MeasuredData(tmp_path / name)


def test_missing_files_and_folders_are_named(path):
    for nothing in (path, path.parent):
        for action in (MeasuredData, check, SealedFile):
            with pytest.raises(DataMissing, match=str(nothing)):
                action(nothing)


def put(key, value):
    def change(f):
        if key in f:
            del f[key]
        f[key] = value

    return change


OTHER_SCHEMAS = [
    (lambda f: f.attrs.__delitem__("kind"), "attribute kind is missing"),
    (lambda f: f.attrs.__setitem__("format", np.bytes_(b"photonet-measured 2")), "attribute format"),
    (lambda f: f.attrs.__setitem__("camera", 3.0), "attribute camera: expected a text"),
    (lambda f: f.attrs.__setitem__("kind", np.bytes_(b"film")), "attribute kind"),
    (lambda f: f.attrs.__delitem__("bits"), "structure"),
    (lambda f: f.attrs.__setitem__("saturation", np.bytes_(b"bright")), "structure"),
    (lambda f: f.__delitem__("scenes"), "there is no group scenes"),
    (lambda f: f.create_group("extra"), "unknown group 'extra'"),
    (lambda f: f.__delitem__("scenes/exposure"), "scenes/exposure is missing"),
    (lambda f: f.__delitem__("flat/data"), "flat/data is missing"),
    (put("scenes/label", np.zeros(11, "i8")), "scenes/label: expected 12 values"),
    (put("scenes/label", np.zeros(12, "i4")), "scenes/label"),
    (put("dark/data", np.zeros((4, 6, 8), "u2")), r"dark/data: frames of \(6, 8\), but the scenes"),
    (put("dark/data", np.zeros((4, 6), "u2")), "dark/data: expected frames"),
    (put("scenes/name", np.full(12, b"\xff", "S4")), "scenes/name: not readable"),
    (put("scenes/link", h5py.SoftLink("/dark/data")), "scenes/link: not a data set of this file"),
    (put("scenes/link", h5py.ExternalLink("b.h5", "/x")), "scenes/link: not a data set of this file"),
    (put("scenes/more", [1.0]), "scenes/more: unknown data set"),
    (put("scenes/shown", np.zeros((11, 1, 3, 3), "u1")), "scenes/shown: expected 12 pictures"),
    (put("scenes/shown", np.zeros((12, 1, 3, 3), "i4")), "scenes/shown: expected 12 pictures"),
    (put("dark/shown", np.zeros((4, 1, 3, 3), "u1")), "dark/shown"),
    (put("psf/position", np.zeros((2, 3))), "psf/position"),
]


@pytest.mark.parametrize(("change", "message"), OTHER_SCHEMAS)
def test_a_file_of_another_schema_is_refused_even_if_sealed(path, change, message):
    sample(path)
    reseal(path, change)
    with pytest.raises(DataError, match=rf"device\.h5: .*{message}"):
        MeasuredData(path)
    assert check(path)[0].kind == "damage"


def test_a_data_set_in_another_file_is_refused(path):
    sample(path)

    def change(f):
        del f["dark/data"]
        f["dark"].create_dataset("data", (4, 6, 7), dtype="u2", external=[("other.raw", 0, 336)])

    reseal(path, change)
    with pytest.raises(DataError, match="dark: a data set lies in another file"):
        MeasuredData(path)


def test_short_fuzz_ends_in_own_errors_or_right_answers():
    outcomes = run(300, seed=1)
    assert set(outcomes) <= {"refused", "unchanged", "right answer"}
    assert outcomes["refused"] > 200


@settings(deadline=None, max_examples=30)
@given(
    st.integers(1, 5),
    st.integers(1, 9),
    st.integers(1, 9),
    st.sampled_from(["u1", "u2", "f4", "f8"]),
    st.integers(0, 99),
)
def test_any_shape_and_type_comes_back(tmp_path_factory, n, ny, nx, dtype, seed):
    data = (np.random.default_rng(seed).random((n, ny, nx)) * 200).astype(dtype)
    path = tmp_path_factory.mktemp("any") / "a.h5"
    write(path, Part(data, exposure=1.0))
    with MeasuredData(path) as measured:
        assert np.array_equal(measured.scenes[:].numpy(), data)


def test_a_list_of_batches_is_what_a_tuple_is(tmp_path):
    parts = [torch.rand(4, 8, 8), torch.rand(3, 8, 8)]
    windows = [part[:, None] for part in parts]
    write(tmp_path / "a.h5", Part(windows, 1.0))
    with MeasuredData(tmp_path / "a.h5") as data:
        torch.testing.assert_close(data.scenes[:], torch.cat(windows))
    with pytest.raises(InvalidArgument, match="scenes.data: expected a tensor, or a tuple of batches"):
        write(tmp_path / "b.h5", Part(parts, 1.0))
    pictures = [torch.rand(1, 5, 5) for _ in range(4)]
    write(tmp_path / "a.h5", Part([torch.rand(2, 3, 3)] * 4, 1.0, shown=pictures), kind="features")
    with MeasuredData(tmp_path / "a.h5") as data:
        assert data.scenes.shape == (4, 2, 3, 3)
        torch.testing.assert_close(data.scenes.shown[:], torch.stack(pictures))
    write(tmp_path / "a.h5", Part(list(parts[0]), 1.0))  # frames
    with MeasuredData(tmp_path / "a.h5") as data:
        torch.testing.assert_close(data.scenes[:], parts[0])
    for data, words in {3: "frames, or batches", torch.rand(2, 4, 4).bfloat16(): "NumPy can hold"}.items():
        with pytest.raises(InvalidArgument, match=words):
            write(tmp_path / "b.h5", Part(data, 1.0))
    with pytest.raises(InvalidArgument, match="bits: expected a whole number of at most 32"):
        write(tmp_path / "b.h5", Part(parts, 1.0), bits=5000)
