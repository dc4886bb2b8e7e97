"""Workloads: validation, exact streams, and distributions of every generator."""

import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dnnsched import FormatError, Trace, TraceSet, Workload, _plan, workloads
from dnnsched._native import _base


def flat_set(keys, samples=7, layers=3):
    rng = np.random.default_rng(keys)
    return TraceSet({f"m{i}": Trace(rng.lognormal(-4, 0.5, (samples, layers))) for i in range(keys)})


def patterned_set():
    rng = np.random.default_rng(2)
    return TraceSet({f"{m}/{p}": Trace(rng.lognormal(-4, 0.5, (n, 4)), None, m, p)
                     for m, p, n in (("a", "x", 9), ("b", "x", 7), ("a", "y", 8))})


def rows(**changes):
    base = {"traces": patterned_set(), "arrival": [0.0, 1.0, 1.0, 2.5], "model": [0, 1, 2, 0], "sample": [8, 6, 7, 0],
            "deadline": [1.0, 2.0, np.inf, 3.0]}
    return {**base, **changes}


# --- the class ---------------------------------------------------------------------------------------

def test_columns_types_and_defaults():
    wl = Workload(**rows())
    assert (wl.n, len(wl)) == (4, 4)
    for name, dtype in (("arrival", "f8"), ("deadline", "f8"), ("priority", "f8"), ("model", "i4"), ("sample", "i4")):
        array = getattr(wl, name)
        assert array.dtype == dtype
        assert not array.flags.writeable
    assert wl.priority.tolist() == [1.0] * 4
    assert {"semantics", "slo_base", "sample_rule", "arrivals", "rate"} <= set(wl.meta)
    assert wl.isolated_s.tolist() == [wl.traces["a/x"].isolated_s[8], wl.traces["b/x"].isolated_s[6],
                                      wl.traces["a/y"].isolated_s[7], wl.traces["a/x"].isolated_s[0]]


def test_models_may_be_keys():
    assert Workload(**rows(model=["a/x", "b/x", "a/y", "a/x"])) == Workload(**rows())
    with pytest.raises(ValueError, match="model: row 2: expected one of a/x, b/x, a/y, got 'c'"):
        Workload(**rows(model=["a/x", "b/x", "c", "a/x"]))


@pytest.mark.parametrize(("changes", "error", "message"), [
    ({"arrival": [0, 1, 0.5, 2]}, ValueError, r"arrival: row 2: expected a time >= 1\.0, .*, got 0\.5"),
    ({"arrival": [0, 1, np.nan, 2]}, ValueError, "arrival: row 2: expected a finite time >= 0 .*got nan"),
    ({"arrival": [-1, 1, 1, 2]}, ValueError, "arrival: row 0: .*got -1.0"),
    ({"arrival": [0, 1, 1, np.inf]}, ValueError, "arrival: row 3: .*got inf"),
    ({"arrival": []}, ValueError, "arrival: expected at least one request"),
    ({"arrival": [[0, 1, 1, 2]]}, ValueError, "arrival: expected 1 dimension"),
    ({"arrival": ["0", "1", "1", "2"]}, TypeError, "arrival: expected numbers"),
    ({"model": [0, 1, 3, 0]}, ValueError, r"model: row 2: expected an index in \[0, 2\], got 3"),
    ({"model": [0, -1, 2, 0]}, ValueError, "model: row 1: .*got -1"),
    ({"model": [0.0, 1, 2, 0]}, TypeError, "model: expected an array of integers, got dtype float64"),
    ({"model": [0, 1, 2]}, ValueError, "model: expected 4 rows as in arrival, got 3"),
    ({"sample": [8, 7, 7, 0]}, ValueError, r"sample: row 1: expected an index in \[0, 6\] \(trace 'b/x'\), got 7"),
    ({"sample": [8, 6, -7, 0]}, ValueError, "sample: row 2"),
    ({"sample": [8, 6, 2**40, 0]}, ValueError, "sample: row 2"),
    ({"deadline": [1, np.nan, 2, 3]}, ValueError, "deadline: row 1: expected a time in seconds, or inf, got nan"),
    ({"deadline": [1, -np.inf, 2, 3]}, ValueError, "deadline: row 1"),
    ({"priority": [1, 1, -1, 1]}, ValueError, "priority: row 2: expected a finite value > 0, got -1.0"),
    ({"priority": [1, 1]}, ValueError, "priority: expected 4 rows"),
    ({"traces": {}}, TypeError, "traces: expected a TraceSet, got dict"),
    ({"meta": [1]}, TypeError, "meta: expected a dict"),
])
def test_bad_workloads_are_named(changes, error, message):
    with pytest.raises(error, match=message):
        Workload(**rows(**changes))


