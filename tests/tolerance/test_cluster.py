"""Studies on a cluster of two processes: dask's own, in a process that can be ended if it hangs."""

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = """
import xarray
from distributed import Client, LocalCluster
from photonet.tolerance import DeviceFailed, Normal, Uniform, tolerance
from tolerance_toys import line, measure, poisoned

def study(system, **options):
    errors = {"x": Uniform(0, 1, unit="m"), "y": Normal(0, 1, unit="rad")}
    return tolerance(system, measure, errors, progress=False, **options)

if __name__ == "__main__":
    cluster = LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None)
    with cluster, Client(cluster) as client:
        client.wait_for_workers(2, timeout=60)
        there, here = study(line, samples=40, batch=3, executor=client), study(line, samples=40)
        xarray.testing.assert_equal(there, here)
        print("same")
        try:
            study(poisoned, samples=64, batch=4, executor=client)
        except DeviceFailed as error:
            print(error.draws["x"] > 0.9)
"""


def test_a_cluster_gives_what_one_worker_gives_and_ends_when_a_device_fails(tmp_path):
    """It had waited for ever for those that it cancelled, of which a cluster never tells."""
    script = tmp_path / "study.py"
    script.write_text(SCRIPT)
    here = Path(__file__).parent
    path = os.pathsep.join([str(here), str(here.parents[1])])
    done = subprocess.run(
        [sys.executable, script], env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, timeout=180,
    )  # fmt: skip
    assert done.stdout.split() == ["same", "True"], done.stderr
