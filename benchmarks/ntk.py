"""Cost of the neural tangent kernel against a plain step, `torch.func` and neural-tangents (JAX)."""

from __future__ import annotations

import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from photonet import ntk
from photonet.models import compressed_meta

from . import Contest, case, paired

BATCH = 128
JAX_PYTHON = os.environ.get("PHOTONET_JAX_PYTHON")
"""A Python that has jax 0.4.25 and neural-tangents 0.6.5; without it that comparison is left out."""

Use = Callable[[nn.Module, Callable[[], Tensor], Tensor], object]


def mnist_student() -> tuple[nn.Module, Tensor]:
    """51,986 parameters."""
    layers = [nn.Conv2d(1, 8, 7, padding=3, bias=False), nn.AvgPool2d(4), nn.Flatten()]
    model = nn.Sequential(*layers, nn.Linear(392, 128), nn.ReLU(), nn.Linear(128, 10))
    return model, torch.randn(BATCH, 1, 28, 28, generator=torch.Generator().manual_seed(0))


def own_student() -> tuple[nn.Module, Tensor]:
    """The same layers as this package has them: the optical convolution computes bins and not pixels."""
    return compressed_meta(), mnist_student()[1]


def cifar_student() -> tuple[nn.Module, Tensor]:
    """1.58 million parameters."""
    front = [nn.Conv2d(3, 16, 7, padding=3, bias=False), nn.AvgPool2d(4), nn.Flatten()]
    back = [nn.Linear(1024, 1024), nn.ReLU(), nn.Linear(1024, 512), nn.ReLU(), nn.Linear(512, 10)]
    return nn.Sequential(*front, *back), torch.randn(
        BATCH, 3, 32, 32, generator=torch.Generator().manual_seed(0)
    )


def seeded(build: Callable[[], tuple[nn.Module, Tensor]]) -> tuple[nn.Module, Tensor, Tensor]:
    """Student, pictures and a kernel to come near to, always the same."""
    torch.manual_seed(0)
    model, x = build()
    wanted = torch.randn(BATCH, BATCH)
    return model, x, wanted @ wanted.mT


def faster(contest: Contest) -> Contest:
    """The same with a note of how many times faster than the yardstick each contestant is."""
    ratios = list(contest.ratios().items())[1:]
    contest.notes.append(", ".join(f"{name} {1 / ratio:.0f} x faster" for name, ratio in ratios))
    return contest


def training_step(build: Callable[[], tuple[nn.Module, Tensor]]) -> Contest:
    """A step with the kernel along one random direction, against a cross-entropy step."""
    model, x, wanted = seeded(build)
    labels = torch.randint(0, 10, (BATCH,))
    generator = torch.Generator().manual_seed(0)
    optimiser = torch.optim.AdamW(model.parameters())

    def plain() -> None:
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(x), labels).backward()
        optimiser.step()

    def with_kernel() -> None:
        optimiser.zero_grad()
        logits, kernel = ntk.forward_gram(model, x, generator=generator)
        loss = nn.functional.cross_entropy(logits, labels) + 1 - ntk.alignment(kernel, wanted)
        loss.backward()
        optimiser.step()

    return paired({"cross-entropy": plain, "with kernel": with_kernel}, 15)


@case("NTK: step along one random direction, 0.05 M student", target=3.0)
def small_step() -> Contest:
    return training_step(mnist_student)


@case("NTK: step along one random direction, 1.6 M student", target=2.0)
def large_step() -> Contest:
    return training_step(cifar_student)


def by_torch_func(model: nn.Module, x: Tensor) -> dict[str, Callable[[], Tensor]]:
    """The exact trace kernel by `torch.func`.

    ``tutorial`` follows the published recipe for torch, which takes the Jacobian for both arguments and
    contracts parameter by parameter; ``jacrev`` takes it once.
    """
    parameters = dict(model.named_parameters())

    def one(values: dict[str, Tensor], sample: Tensor) -> Tensor:
        return torch.func.functional_call(model, values, (sample[None],))[0]

    jacobian = torch.func.vmap(torch.func.jacrev(one), (None, 0))

    def jacrev() -> Tensor:
        rows = torch.cat([part.flatten(2) for part in jacobian(parameters, x).values()], dim=2).flatten(1)
        return rows @ rows.mT

    def tutorial() -> Tensor:
        left, right = jacobian(parameters, x), jacobian(parameters, x)
        parts = [torch.einsum("naf,maf->nm", left[p].flatten(2), right[p].flatten(2)) for p in parameters]
        return torch.stack(parts).sum(0)

    return {"jacrev": jacrev, "tutorial": tutorial}


