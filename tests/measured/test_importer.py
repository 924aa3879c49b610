import numpy as np
import pytest
import torch
from PIL import Image

from photonet.errors import DataError, DataMissing
from photonet.measured import MeasuredData, import_folder

TABLE = """file, group, exposure, name, label, temperature, time, y, x
a.png, scenes, 1e-3, seven, 7, 25, 2026-11-23T10:00:00+00:00, ,
b.tif, , 1e-3, two, 2, 25.5, 1795428001, ,
d.png, dark, 1e-3, , , , , ,
p.png, psf, 2e-3, on axis, , , , 0, -1e-3
"""


@pytest.fixture
def folder(tmp_path):
    g = np.random.default_rng(0)
    for name in ("a.png", "b.tif", "p.png"):
        Image.fromarray(g.integers(300, 4000, (5, 6)).astype(np.uint16)).save(tmp_path / name)
    Image.fromarray(np.full((5, 6), 3, dtype=np.uint8)).save(tmp_path / "d.png")
    (tmp_path / "frames.csv").write_text(TABLE)
    return tmp_path


def test_a_folder_becomes_a_file(folder):
    import_folder(folder, folder / "out.h5", bits=12, camera="C", mask="M", wavelength=525e-9)
    with MeasuredData(folder / "out.h5") as measured:
        for i, name in enumerate(("a.png", "b.tif")):
            expected = torch.from_numpy(np.array(Image.open(folder / name)).astype(np.float32))
            assert torch.equal(measured.scenes[i], expected)
        assert measured.scenes.label.tolist() == [7, 2]
        assert measured.scenes.name == ["seven", "two"]
        assert measured.scenes.time.tolist() == [1795428000, 1795428001]
        assert measured.dark[0].unique().item() == 3
        assert measured.psf.position.tolist() == [[0, -1e-3]]
        assert (measured.camera, measured.bits) == ("C", 12)


def edit(old, new):
    return lambda folder: (folder / "frames.csv").write_text(TABLE.replace(old, new))


def picture(name, mode, size):
    return lambda folder: Image.new(mode, size).save(folder / name)


def cut(folder):
    (folder / "b.tif").write_bytes((folder / "b.tif").read_bytes()[:-20])


SPOILT = [
    (edit("a.png, scenes, 1e-3", "a.png, scenes, "), r"line 2: no exposure"),
    (edit("a.png, scenes, 1e-3", "a.png, scenes, short"), r"line 2: exposure 'short' is not a number"),
    (edit("a.png, scenes, 1e-3", "a.png, scenes, -1"), r"line 2: exposure '-1' is not a positive"),
    (
        edit("T10:00:00+00:00", "T10:00:00"),
        r"line 2: time '2026-11-23T10:00:00' is not seconds or ISO 8601 with",
    ),
    (edit("two, 2,", "two, 2.5,"), r"line 3: label '2\.5' is not a whole number"),
    (edit("dark", "darks"), r"line 4: group 'darks' is none of"),
    (edit("0, -1e-3", "0,"), "both y and x"),
    (edit("exposure, name", "time_s, name"), "no column 'exposure'"),
    (edit("exposure, name", "exposure, who"), "expected columns of"),
    (edit(", 25, 2026", ", 2026"), r"line 2: expected 9 values"),
    (edit("b.tif", "b\0.tif"), r"line 3: holds a zero byte"),
    (edit("a.png", "../a.png"), r"a\.png \(line 2\): expected a file in the folder"),
    (lambda f: (f / "frames.csv").write_bytes(b"\xff\xfe\x00"), "not a CSV table"),
    (lambda f: (f / "frames.csv").write_text("file,exposure,group\nd.png,1,dark\n"), "no scene in it"),
    (lambda f: (f / "b.tif").write_bytes(b"II*\0 nothing"), r"b\.tif \(line 3\): cannot be read"),
    (cut, r"b\.tif \(line 3\)"),
    (picture("a.png", "RGB", (6, 5)), r"a\.png \(line 2\): expected one grey picture"),
    (picture("d.png", "L", (6, 4)), r"d\.png \(line 4\): 4 x 6 pixels, but the first scene has 5 x 6"),
]


@pytest.mark.parametrize(("spoil", "message"), SPOILT)
def test_what_cannot_be_imported_is_named_and_leaves_no_file(folder, spoil, message):
    spoil(folder)
    with pytest.raises(DataError, match=message):
        import_folder(folder, folder / "out.h5")
    assert not (folder / "out.h5").exists()


def test_missing_things_are_named(folder):
    (folder / "a.png").unlink()
    with pytest.raises(DataMissing, match=r"no picture .*a\.png \(line 2\)"):
        import_folder(folder, folder / "out.h5")
    (folder / "frames.csv").unlink()
    with pytest.raises(DataMissing, match=r"no table .*frames\.csv"):
        import_folder(folder, folder / "out.h5")


def test_an_empty_label_is_a_missing_one(folder):
    edit("two, 2,", "two, ,")(folder)
    import_folder(folder, folder / "out.h5")
    with pytest.raises(DataError, match="scenes, frame 1: no label"):
        MeasuredData(folder / "out.h5")
