"""Where a run came from: code, machine, configuration, inputs, time."""

import datetime
import hashlib
import json
import os
import platform
import subprocess
import time
from pathlib import Path


def canonical_json(value):
    """The text that configuration hashes are taken over: sorted keys, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def sha256_of(path):
    """SHA-256 of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _git():
    """Commit of the source checkout that the package runs from, with a dirty flag; else "release"."""
    top = Path(__file__).resolve().parents[2]
    if not (top / ".git").exists():
        return {"commit": "release", "dirty": False}
    try:
        def run(*args):
            return subprocess.run(["git", "-C", str(top), *args], capture_output=True, text=True, timeout=5,
                                  check=True).stdout.strip()
        return {"commit": run("rev-parse", "HEAD"), "dirty": bool(run("status", "--porcelain", "-uno"))}
    except (OSError, subprocess.SubprocessError):
        return {"commit": "unknown", "dirty": False}


class Recorder:
    """Measures one run and writes its provenance record.

    Parameters
    ----------
    config : dict
        Everything that was asked for; hashed into ``config_sha256``.
    seeds : list of int
        Seeds of the replications.
    inputs : iterable of path-like
        Data files that were read; their SHA-256 is recorded.
    citations : iterable of str
        Attribution that the licences of the data ask for.
    """

    def __init__(self, config, *, seeds=(), inputs=(), citations=()):
        self.config = config
        self.seeds = list(seeds)
        self.inputs = list(inputs)
        self.citations = list(citations)
        self.events = None
        self._started = datetime.datetime.now(datetime.UTC)
        self._clock = time.perf_counter()

    def count(self, events):
        """Add simulated events (layer steps)."""
        self.events = (self.events or 0) + int(events)

    def record(self):
        """The record so far, for ``run.json``.

        Returns
        -------
        dict
            JSON types only.
        """
        from dnnsched import config as installation
        from dnnsched import features

        wall = time.perf_counter() - self._clock
        info = installation.info()
        return {
            "dnnsched": info["dnnsched"],
            "git": _git(),
            "compiler": info["compiler"],
            "build": info["build"],
            "policy_abi": features.ABI,
            "isa": info["isa"],
            "cpu": info["cpu"],
            "cores": os.cpu_count() or 1,
            "platform": platform.platform(),
            "python": info["python"],
            "numpy": info["numpy"],
            "blas": info["blas"],
            "optional": info["optional"],
            "seeds": self.seeds,
            "config_sha256": hashlib.sha256(canonical_json(self.config).encode()).hexdigest(),
            "inputs": {Path(p).name: sha256_of(p) for p in self.inputs},
            "data_citations": self.citations,
            "started_utc": self._started.isoformat(timespec="seconds"),
            "finished_utc": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "wall_s": round(wall, 3),
            "events": self.events,
            "events_per_s": round(self.events / wall) if self.events is not None and wall > 0 else None,
        }