def test_with_slo_multiplies_before_it_adds():
    ts = patterned_set()
    wl = workloads.poisson(ts, 30, 200, rng=1, slo_multiplier=10)
    assert wl.deadline.tolist() == [t + s * 10 for t, s in zip(wl.arrival, wl.isolated_s, strict=True)]
    other = wl.with_slo(2.5)
    assert other.deadline.tolist() == [t + s * 2.5 for t, s in zip(wl.arrival, wl.isolated_s, strict=True)]
    assert other.meta["slo_multiplier"] == 2.5
    assert wl.meta["slo_multiplier"] == 10
    target = ts.model_mean_isolated_s[ts.model_index]
    model = wl.with_slo({"a/x": 1, "b/x": 2, "a/y": 3}, "model")
    assert model.deadline.tolist() == [t + target[m] * (1, 2, 3)[m]
                                       for t, m in zip(wl.arrival, wl.model.tolist(), strict=True)]
    assert model.with_slo([1, 2, 3]).deadline.tolist() == model.deadline.tolist()
    assert other.with_slo(10).deadline.tolist() == wl.deadline.tolist()
    assert np.isinf(wl.with_slo(math.inf).deadline).all()
    with pytest.raises(ValueError, match="slo_base: expected 'request' or 'model', because"):
        Workload(**rows()).with_slo(2)
    for bad, message in ((0, "slo_multiplier: expected"), (-1, "got -1"), ({"a/x": 1}, "missing b/x, a/y"),
                         ({"q": 1}, "expected one of a/x"), ([1, 2], "one value or 3"), ([1, 2, 0], "key 2")):
        with pytest.raises(ValueError, match=message):
            wl.with_slo(bad)


def test_npz_round_trip(tmp_path):
    wl = workloads.gamma(patterned_set(), rho=0.8, n=50, cv=2, rng=4)
    wl.save(tmp_path / "w.npz")
    assert Workload.load(tmp_path / "w.npz") == wl
    wl.save(tmp_path / "v.npz")
    assert (tmp_path / "w.npz").read_bytes() == (tmp_path / "v.npz").read_bytes()
    with np.load(tmp_path / "w.npz") as data:
        arrays = dict(data)
    for change, message in (({"arrival": arrays["arrival"][::-1]}, "arrival: row 1"), ({"sample": None}, "'sample'"),
                            ({"model": arrays["model"] + 9}, "model: row 0"), ({"header": None}, "header")):
        changed = {k: v for k, v in {**arrays, **change}.items() if v is not None}
        np.savez(tmp_path / "bad.npz", **changed)
        with pytest.raises(FormatError, match=message) as info:
            Workload.load(tmp_path / "bad.npz")
        assert "bad.npz" in str(info.value)
    patterned_set().save(tmp_path / "ts.npz")
    with pytest.raises(FormatError, match="expected a dnnsched-workload file, got 'dnnsched-traceset'"):
        Workload.load(tmp_path / "ts.npz")


# --- the artifact's stream ---------------------------------------------------------------------------

def python_table(stream, rate, n, keys, samples):
    """The draw order of the public simulator, with Python's own generator."""
    t, out = 0.0, []
    for _ in range(n):
        t += stream.expovariate(rate)
        model = stream.randint(0, keys - 1)
        priority = (1, 3, 9)[stream.randint(0, 2)]
        out.append((t, model, stream.randint(0, samples - 1), float(priority)))
    return out


def table(wl):
    return list(zip(wl.arrival.tolist(), wl.model.tolist(), wl.sample.tolist(), wl.priority.tolist(), strict=True))


