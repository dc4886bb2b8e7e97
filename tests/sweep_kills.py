"""Kill a sweep 20 times at random moments; prints what was found as JSON. Run by test_store.py in a process of its own.

Children are forked from this process, which has imported everything and has no threads, so that a life is short.
"""

import itertools
import json
import os
import random
import signal
import sys
import time
import traceback
from pathlib import Path

import sweep_cases as cases

import dnnsched as ds
from dnnsched import _store

GRID, REPLICATIONS = {"a": list(range(200))}, 4
TOTAL = 800


def sweep(folder, **options):
    return ds.sweep(GRID, cases.logged, replications=REPLICATIONS, store=folder, **options)


def life(folder):
    """A child that sweeps; its process id."""
    pid = os.fork()
    if pid:
        return pid
    try:
        sweep(folder, executor="threads", jobs=2, chunk=3)
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def committed(folder):
    """(key, seed) of every sound row on the disk."""
    rows = [row for path in (folder / "store").glob("points-*.jsonl") for row, _, _ in _store.read_segment(path)[0]]
    return {(json.loads(row["key"])["a"], row["seed"]) for row in rows}


def lines(log):
    return [tuple(map(int, line.split())) for line in log.read_text().splitlines()] if log.exists() else []


def kill_at_random(folder, rng, safe):
    """One life, killed while it opens the store, or some time after its first commit."""
    pid = life(folder)
    end = time.monotonic() + 60
    if rng.random() < 0.7:
        while time.monotonic() < end and len(committed(folder)) <= safe:
            if os.waitpid(pid, os.WNOHANG)[0]:
                raise SystemExit("a life ended before it was killed")
    time.sleep(rng.choice((0.0, 0.001, 0.01, 0.03)) * rng.random())
    os.kill(pid, signal.SIGKILL)
    if not os.WIFSIGNALED(os.waitpid(pid, 0)[1]):
        raise SystemExit("a life ended before it was killed")


def main(top, kills):
    log, folder = top / "log", top / "killed"
    os.environ["SWEEP_LOG"] = str(log)
    cases.logged(1, 1)
    log.unlink()
    rng = random.Random(20)
    killed, in_flight = [], 0
    while len(killed) < kills:
        kill_at_random(folder, rng, len(committed(folder)))
        safe, run = committed(folder), lines(log)
        killed.append((len(run), safe))
        in_flight += len(set(run) - safe)
    result = sweep(folder, executor="threads", jobs=2, chunk=3)
    run = lines(log)
    found = {"kills": len(killed), "in_flight": in_flight, "partial": sum(0 < len(safe) < TOTAL for _, safe in killed),
             "lost": sum(len(a - b) for (_, a), (_, b) in itertools.pairwise(killed)),
             "recomputed": sum(len(set(run[at:]) & safe) for at, safe in killed),
             "last_ran": result.ran, "last_open": TOTAL - len(safe), "total": len(committed(folder))}
    for name, made in (("killed", result), ("whole", sweep(top / "whole", executor="serial"))):
        report = made.report()
        report.draw_figures = None
        report.save(top / f"report-{name}")
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
