"""Studies: the numbers, the same for any batch and executor, and what happens when a device fails."""

import functools
import sys
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

from photonet.errors import DataError, InvalidArgument, UnknownName
from photonet.tolerance import AtMost, DeviceFailed, Fixed, Normal, Uniform, WorkerLost, tolerance

sys.path.insert(0, str(Path(__file__).parent))  # so that worker processes find the toys by name
from tolerance_toys import deadly, line, measure, nan_metric, poisoned

ERRORS = {"x": Uniform(0, 1, unit="m"), "y": Normal(0, 1, unit="rad")}
run = functools.partial(tolerance, line, measure, ERRORS, progress=False)


def test_the_result_is_labelled_and_says_where_it_comes_from():
    ds = run(samples=20, sampler="random", seed=3)
    assert dict(ds.sizes) == {"device": 20}
    assert list(ds.data_vars) == ["x", "y", "seed", "good", "bad", "noise"]
    assert ds.x.attrs == {"role": "draw", "units": "m", "law": "Uniform(low=0.0, high=1.0, unit='m')"}
    np.testing.assert_array_equal(ds.good, ds.x)
    np.testing.assert_array_equal(ds.bad, abs(ds.y))
    assert ds.seed.dtype == np.int64
    assert len(set(ds.seed.values)) == 20
    assert (ds.seed >= 0).all()
    assert ds.attrs["sampler"] == "random"
    assert ds.attrs["seed"] == 3
    assert {"config", "config_hash", "photonet", "numpy", "scipy", "torch", "created"} <= set(ds.attrs)


def test_the_seeds_reach_the_devices():
    ds = run(samples=4)
    expected = [
        torch.rand((), generator=torch.Generator().manual_seed(int(s)), dtype=torch.float64) for s in ds.seed
    ]
    assert ds.noise.values.tolist() == [float(e) for e in expected]


@pytest.mark.parametrize("batch", [1, 7, 100])
def test_the_batch_does_not_matter(batch):
    xr.testing.assert_equal(run(samples=20, batch=batch), run(samples=20, batch=16))


def test_threads_give_what_one_worker_gives():
    with ThreadPoolExecutor(2) as pool:
        xr.testing.assert_equal(run(samples=40, batch=3, executor=pool), run(samples=40))


def test_processes_give_what_one_worker_gives(tmp_path):
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        parallel = run(samples=40, batch=3, executor=pool, out=tmp_path / "study.nc")
        with pytest.raises(DeviceFailed) as caught:
            tolerance(poisoned, measure, ERRORS, samples=64, batch=4, executor=pool, progress=False)
    xr.testing.assert_equal(parallel, run(samples=40))
    with pytest.raises(DeviceFailed) as serial:
        tolerance(poisoned, measure, ERRORS, samples=64, batch=4, progress=False)
    assert caught.value.device == serial.value.device


def test_a_worker_that_dies_is_said_and_what_is_finished_is_kept(tmp_path):
    out = tmp_path / "study.nc"
    with (
        ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool,
        pytest.raises(WorkerLost, match=r"^executor: a worker process died.*smaller batch.*__main__"),
    ):
        tolerance(deadly, measure, ERRORS, samples=64, batch=2, executor=pool, out=out, progress=False)
    first = int(np.argmax(run(samples=64).x.values > 0.9)) // 2 * 2
    assert int(xr.load_dataset(out, engine="h5netcdf").good.notnull().sum()) == first > 0


@pytest.mark.parametrize("argument", ["system", "metric"])
def test_what_cannot_be_sent_to_a_process_is_named(argument):
    functions = {"system": line, "metric": measure} | {argument: lambda *_: None}
    with (
        ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool,
        pytest.raises(InvalidArgument, match=f"^{argument}: expected what can be pickled.*top of a file"),
    ):
        tolerance(**functions, errors=ERRORS, samples=4, executor=pool, progress=False)


def test_a_pool_that_is_closed_is_said():
    pool = ThreadPoolExecutor(1)
    pool.shutdown()
    with pytest.raises(WorkerLost, match="cannot schedule new futures after shutdown"):
        run(samples=4, executor=pool)


@pytest.mark.parametrize(
    ("made", "got"),
    [(lambda seeds: dict.fromkeys(seeds, 1.0), "a dict"), (lambda seeds: set(seeds), "a set")],
)
def test_what_has_no_order_is_no_sequence_of_devices(made, got):
    """The keys of a mapping had been measured."""
    with pytest.raises(DeviceFailed, match=f"expected a sequence of 4 devices, got {got}"):
        tolerance(lambda draws, seeds: made(seeds), float, {"x": Fixed(0)}, samples=4, progress=False)


