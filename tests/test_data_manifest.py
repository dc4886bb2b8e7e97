"""Every file under data/ is listed with origin, licence, command and hash, and is what it says."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))
import manifest  # noqa: E402


def test_every_file_is_listed_and_unchanged():
    assert manifest.load()
    assert not manifest.breaches()


def test_origins_are_labels_that_reports_know():
    labels = {"measured", "modelled", "synthetic", "calibrated", "published", "derived"}
    for path, entry in manifest.load().items():
        assert set(entry["origin"].replace(",", " ").split()) & labels, path


@pytest.mark.parametrize(("damage", "message"), [
    (lambda data: (data / "a.txt").write_text("b"), "a.txt: its SHA-256 is not the listed one"),
    (lambda data: (data / "a.txt").unlink(), "a.txt: listed, but there is no such file"),
    (lambda data: (data / "new.bin").write_bytes(b"x"), "new.bin: not listed in MANIFEST.toml"),
    (lambda data: (data / "MANIFEST.toml").write_text('[[file]]\npath = "a.txt"\norigin = "measured"\n'),
     "a.txt: entry lacks licence, command, bytes, sha256"),
])
def test_the_check_finds_each_breach(tmp_path, damage, message):
    (tmp_path / "a.txt").write_text("a")
    manifest.update([{"path": "a.txt", "origin": "measured", "licence": "CC0-1.0", "command": "none"}], tmp_path)
    assert not manifest.breaches(tmp_path)
    damage(tmp_path)
    assert manifest.breaches(tmp_path) == [message]
