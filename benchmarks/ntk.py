"""Cost of the neural tangent kernel, as ratios measured in one run; each function returns rows.

Methods alternate within a repetition, so that a change of clock speed or load meets all of them; the
median of CPU times is reported, with one thread.
"""

from __future__ import annotations

import functools
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from photonet import ntk

BATCH = 128


def mnist_student() -> tuple[nn.Module, Tensor]:
    """51,986 parameters."""
    layers = [nn.Conv2d(1, 8, 7, padding=3, bias=False), nn.AvgPool2d(4), nn.Flatten()]
    model = nn.Sequential(*layers, nn.Linear(392, 128), nn.ReLU(), nn.Linear(128, 10))
    return model, torch.randn(BATCH, 1, 28, 28, generator=torch.Generator().manual_seed(0))


def cifar_student() -> tuple[nn.Module, Tensor]:
    """1.58 million parameters."""
    front = [nn.Conv2d(3, 16, 7, padding=3, bias=False), nn.AvgPool2d(4), nn.Flatten()]
    back = [nn.Linear(1024, 1024), nn.ReLU(), nn.Linear(1024, 512), nn.ReLU(), nn.Linear(512, 10)]
    return nn.Sequential(*front, *back), torch.randn(
        BATCH, 3, 32, 32, generator=torch.Generator().manual_seed(0)
    )


def median_times(tasks: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median CPU seconds of each task, after two rounds of warming up."""
    times: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(repeats + 2):
        for name, task in tasks.items():
            start = time.process_time()
            task()
            times[name].append(time.process_time() - start)
    return {name: statistics.median(values[2:]) for name, values in times.items()}


def training_steps(repeats: int = 15) -> list[dict[str, object]]:
    """A step with the kernel along one random direction, against a cross-entropy step."""
    rows = []
    for name, build, target in (("mnist 0.05 M", mnist_student, 3.0), ("cifar 1.6 M", cifar_student, 2.0)):
        torch.manual_seed(0)
        model, x = build()
        labels = torch.randint(0, 10, (BATCH,))
        wanted = torch.randn(BATCH, BATCH)
        wanted = wanted @ wanted.mT
        generator = torch.Generator().manual_seed(0)
        optimiser = torch.optim.AdamW(model.parameters())

        def plain(model=model, x=x, labels=labels, optimiser=optimiser) -> None:
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(x), labels).backward()
            optimiser.step()

        def with_kernel(
            model=model, x=x, labels=labels, optimiser=optimiser, wanted=wanted, generator=generator
        ) -> None:
            optimiser.zero_grad()
            logits, kernel = ntk.forward_gram(model, x, generator=generator)
            loss = nn.functional.cross_entropy(logits, labels) + 1 - ntk.alignment(kernel, wanted)
            loss.backward()
            optimiser.step()

        t = median_times({"plain": plain, "kernel": with_kernel}, repeats)
        rows.append(
            {
                "case": f"training step, {name}",
                "plain_ms": 1e3 * t["plain"],
                "kernel_ms": 1e3 * t["kernel"],
                "ratio": t["kernel"] / t["plain"],
                "target": f"<= {target}",
            }
        )
    return rows


def against_jacrev(repeats: int = 3) -> list[dict[str, object]]:
    """The exact trace kernel of a batch, structured and by vmap(jacrev), alone and with its gradient.

    ``tutorial`` follows the published recipe for torch, which takes the Jacobian for both arguments and
    contracts parameter by parameter; ``jacrev`` takes it once. ``random`` is the unbiased estimate that
    training uses, along one direction.
    """
    torch.manual_seed(0)
    model, x = mnist_student()
    parameters = dict(model.named_parameters())
    wanted = torch.randn(BATCH, BATCH)
    wanted = wanted @ wanted.mT

    def one(values: dict[str, Tensor], sample: Tensor) -> Tensor:
        return torch.func.functional_call(model, values, (sample[None],))[0]

    def by_jacrev() -> Tensor:
        j = torch.func.vmap(torch.func.jacrev(one), (None, 0))(parameters, x)
        rows = torch.cat([part.flatten(2) for part in j.values()], dim=2).flatten(1)
        return rows @ rows.mT

    def by_tutorial() -> Tensor:
        jacobian = torch.func.vmap(torch.func.jacrev(one), (None, 0))
        left, right = jacobian(parameters, x), jacobian(parameters, x)
        parts = [
            torch.einsum("naf,maf->nm", left[name].flatten(2), right[name].flatten(2)) for name in parameters
        ]
        return torch.stack(parts).sum(0)

    def alone(kernel: Callable[[], Tensor]) -> Tensor:
        with torch.no_grad():
            return kernel()

    def trained(kernel: Callable[[], Tensor]) -> None:
        model.zero_grad()
        (1 - ntk.alignment(kernel(), wanted)).backward()

    generator = torch.Generator().manual_seed(0)
    ways: dict[str, Callable[[], Tensor]] = {
        "structured": lambda: ntk.gram(model, x),
        "jacrev": by_jacrev,
        "tutorial": by_tutorial,
        "random": lambda: ntk.forward_gram(model, x, generator=generator)[1],
    }
    difference = alone(ways["structured"]) - alone(by_jacrev)
    rows = []
    for name, use in (("alone", alone), ("with its gradient", trained)):
        t = median_times({way: functools.partial(use, kernel) for way, kernel in ways.items()}, repeats)
        rows.append(
            {
                "case": f"exact trace kernel {name}, mnist 0.05 M, batch 128",
                "structured_ms": 1e3 * t["structured"],
                "jacrev_ms": 1e3 * t["jacrev"],
                "tutorial_ms": 1e3 * t["tutorial"],
                "random_direction_ms": 1e3 * t["random"],
                "ratio_to_jacrev": t["jacrev"] / t["structured"],
                "ratio_to_tutorial": t["tutorial"] / t["structured"],
                "relative_difference": float(difference.norm() / alone(by_jacrev).norm()),
                "target": ">= 100",
            }
        )
    return rows


def cached_teacher(repeats: int = 3) -> list[dict[str, object]]:
    """Reading a batch of a teacher's stored features against computing them."""
    torch.manual_seed(0)
    convolutions = [nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.AvgPool2d(2)]
    convolutions += [nn.Conv2d(6, 16, 5), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten()]
    dense = [nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10)]
    teacher = nn.Sequential(*convolutions, *dense)
    _, x = mnist_student()
    sketch = ntk.Sketch(1024)
    v = ntk.centred_directions(10, generator=torch.Generator().manual_seed(0))
    with tempfile.TemporaryDirectory() as folder:
        stored = ntk.TeacherFeatures.compute(Path(folder) / "teacher.h5", teacher, x, sketch=sketch)
        order = torch.randperm(BATCH, generator=torch.Generator().manual_seed(0))

        def compute() -> Tensor:
            with torch.no_grad():
                return sketch(ntk.tangents(teacher, x))

        t = median_times({"read": lambda: stored.gram(order, v), "compute": compute}, repeats)
    return [
        {
            "case": "teacher features of a batch, LeNet",
            "read_ms": 1e3 * t["read"],
            "compute_ms": 1e3 * t["compute"],
            "ratio": t["compute"] / t["read"],
            "target": ">= 100",
        }
    ]


def rows() -> list[dict[str, object]]:
    """All of the above, with one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return training_steps() + against_jacrev() + cached_teacher()
    finally:
        torch.set_num_threads(threads)


if __name__ == "__main__":
    for row in rows():
        print({k: round(v, 9) if isinstance(v, float) else v for k, v in row.items()})