def test_a_client_that_offers_an_executor_is_taken_as_one():
    class Client:
        def __init__(self, pool):
            self.pool = pool

        def get_executor(self, *, pure):
            assert not pure  # a device is not a pure function of its arguments to a scheduler that caches
            return self.pool

    with ThreadPoolExecutor(2) as pool:
        xr.testing.assert_equal(run(samples=8, batch=2, executor=Client(pool)), run(samples=8))


def test_other_seeds_other_devices_and_more_samples_the_same_ones():
    few, more, other = run(samples=8), run(samples=16), run(samples=8, seed=1)
    xr.testing.assert_equal(more.isel(device=slice(8)), few)
    assert not (few.x == other.x).any()
    assert not (few.seed == other.seed).any()


def test_the_system_sees_whole_batches_of_float64_tensors():
    seen = []

    def system(draws, seeds):
        seen.append((draws["x"].dtype, tuple(draws["x"].shape), len(seeds), type(seeds[0])))
        return draws["x"]

    ds = tolerance(system, float, {"x": Fixed(2.0)}, samples=10, batch=4, progress=False)
    assert seen == [(torch.float64, (n,), n, int) for n in (4, 4, 2)]
    assert (ds.metric == 2).all()


def test_what_a_system_does_to_its_draws_stays_there():
    def greedy(draws, seeds):
        return draws["x"].mul_(2)

    ds = tolerance(greedy, float, {"x": Uniform(0, 1)}, samples=8, progress=False)
    np.testing.assert_array_equal(ds.metric, 2 * ds.x)


def test_yields_come_with_the_study():
    ds = run(samples=64, require={"good": 0.25, "bad": AtMost(1e9)})
    assert ds.requirement.values.tolist() == ["good", "bad", "all"]
    # 64 Sobol' points of a uniform law: 16 in each quarter
    assert ds["yield"].values.tolist() == [0.75, 1.0, 0.75]
    np.testing.assert_array_equal(ds.passes, ds.x >= 0.25)


@pytest.mark.parametrize("batch", [1, 4, 64])
def test_a_device_that_cannot_be_made_is_named_with_its_draws(batch):
    with pytest.raises(DeviceFailed, match="x is too large") as caught:
        tolerance(poisoned, measure, ERRORS, samples=64, batch=batch, progress=False)
    ds = run(samples=64)
    first = int(np.argmax(ds.x.values > 0.9))
    assert caught.value.device == first
    assert caught.value.draws == {"x": float(ds.x[first]), "y": float(ds.y[first])}
    assert caught.value.seed == int(ds.seed[first])
    assert "in poisoned" in caught.value.__notes__[0]  # the traceback of where it happened


def test_a_nan_is_a_failure_of_that_device():
    with pytest.raises(DeviceFailed, match="'good' is NaN") as caught:
        tolerance(line, nan_metric, ERRORS, samples=64, progress=False)
    assert caught.value.draws["x"] > 0.9


def test_a_batch_that_fails_only_as_a_whole_is_not_blamed_on_a_device():
    def one_only(draws, seeds):
        if len(seeds) > 1:
            raise MemoryError("too many")
        return line(draws, seeds)

    with pytest.raises(DeviceFailed, match=r"8 devices together raise MemoryError.*smaller batch"):
        tolerance(one_only, measure, ERRORS, samples=8, progress=False)
    tolerance(one_only, measure, ERRORS, samples=8, batch=1, progress=False)


def test_finished_devices_are_kept_when_another_fails(tmp_path):
    out = tmp_path / "study.nc"
    with pytest.raises(DeviceFailed) as caught:
        tolerance(poisoned, measure, ERRORS, samples=64, batch=4, out=out, progress=False)
    kept = xr.load_dataset(out, engine="h5netcdf")
    assert int(kept.good.notnull().sum()) == caught.value.device


