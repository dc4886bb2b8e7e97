"""Speed and memory of the request readers: `python benchmarks/bench_readers.py [--rows N] [--json FILE]`.

A request CSV (arrival, model, input and output tokens; 10^7 rows, about 320 MB) is written to a temporary folder and
read in a fresh process per row of the scoreboard:

* ``scan`` with pyarrow (extra ``io``) and with the standard library: every batch is looked at and dropped;
* ``stream_csv``: the same file as pieces of a workload, as ``simulate(..., record="none")`` takes them;
* pandas.read_csv on the same file, where pandas is installed, to compare with on the same machine.

Seconds are wall seconds, the best of several, after the imports and one pass over the file that warms the page cache.
Memory is what the process's peak grew by while reading. Gates, on the route with pyarrow: at least 100 MB/s, and at
most 256 MB for a file of any size; the exit code is 1 if one is missed.
"""

import argparse
import importlib.util
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

MB_PER_S, PEAK_MB = 100.0, 256.0
ROUTES = ("pyarrow", "stdlib", "stream", "pandas")
_BLOCK = 250_000


def write_requests(path, rows, seed=1):
    """A request CSV with `rows` rows; arrivals are multiples of a microsecond."""
    rng = np.random.default_rng(seed)
    clock = 0
    with open(path, "w", encoding="ascii", newline="\n") as file:
        file.write("arrival_s,model,input_tokens,output_tokens\n")
        for start in range(0, rows, _BLOCK):
            n = min(_BLOCK, rows - start)
            micros = clock + np.cumsum(rng.integers(1, 60_000, n))
            clock = int(micros[-1])
            tokens = rng.integers(1, 4096, (2, n)).tolist()
            models = np.array(("bert", "gpt2", "bart"))[rng.integers(0, 3, n)].tolist()
            file.write("".join(f"{t / 1e6!r},{m},{a},{b}\n" for t, m, a, b in zip(micros.tolist(), models, *tokens,
                                                                                 strict=True)))


def read(route, path):
    """Rows read by one pass of a route."""
    if route == "pandas":
        import pandas

        return len(pandas.read_csv(path))
    if route == "stream":
        import dnnsched as ds

        ts = ds.TraceSet({"net": ds.Trace(np.ones((4, 2)))})
        return sum(piece.n for piece in ds.workloads.stream_csv(path, ts, rng=1))
    from dnnsched import _formats, _scan

    return sum(len(batch["arrival_s"]) for batch in _scan.scan(path, _formats.FORMATS["dnnsched"]))


def measure(route, path, repeats):
    """What a fresh process measures: JSON on its standard output."""
    if route == "stdlib":
        sys.modules["pyarrow"] = None
    with tempfile.TemporaryDirectory() as folder:
        small = Path(folder) / "small.csv"
        write_requests(small, 1000)
        read(route, small)
    with open(path, "rb") as file:
        while file.read(1 << 24):
            continue
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    best, rows = np.inf, 0
    for _ in range(repeats):
        start = time.perf_counter()
        rows = read(route, path)
        best = min(best, time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"route": route, "rows": rows, "seconds": best, "mb_per_s": os.path.getsize(path) / best / 1e6,
                      "peak_growth_mb": (peak - before) / 1024.0, "peak_mb": peak / 1024.0}))


def main(argv=None):
    """Print the scoreboard; 1 if a gate is missed, 2 if the extra is not installed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--route", choices=ROUTES, help=argparse.SUPPRESS)
    parser.add_argument("--file", help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.route:
        measure(args.route, args.file, args.repeats)
        return 0
    if importlib.util.find_spec("pyarrow") is None:
        print("pyarrow is not installed: pip install 'dnnsched[io]'", file=sys.stderr)
        return 2
    board = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "requests.csv"
        write_requests(path, args.rows)
        print(f"{args.rows} rows, {path.stat().st_size / 1e6:.0f} MB, {os.cpu_count()} CPUs, load "
              f"{os.getloadavg()[0]:.1f}")
        for route in ROUTES:
            if route == "pandas" and importlib.util.find_spec("pandas") is None:
                continue
            repeats = 1 if route == "stdlib" else args.repeats
            done = subprocess.run([sys.executable, __file__, "--route", route, "--file", str(path), "--repeats",
                                   str(repeats)], capture_output=True, text=True, check=True)
            board.append(json.loads(done.stdout))
    fast = next(row for row in board if row["route"] == "pyarrow")
    print(f"{'route':10}{'MB/s':>9}{'M rows/s':>10}{'growth MB':>11}{'x pyarrow':>11}")
    for row in board:
        print(f"{row['route']:10}{row['mb_per_s']:9.1f}{row['rows'] / row['seconds'] / 1e6:10.2f}"
              f"{row['peak_growth_mb']:11.0f}{row['mb_per_s'] / fast['mb_per_s']:11.2f}")
    missed = [f"{fast['mb_per_s']:.0f} MB/s, target {MB_PER_S:.0f}"] if fast["mb_per_s"] < MB_PER_S else []
    missed += [f"{row['route']}: {row['peak_growth_mb']:.0f} MB, at most {PEAK_MB:.0f}" for row in board
               if row["route"] != "pandas" and row["peak_growth_mb"] > PEAK_MB]
    for text in missed:
        print(f"missed: {text}")
    if args.json:
        Path(args.json).write_text(json.dumps({"rows": args.rows, "board": board, "missed": missed}, indent=1),
                                   encoding="utf-8")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