@pytest.mark.parametrize("seed", range(21))
def test_dysta_tables_are_pythons_random(seed):
    keys = 1 + seed % 13
    ts = flat_set(keys, samples=9)
    rates = (30, 40.5, 2)
    got = workloads.dysta_tables(ts, rates, [seed], n=400)
    stream = random.Random(seed)
    for rate in rates:
        assert table(got[rate, seed]) == python_table(stream, rate, 400, keys, 7)


def test_dysta_tables_reproduce_the_published_throughputs():
    for keys, rates, first, second in ((3, (10, 20, 30, 40), 10.112, 20.185), (12, (2, 3, 4, 5, 6), 2.022, 3.028)):
        tables = workloads.dysta_tables(flat_set(keys), rates)
        for rate, want in zip(rates, (first, second), strict=False):
            throughput = np.mean([1000 / (tables[rate, s].arrival[-1] - tables[rate, s].arrival[0])
                                  for s in (1, 2, 3, 4, 5)])
            assert f"{throughput:.3f}" == f"{want:.3f}"


def test_the_list_of_rates_is_part_of_the_stream():
    ts = flat_set(3)
    alone = workloads.dysta_tables(ts, [30, 40], [1])
    after = workloads.dysta_tables(ts, [10, 20, 30, 40], [1])
    assert not np.array_equal(alone[30, 1].arrival, after[30, 1].arrival)
    assert table(workloads.dysta_tables(ts, [10], [1])[10, 1]) == table(after[10, 1])


def test_dysta_deadlines_are_model_means_times_multiplier():
    ts = patterned_set()
    wl = workloads.dysta_tables(ts, [3], [2], slo_multiplier=10)[3, 2]
    means = [np.mean(t.isolated_s) for t in ts.values()]
    target = {"a": (9 * means[0] + 8 * means[2]) / 17, "b": 7 * means[1] / 7}
    names = [t.model for t in ts.values()]
    assert wl.deadline.tolist() == [t + target[names[m]] * 10 for t, m in zip(wl.arrival, wl.model, strict=True)]
    assert wl.meta["semantics"] == "artifact"
    assert wl.meta["sample_rule"] == "first 7"
    other = workloads.dysta_tables(ts, [3], [2], slo_multiplier=50)[3, 2]
    assert wl.with_slo(50).deadline.tolist() == other.deadline.tolist()


def test_poisson_with_pythons_stream():
    ts = flat_set(4, samples=5)
    wl = workloads.poisson(ts, 12.5, 300, rng="python-random:7", priorities=(1, 3, 9))
    assert table(wl) == python_table(random.Random(7), 12.5, 300, 4, 5)
    same = workloads.poisson(flat_set(3, 9), 30, 100, rng="python-random:3", semantics="artifact")
    assert table(same) == table(workloads.dysta_tables(flat_set(3, 9), [30], [3], n=100)[30, 3])
    assert same.deadline.tolist() == workloads.dysta_tables(flat_set(3, 9), [30], [3], n=100)[30, 3].deadline.tolist()


def test_python_stream_state_is_pythons():
    stream = random.Random(5)
    state = np.array(stream.getstate()[1], dtype=np.uint32)
    samples = np.array([5, 1, 100000], dtype=np.int32)
    for _ in range(5):
        arrival, model, sample, _, state = _base.draw_python_requests(state, 3.0, samples, np.array([1.0]), 777)
        t = 0.0
        for i in range(777):
            t += stream.expovariate(3.0)
            assert (arrival[i], model[i]) == (t, stream.randint(0, 2))
            stream.randint(0, 0)
            assert sample[i] == stream.randint(0, samples[model[i]] - 1)
        assert state.tolist() == [*stream.getstate()[1]]


