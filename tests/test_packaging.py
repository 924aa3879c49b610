"""What a user installs works: the wheel and the editable install, each in an environment of its own."""

import json
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
KINDS = sorted(path.name for path in (ROOT / "materials").iterdir() if path.is_dir())
ANSWER = """
import json, sys, photonet
from photonet import materials
print(json.dumps({
    "package": photonet.__file__,
    "version": photonet.__version__,
    "file": str(materials.path("dispersion", "SiO2")),
    "index": float(materials.load("SiO2").index(587.56e-9).real),
    "found": {kind: materials.names(kind) for kind in sys.argv[1:]},
}))
"""


def run(*command, cwd):
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, made from the source archive as on a release day."""
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, ROOT, cwd=out)
    (found,) = out.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def editable(tmp_path_factory):
    """The wheel that ``pip install -e`` unpacks: a pointer to this checkout."""
    out = tmp_path_factory.mktemp("editable")
    code = f"import hatchling.build; hatchling.build.build_editable({str(out)!r})"
    run(sys.executable, "-c", code, cwd=ROOT)
    (found,) = out.glob("*.whl")
    return found


def contents(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def files(folder):
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def ask(wheel, folder):
    """Unpack ``wheel`` into a fresh environment that shares only the dependencies, and ask it.

    A path named in a .pth file is searched after the environment's own packages and its own .pth files are
    not read, so the editable photonet of the running environment is out of reach.
    """
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    packages = Path(
        run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).strip()
    )
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(packages)
    shared = sorted({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")})
    (packages / "zz_dependencies.pth").write_text("\n".join(shared))
    # -I: neither PYTHONPATH nor the current folder may lend a hand
    return packages, json.loads(run(python, "-I", "-c", ANSWER, *KINDS, cwd=folder))


def test_a_material_is_read_from_the_wheel_alone(wheel, tmp_path):
    packages, answer = ask(wheel, tmp_path / "venv")
    assert Path(answer["package"]).is_relative_to(packages)
    assert Path(answer["file"]).is_relative_to(packages / "photonet" / "_materials")
    assert answer["index"] == pytest.approx(1.4585, abs=5e-5)  # fused silica, n_d of the data sheets
    assert answer["found"] == {
        kind: sorted(path.stem for path in (ROOT / "materials" / kind).glob("*.toml")) for kind in KINDS
    }


def test_a_material_is_read_from_an_editable_install(editable, tmp_path):
    _, answer = ask(editable, tmp_path / "venv")
    assert not any(name.startswith("photonet/") for name in contents(editable))  # no copy that could grow old
    assert Path(answer["package"]) == ROOT / "photonet" / "__init__.py"
    assert Path(answer["file"]) == ROOT / "materials" / "dispersion" / "SiO2.toml"
    assert answer["index"] == pytest.approx(1.4585, abs=5e-5)


def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    held = contents(wheel)
    (info,) = {name.split("/")[0] for name in held} - {"photonet"}
    version = info.removeprefix("photonet-").removesuffix(".dist-info")
    assert wheel.name == f"photonet-{version}-py3-none-any.whl"
    ours = {f"photonet/{p}" for p in files(ROOT / "photonet")}
    data = {f"photonet/_materials/{p}" for p in files(ROOT / "materials")}
    assert "photonet/py.typed" in ours
    assert {name for name in held if name.startswith("photonet/")} == ours | data
    assert f"{info}/entry_points.txt" in held
