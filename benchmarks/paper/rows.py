"""Rows of the published tables: which cells they show, what the paper has, why ours differs; in Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from .statistics import compare, holm, paired, percent

__all__ = [
    "CAMVID",
    "CIFAR",
    "CIFAR_10K",
    "CIFAR_MATCHED",
    "CIFAR_READOUTS",
    "MNIST_1K",
    "MNIST_10K",
    "MNIST_60K",
    "Cell",
    "family",
    "names_of",
    "rows_of",
    "seeds_of",
]

Row = tuple[str, str, str, str]
"""Title, key of the cells, the paper's number, why ours differs."""

Cell = dict[str, Any]


def seeds_of(cells: Mapping[str, Cell], key: str) -> list[Cell]:
    """The cells of an arm in the order of their seeds, without those of the search for a rate."""
    found = [
        (int(name.rsplit("/", 1)[1]), cell) for name, cell in cells.items() if name.rpartition("/")[0] == key
    ]
    return [cell for _, cell in sorted(found, key=lambda pair: pair[0])]


def rows_of(cells: Mapping[str, Cell], rows: Sequence[Row], reference: str | None) -> list[str]:
    """A Markdown table of the arms that have results; those with fewer seeds than the reference say so."""
    runs = {key: seeds_of(cells, key) for _, key, _, _ in rows}
    seeds = len(runs.get(str(reference), ()))
    scores = {
        key: [cell["test"] for cell in found] for key, found in runs.items() if len(found) >= max(seeds, 1)
    }
    count = min((len(s) for s in scores.values()), default=0)
    compared: dict[str, dict[str, Any]] = {}
    if reference in scores and count > 1:
        compared = compare({key: s[:count] for key, s in scores.items()}, str(reference))
    title = next((row[0] for row in rows if row[1] == reference), "")
    against = f" minus {title} | p (Holm) |" if compared else ""
    lines = [
        f"| arm | paper | ours (%) |{against} rate | why they differ |",
        "| --- | --- | --- |" + (" --- | --- |" if compared else "") + " --- | --- |",
    ]
    for name, key, paper, why in rows:
        if not runs[key]:
            continue
        ours = percent([cell["test"] for cell in runs[key]])
        if len(runs[key]) < seeds:
            ours += f", {len(runs[key])} seed{'s' * (len(runs[key]) > 1)} only"
        if compared:
            found = compared.get(key, {}) if key != reference else {}
            ours += f" | {100 * found['difference']:+.2f} | {_p(found['p_holm'])}" if found else " | | "
        rate = f"{runs[key][0]['settings']['lr']:g}"
        lines.append(f"| {name} | {paper} | {ours} | {rate} | {why} |")
    return lines


def _p(value: float) -> str:
    """A p-value as it is printed: three digits, and never zero."""
    return f"{value:.3f}" if value >= 0.001 else "< 0.001"