@pytest.mark.parametrize(("call", "message"), [
    (lambda ts: workloads.dysta_tables(ts, []), "rates: expected at least one value"),
    (lambda ts: workloads.dysta_tables(ts, [1, 1]), "no value twice"),
    (lambda ts: workloads.dysta_tables(ts, [0]), r"rates\[0\]: expected a finite value > 0, got 0"),
    (lambda ts: workloads.dysta_tables(ts, [1], [-1]), "seeds: expected an integer >= 0, got -1"),
    (lambda ts: workloads.dysta_tables(ts, [1], n_samples=10), "n_samples: expected at most the 9 samples of"),
    (lambda ts: workloads.dysta_tables(ts, [1], slo_multiplier=0), "slo_multiplier: expected"),
    (lambda ts: workloads.poisson(ts, 1, rng="mt:1"), "rng: expected 'python-random:SEED'"),
    (lambda ts: workloads.poisson(ts, 1, rng="python-random:-1"), "rng: expected 'python-random:SEED'"),
    (lambda ts: workloads.poisson(ts, 1, rng="python-random:1", mix={"m0": 1}), "mix: expected None with rng="),
    (lambda ts: workloads.poisson(ts, 1, rng="python-random:1", priorities={1: 2, 3: 1}), "priorities: expected equal"),
    (lambda ts: workloads.gamma(ts, 1, cv=2, rng="python-random:1"), "stream of workloads.poisson only"),
    (lambda ts: workloads.stream_poisson(ts, 1, rng="python-random:1"), "stream of workloads.poisson only"),
])
def test_bad_streams_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(flat_set(2, samples=9))


# --- generators --------------------------------------------------------------------------------------

BUILDERS = {
    "poisson": lambda ts, **kw: workloads.poisson(ts, **kw),
    "gamma": lambda ts, **kw: workloads.gamma(ts, cv=3.0, **kw),
    "mmpp": lambda ts, **kw: workloads.mmpp(ts, **kw),
    "periodic": lambda ts, **kw: workloads.periodic(ts, jitter=0.5, **kw),
    "bursty": lambda ts, **kw: workloads.bursty(ts, np.cumsum(np.random.default_rng(0).random(500)), **kw),
}


@pytest.mark.parametrize("name", BUILDERS)
def test_a_seed_gives_the_same_bytes_for_any_chunk(name, monkeypatch):
    ts = patterned_set()
    first = BUILDERS[name](ts, rate=30, n=500, rng=11)
    assert BUILDERS[name](ts, rate=30, n=500, rng=11) == first
    assert BUILDERS[name](ts, rate=30, n=500, rng=12) != first
    for chunk in (1, 7, 64, 499):
        monkeypatch.setattr(_plan, "CHUNK", chunk)
        assert BUILDERS[name](ts, rate=30, n=500, rng=11) == first


def test_models_and_samples_do_not_depend_on_the_arrival_process():
    ts = patterned_set()
    a, b = (BUILDERS[name](ts, rate=30, n=200, rng=5) for name in ("poisson", "mmpp"))
    assert np.array_equal(a.model, b.model)
    assert np.array_equal(a.sample, b.sample)
    faster = workloads.poisson(ts, 60, 200, rng=5)
    np.testing.assert_allclose(faster.arrival, a.arrival / 2, rtol=1e-12)


