"""Runs without request rows: chunked sources, running sums, bounded memory, Ctrl-C."""

import os
import signal
import subprocess
import sys
import textwrap
import tracemalloc

import numpy as np
import pytest
from sim_cases import random_case, workload

import dnnsched as ds


def traces(seed=0):
    rng = np.random.default_rng(seed)
    return ds.TraceSet({
        "a/x": ds.Trace(rng.uniform(0.5e-3, 2e-3, (5, 4)), rng.uniform(0.1, 0.9, (5, 4)), model="a", pattern="x"),
        "a/y": ds.Trace(rng.uniform(1e-3, 3e-3, (3, 4)), rng.uniform(0.1, 0.9, (3, 4)), model="a", pattern="y"),
        "b/x": ds.Trace(rng.uniform(2e-3, 4e-3, (4, 2)), rng.uniform(0.1, 0.9, (4, 2)), model="b", pattern="x")})


EXACT = ("n", "violation_rate", "preemptions", "rewinds", "queue_max", "stages")
CLOSE = ("antt", "throughput_rps", "stp_norm", "latency_mean_s", "latency_max_s", "utilization", "queue_mean")


def same_metrics(stream, full, n):
    for name in EXACT:
        assert stream[name] == full[name], name
    for name in CLOSE:
        assert stream[name] == pytest.approx(full[name], rel=1e-9), name


def quantiles_within(stream, latencies):
    """A stated relative error; ranks may differ by one (order statistics against bins)."""
    error = stream["latency_quantile_error"]
    assert 0 < error <= 0.01
    ordered = np.sort(latencies)
    for q in (50, 90, 99):
        rank = q / 100 * len(ordered)
        low = ordered[max(0, int(np.floor(rank)) - 2)] * (1 - error)
        high = ordered[min(len(ordered) - 1, int(np.ceil(rank)) + 1)] * (1 + error)
        assert low <= stream[f"latency_p{q}_s"] <= high, q


@pytest.mark.parametrize("name", ["fcfs", "sjf", "edf", "dysta", "prema", "planaria", "sdrm3", "lottery"])
def test_sums_equal_the_full_record(name):
    wl = ds.workloads.poisson(traces(), rho=0.9, n=20_000, rng=5)
    full = ds.simulate(wl, name)
    sums = ds.simulate(wl, name, record="none")
    same_metrics(sums.metrics, full.metrics, wl.n)
    quantiles_within(sums.metrics, full.requests["finish_s"] - full.requests["arrival_s"])
    assert not hasattr(sums, "requests")


@pytest.mark.parametrize("chunk", [1, 7, 1000, 10**6])
@pytest.mark.parametrize("name", ["fcfs", "sjf", "dysta"])
def test_a_chunked_source_gives_the_bytes_of_the_whole(name, chunk):
    n = 3_000 if chunk == 1 else 20_000
    whole = ds.simulate(ds.workloads.poisson(traces(), rho=0.8, n=n, rng=6), name, record="none")
    pieces = ds.simulate(ds.workloads.stream_poisson(traces(), rho=0.8, n=n, rng=6, chunk=chunk), name, record="none")
    assert pieces.metrics == whole.metrics
    assert pieces.sums.tobytes() == whole.sums.tobytes()
    assert pieces.hist.tobytes() == whole.hist.tobytes()


def test_groups_of_a_stream_add_up():
    source = ds.workloads.stream_poisson(traces(), rho=0.7, n=5_000, rng=7)
    res = ds.simulate(source, "dysta", record="none")
    full = ds.simulate(ds.workloads.poisson(traces(), rho=0.7, n=5_000, rng=7), "dysta")
    for by in ("model", "pattern", "key"):
        groups, reference = res.metrics_by(by), full.metrics_by(by)
        assert set(groups) == set(reference)
        for label in groups:
            assert groups[label]["n"] == reference[label]["n"]
            assert groups[label]["antt"] == pytest.approx(reference[label]["antt"], rel=1e-9)
            assert groups[label]["violation_rate"] == reference[label]["violation_rate"]


@pytest.mark.parametrize("warmup", [0, 1, 500])
def test_warmup_leaves_out_the_first_requests(warmup):
    wl = ds.workloads.poisson(traces(), rho=0.9, n=2_000, rng=8)
    full = ds.simulate(wl, "sjf", warmup=warmup)
    sums = ds.simulate(wl, "sjf", warmup=warmup, record="none")
    rows = full.requests[warmup:]
    assert full.metrics["n"] == sums.metrics["n"] == 2_000 - warmup
    ntt = (rows["finish_s"] - rows["arrival_s"]) / rows["isolated_s"]
    assert full.metrics["antt"] == pytest.approx(ntt.mean(), rel=1e-12)
    assert sums.metrics["antt"] == pytest.approx(ntt.mean(), rel=1e-9)
    assert sums.metrics["throughput_rps"] == pytest.approx(full.metrics["throughput_rps"], rel=1e-9)


