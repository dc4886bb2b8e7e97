"""Functions that the tests of sweeps run in other processes: importable, small, deterministic."""

import math
import os
import time

import dnnsched as ds

GRID = {"rate": [20.0, 30.0], "scheduler": ["sjf", ds.schedulers.Dysta()], "n": [20, 30]}


def study(seed, rate, scheduler, n):
    wl = ds.workloads.poisson(ds.traces.load("multi-attnn-calibrated"), rate=rate, n=n, rng=seed)
    return ds.simulate(wl, scheduler=scheduler)


class LongestWait:
    """A policy in Python."""

    kind = "time"

    def score(self, view):
        return view.last_run - view.now


def arithmetic(seed, a=0, b=0):
    return {"sum": a + b, "seed_low": seed % 1000, "tiny": (a + 1) / 3e7}


def fails(seed, a):
    if a == 3:
        raise ValueError(f"rate: expected more than 0, got {a}")
    return a


def endless(seed, a):
    time.sleep(0.005)
    return math.sin(a) + seed


def logged(seed, a):
    """A short native run that leaves one line per call in the file $SWEEP_LOG, in one write."""
    with open(os.environ["SWEEP_LOG"], "ab", buffering=0) as file:
        file.write(f"{a} {seed}\n".encode())
    wl = ds.workloads.poisson(ds.traces.load("multi-attnn-calibrated"), rate=20.0, n=5 + a % 7, rng=seed)
    return ds.simulate(wl, scheduler="dysta")


def extremes(seed, a):
    return {"nan": math.nan, "inf": math.inf, "minus": -math.inf, "tiny": 5e-324, "third": 1 / 3, "zero": -0.0}
