import numpy as np
import torch
from PIL import Image
from typer.testing import CliRunner

from photonet.cli import app
from photonet.measured import MeasuredData, Part, write

RUN = CliRunner()


def test_check_says_what_is_wrong_and_exits_1(tmp_path):
    good, bad = tmp_path / "good.h5", tmp_path / "bad.h5"
    write(good, Part(torch.full((3, 4, 4), 100), exposure=1e-3), bits=12)
    bad.write_bytes(good.read_bytes()[:-20])
    fine = RUN.invoke(app, ["measured", "check", str(good)])
    assert (fine.exit_code, "nothing wrong" in fine.output) == (0, True)
    broken = RUN.invoke(app, ["measured", "check", str(bad)])
    assert broken.exit_code == 1
    assert broken.output.strip()


def test_a_doubt_is_told_but_no_failure(tmp_path):
    scenes = torch.full((3, 4, 4), 500)
    write(tmp_path / "a.h5", Part(scenes, exposure=1e-3, time=[1, 3, 2]), bits=12)
    done = RUN.invoke(app, ["measured", "check", str(tmp_path / "a.h5")])
    assert done.exit_code == 0
    assert "doubt: scenes, frame 2: a time before" in done.output


def test_import_makes_a_file_that_passes_the_check(tmp_path):
    for name in ("a", "b"):
        Image.fromarray(np.full((4, 5), 1000, dtype=np.uint16)).save(tmp_path / f"{name}.png")
    (tmp_path / "frames.csv").write_text("file,exposure,label\na.png,1e-3,7\nb.png,1e-3,2\n")
    file, options = str(tmp_path / "d.h5"), ["--bits", "12", "--saturation", "3904"]
    done = RUN.invoke(app, ["measured", "import", str(tmp_path), file, *options])
    assert done.exit_code == 0, done.output
    with MeasuredData(file) as data:
        assert (data.bits, data.saturation) == (12, 3904.0)
    assert RUN.invoke(app, ["measured", "check", str(tmp_path / "d.h5")]).exit_code == 0


def test_import_replaces_a_file_only_when_told(tmp_path):
    Image.fromarray(np.full((4, 5), 1000, dtype=np.uint16)).save(tmp_path / "a.png")
    (tmp_path / "frames.csv").write_text("file,exposure\na.png,1e-3\n")
    (tmp_path / "d.h5").write_text("the only copy")
    command = ["measured", "import", str(tmp_path), str(tmp_path / "d.h5")]
    assert RUN.invoke(app, command).exit_code != 0
    assert (tmp_path / "d.h5").read_text() == "the only copy"
    assert RUN.invoke(app, [*command, "--overwrite"]).exit_code == 0


def test_calibrate_prints_the_residuals(tmp_path):
    g = torch.Generator().manual_seed(0)
    dark, scenes = (torch.randint(low, low + 9, (4, 4, 4), generator=g) for low in (60, 900))
    write(tmp_path / "a.h5", Part(scenes, exposure=1e-3), dark=Part(dark, exposure=1e-3), bits=12)
    done = RUN.invoke(app, ["measured", "calibrate", str(tmp_path / "a.h5")])
    assert done.exit_code == 0, done.output
    assert "rms of held-out dark frames" in done.output
