"""Imports point down only, and `import photonet` brings in nothing but torch."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "photonet"

# A room is a module or a sub-package directly below photonet. It may import from rooms of lower levels,
# and from rooms of its own level as long as that makes no ring.
LEVELS = [
    {
        "arrays",
        "checks",
        "devices",
        "errors",
        "figures",
        "files",
        "grid",
        "precision",
        "progress",
        "provenance",
        "streams",
        "transforms",
        "units",
    },
    {"detector", "fabrication", "materials", "optics"},
    {"arrival", "display", "field", "mask", "nn", "ntk", "simulate"},
    {"data", "design", "distill", "estimate", "measured", "models", "tolerance"},
    {"cli", "plot", "quickstart", "report"},
]
LEVEL = {room: level for level, rooms in enumerate(LEVELS) for room in rooms}

# These take any torch module, so they may know nothing of optics (and not what it is built on either).
NARROW = {"ntk": LEVELS[0], "distill.losses": LEVELS[0] | {"ntk", "distill"}}

# Slow to import, or optional: only inside the function that needs them.
LATE = {
    "dask", "distributed", "h5netcdf", "h5py", "lightning", "matplotlib", "pandas", "rich",
    "safetensors", "scipy", "sklearn", "xarray",
}  # fmt: skip

MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}


def imported(module, path):
    """Dotted names that ``module`` imports anywhere in it, functions and TYPE_CHECKING blocks included."""
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            start = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{start}.{alias.name}" for alias in node.names)


def room(name):
    return name.split(".")[1] if name.count(".") else None


def arrows():
    """Pairs (module, dotted name) for every import of something of photonet inside photonet."""
    for module, path in MODULES.items():
        if room(module):  # photonet/__init__.py may name any room
            for name in imported(module, path):
                if name.split(".")[0] == "photonet":
                    yield module, name


def test_every_room_has_a_level():
    rooms = {room(module) for module in MODULES} - {None}
    assert rooms <= set(LEVEL), f"give {sorted(rooms - set(LEVEL))} a level in {Path(__file__).name}"


def test_the_walk_sees_every_kind_of_import(tmp_path):
    source = "import a.b\nfrom c import d\ndef f():\n    from .e import g\n    from .. import h\n"
    source += "    from ..i.j import k\n"
    path = tmp_path / "m.py"
    path.write_text(source)
    assert set(imported("photonet.p.m", path)) == {
        "a.b", "c.d", "photonet.p.e.g", "photonet.h", "photonet.i.j.k",
    }  # fmt: skip
    assert len(list(arrows())) > 10


def test_imports_point_down():
    wrong = []
    for module, name in arrows():
        target = room(name)
        if target == "__version__":  # the one thing of the top that provenance needs
            continue
        if target not in LEVEL:
            wrong.append(f"{module} imports {name}: import from the room, not from the top")
        elif LEVEL[target] > LEVEL[room(module)]:
            wrong.append(f"{module} (level {LEVEL[room(module)]}) imports {name} (level {LEVEL[target]})")
    assert not wrong, "\n".join(wrong)


def test_rooms_of_one_level_make_no_ring():
    graph = {}
    for module, name in arrows():
        if room(name) in LEVEL and room(name) != room(module):
            graph.setdefault(room(module), set()).add(room(name))

    def below(start, seen):
        for target in graph.get(start, ()):
            if target not in seen:
                seen.add(target)
                below(target, seen)
        return seen

    rings = [start for start in graph if start in below(start, set())]
    assert not rings, f"these rooms import each other: {rings}"


@pytest.mark.parametrize("part", NARROW)
def test_the_tangent_kernels_know_nothing_of_optics(part):
    wrong = [
        f"{module} imports {name}"
        for module, name in arrows()
        if f"{module}.".startswith(f"photonet.{part}.")
        and room(name) not in NARROW[part] | {part.split(".")[0], "__version__"}
    ]
    assert not wrong, "\n".join(wrong)


def test_slow_packages_are_imported_late():
    wrong = []
    for module, path in MODULES.items():
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            wrong += [f"{module}: {name}" for name in names if name.split(".")[0] in LATE]
    assert not wrong, "\n".join(wrong)


def test_import_photonet_adds_no_package_to_torch():
    code = """
import sys
import numpy, torch
before = set(sys.modules)
import photonet
added = {name.split(".")[0] for name in set(sys.modules) - before}
print(*sorted(added - set(sys.stdlib_module_names)))
"""
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    # the parts of packages that torch has loaded already may grow (numpy.x), whole new ones may not come
    loaded = subprocess.run(
        [sys.executable, "-c", "import sys, numpy, torch; print(*{m.split('.')[0] for m in sys.modules})"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert set(run.stdout.split()) - set(loaded.stdout.split()) == {"photonet"}
