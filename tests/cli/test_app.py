import dataclasses
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

from photonet import __version__
from photonet.cli import app, main
from photonet.cli.quickstart import quickstart
from photonet.errors import InvalidArgument, PhotonetError
from photonet.quickstart import QuickstartConfig

ROOT = Path(__file__).parents[2]


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as end:
        main(arguments)
    out, err = capsys.readouterr()
    return end.value.code or 0, out, err


def test_help_lists_the_commands_with_and_without_asking(capsys):
    code, out, err = run(capsys)
    assert (code, err) == (0, "")
    assert "info" in out
    assert run(capsys, "--help") == (code, out, err)


def test_version(capsys):
    assert run(capsys, "--version") == (0, f"photonet {__version__}\n", "")


@pytest.mark.parametrize(
    "arguments", [["no-such-command"], ["info", "--no-such-option"], ["info", "surplus"]]
)
def test_wrong_usage_is_one_line_and_2(capsys, arguments):
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("photonet: ")
    assert err.count("\n") == 1
    assert arguments[-1] in err


@pytest.fixture
def failing(monkeypatch):
    """A command that raises what it is given."""
    monkeypatch.setattr(app, "registered_commands", list(app.registered_commands))

    def use(error):
        @app.command("fail")
        def fail() -> None:
            raise error

    return use


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (
            InvalidArgument("pitch", "a positive length in m", -1e-6),
            "pitch: expected a positive length in m, got -1e-06",
        ),
        (PhotonetError("two\n  lines"), "two lines"),
        (FileNotFoundError(2, "No such file or directory", "a.toml"), "No such file or directory: a.toml"),
        (OSError("no errno"), "no errno"),
    ],
)
def test_errors_of_the_user_are_one_line_and_2(capsys, failing, error, line):
    failing(error)
    assert run(capsys, "fail") == (2, "", f"photonet: {line}\n")


def test_interruption_is_130(capsys, failing):
    failing(KeyboardInterrupt())
    assert run(capsys, "fail") == (130, "", "")


def test_our_own_mistakes_keep_their_traceback(failing):
    failing(ZeroDivisionError("ours"))
    with pytest.raises(ZeroDivisionError, match="ours"):
        main(["fail"])


@pytest.mark.parametrize("way", [["-c", "from photonet.cli import main; main()"], ["-m", "photonet.cli"]])
def test_as_a_process(way):
    command = [sys.executable, *way, "inof"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert "inof" in done.stderr


def test_quickstart_has_the_defaults_of_its_configuration():
    """They stand twice: the command line must not import what it may not need."""
    options = inspect.signature(quickstart).parameters
    shared = [field for field in dataclasses.fields(QuickstartConfig) if field.name in options]
    assert {field.name for field in shared} == {"data", "seed", "seeds", "train", "devices"}
    for field in shared:
        assert options[field.name].default == field.default
