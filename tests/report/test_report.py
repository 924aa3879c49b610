import re

import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure

from photonet.errors import InvalidArgument
from photonet.report import Section, mean_and_spread, text_table, write_report


def picture():
    figure = Figure(figsize=(1, 1))
    figure.subplots().plot([0, 1])
    return figure


@pytest.fixture
def page(tmp_path):
    sections = [
        Section("Numbers", "One & two.\n\nThree.", table=[("a", "b"), ("<script>", "2")]),
        Section("Picture", name="curve", figure=picture()),
    ]
    return write_report(tmp_path / "run" / "report.html", "Title <1>", sections)


def test_a_report_holds_everything_itself(page):
    text = page.read_text(encoding="utf-8")
    sources = re.findall(r'(?:src|href)\s*=\s*"([^"]*)"', text)
    assert sources
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert not re.search(r"https?://|@import|url\(", text)


def test_pictures_lie_beside_it_and_nothing_else(page):
    assert sorted(p.name for p in page.parent.iterdir()) == ["curve.png", "report.html"]
    assert (page.parent / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_text_is_escaped_and_divided(page):
    text = page.read_text(encoding="utf-8")
    assert "Title &lt;1&gt;" in text
    assert "&lt;script&gt;" in text
    assert "<script" not in text
    assert "<p>One &amp; two.</p>" in text


def test_equal_results_give_equal_files(tmp_path):
    a, b = (
        write_report(tmp_path / n / "r.html", "T", [Section("P", name="p", figure=picture())]) for n in "ab"
    )
    assert a.read_bytes() == b.read_bytes()
    assert (a.parent / "p.png").read_bytes() == (b.parent / "p.png").read_bytes()


def test_an_interruption_leaves_the_old_report(page):
    class Broken:
        def savefig(self, *arguments, **options):
            raise KeyboardInterrupt

    old = page.read_bytes()
    with pytest.raises(KeyboardInterrupt):
        write_report(page, "New", [Section("P", name="p", figure=Broken())])
    assert page.read_bytes() == old
    assert sorted(p.name for p in page.parent.iterdir()) == ["curve.png", "report.html"]


def test_mean_and_sample_deviation_in_per_cent():
    table = xr.DataArray(np.array([[0.97, 0.98, 0.99]]), dims=["row", "seed"], coords={"row": ["a"]})
    assert mean_and_spread(table) == [("a", "98.00 ± 1.00")]
    assert mean_and_spread(table[:, :1]) == [("a", "97.00")]


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: mean_and_spread(xr.DataArray(np.ones((2, 2)), dims=["student", "seed"])), "accuracy"),
        (lambda: mean_and_spread(np.ones((2, 2))), "accuracy"),
        (lambda: text_table([("a",)], ("n", "x")), "rows"),
        (lambda: text_table([("a", "b", "c")], ("n", "x")), "rows"),
        (lambda: text_table([("a", 1.0)], ("n", "x")), "rows"),
        (lambda: text_table([("a", "b")], ("n",)), "head"),
        (lambda: write_report("/", "T", []), "path"),
    ],
)
def test_what_is_no_table_and_no_place_is_named(call, name):
    with pytest.raises(InvalidArgument, match=f"^{name}: expected"):
        call()


def test_a_report_is_made_of_sections(tmp_path):
    with pytest.raises(InvalidArgument, match="^sections: expected a Section"):
        write_report(tmp_path / "a.html", "T", [3])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("", ""), "a file name for each figure, got none for that of 'A'"),
        (("p", "p"), "for both 'A' and 'B'"),
    ],
)
def test_pictures_without_a_name_of_their_own_are_refused(tmp_path, names, words):
    """The second had overwritten the first."""
    sections = [Section(title, name=n, figure=picture()) for title, n in zip("AB", names, strict=True)]
    with pytest.raises(InvalidArgument, match=f"^sections: expected .*{words}"):
        write_report(tmp_path / "a.html", "T", sections)
    assert list(tmp_path.iterdir()) == []


def test_columns_are_aligned():
    text = text_table([("a", "1.0"), ("longer", "10.0")], ("n", "x"))
    assert text.splitlines() == ["n          x", "------  ----", "a        1.0", "longer  10.0"]
