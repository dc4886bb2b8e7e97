"""data/MANIFEST.toml: what every file under data/ is and where it comes from.

`python tools/manifest.py` refreshes size and SHA-256 of the listed files, `--check` only compares; both fail on a file
that is not listed or a listed file that is missing. A new file needs an entry by hand (or by `update`): path relative
to data/, origin (measured, modelled, synthetic, calibrated, published, derived, or a phrase made of these), licence,
the command that makes it, and a note.
"""

import hashlib
import json
import sys
import tomllib
from pathlib import Path

DATA = Path(__file__).resolve().parent.parent / "data"
NAME = "MANIFEST.toml"
FIELDS = ("path", "origin", "licence", "command", "note", "bytes", "sha256")
HEADER = "# Every file under data/, with its origin. Refresh with: python tools/manifest.py\n"


def load(data=DATA):
    """Entries by path."""
    path = data / NAME
    files = tomllib.loads(path.read_text("utf-8")).get("file", []) if path.exists() else []
    return {entry["path"]: entry for entry in files}


def update(entries, data=DATA):
    """Add or replace `entries` (an iterable of dicts), refresh sizes and hashes of all, write the file."""
    table = load(data) | {entry["path"]: entry for entry in entries}
    text = HEADER
    for path in sorted(table):
        content = (data / path).read_bytes()
        entry = table[path] | {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        text += "\n[[file]]\n" + "".join(f"{field} = {json.dumps(entry[field], ensure_ascii=False)}\n"
                                         for field in FIELDS if field in entry)
    (data / NAME).write_text(text, "utf-8")


def breaches(data=DATA):
    """One line for every file that is not as listed."""
    table = load(data)
    present = {path.relative_to(data).as_posix(): path for path in sorted(data.rglob("*")) if path.is_file()}
    present.pop(NAME, None)
    found = [f"{path}: not listed in {NAME}" for path in present if path not in table]
    for path, entry in table.items():
        missing = [field for field in FIELDS if field != "note" and not entry.get(field)]
        if missing:
            found.append(f"{path}: entry lacks {', '.join(missing)}")
        elif path not in present:
            found.append(f"{path}: listed, but there is no such file")
        elif hashlib.sha256(present[path].read_bytes()).hexdigest() != entry["sha256"]:
            found.append(f"{path}: its SHA-256 is not the listed one")
        elif present[path].stat().st_size != entry["bytes"]:
            found.append(f"{path}: its size is not the listed one")
    return found


if __name__ == "__main__":
    if "--check" not in sys.argv[1:]:
        update([])
    lines = breaches()
    print("\n".join(lines) or f"{len(load())} files as listed")
    sys.exit(bool(lines))
