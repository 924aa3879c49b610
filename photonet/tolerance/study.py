"""Make many devices with the errors they will have, and count how many still work."""

from __future__ import annotations

import contextlib
import datetime
import json
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..checks import choice, count, lookup
from ..errors import InvalidArgument, PhotonetError
from ..files import writable
from ..progress import bar
from ..provenance import config_hash, provenance
from .batch import Failure, Job, Metric, Outcome, System, run_jobs
from .checkpoint import clear_left_behind, read_metrics, write
from .distributions import Distribution
from .identity import identity
from .samplers import SAMPLERS, unit_cube
from .yields import Require, check_require, of_role, with_yield

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["DeviceFailed", "tolerance"]

RESERVED = ("all", "device", "seed", "passes", "requirement", "threshold", "yield", "yield_low", "yield_high")


class DeviceFailed(PhotonetError, RuntimeError):
    """A device of a study could not be made or measured, or a metric of it is NaN.

    The devices finished before are in the study's file; a second call tries this one again.

    Args:
        device: its index in the study.
        draws: its errors, by name.
        seed: its seed.
        reason: what happened.
    """

    def __init__(self, device: int, draws: Mapping[str, float], seed: int, reason: str) -> None:
        self.device, self.draws, self.seed, self.reason = device, dict(draws), seed, reason
        drawn = ", ".join(f"{name} = {value:.6g}" for name, value in draws.items())
        super().__init__(f"device {device} ({drawn}; seed {seed}): {reason}")


def tolerance(
    system: System,
    metric: Metric,
    errors: Mapping[str, Distribution],
    *,
    samples: int,
    sampler: str = "sobol",
    require: Require | None = None,
    batch: int = 16,
    executor: Executor | Any = None,
    out: str | Path | None = None,
    resume: bool = True,
    seed: int = 0,
    config: Mapping[str, Any] | None = None,
    progress: bool = True,
) -> xr.Dataset:
    """How often a design still works when it is made with errors, one row per device made.

    The result is the same for any ``batch``, any ``executor`` and any number of interruptions, as far as
    ``system`` and ``metric`` themselves do not depend on how many devices they see at once and draw their
    random numbers from the seeds alone.

    Args:
        system: ``system(draws, seeds)`` makes B devices in one call, so that their optics is computed
            together: ``draws`` maps each error to a float64 tensor [B] in the unit of its law, ``seeds``
            are B whole numbers below 2**63, one for each device, for everything else that differs between
            devices. Returns a sequence of B devices.
        metric: ``metric(device)`` returns a number (called ``metric`` in the result) or several by name.
        errors: the law of each error by name; see `photonet.tolerance.distributions`.
        samples: number of devices.
        sampler: how the errors are drawn; see `photonet.tolerance.samplers`.
        require: for each metric the least value that passes, or `AtMost` a value; a bare one if the metric
            has no name. Adds what `with_yield` adds.
        batch: devices per call of ``system``.
        executor: where batches run: None (here, one after the other), a ``concurrent.futures.Executor`` or
            a ``dask.distributed.Client``. For processes, ``system`` and ``metric`` must be picklable.
        out: netCDF file, written atomically after each batch.
        resume: go on with what ``out`` holds; False starts anew and replaces it. A file is continued only
            by the system and metric that began it, told by their names and all that they hold, but for
            working state (``_cache``), code and globals: see `photonet.tolerance.identity.identity`.
        seed: whole number below 2**63; fixes the draws and the devices' seeds.
        config: what else identifies the study (the design's name, hash of its data), as JSON can hold it:
            stored, and compared before a file is continued.
        progress: show a progress bar on a terminal (never in a pipe or a log).

    Returns:
        Dataset over ``device``: each error's draws, each metric, ``seed``; units and laws in the attributes
        of the variables, provenance in those of the dataset. With ``require`` also ``passes`` and the yield.

    Raises:
        InvalidArgument: an argument that cannot be used, an ``out`` that cannot be written, or one that
            cannot be continued, as ``system`` or ``metric`` holds what cannot be told (an open file, a lock).
        UnknownName: no such sampler, or a metric is required that is not measured.
        DataError: ``out`` holds another study or is damaged.
        WorkerLost: a worker of ``executor`` died; what is finished is saved.
        DeviceFailed: a device raised or gave NaN; says which, with its draws and seed. What is finished
            is saved first.

    Example:
        >>> from photonet.tolerance import AtMost, Normal, tolerance
        >>> def lens(draws, seeds):                     # a "device" is its focal length, in m
        ...     return 0.1 * (1 + draws["radius"])
        >>> ds = tolerance(lens, lambda f: abs(float(f) - 0.1), {"radius": Normal(0, 0.01)},
        ...                samples=64, require=AtMost(1e-3))
        >>> f"{ds['yield'].item():.2f}"                 # one sigma: 0.68
        '0.69'
    """
    laws = _check_errors(errors)
    samples, batch, seed = count("samples", samples), count("batch", batch), count("seed", seed, 0)
    if seed >= 2**63:
        raise InvalidArgument("seed", "a whole number below 2**63, which files can hold", seed)
    lookup("sampler", sampler, SAMPLERS)
    requirements = check_require(require, sampler)
    cube = unit_cube(sampler, samples, len(laws), seed=seed)
    draws = {name: _drawn(name, law, cube[:, i]) for i, (name, law) in enumerate(laws.items())}
    table = _table(draws, laws, _device_seeds(seed, samples))
    path = None if out is None else writable(out, "out")
    continued = path is not None and resume
    functions = {  # as they are before anything has run, and may change what they hold
        "system": _identity("system", system, continued),
        "metric": _identity("metric", metric, continued),
    }
    table.attrs.update(_provenance(functions, laws, samples, sampler, seed, config))
    if path is not None:
        clear_left_behind(path)
    if path is not None and resume and path.exists():
        for name, values in read_metrics(path, table).items():
            table[name] = ("device", values, {"role": "metric"})
    jobs = _jobs(table, batch)
    _run(table, jobs, run_jobs(system, metric, jobs, executor), path, requirements, progress)
    if requirements:
        table = with_yield(table, requirements)
    if path is not None:
        write(table, path)
    return table


