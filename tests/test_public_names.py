"""A public name does not vanish unnoticed: the list is checked in.

After a wanted change write it anew with ``python -m tests.test_public_names``, and say so in CHANGELOG.md.
"""

import importlib
import pkgutil
from pathlib import Path

import photonet

LIST = Path(__file__).with_name("public_names.txt")


def public_modules():
    """Every module of photonet whose path has no private part."""
    yield photonet
    for info in pkgutil.walk_packages(photonet.__path__, "photonet."):
        if not any(part.startswith("_") for part in info.name.split(".")):
            yield importlib.import_module(info.name)


def public_names():
    return sorted(f"{module.__name__}.{name}" for module in public_modules() for name in module.__all__)


def test_every_public_module_says_what_is_public():
    silent = [module.__name__ for module in public_modules() if not hasattr(module, "__all__")]
    assert not silent, f"no __all__ in {silent}"
    ghosts = [
        f"{module.__name__}.{name}"
        for module in public_modules()
        for name in module.__all__
        if not hasattr(module, name)
    ]
    assert not ghosts, f"in __all__ but not there: {ghosts}"


def test_public_names_are_those_of_the_list():
    listed, found = set(LIST.read_text(encoding="utf-8").split()), set(public_names())
    lost, new = sorted(listed - found), sorted(found - listed)
    assert not lost, f"gone: {lost}. If that is wanted: python -m tests.test_public_names, and CHANGELOG.md"
    assert not new, f"new: {new}. Take them into the list: python -m tests.test_public_names"


if __name__ == "__main__":
    LIST.write_text("\n".join(public_names()) + "\n", encoding="utf-8")
