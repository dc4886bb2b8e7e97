"""Workloads with closed loops: the class, the builder, simulate() and what a result keeps."""

import math

import numpy as np
import pytest

import dnnsched as ds
from dnnsched.workloads import Source


def traces(samples=30, layers=4):
    rng = np.random.default_rng(2)
    return ds.TraceSet({key: ds.Trace(0.01 * rng.uniform(0.5, 1.5, (samples, layers)), model=key[0])
                        for key in ("a/x", "b/x")})


TS = traces()


def plain(n=6, **more):
    return ds.Workload(TS, np.zeros(n), np.zeros(n, int), np.arange(n), np.full(n, 1.0), **more)


def test_one_user_without_thinking_is_a_single_stream():
    wl = ds.workloads.closed_loop(TS, n=50, rng=1)
    r = ds.simulate(wl, "dysta").requests
    assert (r["arrival_s"][1:] == r["finish_s"][:-1]).all()
    assert r["finish_s"][-1] == pytest.approx(r["isolated_s"].sum())
    assert r["deadline_s"] == pytest.approx(r["arrival_s"] + 10 * r["isolated_s"])


@pytest.mark.parametrize("scheduler", ["fcfs", "sjf", "dysta", "prema", "round_robin"])
def test_users_have_one_request_out_each(scheduler):
    """At any release at most users - 1 others are out; every gap between an end and a release is a think time."""
    wl = ds.workloads.closed_loop(TS, users=5, n=300, think_s=0.05, rng=3)
    res = ds.simulate(wl, scheduler)
    r = res.requests
    assert len(r) == 300
    assert (np.diff(r["arrival_s"]) >= 0).all()
    for row in r:
        out = (r["arrival_s"] <= row["arrival_s"]) & (r["finish_s"] > row["arrival_s"])
        assert out.sum() <= 5
    assert sorted(r["request_id"].tolist()) == list(range(300))
    later = r[r["request_id"] >= 5]
    credit = later["arrival_s"] - wl.think_s[later["request_id"]]
    assert np.sort(credit) == pytest.approx(np.sort(r["finish_s"])[: len(later)], abs=1e-9)
    assert res.stats["released"] == 300


def test_think_times():
    wl = ds.workloads.closed_loop(TS, users=5, n=4000, think_s=0.2, rng=4)
    assert np.mean(wl.think_s) == pytest.approx(0.2, abs=4 * 0.2 / math.sqrt(4000))
    assert np.std(wl.think_s) == pytest.approx(0.2, rel=0.1)
    assert (ds.workloads.closed_loop(TS, n=9, think_s=0.5, think="constant", rng=4).think_s == 0.5).all()
    assert ds.workloads.closed_loop(TS, n=9, rng=4).think_s is None
    more = ds.workloads.closed_loop(TS, users=7, n=5000, think_s=0.2, rng=4)
    assert (more.sample[:4000] == wl.sample).all()
    assert more.think_s[:4000] == pytest.approx(wl.think_s)


def test_ends_by_time_and_count():
    wl = ds.workloads.closed_loop(TS, users=2, n=500, rng=5, duration_s=1.0)
    res = ds.simulate(wl, "fcfs", timeline=True)
    r = res.requests
    assert 0 < len(r) < 500
    assert r["arrival_s"][-1] >= 1.0 > r["arrival_s"][-3]
    assert sorted(res.order.tolist()) == list(range(len(r)))
    assert set(res.timeline.slices["id"].tolist()) == set(range(len(r)))
    assert res.metrics["n"] == len(r)
    streamed = ds.simulate(wl, "fcfs", record="none").metrics
    assert streamed["n"] == len(r)
    assert streamed["latency_mean_s"] == pytest.approx(res.metrics["latency_mean_s"])
    counted = ds.workloads.closed_loop(TS, users=2, n=500, rng=5, duration_s=0.0, n_min=200)
    assert len(ds.simulate(counted).requests) == 200
    assert len(ds.simulate(wl.looped((Source(0, 500, window=2),))).requests) == 500


def test_slices_and_order_follow_the_rows():
    """Out-of-order releases: slices of a request sum to its service, the order lists completions."""
    wl = ds.workloads.closed_loop(TS, users=6, n=200, think_s=0.1, rng=6, duration_s=2.0)
    res = ds.simulate(wl, "round_robin", timeline=True)
    r, s = res.requests, res.timeline.slices
    assert (np.diff(r["request_id"]) < 0).any()
    service = np.zeros(len(r))
    np.add.at(service, s["id"], s["t1_s"] - s["t0_s"])
    assert service == pytest.approx(r["service_s"])
    assert (np.diff(r["finish_s"][res.order]) >= 0).all()


