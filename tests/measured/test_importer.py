import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from photonet.errors import DataError, DataMissing, InvalidArgument
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
    import_folder(
        folder, folder / "out.h5", bits=12, saturation=4010.0, camera="C", mask="M", wavelength=525e-9
    )
    with MeasuredData(folder / "out.h5") as measured:
        for i, name in enumerate(("a.png", "b.tif")):
            expected = torch.from_numpy(np.array(Image.open(folder / name)).astype(np.float32))
            assert torch.equal(measured.scenes[i], expected)
        assert measured.scenes.label.tolist() == [7, 2]
        assert measured.scenes.name == ["seven", "two"]
        assert measured.scenes.time.tolist() == [1795428000, 1795428001]
        assert measured.dark[0].unique().item() == 3
        assert measured.psf.position.tolist() == [[0, -1e-3]]
        assert (measured.camera, measured.bits, measured.saturation) == ("C", 12, 4010.0)


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
    (edit("25.5", "inf"), r"line 3: temperature 'inf' is not finite"),
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


def test_an_import_replaces_no_file_unless_told(folder):
    path = folder / "out.h5"
    path.write_text("the only copy")
    with pytest.raises(InvalidArgument, match="overwrite=True replaces it"):
        import_folder(folder, path)
    assert path.read_text() == "the only copy"
    import_folder(folder, path, overwrite=True)
    MeasuredData(path).close()


def save(path, pixels):
    Image.fromarray(pixels).save(path)


def test_what_was_shown_and_the_classes_of_pixels_come_from_pictures(folder):
    g = np.random.default_rng(0)
    shown, maps = g.integers(0, 256, (2, 3, 3), np.uint8), g.integers(0, 5, (2, 4, 4), np.uint8)
    maps[1, 2, 3] = 255
    for i in range(2):
        save(folder / f"frame{i}.png", np.full((6, 7), 1000 + i, np.uint16))
        save(folder / f"shown{i}.png", shown[i])
        save(folder / f"map{i}.png", maps[i])
    rows = [f"frame{i}.png,1e-3,shown{i}.png,map{i}.png" for i in range(2)]
    (folder / "frames.csv").write_text("\n".join(["file,exposure,shown,label_map", *rows]))
    import_folder(folder, folder / "a.h5")
    with MeasuredData(folder / "a.h5", accept=["labels"]) as data:
        assert torch.equal(data.scenes.shown[:], torch.from_numpy(shown)[:, None] / 255)
        assert data.scenes.label[1, 2, 3] == -1
        assert torch.equal(data.scenes.label[0], torch.from_numpy(maps[0]).long())
    for table, message in (
        ("file,exposure,shown\nframe0.png,1,shown0.png\nframe1.png,1,", "line 3: no shown, but other rows"),
        (
            "file,exposure,shown\nframe0.png,1,frame1.png",
            "expected pictures of 8 bits, got values up to 1001",
        ),
        ("file,exposure,label_map,label\nframe0.png,1,map0.png,3", "labels and label maps"),
        (
            "file,exposure,group,shown\nframe0.png,1,,\nframe1.png,1,dark,shown0.png",
            "line 3: a shown, but only scenes",
        ),
    ):
        (folder / "frames.csv").write_text(table)
        with pytest.raises(DataError, match=message):
            import_folder(folder, folder / "b.h5")


def png(path, pixels, bits):
    """A grey PNG by hand, of fewer bits than Pillow writes."""
    height, width = pixels.shape
    per = 8 // bits
    packed = sum(pixels[:, i::per].astype(int) << (8 - bits * (i + 1)) for i in range(per)).astype(np.uint8)
    rows = b"".join(b"\0" + row.tobytes() for row in packed)

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)


def test_pictures_that_readers_see_differently_are_refused(folder):
    pixels = np.arange(16, dtype=np.uint16).reshape(4, 4) % 6
    png(folder / "few.png", pixels, 4)
    assert np.array_equal(np.array(Image.open(folder / "few.png")), 17 * pixels)  # stretched
    save(folder / "white.tif", 1000 * pixels)
    entry = struct.pack("<HHIH", 262, 3, 1, 1)
    data = (folder / "white.tif").read_bytes()
    assert data.count(entry) == 1
    (folder / "white.tif").write_bytes(data.replace(entry, struct.pack("<HHIH", 262, 3, 1, 0)))
    for name, words in (("few.png", "expected 8 or 16 bits, got 4"), ("white.tif", "whose zero is white")):
        (folder / "frames.csv").write_text(f"file,exposure\n{name},1")
        with pytest.raises(DataError, match=words):
            import_folder(folder, folder / "b.h5")


def test_a_date_is_no_number_of_seconds(folder):
    save(folder / "a.png", np.full((4, 4), 9, np.uint16))
    (folder / "frames.csv").write_text("file,exposure,time\na.png,1,20240102")
    with pytest.raises(DataError, match="time '20240102' is not seconds or ISO 8601 with a time zone"):
        import_folder(folder, folder / "b.h5")