def _drawn(name: str, law: Distribution, quantiles: np.ndarray) -> np.ndarray:
    draws = np.asarray(law.ppf(quantiles), dtype=float)
    if draws.shape != quantiles.shape or not np.isfinite(draws).all():
        got = f"shape {draws.shape}" if draws.shape != quantiles.shape else "NaN or infinite ones"
        raise InvalidArgument(f"errors[{name!r}]", "a law with a finite draw for each device", got)
    return draws


def _check_errors(errors: Mapping[str, Distribution]) -> dict[str, Distribution]:
    if not isinstance(errors, Mapping) or not errors:
        raise InvalidArgument("errors", "a mapping from at least one name to its law", repr(errors)[:80])
    for name, law in errors.items():
        if not isinstance(name, str) or not name or "/" in name or name in RESERVED:
            raise InvalidArgument("errors", f"names without '/' other than {', '.join(RESERVED)}", repr(name))
        if not isinstance(law, Distribution) or isinstance(law, type):
            hint = "for a value without spread pass Fixed(value)"
            raise InvalidArgument(f"errors[{name!r}]", "a law such as Normal(0, 5e-9)", repr(law)[:80], hint)
    return dict(errors)


def _device_seeds(seed: int, samples: int) -> np.ndarray:
    """One independent seed [samples] (int64, not negative) per device, from the device's index alone."""
    states = (np.random.SeedSequence(seed, spawn_key=(1, device)) for device in range(samples))
    words = np.array([state.generate_state(1, np.uint64)[0] for state in states])
    return (words >> np.uint64(1)).astype(np.int64)


def _table(
    draws: Mapping[str, np.ndarray], laws: Mapping[str, Distribution], seeds: np.ndarray
) -> xr.Dataset:
    """The study before any device is made."""
    import xarray as xr

    table = xr.Dataset(coords={"device": np.arange(len(seeds))})
    for name, values in draws.items():
        table[name] = ("device", values, {"role": "draw", "units": laws[name].unit, "law": repr(laws[name])})
    table["seed"] = ("device", seeds, {"role": "seed"})
    return table


