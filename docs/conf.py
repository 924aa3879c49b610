"""How the documentation is built: `make docs`."""

import os
import re
import warnings

import matplotlib as mpl

import photonet

mpl.use("Agg")

project = "photonet"
author = "The photonet founders"
copyright = author
release = version = photonet.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "examples"]

html_theme = "furo"
html_title = f"photonet {version}"

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

# `name` in a docstring links to the object where there is one and is plain code where there is none.
default_role = "py:obj"
autodoc_default_options = {"members": True, "imported-members": True, "show-inheritance": False}
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_class_signature = "separated"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_custom_sections = ["Source"]
suppress_warnings = ["ref.python"]  # `y` in a formula may name many things; then it is just code

sphinx_gallery_conf = {
    "examples_dirs": "examples",
    "gallery_dirs": "gallery",
    "filename_pattern": r"\.py$",
    "download_all_examples": False,
    "show_memory": False,
    "min_reported_time": 0,
    "show_signature": False,
    "abort_on_example_error": True,
}

# A warning in an example is a mistake in it, as in the tests.
warnings.simplefilter("error", UserWarning)
os.environ.setdefault("OMP_NUM_THREADS", "2")


def keep_formulas(app, what, name, obj, options, lines):
    """Docstrings are plain text with backticks: a star or a bar is part of a formula, not of markup."""
    in_example = False
    for i, line in enumerate(lines):
        in_example = bool(line.strip()) and (in_example or line.lstrip().startswith(">>>"))
        if not in_example and not line.lstrip().startswith("..") and ":math:" not in line:
            parts = re.split(r"(`[^`]*`)", line)
            lines[i] = "".join(p if p.startswith("`") else re.sub(r"([*|])", r"\\\1", p) for p in parts)


def setup(app):
    # before napoleon (priority 500), which adds markup of its own
    app.connect("autodoc-process-docstring", keep_formulas, priority=400)