def test_open_requests_beside_a_closed_loop():
    """Rows 0-2 closed, rows 3-5 open: the open ones keep their arrivals and absolute deadlines."""
    wl = ds.Workload(TS, [0.0, 0.0, 0.0, 0.01, 0.5, 0.6], np.zeros(6, int), np.arange(6),
                     [1.0, 1.0, 1.0, 2.0, 3.0, 4.0], sources=[Source(0, 3)])
    r = ds.simulate(wl, "fcfs").requests
    by_id = r[np.argsort(r["request_id"])]
    assert by_id["arrival_s"][3:].tolist() == [0.01, 0.5, 0.6]
    assert by_id["deadline_s"][3:].tolist() == [2.0, 3.0, 4.0]
    assert (by_id["deadline_s"][:3] == by_id["arrival_s"][:3] + 1.0).all()
    assert by_id["arrival_s"][1] == by_id["finish_s"][0]


def test_saved_and_loaded(tmp_path):
    wl = ds.workloads.closed_loop(TS, users=3, n=40, think_s=0.1, duration_s=5.0, n_min=7, rng=7)
    wl.save(tmp_path / "w.npz")
    back = ds.Workload.load(tmp_path / "w.npz")
    assert back == wl
    assert back.sources == (Source(0, 40, 3, 1, 5.0, 7),)
    assert back != back.looped(wl.sources)
    assert back.with_slo(2.0).sources == wl.sources
    assert (back.with_slo(2.0).think_s == wl.think_s).all()
    with pytest.raises(ValueError, match="sources"):
        wl.save(tmp_path / "w.csv")
    assert [p.name for p in tmp_path.iterdir()] == ["w.npz"]
    ds.workloads.poisson(TS, 10.0, 5, rng=1).save(tmp_path / "open.npz")
    assert ds.Workload.load(tmp_path / "open.npz").sources == ()


def test_damaged_sources_in_a_file(tmp_path):
    path = tmp_path / "w.npz"
    ds.workloads.closed_loop(TS, n=4, rng=7).save(path)
    arrays = dict(np.load(path))
    for sources in (np.zeros(1, arrays["sources"].dtype), np.array(["x"])):
        np.savez(path, **{**arrays, "sources": sources})
        with pytest.raises(ds.FormatError, match=r"w\.npz"):
            ds.Workload.load(path)


@pytest.mark.parametrize(("more", "error", "match"), [
    ({"sources": [Source(0, 7)]}, ValueError, "entry 0"),
    ({"sources": [Source(0, 3), Source(2, 2)]}, ValueError, r"entry 1: expected rows in \[3, 5\]"),
    ({"sources": [(0, 3)]}, TypeError, "expected a Source"),
    ({"sources": [Source(0, 6)], "think_s": [1.0]}, ValueError, "think_s"),
    ({"think_s": np.ones(6)}, ValueError, "and sources"),
    ({"sources": [Source(0, 6)], "think_s": [0, 0, -1.0, 0, 0, 0]}, ValueError, "think_s: row 2"),
    ({"sources": [Source(0, 6)], "think_s": [0, math.inf, 0, 0, 0, 0]}, ValueError, "think_s: row 1"),
])
def test_bad_closed_loops(more, error, match):
    with pytest.raises(error, match=match):
        plain(**more)


def test_bad_sources_and_builders():
    for fields, match in (({"row0": -1, "n": 1}, "row0"), ({"row0": 0, "n": 0}, "n:"),
                          ({"row0": 0, "n": 4, "burst": 2}, "burst"), ({"row0": 0, "n": 4, "until_s": -1.0}, "until_s"),
                          ({"row0": 0, "n": 4, "n_min": -1}, "n_min")):
        with pytest.raises(ValueError, match=match):
            Source(**fields)
    for options, match in (({"users": 0}, "users"), ({"think_s": -1}, "think_s"), ({"think": "long"}, "think"),
                           ({"duration_s": -1}, "duration_s")):
        with pytest.raises(ValueError, match=match):
            ds.workloads.closed_loop(TS, **options)
    with pytest.raises(ValueError, match="closed loops"):
        ds.simulate(plain(sources=[Source(0, 6)]), "fcfs", semantics="artifact")


def test_the_cached_system_stays_open():
    """A closed-loop run must not leave its loop in the tables that runs on the same traces share."""
    wl = ds.workloads.poisson(TS, 20.0, 60, rng=8)
    before = ds.simulate(wl, "sjf").requests
    ds.simulate(ds.workloads.closed_loop(TS, users=2, n=40, think_s=0.1, rng=8), "sjf")
    assert (ds.simulate(wl, "sjf").requests == before).all()
