"""Sweeps: threads, dispatch costs, resuming: `python benchmarks/bench_sweep.py [--json FILE] [--quick]`.

Rows:

* a sweep of 200 points (20 loads x 10 schedulers, 10,000 requests each) on one and on two threads, taken in turn, best
  of several: the gate is 1.7x. The engine, the workload's random draws and the metrics' sums leave the interpreter's
  lock; what holds it is the Python around them. Runs keep sums only (record="none"), as a sweep wants;
* cost of one task of every executor that is installed, beside each other, with one task per chunk and with the chunks
  that the sweep chooses, and the time the executor takes to start;
* a store: seconds per committed chunk, seconds to open one with many replications again, and to rebuild its index.

Exit code 1 if a gate is missed. On a machine that others use, the ratio of one and two threads says little: the load is
printed beside it, and two processes, which share no lock, are the peer in the same run.
"""

import argparse
import functools
import importlib.util
import json
import multiprocessing
import os
import platform
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import dnnsched as ds
from dnnsched import _executors, config, sweeps

GATE = 1.7
SCHEDULERS = ("fcfs", "sjf", "edf", "llf", "prema", "planaria", "sdrm3", "dysta", "dysta_naive", "dysta_oracle")
PACKAGES = {"joblib": "joblib", "dask": "distributed", "ray": "ray"}


load = functools.cache(ds.traces.load)  # with the traces stay the tables that schedulers derive from them


@functools.lru_cache(maxsize=8)
def requests(seed, rho):
    """The requests of a load; the schedulers, which follow each other in the grid, share them."""
    return ds.workloads.poisson(load("multi-attnn-calibrated"), rho=rho, n=10000, rng=seed)


def study(seed, rho, scheduler):
    """A point of the 200."""
    return ds.simulate(requests(seed, rho), scheduler, record="none")


def study_with_rows(seed, rho, scheduler):
    """The same with a row per request, whose metrics NumPy computes."""
    return ds.simulate(requests(seed, rho), scheduler)


def nothing(task):
    """A task that costs nothing."""
    return task


def number(seed, a):
    """A point that costs nothing."""
    return a


def grid(loads):
    """The points of the gate."""
    return {"rho": [0.5 + 0.45 * k / loads for k in range(loads)], "scheduler": list(SCHEDULERS)}


def timed(call, *args, **options):
    """(seconds, value)."""
    begin = time.perf_counter()
    value = call(*args, **options)
    return time.perf_counter() - begin, value


def threads_row(quick, study=study):
    """One and two threads in turn, so that both see the same machine; the best of each."""
    points = grid(2 if quick else 20)
    seconds = {"one": [], "two": [], "processes": []}
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=spawn) as pool:
        for _ in range(1 if quick else 2):
            ds.sweep(points, study, executor=pool)  # starts the workers and fills their caches
        for _ in range(1 if quick else 5):
            for name, executor, jobs in (("one", "threads", 1), ("two", "threads", 2), ("processes", pool, 2)):
                seconds[name].append(timed(ds.sweep, points, study, executor=executor, jobs=jobs)[0])
    best = {name: min(all_) for name, all_ in seconds.items()}
    return {"points": len(points["rho"]) * len(SCHEDULERS), "one_s": best["one"], "two_s": best["two"],
            "processes_s": best["processes"], "speedup": best["one"] / best["two"], "gate": GATE,
            "cores": _executors._cores()}


def dispatch_rows(quick):
    """Microseconds per empty task of each executor, alone and in chunks, and its start."""
    rows = []
    for name in ("serial", "threads", "processes", "joblib", "dask", "ray"):
        if name in PACKAGES and importlib.util.find_spec(PACKAGES[name]) is None:
            continue
        if quick and name not in ("serial", "threads", "processes"):
            continue
        single, many = (200, 2000) if name in ("dask", "ray", "joblib") else (2000, 200000)
        single, many = (single // 10, many // 10) if quick else (single, many)
        begin = time.perf_counter()
        with _executors.resolve(name, 2) as engine:
            engine.run(nothing, range(4), chunk=1)
            start = time.perf_counter() - begin
            alone = timed(engine.run, nothing, range(single), chunk=1)[0] / single
            chunked = timed(engine.run, nothing, range(many))[0] / many
        rows.append({"executor": name, "start_s": start, "task_us": 1e6 * alone, "chunked_us": 1e6 * chunked})
    return rows


def store_row(quick):
    """What keeping and resuming cost."""
    count = 1000 if quick else 20000
    points = {"a": list(range(count))}
    with tempfile.TemporaryDirectory() as folder:
        without = timed(ds.sweep, points, number, executor="serial")[0]
        kept, _ = timed(ds.sweep, points, number, executor="serial", store=folder)
        resumed, found = timed(ds.sweep, points, number, executor="serial", store=folder)
        if found.ran:
            raise RuntimeError("the store was not used")
        rebuilt = timed(sweeps.rebuild_index, folder)[0]
        commits = tempfile.mkdtemp(dir=folder)
        few = {"a": list(range(100))}
        each = timed(ds.sweep, few, number, executor="serial", store=commits, chunk=1)[0] / 100
    return {"replications": count, "plain_s": without, "stored_s": kept, "resumed_s": resumed, "rebuilt_s": rebuilt,
            "commit_s": each}


def main(argv=None):
    """Print the rows; 1 if a gate is missed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="small numbers: shows that it runs")
    options = parser.parse_args(argv)
    info = config.info()
    out = {"machine": {"cpu": info["cpu"], "cores": os.cpu_count(), "python": platform.python_version(),
                       "load": os.getloadavg()}}
    print(f"{info['cpu']}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.2f}; Python {platform.python_version()}")
    row = out["threads"] = threads_row(options.quick)
    print(f"\nsweep of {row['points']} points: one thread {row['one_s']:.3f} s, two {row['two_s']:.3f} s, "
          f"{row['speedup']:.2f}x (gate {GATE}x); two warm processes {row['processes_s']:.3f} s; load now "
          f"{os.getloadavg()[0]:.2f}")
    rows = out["threads_with_rows"] = threads_row(options.quick, study_with_rows)
    print(f"the same with a row per request (no gate): {rows['one_s']:.3f} s, {rows['two_s']:.3f} s, "
          f"{rows['speedup']:.2f}x; two warm processes {rows['processes_s']:.3f} s")
    out["dispatch"] = dispatch_rows(options.quick)
    print(f"\n{'executor':12s} {'start':>9s} {'one task per chunk':>20s} {'chosen chunks':>15s}")
    for row in out["dispatch"]:
        print(f"{row['executor']:12s} {row['start_s']:7.3f} s {row['task_us']:17.1f} us {row['chunked_us']:12.2f} us")
    row = out["store"] = store_row(options.quick)
    print(f"\nstore of {row['replications']} replications: sweep {row['plain_s']:.2f} s without, "
          f"{row['stored_s']:.2f} s with store; resumed in {row['resumed_s']:.2f} s, index rebuilt in "
          f"{row['rebuilt_s']:.2f} s; a commit {1e3 * row['commit_s']:.2f} ms")
    if options.json:
        options.json.write_text(json.dumps(out, indent=1) + "\n", encoding="utf-8")
    missed = not options.quick and out["threads"]["speedup"] < GATE
    if missed:
        print(f"MISSED: two threads {out['threads']['speedup']:.2f}x, gate {GATE}x")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
