"""The Python examples of the README and of the documentation run as they are printed."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
WITH_CODE = [page for page in PAGES if BLOCK.search(page.read_text(encoding="utf-8"))
             and "gallery" not in page.parts]


@pytest.mark.parametrize("page", WITH_CODE, ids=lambda page: page.stem)
def test_examples_run(page, tmp_path, monkeypatch):
    """One namespace per page: later blocks use names of earlier ones."""
    monkeypatch.chdir(tmp_path)
    text = page.read_text(encoding="utf-8")
    names = {}
    for match in BLOCK.finditer(text):
        source = "\n" * text.count("\n", 0, match.start(1)) + match[1]
        exec(compile(source, str(page), "exec"), names)


def test_example_configuration_is_accepted():
    from dnnsched import runconfig

    text = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```toml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert [s.label for s in runconfig.parse(tomllib.loads(blocks[0])).scheduler] == ["sjf", "dysta slack=clamped"]


@pytest.mark.parametrize("page", [p for p in PAGES if "gallery" not in p.parts], ids=lambda page: page.stem)
def test_links_to_files_exist(page):
    text = page.read_text(encoding="utf-8")
    targets = [t.partition("#")[0] for t in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in t and t[0] != "#"]
    # the documentation's build copies the notebooks into docs/gallery
    found = [ROOT / "notebooks" / t.rpartition("/")[2] if "gallery/" in t else page.parent / t for t in targets]
    assert not [path for path in found if not path.exists()]
