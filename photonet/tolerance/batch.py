"""What a worker does: make one batch of devices, measure each, and say which of them failed.

A failure travels as a value, not as an exception: it must come back from any process or machine, and the
devices that did finish come with it.
"""

from __future__ import annotations

import contextlib
import math
import pickle
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from typing import Any, NamedTuple

import numpy as np
import torch

from ..errors import InvalidArgument, PhotonetError

__all__ = ["Failure", "Job", "Metric", "Outcome", "System", "WorkerLost", "run_batch", "run_jobs"]

System = Callable[[dict[str, torch.Tensor], list[int]], Sequence[Any]]
Metric = Callable[[Any], float | Mapping[str, float]]


class WorkerLost(PhotonetError, RuntimeError):
    """A batch was sent to another process or machine, and nothing came back: not even which device failed.

    The batches finished before are in the study's file; a second call goes on from there.
    """


class Job(NamedTuple):
    """The devices of one batch: their indices, draws [B] by name, and seeds."""

    devices: list[int]
    draws: dict[str, np.ndarray]
    seeds: list[int]


class Failure(NamedTuple):
    """Which device of the batch failed (its position in it), why, and the traceback if there is one."""

    position: int
    reason: str
    trace: str = ""


class Outcome(NamedTuple):
    """Metrics by position in the batch, and what stopped the rest."""

    metrics: dict[int, dict[str, float]]
    failure: Failure | None


def run_batch(system: System, metric: Metric, job: Job) -> Outcome:
    """Make the devices of ``job`` in one call of ``system`` and apply ``metric`` to each."""
    try:
        draws = {name: torch.tensor(values, dtype=torch.float64) for name, values in job.draws.items()}
        made = system(draws, list(job.seeds))
        # of a mapping the keys would be measured, and a set has them in any order
        unordered = isinstance(made, (Mapping, Set))
        devices = [] if unordered else list(made)
    except Exception as error:
        return _one_by_one(system, metric, job, error)
    if unordered or len(devices) != len(job.seeds):
        got = f"a {type(made).__name__}" if unordered else len(devices)
        return Outcome({}, Failure(0, f"system: expected a sequence of {len(job.seeds)} devices, got {got}"))
    metrics: dict[int, dict[str, float]] = {}
    for position, device in enumerate(devices):
        try:
            metrics[position] = _named(metric(device))
        except Exception as error:
            return Outcome(metrics, _described(position, error))
        for name, value in metrics[position].items():
            if math.isnan(value):
                del metrics[position]
                return Outcome(metrics, Failure(position, f"metric {name!r} is NaN"))
    return Outcome(metrics, None)


def _named(result: Any) -> dict[str, float]:
    named = result if isinstance(result, Mapping) else {"metric": result}
    if not named:
        raise InvalidArgument("metric", "at least one number for a device", "an empty mapping")
    return {str(name): float(value) for name, value in named.items()}


def _described(position: int, error: Exception) -> Failure:
    return Failure(position, f"{type(error).__name__}: {error}", "".join(traceback.format_exception(error)))


def _one_by_one(system: System, metric: Metric, job: Job, error: Exception) -> Outcome:
    """Find which device made ``system`` raise ``error`` for the whole batch, and finish those before it."""
    metrics: dict[int, dict[str, float]] = {}
    if len(job.seeds) == 1:
        return Outcome(metrics, _described(0, error))
    for position in range(len(job.seeds)):
        one = slice(position, position + 1)
        alone = Job(job.devices[one], {n: v[one] for n, v in job.draws.items()}, job.seeds[one])
        outcome = run_batch(system, metric, alone)
        if outcome.failure is not None:
            return Outcome(metrics, outcome.failure._replace(position=position))
        metrics[position] = outcome.metrics[0]
    # Each works alone: the batch itself is the fault (memory, or a system that cannot take several).
    failure = _described(0, error)
    reason = f"{len(job.seeds)} devices together raise {failure.reason}, though none does alone"
    return Outcome({}, failure._replace(reason=reason + "; pass a smaller batch"))


def run_jobs(
    system: System, metric: Metric, jobs: Sequence[Job], executor: Any
) -> Iterator[tuple[Job, Outcome]]:
    """Outcomes as they come, in any order; after a failure nothing new is begun.

    Args:
        system: makes the devices of a batch.
        metric: measures one device.
        jobs: the batches.
        executor: None, a ``concurrent.futures.Executor``, or a ``dask.distributed.Client``, which offers
            itself as one.

    Raises:
        InvalidArgument: no executor, one that forks beside threads, or a system or metric that cannot be
            pickled for it.
        WorkerLost: a worker died, or did not find ``system`` and ``metric``.
    """
    if executor is None:
        for job in jobs:
            outcome = run_batch(system, metric, job)
            yield job, outcome
            if outcome.failure is not None:
                return
        return
    pool = executor.get_executor(pure=False) if hasattr(executor, "get_executor") else executor
    if not callable(getattr(pool, "submit", None)):
        expected = "None, a concurrent.futures.Executor or a dask.distributed.Client"
        raise InvalidArgument("executor", expected, repr(executor)[:80])
    context = getattr(pool, "_mp_context", None)
    if context is not None and context.get_start_method() == "fork" and torch.get_num_threads() > 1:
        raise InvalidArgument(
            "executor", "fresh processes", "a pool that forks, where threads of torch leave locks behind",
            "ProcessPoolExecutor(mp_context=multiprocessing.get_context('spawn'))",
        )  # fmt: skip
    with _sent(system, metric):
        waiting = {pool.submit(run_batch, system, metric, job): job for job in jobs}
    pending = set(waiting)
    try:
        while pending:
            done, pending = wait(pending, return_when=FIRST_COMPLETED)
            for future in sorted(done, key=_is_lost):  # what is finished is kept first
                with _sent(system, metric):
                    outcome = future.result()
                if outcome.failure is not None:
                    # those that run already still report; of those cancelled a cluster may never tell
                    pending = {other for other in pending if not other.cancel()}
                yield waiting[future], outcome
    finally:
        for future in waiting:
            future.cancel()


def _is_lost(future: Future[Outcome]) -> bool:
    return future.cancelled() or future.exception() is not None


@contextlib.contextmanager
def _sent(system: System, metric: Metric) -> Iterator[None]:
    """Say why a batch did not get to a worker and back; what goes wrong inside of it is an `Outcome`."""
    try:
        yield
    except BrokenExecutor as error:
        raise WorkerLost(
            "executor: a worker process died: it had too little memory (pass a smaller batch or fewer "
            "workers), crashed in a library, or did not find system and metric (define them at the top of a "
            f"file, outside of `if __name__ == '__main__'`); `out` keeps what is finished ({error})"
        ) from error
    except Exception as error:
        for name, function in (("system", system), ("metric", metric)):
            try:
                pickle.dumps(function)
            except Exception as refusal:
                if type(refusal) is not type(error):  # clusters pickle more than Python does
                    continue
                raise InvalidArgument(
                    name, "what can be pickled, as other processes run it", refusal,
                    "define it at the top of a file, not as a lambda or inside of a function, and hold no "
                    "open files or locks; or pass executor=None or a ThreadPoolExecutor",
                ) from error  # fmt: skip
        what = f"{type(error).__name__}: {error}"
        raise WorkerLost(
            f"executor: a batch did not come back; `out` keeps what is finished ({what})"
        ) from error