@pytest.mark.parametrize("chunk", [1, 17, 1000, 5000])
def test_stream_gives_the_rows_of_poisson(chunk):
    ts = patterned_set()
    options = {"rho": 0.7, "n": 1000, "rng": 9, "priorities": (1, 3, 9),
               "slo_multiplier": {"a/x": 5, "b/x": 6, "a/y": 7}}
    whole = workloads.poisson(ts, **options)
    stream = workloads.stream_poisson(ts, chunk=chunk, **options)
    assert (stream.n, len(stream), stream.traces) == (1000, -(-1000 // chunk), ts)
    for _ in range(2):
        parts = [*stream]
        assert [p.n for p in parts] == [min(chunk, 1000 - i) for i in range(0, 1000, chunk)]
        for name in ("arrival", "model", "sample", "deadline", "priority"):
            assert np.concatenate([getattr(p, name) for p in parts]).tobytes() == getattr(whole, name).tobytes()
    assert stream.meta == whole.meta
    assert len(workloads.stream_poisson(ts, 1, 10**8, rng=1)) == 1526


def test_rho_is_rate_times_mean_isolated_time():
    ts = patterned_set()
    wl = workloads.poisson(ts, rho=0.5, n=10, rng=1, mix={"a/x": 3, "b/x": 1})
    mean = (3 * ts["a/x"].isolated_s.mean() + ts["b/x"].isolated_s.mean()) / 4
    assert wl.meta["rate"] == pytest.approx(0.5 / mean, rel=1e-14)
    assert wl.meta["offered_load"] == pytest.approx(0.5, rel=1e-14)
    first = workloads.poisson(ts, rho=0.5, n=10, rng=1, semantics="artifact")
    assert first.meta["rate"] == pytest.approx(0.5 / np.mean([t.isolated_s[:7].mean() for t in ts.values()]), rel=1e-14)


def test_mix_samples_and_priorities_follow_their_probabilities():
    ts = patterned_set()
    n = 60000
    wl = workloads.poisson(ts, 1, n, rng=3, mix={"a/x": 5, "a/y": 1}, priorities={1: 2, 4: 1, 9: 1})
    counts = np.bincount(wl.model, minlength=3)
    assert counts[1] == 0
    assert abs(counts[0] - n * 5 / 6) < 4 * math.sqrt(n * 5 / 36)
    for key, samples in ((0, 9), (2, 8)):
        drawn = np.bincount(wl.sample[wl.model == key], minlength=samples)
        expected = drawn.sum() / samples
        assert len(drawn) == samples
        assert ((drawn - expected)**2 / expected).sum() < samples + 6 * math.sqrt(2 * samples)
    assert {*np.unique(wl.priority)} == {1, 4, 9}
    assert abs(np.mean(wl.priority == 1) - 0.5) < 4 * math.sqrt(0.25 / n)
    assert np.abs(np.corrcoef([wl.model, wl.sample / ts.n_samples[wl.model], wl.priority,
                               np.diff(wl.arrival, prepend=0)])[~np.eye(4, dtype=bool)]).max() < 4.5 / math.sqrt(n)


def gaps(wl):
    return np.diff(wl.arrival, prepend=0.0)


def test_poisson_moments():
    n = 200000
    g = gaps(workloads.poisson(flat_set(1), 25.0, n, rng=1)) * 25
    assert abs(g.mean() - 1) < 4 / math.sqrt(n)
    assert abs(g.var() - 1) < 4 * math.sqrt(8 / n)
    for q in (0.1, 0.5, 0.9, 0.99):
        assert abs(np.mean(g < -math.log1p(-q)) - q) < 4 * math.sqrt(q * (1 - q) / n)
    assert abs(np.corrcoef(g[1:], g[:-1])[0, 1]) < 4 / math.sqrt(n)


@pytest.mark.parametrize("cv", [0.2, 0.8, 1.0, 3.0])
def test_gamma_moments(cv):
    from scipy import stats
    n = 200000
    g = gaps(workloads.gamma(flat_set(1), 4.0, n, cv=cv, rng=2)) * 4
    shape = 1 / cv**2
    assert abs(g.mean() - 1) < 4 * cv / math.sqrt(n)
    kurtosis = 3 + 6 / shape
    assert abs(g.var() / cv**2 - 1) < 4 * math.sqrt((kurtosis - 1) / n)
    if cv <= 1:  # smaller gaps vanish in the resolution of the clock
        assert stats.kstest(g, stats.gamma(shape, scale=1 / shape).cdf).pvalue > 1e-3


def test_variates_follow_their_distributions():
    from scipy import stats
    bits = np.random.PCG64(5)
    for kind, parameter, cdf in ((0, 1.0, stats.uniform.cdf), (1, 2.0, stats.expon(scale=2).cdf),
                                 (2, 3.0, stats.norm(scale=3).cdf), (3, 1 / 9, stats.gamma(1 / 9).cdf),
                                 (3, 40.0, stats.gamma(40).cdf)):
        assert stats.kstest(_base.draw_variates(bits, kind, parameter, 50000), cdf).pvalue > 1e-3
    counts = np.bincount(_base.draw_below(bits, 10, 50000), minlength=10)
    assert stats.chisquare(counts).pvalue > 1e-3


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 1) | st.just(0.0), min_size=1, max_size=12).filter(lambda w: sum(w) > 1e-3),
       st.integers(0, 1000))
