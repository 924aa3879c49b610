import sys

import pytest

from photonet.progress import bar, track


def pretend_terminal(monkeypatch):
    # inside the test: pytest gives setup and test different streams
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")


def test_a_pipe_sees_nothing(capsys):
    assert list(track(range(3), "adding")) == [0, 1, 2]
    with bar("measuring", total=2) as advance:
        advance(2)
    assert capsys.readouterr() == ("", "")


def test_a_terminal_sees_description_and_count_on_standard_error(monkeypatch, capsys):
    pretend_terminal(monkeypatch)
    assert list(track((n for n in range(3)), "adding", total=3)) == [0, 1, 2]
    out, err = capsys.readouterr()
    assert out == ""
    assert "adding" in err
    assert "3/3" in err


def test_bars_within_bars_share_one_display(monkeypatch, capsys):
    pretend_terminal(monkeypatch)
    # a display of its own for the inner bar would overwrite the outer one
    for _ in track(range(2), "outer"):
        assert sum(track(range(4), "inner")) == 6
    err = capsys.readouterr().err
    assert err.count("\x1b[?25l") == 1  # the cursor is hidden once, when the display starts
    assert "2/2" in err


def test_after_a_bar_that_was_broken_off_the_next_one_shows(monkeypatch, capsys):
    pretend_terminal(monkeypatch)
    with pytest.raises(KeyError), bar("outer", total=2):
        raise KeyError
    assert "\x1b[?25h" in capsys.readouterr().err  # the cursor is back
    with bar("next", total=1) as advance:
        advance(1)
    assert "1/1" in capsys.readouterr().err