@pytest.mark.parametrize(
    ("change", "argument"),
    [
        ({"errors": {}}, "errors"),
        ({"errors": {"seed": Fixed(1)}}, "errors"),
        ({"errors": {"a/b": Fixed(1)}}, "errors"),
        ({"errors": {"x": 3.0}}, "errors['x']"),
        ({"errors": {"x": Normal}}, "errors['x']"),
        ({"samples": 0}, "samples"),
        ({"batch": 0}, "batch"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**63}, "seed"),
        ({"sampler": "monte-carlo"}, "sampler"),
        ({"config": {"design": object()}}, "config"),
        ({"require": {"accuracy": 0.9}}, "require"),
        ({"require": "high"}, "require"),
        ({"require": {}}, "require"),
        ({"require": {"good": 0.9}, "sampler": "one-at-a-time", "samples": 3}, "require"),
        ({"metric": lambda device: {"x": 1.0}}, "metric"),
        ({"metric": lambda device: {f"m{float(device[0])}": 1.0}}, "metric"),
    ],
)
def test_wrong_input_names_the_argument(change, argument):
    arguments = {
        "system": line,
        "metric": measure,
        "errors": ERRORS,
        "samples": 8,
        "progress": False,
    } | change
    with pytest.raises(InvalidArgument) as caught:
        tolerance(**arguments)
    assert caught.value.argument == argument


def test_a_wrong_number_of_devices_is_said():
    with pytest.raises(DeviceFailed, match="expected a sequence of 8 devices, got 1"):
        tolerance(lambda d, s: [0.0], float, {"x": Fixed(0)}, samples=8, progress=False)


def test_a_required_metric_that_is_missing_is_said_after_one_batch():
    calls = []

    def counted(draws, seeds):
        calls.append(len(seeds))
        return line(draws, seeds)

    with pytest.raises(UnknownName, match="did you mean good"):
        tolerance(counted, measure, ERRORS, samples=64, batch=4, require={"god": 0.5}, progress=False)
    assert calls == [4]


def test_the_bar_is_silent_when_nobody_looks(capsys):
    run(samples=4, progress=True)
    assert capsys.readouterr() == ("", "")


def test_the_bar_counts_the_devices_on_a_terminal(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    run(samples=4, batch=2, progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "4/4" in err


def test_processes_that_fork_are_refused(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    with (
        ProcessPoolExecutor(1, mp_context=get_context("fork")) as pool,
        pytest.raises(InvalidArgument, match="executor: expected fresh processes"),
    ):
        run(samples=4, executor=pool)


@pytest.mark.parametrize("executor", ["foo", 3])
def test_what_runs_nothing_is_no_executor(executor):
    with pytest.raises(InvalidArgument, match="executor: expected None, a concurrent.futures.Executor"):
        run(samples=4, executor=executor)


def test_a_place_that_cannot_be_written_is_named_before_the_first_device(tmp_path):
    def never(draws, seeds):
        raise AssertionError

    with pytest.raises(InvalidArgument, match="^out: expected a file to write"):
        tolerance(never, measure, ERRORS, samples=4, out=tmp_path, progress=False)


class Lawless(Normal):
    def ppf(self, quantiles):
        return np.full(len(quantiles), np.nan)


class Single(Normal):
    def ppf(self, quantiles):
        return 0.0


@pytest.mark.parametrize("law", [Lawless(0, 1), Single(0, 1)])
def test_a_law_without_draws_is_named(law):
    with pytest.raises(InvalidArgument, match=r"errors\['x'\]: expected a law with a finite draw"):
        tolerance(line, measure, {"x": law, "y": Normal(0, 1)}, samples=4, progress=False)


def test_a_metric_of_nothing_is_named():
    with pytest.raises(DeviceFailed, match="metric: expected at least one number"):
        tolerance(line, lambda device: {}, ERRORS, samples=4, progress=False)


def test_what_a_function_is_partial_to_belongs_to_the_study(tmp_path):
    def study(k):
        system, out = functools.partial(scaled, k=k), tmp_path / "study.nc"
        return tolerance(system, measure, ERRORS, samples=4, out=out, progress=False)

    found = study(2.0)
    with pytest.raises(DataError, match="another study"):
        study(1.0)
    xr.testing.assert_equal(study(2.0), found)


def test_networks_inside_of_what_it_is_partial_to_count(tmp_path):
    def study(weight):
        network = torch.nn.Linear(1, 1, bias=False)
        torch.nn.init.constant_(network.weight, weight)
        system, out = functools.partial(weighed, networks=[network]), tmp_path / "study.nc"
        return tolerance(system, measure, ERRORS, samples=4, out=out, progress=False)

    study(1.0)
    with pytest.raises(DataError, match="another study"):
        study(2.0)


def weighed(draws, seeds, *, networks):
    return scaled(draws, seeds, k=float(networks[0].weight.detach()))


def scaled(draws, seeds, *, k):
    return [(k * x, y, noise) for x, y, noise in line(draws, seeds)]
