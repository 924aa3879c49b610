from typer.testing import CliRunner

from photonet import materials
from photonet.cli import app
from photonet.cli.materials import kinds
from photonet.errors import UnknownName


def invoke(*arguments):
    return CliRunner().invoke(app, ["materials", *arguments])


def test_every_file_has_a_line():
    lines = invoke().output.splitlines()
    expected = [[kind, name] for kind in kinds() for name in materials.names(kind)]
    assert [line.split()[:2] for line in lines] == expected
    assert all(len(line.split()) > 2 for line in lines)
    assert [line.split()[1] for line in invoke("cameras").output.splitlines()] == materials.names("cameras")


def test_one_file_is_shown_with_its_source():
    output = invoke("dispersion", "SiO2").output
    assert "Malitson" in output
    assert output.strip() == materials.path("dispersion", "SiO2").read_text(encoding="utf-8").strip()


def test_unknown_kinds_and_names_are_errors_of_the_user():
    assert isinstance(invoke("glasses").exception, UnknownName)
    assert "SiO2" in str(invoke("dispersion", "Si02").exception)