MNIST_10K: list[Row] = [
    ("labels alone", "10k/ce", "91.4 ± 0.8", "theirs is near a purely linear student (last rows)"),
    ("kd", "10k/kd", "95.9 ± 0.6", "every arm has its own rate here"),
    ("features", "10k/features", "", "not in the paper"),
    ("ntkd-paper", "10k/ntkd-paper", "97.3 ± 0.6", "the published loss, each Gram over its mean diagonal"),
    ("ntkd without views", "10k/ntkd", "", "kd and 0.1 of the class-centred alignment"),
    ("labels, views", "10k/ce, views", "", "moved pictures"),
    ("kd, views", "10k/kd, views", "", "the teacher is asked about the moved pictures"),
    ("ntkd, views (default)", "10k/ntkd, views", "", "as above"),
    ("residual", "10k/residual", "", "in the teacher's kernel norm, in place of kd; see the search below"),
    ("residual, views", "10k/residual, views", "", "with the kernel of the pictures that were not moved"),
    ("linear 4f, kd", "10k/linear 4f, kd", "", "10,650 parameters; linear up to the scores"),
    (
        "random PSFs, kd",
        "10k/random PSFs, kd",
        "96.12",
        "Table 5; the paper has one dense layer, this has two",
    ),
    ("lenses, kd", "10k/lenses, kd", "", "the same pixels and the same backend"),
]
MNIST_1K: list[Row] = [
    ("labels alone", "1k/ce", "", ""),
    ("kd", "1k/kd", "", "T = 8"),
    ("kd, views", "1k/kd, views", "", "the teacher is asked about moved pictures"),
    ("kd, unlabelled", "1k/kd, unlabelled", "", "and about 8,000 scenes without labels"),
    ("kd, views, unlabelled", "1k/kd, views, unlabelled", "", "both"),
]
MNIST_60K: list[Row] = [
    ("labels alone", "60k/ce", "91.4 ± 0.8", "see above"),
    ("labels alone, 60 epochs", "60k/ce, 60 epochs", "", ""),
    ("kd, views", "60k/kd, views", "97.3 ± 0.6", "the paper's best is its ntkd; ours is kd off the sample"),
    ("kd, views, 60 epochs", "60k/kd, views, 60 epochs", "", ""),
]
CIFAR: list[Row] = [
    ("dense, 1.60 M, 16 epochs", "labels, 1.6 M", "56.4 ± 1.9", "readout, batch normalisation, flips, crops"),
    ("dense, 1.60 M, 40 epochs", "labels, 1.6 M, 40 epochs", "75.6 ± 0.9 (ntkd)", "2.5 times as long"),
    ("dense, 0.15 M, 16 epochs", "labels, 0.15 M", "75.6 ± 0.9 (ntkd, 1.62 M)", "a tenth of the backend"),
    (
        "convolution, 0.14 M, 16 epochs",
        "labels, 0.14 M, convolution",
        "75.6 ± 0.9 (ntkd, 1.62 M)",
        "one digital convolution 3 × 3 before the dense layers: 1.30 million products for 1.60",
    ),
]
CIFAR_MATCHED: list[Row] = [
    ("labels alone", "matched/none", "56.4 ± 1.9", "the paper's is near a `linear` readout"),
    ("kd", "matched/kd", "72.5 ± 2.1", "the teacher is asked about the same views"),
    ("ntkd-paper", "matched/ntkd-paper", "75.6 ± 0.9", "each Gram over its mean diagonal; see the text"),
    ("ntkd", "matched/ntkd", "", "kd and 0.1 of the class-centred alignment"),
]
CIFAR_READOUTS: list[Row] = [
    (
        "`maxpool`",
        "matched/none",
        "",
        "every pixel is read; largest positive and negative parts",
    ),
    ("`relu`", "readout/relu", "", "positive parts of the maps"),
    ("`linear`", "readout/linear", "", "linear up to the first hidden layer"),
    ("random PSFs, `maxpool`", "readout/random PSFs", "", "kernels as they were drawn"),
    ("lenses, `maxpool`", "readout/lenses", "", "the same pixels and the same backend"),
]
CIFAR_10K: list[Row] = [
    ("labels alone", "10k/none", "", ""),
    ("kd", "10k/kd", "", "the teacher is asked about the same views"),
    ("ntkd-paper", "10k/ntkd-paper", "", "the published loss, each Gram over its mean diagonal"),
    ("ntkd", "10k/ntkd", "", "kd and 0.1 of the class-centred alignment"),
    ("residual", "10k/residual", "", "in the teacher's kernel norm, in place of kd"),
]
CAMVID: list[Row] = [
    ("labels, `relu`", "labels", "74.3 (Carvana)", "another data set and task; the backend goes down and up"),
    ("kd, `relu`", "kd", "86.7 (Carvana)", "the teacher is asked about the same views"),
    ("ntkd-paper, `relu`", "ntkd-paper", "91.5 (Carvana)", "random signs at all pixels; see *On pixels*"),
    ("ntkd, `relu`", "ntkd", "", "kd and 0.1 of the class-centred alignment"),
    ("labels, `maxpool`", "labels, maxpool", "", "twice the digital features"),
]


def names_of(cells: Mapping[str, Cell]) -> list[str]:
    """In the order of the alphabet, without teachers and trials of a rate."""
    return sorted({name.rpartition("/")[0] for name in cells if "/" in name and "/lr " not in name})


def family(
    cells: Mapping[str, Cell], reference: str, names: Sequence[str], metrics: Sequence[str]
) -> list[str]:
    """The finished arms of a family beside one of them, with p corrected for all its comparisons."""
    seeds = len(seeds_of(cells, reference))  # an arm that is not finished waits
    others = [name for name in names if name != reference and len(seeds_of(cells, name)) == seeds]
    if not others or not seeds:
        return []
    scores = {
        (name, metric): [cell[metric] for cell in seeds_of(cells, name)]
        for name in (reference, *others)
        for metric in metrics
    }
    p = holm(
        {
            (name, metric): paired(scores[name, metric], scores[reference, metric])
            for name in others
            for metric in metrics
        }
    )
    lines = [f"| arm | rate | {' | '.join(metrics)} |", "| --- | --- |" + " --- |" * len(metrics)]
    for name in (reference, *others):
        texts = []
        for metric in metrics:
            text = percent(scores[name, metric])
            if name != reference:
                mean, base = (statistics.mean(scores[key, metric]) for key in (name, reference))
                text += f" ({100 * (mean - base):+.2f}, p {_p(p[name, metric])})"
            texts.append(text)
        rate = f"{seeds_of(cells, name)[0]['settings']['lr']:g}"
        lines.append(f"| {name} | {rate} | {' | '.join(texts)} |")
    return [*lines, ""]
