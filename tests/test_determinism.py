"""Same bytes at every instruction-set level, for any number of threads, and from run to run."""

import hashlib
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import dnnsched as ds

SCRIPT = """
from test_determinism import digest
print(digest())
"""


def trace_set():
    rng = np.random.default_rng(5)
    return ds.TraceSet({
        f"{model}/{pattern}": ds.Trace(rng.uniform(0.5, 1.5, (40, layers)) * scale, rng.uniform(0.1, 0.9, (40, layers)),
                                       model=model, pattern=pattern)
        for model, layers, scale in (("small", 9, 1e-3), ("large", 31, 2e-3))
        for pattern in ("random", "channel")})


def run(ts, name, semantics, rate):
    wl = ds.workloads.poisson(ts, rate=rate, n=600, rng=3, slo_multiplier=6.0, priorities=(1, 3, 9))
    res = ds.simulate(wl, name, semantics=semantics)
    return res.requests.tobytes() + res.order.tobytes() + repr(res.metrics).encode()


def digest():
    """Hash over every scheduler, both semantics, below and above capacity."""
    ts = trace_set()
    jobs = [(n, "paper", r) for n in ds.schedulers.names() for r in (15.0, 60.0)]
    jobs += [(n, "artifact", r) for n in ds.schedulers.ARTIFACT_POLICIES for r in (15.0, 60.0)]
    h = hashlib.sha256()
    for job in jobs:
        h.update(run(ts, *job))
    return h.hexdigest()


@pytest.mark.parametrize("level", ["generic", "avx2", "avx512"])
def test_isa_levels_give_the_same_bytes(level):
    env = {**os.environ, "DNNSCHED_ISA": level, "PYTHONPATH": os.path.dirname(__file__)}
    out = subprocess.run([sys.executable, "-c", SCRIPT], env=env, cwd=os.path.dirname(__file__), capture_output=True,
                         text=True, check=True)
    assert out.stdout.strip() == digest()


def test_threads_give_the_same_bytes():
    ts = trace_set()
    jobs = [(n, "paper", 30.0) for n in ds.schedulers.names()] * 2
    alone = [run(ts, *job) for job in jobs]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda job: run(ts, *job), jobs))
    assert alone == together


@pytest.mark.parametrize("semantics", ds.schedulers.SEMANTICS)
def test_shortcuts_change_nothing(semantics):
    """With a timeline every stage is an event of its own; the results are the same bytes."""
    ts = trace_set()
    wl = ds.workloads.poisson(ts, rate=40.0, n=500, rng=8, slo_multiplier=4.0, priorities=(1, 3, 9))
    names = ds.schedulers.names() if semantics == "paper" else ds.schedulers.ARTIFACT_POLICIES
    for name in names:
        fast = ds.simulate(wl, name, semantics=semantics)
        slow = ds.simulate(wl, name, semantics=semantics, timeline=True)
        assert fast.requests.tobytes() == slow.requests.tobytes(), name
        assert fast.order.tobytes() == slow.order.tobytes(), name


def test_busy_time_does_not_depend_on_the_shortcuts():
    ts = trace_set()
    wl = ds.workloads.poisson(ts, rate=40.0, n=500, rng=8)
    for name in ("fcfs", "sjf_sparse", "dysta", "prema"):
        fast, slow = (ds.simulate(wl, name, timeline=t).stats for t in (False, True))
        for key in ("busy_s", "queue_area", "stages"):
            assert np.array_equal(fast[key], slow[key]), (name, key)
