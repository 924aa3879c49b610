import tomllib
from pathlib import Path

import torch
from typer.testing import CliRunner

import photonet
from photonet import materials
from photonet.cli import app
from photonet.cli.info import OPTIONAL

ROOT = Path(__file__).parents[2]


def info(**environment):
    result = CliRunner().invoke(app, ["info"], env={"PHOTONET_DATA": None, **environment})
    assert result.exit_code == 0, result.output
    return dict(line.split(maxsplit=1) for line in result.output.splitlines())


def test_versions_and_places():
    rows = info()
    assert rows["photonet"].split()[0] == photonet.__version__
    assert torch.__version__.startswith(rows["torch"])  # the metadata of a wheel may lack its "+cpu"
    counts, folder = rows["materials"].split(" in ")
    assert f"{len(materials.names('dispersion'))} dispersion" in counts
    assert (Path(folder) / "dispersion" / "SiO2.toml").is_file()
    assert rows["devices"].startswith("cpu")
    assert rows["threads"].startswith(f"{torch.get_num_threads()} of torch")


def test_every_extra_is_shown_with_a_package_of_it():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(OPTIONAL) == set(extras) - {"dev"}
    assert all(any(needed.startswith(name) for needed in extras[extra]) for extra, name in OPTIONAL.items())


def test_an_extra_that_is_missing_is_said_to_be():
    parts = info()["extras"].split(", ")
    assert len(parts) == len(OPTIONAL)
    for part in parts:
        _, version = part.rstrip(")").split(" (")
        assert version == "not installed" or version[0].isdigit()


def test_the_state_of_the_data_folder(tmp_path):
    assert info()["data"] == "digits (PHOTONET_DATA is not set)"
    assert info(PHOTONET_DATA=str(tmp_path))["data"] == f"digits (PHOTONET_DATA names {tmp_path})"
    gone = str(tmp_path / "gone")
    assert info(PHOTONET_DATA=gone)["data"] == f"digits (PHOTONET_DATA names {gone}, which is not a folder)"
    (tmp_path / "mnist.h5").touch()
    assert info(PHOTONET_DATA=str(tmp_path))["data"].startswith("digits, mnist (")