def test_saturation_is_flagged_without_rows_too():
    over = ds.simulate(ds.workloads.stream_poisson(traces(), rho=1.3, n=20_000, rng=9), "fcfs", record="none")
    under = ds.simulate(ds.workloads.stream_poisson(traces(), rho=0.5, n=20_000, rng=9), "fcfs", record="none")
    assert over.metrics["saturated"]
    assert not under.metrics["saturated"]
    assert under.metrics["offered_load"] == pytest.approx(0.5, rel=0.05)


def test_a_stream_needs_bounded_recording():
    source = ds.workloads.stream_poisson(traces(), rho=0.5, n=100, rng=1)
    for wrong in ({"record": "requests"}, {"record": "none", "timeline": True},
                  {"record": "none", "clock": "artifact"}):
        with pytest.raises(ValueError, match="stream"):
            ds.simulate(source, "fcfs", **wrong)


def test_an_own_scheduler_on_a_stream():
    class Mine:
        kind = "arrival"

        def score(self, v):
            return v.arrival

    source = ds.workloads.stream_poisson(traces(), rho=0.8, n=3_000, rng=3, chunk=100)
    assert ds.simulate(source, Mine(), record="none").metrics == ds.simulate(source, "fcfs", record="none").metrics


# --- memory ---------------------------------------------------------------------------------------------------


def test_python_memory_does_not_grow_with_the_requests():
    peaks = []
    for n in (200_000, 800_000):
        source = ds.workloads.stream_poisson(traces(), rho=0.9, n=n, rng=1, chunk=10_000)
        tracemalloc.start()
        ds.simulate(source, "fcfs", record="none")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0] + 200_000


PEAK = """
import resource
import sys
import numpy as np
import dnnsched as ds
ts = ds.TraceSet({"m": ds.Trace(np.full((1, 2), 1e-3), model="m")})
ds.simulate(ds.workloads.stream_poisson(ts, rho=0.9, n=10_000, rng=1), sys.argv[2], record="none")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
res = ds.simulate(ds.workloads.stream_poisson(ts, rho=0.9, n=int(sys.argv[1]), rng=1), sys.argv[2], record="none")
print(res.metrics["n"], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.parametrize("name", ["fcfs", "sjf", "dysta"])
def test_resident_memory_is_bounded(name):
    """Two million requests would need over 100 MB as rows; the stream needs its chunk and the queue."""
    out = subprocess.run([sys.executable, "-c", PEAK, "2000000", name], capture_output=True, text=True, check=True,
                         timeout=300)
    n, grown_kib = map(int, out.stdout.split())
    assert n == 2_000_000
    assert grown_kib < 30_000


# --- Ctrl-C ---------------------------------------------------------------------------------------------------

LONG = """
import signal
import sys
import numpy as np
import dnnsched as ds


class Mine:
    kind = sys.argv[1]

    def score(self, v):
        return v.arrival


scheduler = Mine() if sys.argv[1] in ("arrival", "time") else sys.argv[1]
n = 200_000
rng = np.random.default_rng(0)
ts = ds.TraceSet({"m": ds.Trace(rng.uniform(1e-3, 2e-3, (4, 400)), model="m")})
wl = ds.Workload(ts, arrival=np.zeros(n), model=np.zeros(n, np.int32), sample=np.zeros(n, np.int32),
                 deadline=np.full(n, 1e9))
signal.signal(signal.SIGINT, signal.default_int_handler)
print("ready", flush=True)
try:
    ds.simulate(wl, scheduler)
except KeyboardInterrupt:
    print("interrupted", flush=True)
    small = ds.Workload(ts, arrival=np.zeros(2), model=np.zeros(2, np.int32), sample=np.zeros(2, np.int32),
                        deadline=np.full(2, 1e9))
    print(ds.simulate(small, scheduler).metrics["n"], flush=True)
else:
    print("finished", flush=True)
"""


@pytest.mark.parametrize("scheduler", ["dysta", "prema", "sdrm3", "time"])
def test_ctrl_c_interrupts_the_loop(scheduler):
    """A run of hours (every decision scans 200,000 requests) ends with KeyboardInterrupt; the next one works."""
    child = subprocess.Popen([sys.executable, "-c", textwrap.dedent(LONG), scheduler], stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True)
    try:
        assert child.stdout.readline().strip() == "ready"
        # give the C loop a moment to be reached; the signal works before and after as well
        signal.sigtimedwait([], 1.0)
        os.kill(child.pid, signal.SIGINT)
        out, err = child.communicate(timeout=120)
    finally:
        child.kill()
    assert out.split() == ["interrupted", "2"], err


def test_results_after_many_small_runs_do_not_leak():
    """Arena and views are given back: repeated runs do not accumulate Python memory."""
    requests, tables = random_case(3)
    wl = workload(requests, tables)

    class Mine:
        def pick(self, v):
            return 0

    for _ in range(20):
        ds.simulate(wl, Mine())
    tracemalloc.start()
    ds.simulate(wl, Mine())
    first = tracemalloc.get_traced_memory()[0]
    for _ in range(200):
        ds.simulate(wl, Mine())
    last = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert last - first < 100_000
