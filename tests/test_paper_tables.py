"""The bookkeeping of `benchmarks/paper`; the tables themselves take hours."""

import json

import pytest
import torch
from scipy.stats import ttest_rel

from benchmarks.paper.arms import Arm, scores, tuned
from benchmarks.paper.cells import Cells
from benchmarks.paper.page import write_page
from benchmarks.paper.ridge import kernel_ridge
from benchmarks.paper.rows import rows_of
from benchmarks.paper.statistics import compare
from benchmarks.paper.table5_pixels import best_threshold, limit, regression, seen_by
from photonet.data import UNLABELLED, Images, Splits
from photonet.distill import TrainConfig, mean_iou
from photonet.models import compressed_meta, random_psfs
from photonet.ntk import infinite_gram


def test_a_cell_is_computed_once_and_again_when_its_settings_change(tmp_path):
    path, calls = tmp_path / "table.json", []

    def compute():
        calls.append(1)
        return {"test": 0.5}

    for _ in range(2):
        assert Cells(path).get("a/0", {"lr": 0.1}, compute)["test"] == 0.5
    assert len(calls) == 1
    Cells(path).get("a/0", {"lr": 0.2}, compute)
    assert len(calls) == 2
    assert json.loads(path.read_text())["a/0"]["settings"] == {"lr": 0.2}


def test_paired_p_values_are_those_of_scipy_and_corrected_by_holm():
    scores = {"a": [0.5, 0.6, 0.7], "b": [0.6, 0.72, 0.79], "c": [0.5, 0.61, 0.68]}
    found = compare(scores, "a")
    p = {arm: ttest_rel(scores[arm], scores["a"]).pvalue for arm in "bc"}
    assert p["b"] < p["c"]
    assert found["b"]["p_holm"] == pytest.approx(2 * p["b"])
    assert found["c"]["p_holm"] == pytest.approx(max(p["c"], 2 * p["b"]))
    assert found["b"]["difference"] == pytest.approx(0.31 / 3)


def test_an_arm_is_trained_for_every_seed_with_the_rate_that_validates_best(tmp_path):
    generator = torch.Generator().manual_seed(0)
    pixels = torch.rand(60, 1, 8, 8, generator=generator)
    toy = Images(pixels, (pixels.mean((1, 2, 3)) > 0.5).long(), ("dark", "bright"), "toy")
    data = Splits(toy.subset(slice(40)), toy.subset(slice(40, 50)), toy.subset(slice(50, 60)))

    def build():
        return compressed_meta(2, 3, hidden=4, classes=2, image=8)

    arm = Arm(build, "toy", "ce", TrainConfig(epochs=1, batch_size=20))
    cells = Cells(tmp_path / "toy.json")
    chosen = tuned(cells, "ce", arm, (1e-3, 1e-1), data, tmp_path)
    tried = {lr: cells.cells[f"ce/lr {lr:g}/1000"]["val"] for lr in (1e-3, 1e-1)}
    assert tried[chosen.config.lr] == max(tried.values())
    found = scores(cells, "ce", chosen, range(2), data, tmp_path)
    again = scores(Cells(tmp_path / "toy.json"), "ce", chosen, range(2), data, tmp_path)
    assert found == again
    lines = rows_of(cells.cells, [("labels", "ce", "50", "a toy"), ("other", "kd", "", "")], "ce")
    assert len(lines) == 3
    assert lines[2].startswith("| labels | 50 | ")


def test_the_page_keeps_what_is_around_the_tables(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- tables -->\nold\n<!-- end of tables -->\nafter\n")
    for _ in range(2):
        write_page(tmp_path, page)
        assert page.read_text() == "before\n<!-- tables -->\n\n\n<!-- end of tables -->\nafter\n"


def test_the_threshold_of_pixels_is_the_best_of_all():
    generator = torch.Generator().manual_seed(0)
    labels = (torch.rand(200, generator=generator) < 0.2).long()
    scores = torch.randn(200, generator=generator) + labels
    labels[::7] = UNLABELLED
    found, threshold = best_threshold(scores, labels)

    def score(t):
        return mean_iou(torch.stack([t - scores, scores - t + 1e-6], dim=1), labels)

    assert found == pytest.approx(score(threshold))
    assert found == pytest.approx(max(score(float(t)) for t in scores))


@pytest.mark.parametrize("kernels", [64, None])
def test_random_kernels_on_pixels_find_what_is_bright(kernels):
    """Features on 2 x 2 pixels, which are all bright or all dark; infinitely many kernels, too.

    Without biases what is read grows in proportion to the light: some blocks near the threshold are missed.
    """
    blocks = torch.rand(12, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    scenes = blocks.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)

    def parts(labels):
        whole = Images(scenes, labels, ("dark", "bright"), "toy")
        return Splits(whole.subset(slice(6)), whole.subset(slice(6, 9)), whole.subset(slice(9, 12)))

    def score(labels):
        settings = {"samples": 300, "size": 3, "binning": 2, "strengths": (1e-5, 1e-3)}
        if kernels is None:
            return limit(parts(labels), **settings)["test"]
        return regression(parts(labels), kernels, 0, **settings)["test"]

    bright = (scenes[:, 0] > 0.5).long()
    assert score(bright) > 0.8
    assert score(bright.flip(0)) < 0.6  # labels of other scenes


def test_many_random_kernels_come_near_the_limit_of_what_a_feature_sees():
    scenes = torch.rand(3, 1, 12, 12, generator=torch.Generator().manual_seed(0))
    optics = compressed_meta(20_000, 3, binning=4, image=12)
    random_psfs(optics, torch.Generator().manual_seed(1))
    with torch.no_grad():
        rows = optics.frontend(scenes).relu().flatten(2).mT.flatten(0, 1)
    found = rows @ rows.mT
    seen = seen_by(scenes, 3, 4).flatten(0, 1)
    options = {"padding": 0, "pool": 4, "rectified": True, "hidden": 0, "frontend": "frozen"}
    expected = infinite_gram(seen, kernel=3, **options)[0]
    # a mean of 20,000 products that vary about as much as they are large
    torch.testing.assert_close(found / found.mean(), expected / expected.mean(), rtol=0.03, atol=0)


def test_a_ridge_of_several_strengths_solves_each():
    rows = torch.randn(9, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    gram, targets = rows @ rows.mT, rows[:, :2]
    before = gram.clone()
    found = kernel_ridge(gram, targets, (1e-3, 0.1))
    assert torch.equal(gram, before)
    for k, strength in enumerate((1e-3, 0.1)):
        ridge = gram + strength * gram.diagonal().mean() * torch.eye(9, dtype=torch.float64)
        torch.testing.assert_close(ridge @ found[:, k], targets)
