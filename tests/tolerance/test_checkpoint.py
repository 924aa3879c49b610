"""The file: whole at any moment, continued only by its own study, and to exactly the same result."""

import functools
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from photonet.errors import DataError
from photonet.tolerance import Normal, Uniform, tolerance
from photonet.tolerance.checkpoint import write

sys.path.insert(0, str(Path(__file__).parent))
from tolerance_toys import line, measure

ERRORS = {"x": Uniform(0, 1), "y": Normal(0, 1)}
run = functools.partial(tolerance, line, measure, ERRORS, progress=False)
load = functools.partial(xr.load_dataset, engine="h5netcdf")


class Counted:
    """`line` that counts its devices, interrupted after some batches as by Ctrl-C; always one system."""

    def __init__(self, batches=None):
        self._made, self._left = [], batches

    def __call__(self, draws, seeds):
        if self._left == len(self._made):
            raise KeyboardInterrupt
        self._made.append(len(seeds))
        return line(draws, seeds)

    @property
    def made(self):
        return sum(self._made)


counted = functools.partial(tolerance, metric=measure, errors=ERRORS, progress=False)


def test_the_file_holds_what_is_returned(tmp_path):
    ds = run(samples=20, out=tmp_path / "new" / "study.nc", require={"good": 0.5, "bad": 1.0})
    assert load(tmp_path / "new" / "study.nc").identical(ds)
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["study.nc"]


@pytest.mark.parametrize("after", [1, 3])
def test_an_interrupted_study_goes_on_to_the_same_result(tmp_path, after):
    out = tmp_path / "study.nc"
    with pytest.raises(KeyboardInterrupt):
        counted(Counted(after), samples=20, batch=4, out=out)
    assert int(load(out).good.notnull().sum()) == 4 * after
    system = Counted()
    xr.testing.assert_equal(counted(system, samples=20, batch=5, out=out), run(samples=20))
    assert system.made == 20 - 4 * after


def test_a_finished_study_is_read_and_can_grow(tmp_path):
    again = functools.partial(counted, out=tmp_path / "study.nc")
    again(Counted(), samples=8)
    system = Counted()
    xr.testing.assert_equal(again(system, samples=8), run(samples=8))
    assert system.made == 0
    xr.testing.assert_equal(again(system, samples=20), run(samples=20))
    assert system.made == 12
    again(system, samples=20, resume=False)
    assert system.made == 32


def test_new_requirements_need_no_new_devices(tmp_path):
    out = tmp_path / "study.nc"
    counted(Counted(), samples=8, out=out, require={"good": 0.5})
    system = Counted()
    ds = counted(system, samples=8, out=out, require={"good": 0.25})
    assert system.made == 0
    assert ds["yield"].item() == 0.75
    assert load(out).identical(ds)


@pytest.mark.parametrize(
    "change",
    [
        {"errors": {"x": Uniform(0, 1), "y": Normal(0, 2)}},
        {"errors": {"y": Normal(0, 1), "x": Uniform(0, 1)}},
        {"sampler": "random"},
        {"seed": 1},
        {"config": {"design": "b"}},
        {"metric": lambda device: {"good": 1.0}},
        {"system": lambda draws, seeds: line(draws, seeds)},
    ],
)
def test_another_study_is_refused_and_the_file_is_left_alone(tmp_path, change):
    out = tmp_path / "study.nc"
    arguments = {"system": line, "metric": measure, "errors": ERRORS, "samples": 8, "progress": False}
    tolerance(**arguments, out=out, config={"design": "a"})
    before = out.read_bytes()
    with pytest.raises(DataError, match="holds another study"):
        tolerance(**({**arguments, "config": {"design": "a"}} | change), out=out)
    assert out.read_bytes() == before


def test_a_latin_hypercube_of_another_size_is_another_study(tmp_path):
    run(samples=8, sampler="lhs", out=tmp_path / "study.nc")
    with pytest.raises(DataError, match="holds another study"):
        run(samples=16, sampler="lhs", out=tmp_path / "study.nc")


def test_fewer_devices_than_the_file_holds_are_refused(tmp_path):
    run(samples=8, out=tmp_path / "study.nc")
    with pytest.raises(DataError, match="8 devices, more than samples = 4"):
        run(samples=4, out=tmp_path / "study.nc")


