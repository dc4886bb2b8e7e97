"""Notebooks: notebooks/*.py (py:percent) are the source; .ipynb files are made from them.

    python tools/notebooks.py convert DIR      write DIR/<name>.ipynb, without outputs
    python tools/notebooks.py execute [NAME]   run each in a fresh kernel (profile: DNNSCHED_PROFILE)
"""

import os
import sys
from pathlib import Path

import nbformat

SOURCE = Path(__file__).resolve().parent.parent / "notebooks"


def read(path):
    """A py:percent file as a notebook.

    Parameters
    ----------
    path : pathlib.Path
        Cells begin with ``# %%`` (code) or ``# %% [markdown]`` (text, each line commented).

    Returns
    -------
    nbformat.NotebookNode
    """
    cells, kind, lines = [], None, []

    def close():
        text = "\n".join(lines).strip("\n")
        if kind == "markdown":
            text = "\n".join(line.removeprefix("#").removeprefix(" ") for line in text.split("\n"))
            cells.append(nbformat.v4.new_markdown_cell(text))
        elif kind == "code" and text:
            cells.append(nbformat.v4.new_code_cell(text))

    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("# %%"):
            close()
            kind, lines = ("markdown" if "[markdown]" in line else "code"), []
        elif kind is not None:
            lines.append(line)
    close()
    book = nbformat.v4.new_notebook(cells=cells)
    book.metadata["kernelspec"] = {"display_name": "Python 3", "language": "python", "name": "python3"}
    for number, cell in enumerate(book.cells):
        cell["id"] = f"cell-{number:03d}"
    return book


def execute(path, folder, timeout=120):
    """Run a notebook in a fresh kernel, where figures go into the notebook whatever MPLBACKEND says.

    Parameters
    ----------
    path : pathlib.Path
    folder : path-like
        Working directory of the kernel.
    timeout : int
        Seconds per cell.

    Returns
    -------
    nbformat.NotebookNode
        With outputs.

    Raises
    ------
    nbclient.exceptions.CellExecutionError
        If a cell fails.
    """
    from nbclient import NotebookClient

    book = read(path)
    resources = {"metadata": {"path": str(folder)}}
    NotebookClient(book, timeout=timeout, kernel_name="python3", resources=resources).execute(
        env={k: v for k, v in os.environ.items() if k != "MPLBACKEND"})
    return book


def main(argv):
    """Command line; see the module's docstring."""
    if len(argv) == 2 and argv[0] == "convert":
        target = Path(argv[1])
        target.mkdir(parents=True, exist_ok=True)
        for path in sorted(SOURCE.glob("[0-9]*.py")):
            nbformat.write(read(path), target / f"{path.stem}.ipynb")
            print(target / f"{path.stem}.ipynb")
        return 0
    if argv and argv[0] == "execute":
        for path in sorted(SOURCE.glob("[0-9]*.py")):
            if len(argv) == 1 or path.stem in argv[1:]:
                execute(path, ".")
                print(path.stem, "ok")
        return 0
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