def test_categorical_draws_match_their_weights(weights, seed):
    ts = flat_set(len(weights))
    n = 4000
    wl = workloads.poisson(ts, 1, n, rng=seed, mix=dict(zip(ts, weights, strict=True)))
    p = np.array(weights) / sum(weights)
    counts = np.bincount(wl.model, minlength=len(weights))
    assert (counts[p == 0] == 0).all()
    assert (np.abs(counts - n * p) <= 6 * np.sqrt(n * p * (1 - p)) + 3).all()


def test_exponential_is_minus_log1p_of_the_word():
    words = np.random.PCG64(77).random_raw(100)
    got = _base.draw_variates(np.random.PCG64(77), 1, 1.0, 100)
    assert got.tolist() == [-math.log1p(-((int(w) >> 11) * 2.0**-53)) for w in words]


def test_mmpp_rate_and_burstiness():
    n = 300000
    wl = workloads.mmpp(flat_set(1), 20.0, n, intensity=(1, 9), sojourn_s=(8, 2), rng=6)
    rates, sojourn = wl.meta["arrivals"]["rates"], wl.meta["arrivals"]["sojourn_s"]
    assert np.dot(rates, sojourn) / 10 == pytest.approx(20, rel=1e-12)
    assert rates[1] / rates[0] == pytest.approx(9, rel=1e-12)
    mean = np.dot(rates, sojourn) / 10
    variance = (8 * (rates[0] - mean)**2 + 2 * (rates[1] - mean)**2) / 10
    tau = 1 / (1 / 8 + 1 / 2)
    # Counts in windows T: var/mean = 1 + 2 variance tau (1 - tau/T (1 - exp(-T/tau))) / mean.
    window = 40.0
    counts = np.bincount((wl.arrival // window).astype(int))[:-1]
    want = 1 + 2 * variance * tau * (1 - tau / window * (1 - math.exp(-window / tau))) / mean
    assert counts.mean() / window == pytest.approx(20, rel=5 * math.sqrt(want * mean * window) / (mean * window) /
                                                   math.sqrt(len(counts)))
    assert counts.var() / counts.mean() == pytest.approx(want, rel=0.25)
    one = workloads.mmpp(flat_set(1), 20.0, 100000, intensity=(3,), sojourn_s=(1,), rng=6)
    assert np.std(gaps(one)) * 20 == pytest.approx(1, abs=0.02)
    off = gaps(workloads.mmpp(flat_set(1), 20.0, 50000, intensity=(1, 0), sojourn_s=(1, 1), rng=6))
    assert np.mean(off) * 20 == pytest.approx(1, rel=0.05)


def test_periodic_is_a_grid():
    wl = workloads.periodic(flat_set(1), 8, 100, rng=1)
    assert wl.arrival.tolist() == [i / 8 for i in range(100)]
    shaken = workloads.periodic(flat_set(1), 8, 5000, jitter=1.0, rng=1).arrival * 8 - np.arange(5000)
    assert shaken.min() >= 0
    assert shaken.max() < 1
    assert abs(shaken.mean() - 0.5) < 4 / math.sqrt(12 * 5000)


def test_bursty_keeps_blocks_of_the_source():
    source = np.cumsum(np.arange(1.0, 101.0))
    wl = workloads.bursty(flat_set(1), source, time_scale=1.0, n=1000, block=10, rng=1)
    g = np.rint(gaps(wl)).astype(int)
    blocks = g.reshape(100, 10)
    following = np.where(blocks[:, :-1] == 100, 2, blocks[:, :-1] + 1)
    assert np.array_equal(blocks[:, 1:], following)
    assert len({*blocks[:, 0]}) > 40
    scaled = workloads.bursty(flat_set(1), source, 30.0, n=1000, block=10, rng=1)
    np.testing.assert_allclose(scaled.arrival, wl.arrival * (99 / (source[-1] - source[0]) / 30), rtol=1e-12)
    assert scaled.meta["rate"] == 30


def test_given_arrivals_are_kept_or_stretched():
    times = [1.0, 2.0, 2.0, 5.0]
    wl = workloads.from_arrivals(flat_set(2), times, rng=1)
    assert wl.arrival.tolist() == times
    assert wl.meta["rate"] == 0.75
    assert workloads.from_arrivals(flat_set(2), times, time_scale=2, rng=1).arrival.tolist() == [2, 4, 4, 10]
    assert workloads.from_arrivals(flat_set(2), times, rate=1.5, rng=1).arrival.tolist() == [0.5, 1, 1, 2.5]
    assert workloads.from_arrivals(flat_set(2), [3.0], rng=1).n == 1
    neighbours = [1.99 + k * 2.0**-52 for k in range(10)]
    with pytest.warns(UserWarning, match="pairs of distinct times became equal"):
        workloads.from_arrivals(flat_set(2), neighbours, time_scale=1.01)


def test_rng_forms():
    ts = flat_set(2)
    seq = np.random.SeedSequence(5)
    a = workloads.poisson(ts, 1, 5, rng=5)
    assert a == workloads.poisson(ts, 1, 5, rng=seq)
    assert a == workloads.poisson(ts, 1, 5, rng=np.int64(5))
    assert seq.n_children_spawned == 0
    children = seq.spawn(2)
    assert workloads.poisson(ts, 1, 5, rng=children[0]) != workloads.poisson(ts, 1, 5, rng=children[1])
    assert workloads.poisson(ts, 1, 5, rng=np.random.default_rng(3)) == workloads.poisson(ts, 1, 5,
                                                                                            rng=np.random.default_rng(3))
    fresh = workloads.poisson(ts, 1, 5)
    assert fresh != workloads.poisson(ts, 1, 5)
    assert fresh == workloads.poisson(ts, 1, 5, rng=fresh.meta["rng"]["entropy"])
    for bad, error in ((-1, ValueError), (1.5, TypeError), (True, TypeError), (object(), ValueError)):
        with pytest.raises(error, match="rng: expected"):
            workloads.poisson(ts, 1, 5, rng=bad)


@pytest.mark.parametrize(("kwargs", "message"), [
    ({"rate": 0}, "rate: expected a finite value > 0, got 0"),
    ({"rate": -2}, "rate: expected a finite value > 0, got -2"),
    ({"rate": math.nan}, "rate: expected a finite value > 0, got nan"),
    ({"rate": math.inf}, "rate: expected a finite value > 0, got inf"),
    ({"rho": 0}, "rho: expected a finite value > 0, got 0"),
    ({"rho": -0.5}, "rho: expected a finite value > 0, got -0.5"),
    ({}, "rate, rho: expected exactly one"),
    ({"rate": 1, "rho": 1}, "rate, rho: expected exactly one"),
    ({"rate": 1, "n": 0}, "n: expected an integer >= 1, got 0"),
    ({"rate": 1, "slo_multiplier": 0}, "slo_multiplier: expected a value > 0, got 0"),
    ({"rate": 1, "slo_multiplier": {"m0": 1}}, "slo_multiplier: expected a value for every key, missing m1"),
    ({"rate": 1, "slo_base": "mean"}, "slo_base: expected one of 'request', 'model', got 'mean'"),
    ({"rate": 1, "semantics": "exact"}, "semantics: expected one of 'paper', 'artifact'"),
    ({"rate": 1, "mix": {"x": 1}}, r"mix: expected keys of the trace set \(m0, m1\), got 'x'"),
    ({"rate": 1, "mix": {"m0": 0}}, "mix: expected at least one weight > 0"),
    ({"rate": 1, "mix": {"m0": -1}}, r"mix\['m0'\]: expected a finite value >= 0, got -1"),
    ({"rate": 1, "n_samples": 8}, "n_samples: expected at most the 7 samples of trace 'm0', got 8"),
    ({"rate": 1, "n_samples": 0}, "n_samples: expected an integer >= 1"),
    ({"rate": 1, "priorities": []}, "priorities: expected at least one value"),
    ({"rate": 1, "priorities": (1, -1)}, "priorities: position 1: expected a finite value > 0"),
    ({"rate": 1, "priorities": {1: 0}}, "priorities: expected at least one weight > 0"),
])
def test_bad_builder_arguments_are_named(kwargs, message):
    with pytest.raises(ValueError, match=message):
        workloads.poisson(flat_set(2), **kwargs)


@pytest.mark.parametrize(("call", "message"), [
    (lambda ts: workloads.gamma(ts, 1, cv=0), "cv: expected"),
    (lambda ts: workloads.mmpp(ts, 1, intensity=(1,)), "sojourn_s: expected as many values as intensity"),
    (lambda ts: workloads.mmpp(ts, 1, intensity=(0, 0)), "intensity: expected at least one value > 0"),
    (lambda ts: workloads.mmpp(ts, 1, intensity=(1, -1)), "intensity: state 1: expected a finite value >= 0"),
    (lambda ts: workloads.mmpp(ts, 1, sojourn_s=(1, 0)), "sojourn_s: state 1: expected a finite value > 0"),
    (lambda ts: workloads.periodic(ts, 1, jitter=2), "jitter: expected"),
    (lambda ts: workloads.bursty(ts, [1, 2], 1), "arrivals: expected at least three times"),
    (lambda ts: workloads.bursty(ts, [1, 1, 1], 1), "arrivals: expected at least three times"),
    (lambda ts: workloads.bursty(ts, [1, 3, 2], 1), "arrivals: row 2: expected a time >="),
    (lambda ts: workloads.bursty(ts, [1, 2, 4]), "rate, rho, time_scale: expected exactly one"),
    (lambda ts: workloads.bursty(ts, [1, 2, 4], 1, block=0), "block: expected an integer >= 1"),
    (lambda ts: workloads.from_arrivals(ts, []), "arrival: expected at least one time"),
    (lambda ts: workloads.from_arrivals(ts, [1, math.nan]), "arrival: row 1: expected a finite time"),
    (lambda ts: workloads.from_arrivals(ts, [1.0], rate=2), "rate: expected arrivals that span some time"),
    (lambda ts: workloads.from_arrivals(ts, [1, 2], time_scale=0), "time_scale: expected a finite value > 0"),
    (lambda ts: workloads.stream_poisson(ts, 1, 10, chunk=0), "chunk: expected an integer >= 1"),
])
def test_bad_process_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(flat_set(2))


def test_native_draws_are_strict():
    bits = np.random.PCG64(1)
    with pytest.raises(TypeError, match="bits: expected a numpy"):
        _base.draw_variates(3, 0, 1.0, 5)
    with pytest.raises(ValueError, match="kind: expected 0 to 3"):
        _base.draw_variates(bits, 4, 1.0, 5)
    with pytest.raises(ValueError, match="n: expected an integer >= 0, got -5"):
        _base.draw_variates(bits, 0, 1.0, -5)
    with pytest.raises(ValueError, match="high: expected 1 to 2147483647, got 0"):
        _base.draw_below(bits, 0, 5)
    with pytest.raises(ValueError, match="rate: expected a finite value > 0"):
        _base.draw_arrivals(bits, 0.0, None, 0.0, 5)
    one, weight = np.ones(1, np.int32), np.ones(1)
    with pytest.raises(ValueError, match="n_samples: position 0: expected >= 1"):
        _base.draw_requests(bits, weight, bits, one * 0, bits, weight, weight, 5)
    with pytest.raises(TypeError, match="sample_bits: expected a numpy"):
        _base.draw_requests(bits, weight, 3, one, bits, weight, weight, 5)
    with pytest.raises(ValueError, match="weight: position 0: expected a finite value >= 0"):
        _base.draw_requests(bits, -weight, bits, one, bits, weight, weight, 5)
    state = np.zeros(625, np.uint32)
    state[624] = 625
    with pytest.raises(ValueError, match=r"state: expected an index in 0\.\.624"):
        _base.draw_python_requests(state, 1.0, one, weight, 1)
    with pytest.raises(ValueError, match="state 0: expected a finite rate"):
        _base.draw_mmpp(bits, -weight, weight, -1, 0.0, 0.0, 1)
    with pytest.raises(ValueError, match="rate: expected at least one value > 0"):
        _base.draw_mmpp(bits, weight * 0, weight, -1, 0.0, 0.0, 1)
    with pytest.raises(ValueError, match="state: expected -1 to 0"):
        _base.draw_mmpp(bits, weight, weight, 1, 0.0, 0.0, 1)
