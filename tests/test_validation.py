"""The fast validation cases; `python -m validation` runs all of them and writes the table."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import validation

CASES = [c for c in validation.collect() if not c.slow]


@pytest.mark.parametrize("one", CASES, ids=[f"{c.room}: {c.name}" for c in CASES])
def test_case_keeps_its_bound(one):
    result = validation.run(one)
    if result.passed is None:
        pytest.skip(result.note)
    assert result.passed, f"error {result.error:.2g} above {result.bound:.2g}"


def test_table_is_written_as_json(tmp_path):
    out = tmp_path / "results.json"
    command = [sys.executable, "-m", "validation", "--only", "band limit", "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[1], check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    record = json.loads(out.read_text(encoding="utf-8"))
    assert record["cases"][0]["passed"] is True
    assert "torch" in record["versions"]


def test_error_that_is_not_a_number_fails():
    broken = validation.Case("x", "y", 1.0, lambda: float("nan"), False, "z")
    assert validation.run(broken).passed is False
