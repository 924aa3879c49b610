"""Right on CUDA, as far as that can be tried without one: see `tests/elsewhere`."""

import subprocess
import sys
from pathlib import Path

import pytest
from torch.utils import backend_registration

CASES = Path(__file__).parent / "elsewhere" / "cases.py"


@pytest.mark.skipif(
    not hasattr(backend_registration, "_setup_privateuseone_for_python_backend"),
    reason="this torch has no devices written in Python",
)
def test_everything_stays_on_its_device():
    """In a process of its own: what registers a device with torch does so for good."""
    options = ["-q", "-n0", "-p", "no:cacheprovider", "-o", "addopts=--import-mode=importlib"]
    command = [sys.executable, "-m", "pytest", *options, str(CASES)]
    found = subprocess.run(command, capture_output=True, text=True, cwd=CASES.parents[2])
    assert found.returncode == 0, found.stdout[-4000:] + found.stderr[-2000:]
    assert int(found.stdout.rsplit(" passed", 1)[0].split()[-1]) > 80
