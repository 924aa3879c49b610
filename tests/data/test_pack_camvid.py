import runpy
from pathlib import Path

import numpy as np
from PIL import Image

from photonet import data

SCRIPT = Path(__file__).parents[2] / "docs" / "how-to" / "pack_camvid.py"


def test_the_documented_script_writes_what_camvid_reads(tmp_path, capsys):
    rng = np.random.default_rng(0)
    originals = {}
    for part in ("train", "val", "test"):
        for folder in (part, f"{part}annot"):
            (tmp_path / "CamVid" / folder).mkdir(parents=True)
        originals[part] = []
        for name in ("b.png", "a.png"):
            picture = rng.integers(0, 256, (8, 12, 3), dtype=np.uint8)
            label = rng.integers(0, 12, (8, 12), dtype=np.uint8)
            Image.fromarray(picture).save(tmp_path / "CamVid" / part / name)
            Image.fromarray(label).save(tmp_path / "CamVid" / f"{part}annot" / name)
            originals[part].insert(0, (picture, label))  # by name: a, then b
    runpy.run_path(str(SCRIPT))["main"](tmp_path / "CamVid", tmp_path / "camvid.h5")
    assert capsys.readouterr().out == "train: 2 frames\nval: 2 frames\ntest: 2 frames\n"
    for part, images in zip(("train", "val", "test"), data.camvid(tmp_path), strict=True):
        assert images.shape == (3, 4, 6)
        assert len(images.classes) == 11
        assert "unlabelled" not in images.classes
        for got, seen, (picture, label) in zip(images.pixels, images.labels, originals[part], strict=True):
            mean = sum(picture[i::2, j::2].astype(float) for i in (0, 1) for j in (0, 1)) / 4
            np.testing.assert_array_equal(got.permute(1, 2, 0), np.floor(mean + 0.5))
            stored = label[1::2, 1::2].astype(int)
            np.testing.assert_array_equal(seen, np.where(stored == 11, data.UNLABELLED, stored))