def exact_kernels(use: Use, build: Callable[[], tuple[nn.Module, Tensor]]) -> Contest:
    """Ways to the trace kernel of a batch, and how far two of them are apart."""
    model, x, wanted = seeded(build)
    with torch.no_grad():
        exact, found = by_torch_func(model, x)["jacrev"](), ntk.gram(model, x)
    slow = by_torch_func(model, x)
    generator = torch.Generator().manual_seed(0)
    ways = {
        "jacrev": slow["jacrev"],
        "structured": lambda: ntk.gram(model, x),
        "tutorial": slow["tutorial"],
        "one direction": lambda: ntk.forward_gram(model, x, generator=generator)[1],
    }
    contest = paired({name: lambda way=way: use(model, way, wanted) for name, way in ways.items()}, 5)
    contest.notes.append(f"relative difference {float((found - exact).norm() / exact.norm()):.0e} (float32)")
    return faster(contest)


def alone(model: nn.Module, kernel: Callable[[], Tensor], wanted: Tensor) -> None:
    """The kernel and nothing else."""
    with torch.no_grad():
        kernel()


def trained(model: nn.Module, kernel: Callable[[], Tensor], wanted: Tensor) -> None:
    """The kernel and the gradient of a loss on it."""
    model.zero_grad()
    (1 - ntk.alignment(kernel(), wanted)).backward()


@case("NTK: exact trace kernel of 10 outputs, 0.05 M student, batch 128", target=0.01)
def exact_alone() -> Contest:
    return exact_kernels(alone, mnist_student)


@case("NTK: the same with its gradient", target=0.01)
def exact_with_gradient() -> Contest:
    return exact_kernels(trained, mnist_student)


@case("NTK: exact trace kernel of 10 outputs, the package's own student, batch 128", target=0.01)
def own_alone() -> Contest:
    return exact_kernels(alone, own_student)


@case("NTK: the package's own student, with the gradient of the kernel", target=0.01)
def own_with_gradient() -> Contest:
    return exact_kernels(trained, own_student)


@case("NTK: reading a LeNet teacher's stored features over computing them", target=0.01)
def cached_teacher() -> Contest:
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

        return faster(paired({"compute": compute, "read": lambda: stored.gram(order, v)}, 5))


def against_neural_tangents() -> Contest:
    """Its three exact methods, compiled, on one thread of a process of their own, in turn with ours."""
    model, x, _ = seeded(mnist_student)
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        kernel = ntk.gram(model, x)
        weights = {name: p.numpy() for name, p in model.named_parameters()}
        np.savez(Path(folder) / "student.npz", x=x.numpy(), kernel=kernel.numpy(), **weights)
        program = [JAX_PYTHON, str(Path(__file__).with_name("_neural_tangents.py")), f"{folder}/student.npz"]
        with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            names = process.stdout.readline().split()
            if not names:
                raise RuntimeError("neural-tangents did not start; its message is above")
            seconds: dict[str, list[float]] = {name: [] for name in (*names, "structured")}
            for _ in range(3):
                for name in names:
                    print(name, file=process.stdin, flush=True)
                    seconds[name].append(float(process.stdout.readline()))
                start = time.process_time()
                ntk.gram(model, x)
                seconds["structured"].append(time.process_time() - start)
            process.stdin.close()
    best = min(names, key=lambda name: statistics.median(seconds[name]))
    order = [best, "structured", *(name for name in names if name != best)]
    return faster(Contest({name: seconds[name] for name in order}))


if JAX_PYTHON:
    case("NTK: structured over the best method of neural-tangents", target=0.1)(against_neural_tangents)
