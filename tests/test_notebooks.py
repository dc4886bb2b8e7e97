"""Every notebook runs in a fresh kernel under the ci profile, and converts to .ipynb and back."""

import importlib.util
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")
pytest.importorskip("nbclient")
pytest.importorskip("matplotlib")

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted((ROOT / "notebooks").glob("[0-9]*.py"))


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("notebooks_tool", ROOT / "tools" / "notebooks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.heavy
@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.stem)
def test_notebook_runs(path, tool, tmp_path, monkeypatch):
    monkeypatch.setenv("DNNSCHED_PROFILE", "ci")
    book = tool.execute(path, tmp_path, timeout=300)
    outputs = [o for cell in book.cells if cell.cell_type == "code" for o in cell.outputs]
    assert any("image/png" in o.get("data", {}) for o in outputs)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.stem)
def test_conversion_keeps_every_line(path, tool, tmp_path):
    book = tool.read(path)
    nbformat.validate(book)
    assert tool.main(["convert", str(tmp_path)]) == 0
    again = nbformat.read(tmp_path / f"{path.stem}.ipynb", as_version=4)
    code = "\n".join(c.source for c in again.cells if c.cell_type == "code")
    source = path.read_text(encoding="utf-8").splitlines()
    assert all(line in code or not line or line.startswith("#") for line in source)
    assert again.cells[0].cell_type == "markdown"
    assert again.cells[0].source.startswith("# ")
