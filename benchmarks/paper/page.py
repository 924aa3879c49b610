"""The docs page of the published tables, made from the results: `python -m benchmarks.paper page`."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping
from pathlib import Path

from .eq11 import ERRORS, KERNELS, STUDENTS, slope
from .rows import (
    CAMVID,
    CIFAR,
    CIFAR_10K,
    CIFAR_MATCHED,
    CIFAR_READOUTS,
    MNIST_1K,
    MNIST_10K,
    MNIST_60K,
    Cell,
    family,
    names_of,
    rows_of,
    seeds_of,
)
from .search_wider import DEVICES
from .statistics import percent
from .table4 import METHODS

__all__ = ["write_page"]

DEVICE_SCORES = ("devices", "worst", "test")


def _read(results: Path, table: str) -> dict[str, Cell]:
    path = results / f"{table}.json"
    return json.loads(path.read_text()) if path.exists() else {}


def _mnist(cells: Mapping[str, Cell]) -> list[str]:
    lines = [
        "## MNIST, Table 3",
        "",
        "The student of 0.05 M parameters: 8 kernels 7 × 7, binning 4 × 4, readout `linear`, 128",
        f"hidden units. Teacher: LeNet-5, 55,000 moved images, {100 * cells['teacher']['test']:.2f} %.",
        "The paper trains on 50,000 images. Rates are chosen on 5,000 validation images with a seed that is",
        "not among those of the table, at each number of images and epochs.",
        "",
    ]
    for title, rows, reference in (
        ("### 10,000 images, 10 epochs", MNIST_10K, "10k/kd"),
        ("### 1,000 labels, 2,100 steps", MNIST_1K, "1k/kd"),
        ("### 55,000 images, 20 or 60 epochs", MNIST_60K, "60k/kd, views"),
    ):
        if any(seeds_of(cells, row[1]) for row in rows):
            lines += [title, "", *rows_of(cells, rows, reference), ""]
    return lines


def _cifar10(cells: Mapping[str, Cell]) -> list[str]:
    lines = [
        "## CIFAR-10 (JPEG), Table 3",
        "",
        "The student has 16 signed RGB kernels 7 × 7; readout `maxpool` (digital, after the subtraction;",
        "every pixel is read). 45,000 images, flips and crops of 2 pixels, label smoothing 0.1, no teacher,",
        "trained with bfloat16 products and measured in float32.",
        "",
        *rows_of(cells, CIFAR, None),
        "",
    ]
    if "alexnet" in cells:
        lines += [
            "### With a teacher: 45,000 images and 6 epochs",
            "",
            f"The dense backend of 1.60 M. Teacher: AlexNet of half the width,"
            f" {100 * cells['alexnet']['test']:.2f} % (paper: 85.4).",
            "Every arm sees the same flips and crops and has its own rate, of 0.002 and 0.005, chosen on",
            "validation images.",
            "",
            *rows_of(cells, CIFAR_MATCHED, "matched/kd"),
            "",
            *_readouts(cells),
            "### With the teacher's kernel: 10,000 images and 20 epochs",
            "",
            "These rows are older. Their teacher, trained in the same way on another processor, had 85.78 %,",
            "and its tangents took 0.1 s of one core per image (now 0.024), so there are fewer images. The",
            "teacher has seen all of them.",
            "",
            *rows_of(cells, CIFAR_10K, "10k/kd"),
            "",
        ]
    return lines


def _readouts(cells: Mapping[str, Cell]) -> list[str]:
    """Beside the matched row of labels alone, if any of them was measured."""
    if not any(seeds_of(cells, key) for _, key, _, _ in CIFAR_READOUTS[1:]):
        return []
    title = "### Readout and optics: 45,000 images and 6 epochs, labels alone"
    return [title, "", *rows_of(cells, CIFAR_READOUTS, "matched/none"), ""]


def _camvid(cells: Mapping[str, Cell]) -> list[str]:
    return [
        "## CamVid, cars against the rest",
        "",
        "Mean intersection over union of the two classes, 176 × 240, SegNet's split of 367, 101 and 233",
        "scenes. The student has 56 signed RGB kernels 3 × 3 at three scales, 24 epochs.",
        f"Teacher: U-Net, {100 * cells['unet']['test']:.2f} (paper: 95.4, Carvana).",
        "Moved and mirrored views; rate of 0.002 and 0.005, chosen for labels and `relu`.",
        "",
        *rows_of(cells, CAMVID, "labels"),
        "",
    ]


def _search(cells: Mapping[str, Cell]) -> list[str]:
    """Two families that are compared within themselves: losses, and choices of few samples."""
    names = names_of(cells)
    lines = [
        "## The search for a recipe that wins",
        "",
        "MNIST, 10,000 images, 10 epochs, five seeds that all arms share; every arm chose its own rate of",
        "0.005, 0.01 and 0.02 by its validation accuracy. Every loss has 0.1 of cross-entropy, and 0.9 of",
        "distillation unless it says otherwise; kernels are compared by 0.1 of the class-centred alignment.",
        "`moved`: test pictures turned by up to 0.25 rad, zoomed by 20 % and displaced by 2 pixels; `noisy`:",
        "noise of 0.3. p after Holm's correction for all arms and the three columns of a table. `fresh`",
        "repeats what looked best with ten other seeds, at the same rates: what was selected needs new data.",
        "`tangent`: students of kd, then Gauss-Newton steps in tangent space towards the teacher's logits,",
        "of the backend or of all parameters (`distill.gauss_newton`).",
        "",
    ]
    for reference in ("kd", "fresh/kd", "tangent/kd", "300 first", "100 first"):
        group = reference.partition(" ")[0].partition("/")[0]
        if group == "kd":
            some = [name for name in names if name[0].isalpha() and "/" not in name]
        else:
            some = [name for name in names if name.startswith(group)]
        lines += family(cells, reference, some, ("test", "moved", "noisy"))
    return lines


def _search_devices(cells: Mapping[str, Cell]) -> list[str]:
    return [
        "### Under noise-aware training",
        "",
        "The same students, losses and rates; every step of the training is another device of Table 4",
        f"(below), and {DEVICES} devices judge, which nobody was trained as and nobody corrected: their mean",
        "and the worst of them. `test`: the design without errors. Rates are chosen on other devices.",
        "",
        *family(cells, "kd", [n for n in names_of(cells) if "/" not in n], DEVICE_SCORES),
        "What looked best, with ten other seeds at the same rates:",
        "",
        *family(cells, "fresh/kd", [n for n in names_of(cells) if "/" in n], DEVICE_SCORES),
    ]


def _search_pixels(cells: Mapping[str, Cell]) -> list[str]:
    return [
        "### On pixels",
        "",
        "CamVid, cars against the rest, at a third of its size, 8 epochs: mean intersection over union.",
        f"Teacher: U-Net, {100 * cells['unet']['test']:.2f}. Kernels are those along random signs at all",
        "pixels, or of the whole map of each class (`ntk.class_directions`). Arms see the same moved and",
        "mirrored views, and chose their rate of 0.002 and 0.005 on the scenes of `val`, with another seed.",
        "",
        *family(cells, "kd", names_of(cells), ("test", "val")),
    ]


def _table4(cells: Mapping[str, Cell]) -> list[str]:
    paper = {
        "simulated": ("97.3", "75.6", "91.5"),
        "none": ("89.2", "47.3", "49.7"),
        "ce": ("93.2", "70.4", "62.7"),
        "ntkd-paper": ("95.1", "74.9", "81.2"),
    }
    titles = {"mnist": "MNIST", "cifar10": "CIFAR-10 (JPEG)", "camvid": "CamVid, cars (paper: Carvana)"}
    tasks = [task for task in titles if f"{task}, student" in cells]
    lines = [
        "## After fabrication, Table 4",
        "",
        "Devices as in Eq. 10: brightness of every capture 10 % off, the image displaced by up to half a",
        "pixel of the feature maps along each axis and turned by up to 0.03 rad, every kernel pixel 30 %",
        "off, and a camera's noise; these sizes were chosen on other devices, so that about as much is",
        "lost as in the paper. A tenth of the training pictures is measured; mean and standard deviation",
        "over devices, the paper's number in brackets. Every method is `photonet.correct`, which keeps",
        "nothing where that is better on held-out frames. The students were trained with labels;",
        "calibration uses none.",
        "",
        "| method | "
        + " | ".join(f"{titles[task]}, {len(seeds_of(cells, f'{task}/none'))} devices" for task in tasks)
        + " |",
        "| --- |" + " --- |" * len(tasks),
    ]
    for method in ("simulated", *METHODS):
        texts = []
        for task in tasks:
            if method == "simulated":
                ours = f"{100 * cells[f'{task}, student']['test']:.2f}"
            else:
                found = [cell["test"] for cell in seeds_of(cells, f"{task}/{method}")]
                ours = percent(found) if found else ""
                if 0 < len(found) < len(seeds_of(cells, f"{task}/none")):
                    ours += f", of {len(found)} device{'s' * (len(found) > 1)} only"
            published = paper.get(method, ("",) * 3)[list(titles).index(task)]
            texts.append(f"{ours} ({published})" if published and ours else ours)
        name = {"ce": "labels (`ce`)", "none": "not corrected"}.get(method, method)
        lines.append(f"| {name} | {' | '.join(texts)} |")
    return [*lines, ""]


def _table5(cells: Mapping[str, Cell]) -> list[str]:
    paper = {
        "mnist": {"8": "96.12", "500": "96.81", "1000": "97.24", "infinite": "97.72"},
        "cifar10": {"8": "36.73", "500": "49.32", "1000": "56.23", "infinite": "67.33"},
        "camvid": {"8": "49.3", "500": "64.1", "1000": "69.9", "infinite": "72.1"},
    }
    lines = [
        "## Random PSFs, Table 5",
        "",
        "20,000 images (paper: 50,000), random kernels 7 × 7, binning 4 × 4, a ReLU and one dense layer,",
        "which alone is trained. The limit is kernel regression with the closed form of infinitely many",
        "kernels (`photonet.ntk.infinite_gram`), its strength chosen on validation images.",
        "CamVid, at a third of its size: mean intersection over union of cars and the rest, by an",
        "up-convolution of 4 × 4 pixels in place of the dense layer; both it, of 20,000 random features",
        "of the training scenes, and the limit are ridge regressions, whose strength and threshold are",
        "chosen on the scenes of `val`.",
        "",
        "| kernels | MNIST, paper | ours (%) | rate | CIFAR-10, paper | ours (JPEG, %) | rate "
        "| Carvana, paper | ours (CamVid, %) |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for kernels in ("8", "64", "500", "1000", "infinite"):
        columns = []
        for name, published in paper.items():
            single = [cells[key] for key in [f"{name}/{kernels}"] if key in cells]
            found = seeds_of(cells, f"{name}/{kernels}") or single
            ours = percent([cell["test"] for cell in found]) if found else ""
            columns += [published.get(kernels, ""), ours]
            if name != "camvid":  # a regression has no rate
                columns.append(f"{found[0]['settings']['lr']:g}" if found and not single else "")
        lines.append(f"| {kernels} | {' | '.join(columns)} |")
    return [*lines, ""]


def _eq11(cells: Mapping[str, Cell]) -> list[str]:
    numbers = " | ".join(f"m = {m}" for m in KERNELS[::2])
    lines = [
        "## Errors of the kernels, Eq. 11",
        "",
        "The paper concludes that errors stop mattering as the number of kernels $m$ grows. Measured: the",
        "relative change of the tangent kernel (Frobenius norm, 32 images, first weights, 6 devices) when",
        "every kernel has an error of 10 % of its norm; the exponent is that of $m^p$ fitted over all $m$.",
        "The last column is the norm of the mean change over devices.",
        "",
        f"| student | error | {numbers} | exponent | mean, m = {KERNELS[-1]} |",
        "| --- | --- |" + " --- |" * (len(KERNELS[::2]) + 2),
    ]
    for student in STUDENTS:
        for error in ERRORS:
            runs = {m: seeds_of(cells, f"{student}/{error}/{m}") for m in KERNELS}
            if not all(runs.values()):
                continue
            change = [statistics.mean(cell["change"] for cell in runs[m]) for m in KERNELS]
            mean = statistics.mean(cell["mean"] for cell in runs[KERNELS[-1]])
            numbers = " | ".join(f"{100 * c:.2f} %" for c in change[::2])
            lines.append(f"| {student} | {error} | {numbers} | {slope(change):+.2f} | {100 * mean:.2f} % |")
    return [*lines, ""]


def write_page(results: Path, page: Path) -> None:
    """Put the tables of all results that are there between the two marks of the page."""
    from photonet.files import write_text

    parts = {
        "mnist": _mnist,
        "cifar10": _cifar10,
        "camvid": _camvid,
        "search": _search,
        "search-devices": _search_devices,
        "search-pixels": _search_pixels,
        "table4": _table4,
        "table5": _table5,
        "eq11": _eq11,
    }
    lines: list[str] = []
    for table, section in parts.items():
        cells = _read(results, table)
        if cells:
            lines += section(cells)
    begin, end = "<!-- tables -->\n", "<!-- end of tables -->\n"
    head, _, rest = page.read_text(encoding="utf-8").partition(begin)
    tail = rest.partition(end)[2]
    write_text(page, head + begin + "\n" + "\n".join(lines) + "\n" + end + tail)
