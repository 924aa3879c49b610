import contextlib
import json
import re

import pytest
import torch
import xarray as xr
from safetensors.torch import load_file

from photonet import Mask
from photonet.cli import main
from photonet.distill import candidates
from photonet.errors import DataMissing, InvalidArgument, UnknownName
from photonet.quickstart import QuickstartConfig, quickstart
from photonet.quickstart.road import draw_device
from photonet.quickstart.study import errors

TINY = QuickstartConfig(
    train=160, seeds=1, epochs=1, batch_size=80, teacher_epochs=1, teacher_views=0, kernels=1,
    fraction=0.2, devices=2, study_scenes=20, pixel=4, samples=30, distance=0.2e-3,
)  # fmt: skip

ROWS = [
    "teacher", "student, ce", "student, kd", "student, kd, moved views", "student, ntkd-paper",
    "student, ntkd",
    "ideal lenses, same backend", "random PSFs, same backend", "designed masks, simulated",
    "fabricated, uncorrected", "corrected, ce", "corrected, kd", "corrected, ntkd-paper",
    "corrected, calibration", "corrected, calibration+ntkd",
]  # fmt: skip

PICTURES = ["accuracy", "confusion", "curves", "features", "kernels", "masks", "tolerance"]


@pytest.fixture(scope="module")
def hasty():
    """Corrections of 20 steps in place of 300: how good they are is asked in tests/distill."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(candidates, "FINE_TUNING_STEPS", 20)
        yield


@pytest.fixture(scope="module")
def run(hasty, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    said = []
    results, devices, roads = quickstart(TINY, folder, say=said.append)
    return folder, results, devices, roads, said


def test_the_table_has_every_row(run):
    _, results, *_ = run
    assert results["accuracy"].dims == ("row", "seed")
    assert results["row"].values.tolist() == ROWS
    assert bool(((results["accuracy"] >= 0) & (results["accuracy"] <= 1)).all())


def test_every_file_is_there_and_no_half_written_one(run):
    folder, *_ = run
    found = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
    assert found == {
        "report.html", "results.nc", "tolerance.nc", "config.json", "masks/seed0.h5",
        "weights/student-seed0.safetensors", "weights/corrected-seed0.safetensors",
        *(f"{name}.png" for name in PICTURES),
    }  # fmt: skip


def test_the_report_loads_nothing(run):
    text = (run[0] / "report.html").read_text(encoding="utf-8")
    sources = re.findall(r'(?:src|href)\s*=\s*"([^"]{0,40})', text)
    assert len(sources) == len(PICTURES)
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert not re.search(r"https?://|@import|url\(", text)
    for row in ROWS:
        assert row in text


def test_results_say_where_they_came_from(run):
    folder, results, devices, *_ = run
    with xr.open_dataset(folder / "results.nc") as again:
        assert again["accuracy"].equals(results["accuracy"])
        assert json.loads(again.attrs["config"]) == TINY.as_dict()
        assert {"photonet", "torch", "config_hash", "data_hash"} <= set(again.attrs)
    with xr.open_dataset(folder / "tolerance.nc") as again:
        assert again["corrected"].equals(devices["corrected"])
    assert json.loads((folder / "config.json").read_text()) == TINY.as_dict()


def test_weights_and_masks_can_be_read_again(run):
    folder, _, _, [road], _ = run
    state = load_file(folder / "weights" / "student-seed0.safetensors")
    assert all(torch.equal(state[k], v) for k, v in road.student.state_dict().items())
    mask = Mask.load(folder / "masks" / "seed0.h5")
    assert torch.equal(mask.height, road.design.mask.height)


def test_a_second_run_gives_the_same_table(run, tmp_path, monkeypatch):
    # pictures were drawn once; here only the numbers are wanted
    from photonet.quickstart import run as module

    monkeypatch.setattr(module, "write_quickstart_report", lambda *arguments: None)
    results, devices, _ = quickstart(TINY, tmp_path)
    assert results["accuracy"].equals(run[1]["accuracy"])
    assert results["val_loss"].equals(run[1]["val_loss"])
    assert devices["corrected"].equals(run[2]["corrected"])


def test_an_interrupted_run_leaves_no_half_written_file(run, tmp_path, monkeypatch):
    from photonet.quickstart.results import save

    folder, results, devices, roads, _ = run
    written = {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    real = xr.Dataset.to_netcdf

    def dies(self, path, **options):
        real(self, path, **options)
        raise KeyboardInterrupt

    monkeypatch.setattr(xr.Dataset, "to_netcdf", dies)
    for place in (folder, tmp_path):
        with contextlib.suppress(KeyboardInterrupt):
            save(place, results, devices, roads, TINY)
    assert [p.name for p in tmp_path.rglob("*")] == ["config.json"]
    assert {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()} == written


def test_the_demonstrated_device_obeys_the_laws_of_the_study():
    config = QuickstartConfig()
    laws = errors(config)
    for seed in range(8):
        draws = draw_device(config, seed)
        assert set(draws) == set(laws)
        assert abs(draws["height"][0]) == config.height
        for name in ("shift_y", "shift_x", "gain", "crosstalk"):
            low, high = (float(laws[name].ppf(torch.tensor([u]).numpy())[0]) for u in (0.0, 1.0))
            assert low <= draws[name][0] <= high
    assert draw_device(config, 3) == draw_device(config, 3)
    assert len({str(draw_device(config, s)) for s in range(8)}) > 1


def test_errors_that_are_switched_off_are_not_drawn():
    assert set(errors(QuickstartConfig(shift=0.0, gain=0.0))) == {"height", "crosstalk"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seeds": 0}, "^seeds"), ({"fraction": 1.5}, "^fraction"), ({"wavelength": 525}, "pass 525e-9"),
        ({"pitch": -1e-6}, "^pitch"), ({"crosstalk": -0.1}, "^crosstalk"), ({"light": 0}, "^light"),
        ({"samples": 40}, "^samples: expected at least 56"), ({"pixel": 0}, "^pixel"),
        ({"seed": -1}, "^seed"), ({"fraction": 0}, "^fraction"),
        ({"train": 5}, "^train: expected 60"), ({"train": 20, "fraction": 0.2}, "^train: expected 30"),
    ],
)  # fmt: skip
def test_settings_outside_their_range_are_named(change, words):
    with pytest.raises(InvalidArgument, match=words):
        QuickstartConfig(**change)


def test_an_unknown_data_set_is_told_its_neighbours():
    with pytest.raises(UnknownName, match="did you mean digits"):
        QuickstartConfig(data="digit")


def test_a_missing_folder_says_how_to_get_the_data(tmp_path):
    with pytest.raises(DataMissing, match="mnist"):
        quickstart(QuickstartConfig(data="mnist"), tmp_path / "out", folder=tmp_path / "none")
    assert not (tmp_path / "out").exists()


def test_a_place_that_cannot_be_written_to_is_told_before_any_training(tmp_path):
    (tmp_path / "file").write_text("in the way")
    said = []
    with pytest.raises(OSError, match="file"):
        quickstart(TINY, tmp_path / "file", say=said.append)
    assert said == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--data", "mnist"], "PHOTONET_DATA"),
        (["--data", "mnist", "--folder", "no-such-folder"], "no-such-folder"),
        (["--data", "minst"], "did you mean mnist?"),
        (["--seeds", "0"], "seeds: expected a whole number"),
        (["--seeds", "many"], "--seeds"),
        (["--train", "5"], "train: expected 60 or more"),
        (["--train", "5"], "--train 60"),
        (["--devices", "-3"], "devices: expected"),
    ],
)
def test_a_mistake_is_one_line_and_2(arguments, words, capsys, monkeypatch, tmp_path):
    monkeypatch.delenv("PHOTONET_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        main(["quickstart", *arguments])
    out, err = capsys.readouterr()
    assert (end.value.code, out) == (2, "")
    assert err.startswith("photonet: ")
    assert err.count("\n") == 1
    assert words in err
    assert list(tmp_path.iterdir()) == []
