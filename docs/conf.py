"""Sphinx configuration: `sphinx-build docs docs/_build`.

API pages come from the docstrings (numpydoc), the gallery from notebooks/*.py, which are copied here
and executed while building; DNNSCHED_DOCS_EXECUTE=off leaves the execution out.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import dnnsched

os.environ.setdefault("DNNSCHED_PROFILE", "ci")
HERE = Path(__file__).resolve().parent
NOTEBOOKS = HERE.parent / "notebooks"
GALLERY = HERE / "gallery"

project = "dnnsched"
author = "dnnsched developers"
copyright = "dnnsched developers"
version = release = dnnsched.__version__

extensions = ["sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.mathjax", "numpydoc", "myst_nb"]
templates_path = ["_templates"]
exclude_patterns = ["_build", "_templates", "conf.py", "jupyter_execute", "generated/schema.md", "generated/formats.md"]
html_theme = "pydata_sphinx_theme"
html_title = "dnnsched"
html_show_sourcelink = False
html_theme_options = {
    "logo": {"text": "dnnsched"},
    "navbar_end": ["theme-switcher"],
    "header_links_before_dropdown": 8,
    "show_toc_level": 2,
    "footer_start": ["copyright"],
    "footer_end": ["sphinx-version"],
}
html_sidebars = {"index": []}

autosummary_generate = True
autodoc_member_order = "bysource"
autodoc_typehints = "none"
numpydoc_show_class_members = False
# A documented parameter that the function has not, or a section nobody knows: docstring and code have drifted apart.
numpydoc_validation_checks = {"GL06", "PR02"}

myst_enable_extensions = ["dollarmath", "colon_fence", "deflist"]
myst_heading_anchors = 3
nb_custom_formats = {".py": ["jupytext.reads", {"fmt": "py:percent"}]}
nb_execution_mode = os.environ.get("DNNSCHED_DOCS_EXECUTE", "auto")
nb_execution_timeout = 600
nb_execution_raise_on_error = True
nb_merge_streams = True
os.environ.pop("MPLBACKEND", None)  # the notebooks' kernels choose theirs: figures go into the page


def copy_notebooks():
    """Copy the notebooks' sources beside the pages, and list them on the gallery page."""
    shutil.rmtree(GALLERY, ignore_errors=True)
    GALLERY.mkdir()
    names = []
    for path in sorted(NOTEBOOKS.glob("[0-9]*.py")):
        shutil.copy(path, GALLERY)
        names.append(path.stem)
    text = ("# Gallery\n\nThe notebooks in `notebooks/`, executed while this documentation was built.\n\n"
            "```{toctree}\n:maxdepth: 1\n\n" + "\n".join(names) + "\n```\n")
    (GALLERY / "index.md").write_text(text, encoding="utf-8")


def write_cli_help():
    """The command line's own help, verb by verb."""
    verbs = ("list", "info", "run", "reproduce", "sweep", "compare", "audit", "bench kernels",
             "validate-run", "export-timeline", "trace convert", "trace stats", "trace slice")
    text = []
    for verb in ((), *(v.split() for v in verbs)):
        command = [sys.executable, "-P", "-m", "dnnsched.cli", *verb, "--help"]
        done = subprocess.run(command, capture_output=True, text=True, check=True,
                              env={**os.environ, "COLUMNS": "100", "NO_COLOR": "1"})
        text.append(f"$ dnnsched {' '.join([*verb, '--help'])}\n\n{done.stdout}")
    folder = HERE / "generated"
    folder.mkdir(exist_ok=True)
    (folder / "cli-help.txt").write_text("\n".join(text), encoding="utf-8")


def write_schemas():
    """The columns of saved tables, from their one definition."""
    (HERE / "generated").mkdir(exist_ok=True)
    (HERE / "generated" / "schema.md").write_text(dnnsched.schema.markdown(), encoding="utf-8")


def draw_timeline():
    """The figure of the page on timelines."""
    from dnnsched.viz import style

    workload = dnnsched.workloads.poisson(dnnsched.traces.load("multi-attnn-calibrated"), rho=0.95, n=200,
                                          slo_multiplier=10.0, rng=1)
    result = dnnsched.simulate(workload, "dysta", timeline=True)
    style.save(result.timeline.plot(n=60), HERE / "generated" / "timeline")


def write_formats():
    """The formats of request files, from their one definition."""
    from dnnsched import _formats

    (HERE / "generated").mkdir(exist_ok=True)
    (HERE / "generated" / "formats.md").write_text(_formats.markdown(), encoding="utf-8")


copy_notebooks()
write_cli_help()
write_schemas()
draw_timeline()
write_formats()