def test_other_draws_from_the_same_seed_are_noticed(tmp_path):
    out = tmp_path / "study.nc"
    ds = run(samples=8, out=out)
    ds["y"][2] += 1e-12  # as another version of a library might draw it
    write(ds, out)
    with pytest.raises(DataError, match=r"drawn otherwise \(y differs"):
        run(samples=8, out=out)


def test_a_file_that_is_no_study_is_refused(tmp_path):
    out = tmp_path / "study.nc"
    out.write_bytes(b"not a netCDF file")
    with pytest.raises(DataError, match="is no study"):
        run(samples=8, out=out)
    assert out.read_bytes() == b"not a netCDF file"
    xr.Dataset({"x": ("y", np.zeros(3))}).to_netcdf(out, engine="h5netcdf")
    with pytest.raises(DataError, match="is no study"):
        run(samples=8, out=out)


def test_no_damage_passes_for_a_number(tmp_path):
    """The sign bit of a metric; then bits anywhere, and cuts, of which some crash the HDF5 library."""
    out, again = tmp_path / "study.nc", functools.partial(run, samples=8, out=tmp_path / "study.nc")
    whole, value = again(), run(samples=8).bad.values[1]
    content = out.read_bytes()
    places = [8 * content.index(np.float64(value).tobytes()) + 63]
    places += np.random.default_rng(0).integers(8 * len(content), size=60).tolist()
    for place in places:
        damaged = bytearray(content)
        damaged[place // 8] ^= 1 << place % 8
        out.write_bytes(damaged)
        with pytest.raises(DataError, match="^out: .*(damaged|no seal).*resume=False"):
            again()
        assert out.read_bytes() == damaged
    for length in (0, 10, len(content) // 2, len(content) - 1):
        out.write_bytes(content[:length])
        with pytest.raises(DataError, match="no seal"):
            again()
    out.write_bytes(content)
    assert again().equals(whole)


def test_what_a_killed_process_left_is_removed_once_it_is_nobodys(tmp_path):
    kept = [".study-12345678.nc", ".study-2-12345678.nc", ".study-12345678.h5", ".other-12345678.nc"]
    left = ".study-abcdefg_.nc"
    for name in [left, *kept]:
        (tmp_path / name).touch()
    for name in [left, *kept[1:]]:  # the first may be of a process that is just writing
        os.utime(tmp_path / name, (0, 0))
    run(samples=8, out=tmp_path / "study.nc")
    assert {file.name for file in tmp_path.iterdir()} == {"study.nc", *kept}


def test_other_programs_read_a_sealed_file_as_it_is(tmp_path):
    ds = run(samples=8, out=tmp_path / "study.nc")
    with xr.open_dataset(tmp_path / "study.nc") as found:
        assert found.identical(ds)


KILLED_STUDIES = """
import itertools, os, random, signal, sys, time
import h5netcdf, xarray, scipy.stats, torch
sys.path.insert(0, {toys!r})
from tolerance_toys import line, measure
from photonet.tolerance import Normal, Uniform, tolerance
from photonet.tolerance.checkpoint import write

path, rng = sys.argv[1], random.Random(0)
errors = {{"x": Uniform(0, 1), "y": Normal(0, 1)}}
for kill in itertools.count():
    child = os.fork()
    if child == 0:
        tolerance(line, measure, errors, samples=24, batch=1, out=path)
        os._exit(0)
    time.sleep(rng.uniform(0.0, 0.05 + 0.06 * kill))  # ever longer, so that any machine comes to the end
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.path.exists(path):
        with xarray.open_dataset(path, engine="h5netcdf") as kept:
            print(int(kept.good.notnull().sum()), flush=True)
    if os.WIFEXITED(status):
        sys.exit(os.WEXITSTATUS(status))
"""


def test_a_study_killed_at_random_moments_never_leaves_half_a_file(tmp_path):
    out = tmp_path / "study.nc"
    code = KILLED_STUDIES.format(toys=str(Path(__file__).parent))
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", code, out], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    kept = [int(word) for word in done.stdout.split()]
    assert kept == sorted(kept)  # nothing finished was ever lost
    assert kept[-1] == 24
    xr.testing.assert_equal(load(out), run(samples=24))