def _identity(argument: str, function: Any, continued: bool) -> str:
    """What ``function`` is; all of it must be told, before hours are spent, where the study may go on."""
    text, untold = identity(function)
    if untold and continued:
        raise InvalidArgument(
            argument, "what can be told from another one, so that `out` is not continued by that", untold[0],
            "hold it in an attribute that begins with an underscore and is no argument of __init__, and "
            "say in config what it is; or pass resume=False",
        )  # fmt: skip
    return text


def _provenance(
    functions: Mapping[str, str],
    laws: Mapping[str, Distribution],
    samples: int,
    sampler: str,
    seed: int,
    config: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """What the study is (hashed, and compared on resuming), and by what and when it was made (not hashed)."""
    import scipy

    study: dict[str, Any] = {
        "errors": [[name, repr(law)] for name, law in laws.items()],
        "sampler": sampler,
        "seed": seed,
        **functions,
        "config": config,
    }
    if not SAMPLERS[sampler].extends:
        study["samples"] = samples
    try:
        text = json.dumps(study, sort_keys=True)
    except (TypeError, ValueError) as error:
        raise InvalidArgument("config", "what JSON can hold", error) from None
    return provenance(
        numpy=np.__version__,
        scipy=scipy.__version__,  # its Sobol' points
        config=text,
        config_hash=config_hash(study),
        sampler=sampler,
        seed=seed,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    )


def _jobs(table: xr.Dataset, batch: int) -> list[Job]:
    """The devices not measured yet, in batches."""
    metrics = of_role(table, "metric")
    devices = table.sizes["device"]
    missing = np.flatnonzero(np.isnan(table[metrics[0]].values)) if metrics else np.arange(devices)
    jobs = []
    for start in range(0, len(missing), batch):
        rows = missing[start : start + batch]
        draws = {name: table[name].values[rows] for name in of_role(table, "draw")}
        jobs.append(Job(rows.tolist(), draws, table["seed"].values[rows].tolist()))
    return jobs


def _run(
    table: xr.Dataset,
    jobs: Sequence[Job],
    outcomes: Iterable[tuple[Job, Outcome]],
    path: Path | None,
    required: Iterable[str],
    progress: bool,
) -> None:
    """Fill the metrics of ``table`` as ``outcomes`` come, writing it after each batch."""
    failures: list[tuple[int, Failure]] = []
    devices = table.sizes["device"]
    done = devices - sum(len(job.devices) for job in jobs)
    silent = contextlib.nullcontext(lambda steps: None)
    with bar("devices", devices, done) if progress else silent as advance:
        for job, outcome in outcomes:
            for position, values in outcome.metrics.items():
                _store(table, job.devices[position], values)
            if path is not None and outcome.metrics:
                write(table, path)
            if outcome.metrics:
                for name in required:
                    choice("require", name, of_role(table, "metric"))
            if outcome.failure is not None:
                failures.append((job.devices[outcome.failure.position], outcome.failure))
            advance(len(outcome.metrics))
    if failures:
        raise _failed(table, *min(failures))


def _store(table: xr.Dataset, device: int, values: Mapping[str, float]) -> None:
    known = of_role(table, "metric")
    if not known:
        for name in values:
            if not name or "/" in name or name in RESERVED or name in table:
                taken = ", ".join([*RESERVED, *of_role(table, "draw")])
                raise InvalidArgument("metric", f"names without '/' other than {taken}", repr(name))
            table[name] = ("device", np.full(table.sizes["device"], np.nan), {"role": "metric"})
    elif set(known) != set(values):
        raise InvalidArgument("metric", f"the same names for each device: {known}", sorted(values))
    for name, value in values.items():
        table[name].values[device] = value


def _failed(table: xr.Dataset, device: int, failure: Failure) -> DeviceFailed:
    row = table.isel(device=device)
    draws = {name: float(row[name]) for name in of_role(table, "draw")}
    error = DeviceFailed(device, draws, int(row["seed"]), failure.reason)
    if failure.trace:
        error.add_note(failure.trace)
    return error
