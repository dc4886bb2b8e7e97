"""Statistics against SciPy, closed forms and Monte Carlo coverage; what is refused, and with which words."""

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import special, stats

import dnnsched as ds
from dnnsched import sim, statistics
from dnnsched._native import _base


@pytest.mark.parametrize("df", [1, 1.5, 2, 3, 4, 9, 29, 100, 1e4, 1e7])
@pytest.mark.parametrize("p", [1e-12, 1e-4, 0.025, 0.3, 0.5, 0.6, 0.9, 0.975, 0.995, 1 - 1e-9])
def test_student_quantile_equals_scipy(p, df):
    assert _base.student_t_quantile(p, df) == pytest.approx(stats.t.ppf(p, df), rel=1e-10, abs=1e-300)


def test_betainc_equals_scipy():
    rng = np.random.default_rng(3)
    for _ in range(400):
        a, b = 10 ** rng.uniform(-2, 4, 2)
        x = rng.uniform()
        assert _base.betainc(a, b, x) == pytest.approx(special.betainc(a, b, x), rel=1e-10, abs=1e-290)


@settings(deadline=None)
@given(st.integers(1, 100_000), st.floats(0, 1), st.floats(0, 1))
def test_binomial_tail_equals_scipy(n, at, p):
    k = round(at * n)
    assert _base.binomial_cdf(k, n, p) == pytest.approx(stats.binom.cdf(k, n, p), rel=1e-9, abs=1e-13)


def test_bad_arguments_name_the_argument():
    with pytest.raises(ValueError, match=r"p: expected a value in \(0, 1\), got 1"):
        _base.student_t_quantile(1.0, 5)
    with pytest.raises(ValueError, match="df: expected"):
        _base.student_t_quantile(0.9, 0.5)
    with pytest.raises(ValueError, match="x: expected"):
        _base.betainc(1.0, 1.0, float("nan"))
    with pytest.raises(TypeError, match="student_t_quantile: expected 2 to 2 arguments, got 1"):
        _base.student_t_quantile(0.5)
    with pytest.raises(ValueError, match=r"n: expected a count in \[0, 100000000\], got -1"):
        _base.binomial_cdf(0, -1, 0.5)
    with pytest.raises(TypeError, match="x: expected"):
        _base.batch_means([1.0, 2.0], 1)
    with pytest.raises(ValueError, match=r"lags: expected a number in \[0, 2\], got 3"):
        statistics.autocorrelation([1.0, 2.0, 4.0], 3)
    with pytest.raises(ValueError, match="x: row 1: expected a finite value, got nan"):
        statistics.autocorrelation([1.0, math.nan, 4.0])
    with pytest.raises(ValueError, match=r"level: expected a value in \(0, 1\), got 95"):
        statistics.mean_interval([1.0, 2.0], 95)


# ---- early stopping -------------------------------------------------------------------------------------------------


def scipy_early_stop(t, p, c):
    """Smallest n by bisection on SciPy's binomial tail."""
    low, high = t, t + 1
    while stats.binom.cdf(t, high, 1 - p) > 1 - c:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        if stats.binom.cdf(t, middle, 1 - p) <= 1 - c:
            high = middle
        else:
            low = middle
    return high


@pytest.mark.parametrize("p", [0.9, 0.95, 0.97, 0.99, 0.999])
def test_item_02_early_stopping_equals_scipy_binomial(p):
    assert (_base.early_stop_min(1, 0.9, 0.99), _base.early_stop_min(1, 0.99, 0.99)) == (64, 662)
    t = np.arange(1001)
    own = np.array([_base.early_stop_min(int(k), p, 0.99) for k in t])
    assert (stats.binom.cdf(t, own, 1 - p) <= 1 - 0.99).all()
    assert (stats.binom.cdf(t, own - 1, 1 - p) > 1 - 0.99).all()
    for k in (0, 1, 2, 37, 500, 1000):
        assert own[k] == scipy_early_stop(k, p, 0.99)


@settings(deadline=None)
@given(st.integers(0, 300), st.floats(0.5, 0.999), st.floats(0.5, 0.999))
def test_early_stopping_at_any_confidence(t, p, c):
    n = statistics.early_stopping_min(t, p, c)
    assert stats.binom.cdf(t, n, 1 - p) <= (1 - c) * (1 + 1e-9)  # exact ties (p = c = 1/2) round either way in SciPy
    assert stats.binom.cdf(t, n - 1, 1 - p) > (1 - c) * (1 - 1e-9)
    assert statistics.early_stopping(n, t, p, c)
    assert not statistics.early_stopping(n - 1, min(t, n - 1), p, c) or t > n - 1
    assert statistics.early_stopping(n, t, p, c).allowed == t


def test_early_stopping_says_why():
    assert str(statistics.early_stopping(100, 0)) == "insufficient samples: 100 queries, at least 459 needed"
    found = statistics.early_stopping(700, 2)
    assert not found.valid
    assert str(found) == ("invalid: 2 of 700 queries over the target, 1 allowed at percentile 0.99 with confidence "
                          "0.99 (needs n >= 838)")
    assert statistics.early_stopping(662, 1).valid
    assert not statistics.early_stopping(0, 0)
    with pytest.raises(ValueError, match="overlatency: expected an integer >= 0 and <= 5, got 6"):
        statistics.early_stopping(5, 6)
    with pytest.raises(ValueError, match=r"c: expected a value in \(0, 1\), got 1"):
        statistics.early_stopping(5, 5, confidence=1.0)


# ---- intervals over replications ------------------------------------------------------------------------------------


def test_intervals_against_scipy():
    rng = np.random.default_rng(1)
    a, b = rng.normal(3, 1, 12), rng.normal(2, 4, 9)
    welch = stats.ttest_ind(a, b, equal_var=False).confidence_interval(0.9)
    own = statistics.difference_of_means(a, b, 0.9)
    assert (own.low, own.high) == pytest.approx((welch.low, welch.high), rel=1e-10)
    paired = stats.ttest_rel(a[:9], b).confidence_interval(0.95)
    own = statistics.paired_difference(a[:9], b)
    assert (own.low, own.high) == pytest.approx((paired.low, paired.high), rel=1e-10)
    ratios = rng.lognormal(0.5, 0.3, 20)
    low, high = stats.t.interval(0.95, 19, np.log(ratios).mean(), stats.sem(np.log(ratios)))
    own = statistics.geometric_mean(ratios)
    assert (own.value, own.low, own.high) == pytest.approx((stats.gmean(ratios), np.exp(low), np.exp(high)), rel=1e-10)
    with pytest.raises(ValueError, match=r"ratios: expected values > 0, got -1.0 in replication 1"):
        statistics.geometric_mean([1.0, -1.0])


def test_small_and_constant_samples():
    assert math.isnan(statistics.difference_of_means([1.0], [2.0, 3.0]).low)
    same = statistics.difference_of_means([2.0, 2.0], [1.0, 1.0, 1.0])
    assert (same.low, same.value, same.high, same.n) == (1.0, 1.0, 1.0, 2)
    assert not statistics.mean_interval([1.0]).covers(1.0)
    assert statistics.mean_interval([1.0, 2.0]).covers(1.5)


def test_unpaired_ratio_covers_at_least_its_level():
    rng = np.random.default_rng(6)
    trials = [statistics.ratio_of_means(rng.normal(20, 2, 8), rng.normal(10, 1, 12), paired=False).covers(2.0)
              for _ in range(2000)]
    assert 0.945 <= np.mean(trials) <= 0.985


@settings(deadline=None)
@given(st.lists(st.integers(-10**7, 10**7).map(lambda k: k / 8), min_size=2, max_size=30), st.floats(0.01, 100),
       st.floats(-1e3, 1e3))
def test_mean_interval_moves_with_its_values(values, factor, offset):
    base = statistics.mean_interval(values)
    moved = statistics.mean_interval(np.array(values) * factor + offset)
    expected = base.scaled(factor).shifted(offset)
    scale = abs(factor) * max(map(abs, values)) + abs(offset) + 1e-300
    assert (moved.low, moved.high) == pytest.approx((expected.low, expected.high), rel=1e-9, abs=1e-8 * scale)
    wide = statistics.mean_interval(values, 0.99)
    assert wide.low <= base.low <= base.value <= base.high <= wide.high


def test_seeds_are_children_of_one_sequence():
    seeds = statistics.seeds(7, 1000)
    assert len(set(seeds)) == 1000
    assert seeds[:3] == statistics.seeds(np.random.SeedSequence(7), 3)
    assert seeds[4] == int(np.random.SeedSequence(7).spawn(5)[4].generate_state(1, np.uint64)[0]) >> 1
    assert max(seeds) < 2**63
    assert seeds[0] != statistics.seeds(8, 1)[0]
    sequence = np.random.SeedSequence(3, spawn_key=(2,))
    assert statistics.seeds(sequence, 2) == statistics.seeds(sequence, 2)
    with pytest.raises(ValueError, match="n: expected an integer >= 1, got 0"):
        statistics.seeds(7, 0)


# ---- quantiles ------------------------------------------------------------------------------------------------------


def test_two_definitions_of_a_percentile():
    values = np.random.default_rng(2).permutation(100.0 + np.arange(1000))
    assert statistics.quantile(values, 0.99) == np.quantile(values, 0.99)
    assert statistics.quantile(values, 0.99, "loadgen") == 100.0 + math.floor(1000 * 0.99)
    assert statistics.quantile([5.0], 0.9, "loadgen") == 5.0
    assert statistics.quantile([1.0, 2.0], 1.0) == 2.0
    with pytest.raises(ValueError, match="method: expected one of 'linear', 'loadgen', got 'nearest'"):
        statistics.quantile(values, 0.5, "nearest")
    with pytest.raises(ValueError, match=r"p: expected a value in \[0, 1\) for method 'loadgen'"):
        statistics.quantile(values, 1.0, "loadgen")


@settings(deadline=None)
@given(st.integers(1, 5000), st.floats(0.001, 0.999), st.sampled_from([0.8, 0.95, 0.99]))
def test_ranks_are_those_of_the_binomial(n, p, level):
    side = (1 - level) / 2
    if max(p, 1 - p) ** n > side:
        with pytest.raises(ValueError, match="insufficient samples"):
            _base.quantile_ranks(n, p, level)
        return
    low, high = _base.quantile_ranks(n, p, level)
    count = stats.binom(n, p)
    assert count.cdf(low) <= side * (1 + 1e-9)
    assert count.cdf(low + 1) > side * (1 - 1e-9)
    assert count.sf(high) <= side * (1 + 1e-9)
    assert count.sf(high - 1) > side * (1 - 1e-9)


@pytest.mark.parametrize("p", [0.5, 0.9, 0.99])
def test_order_statistics_cover_independent_samples(p):
    rng = np.random.default_rng([3, int(100 * p)])
    truth, hits, refused = -math.log1p(-p), 0, 0
    for row in rng.standard_exponential((1500, 600)):
        try:
            hits += statistics.quantile_interval(row, p).covers(truth)
        except ValueError:
            refused += 1
    assert refused <= 7  # one in a thousand looks correlated by chance
    low, high = _base.quantile_ranks(600, p, 0.95)
    exact = stats.binom.cdf(high, 600, p) - stats.binom.cdf(low, 600, p)
    assert 0.95 <= exact < 0.99
    assert abs(hits / (1500 - refused) - exact) < 4 * math.sqrt(exact * (1 - exact) / 1500)


def test_too_few_samples_for_a_tail():
    values = np.random.default_rng(4).random(300)
    with pytest.raises(ValueError, match=r"insufficient samples: a 95 % interval of the 0.99 quantile needs at least "
                                         r"368 independent values, got 300"):
        statistics.quantile_interval(values, 0.99)
    with pytest.raises(ValueError, match="samples: expected finite values, got nan in row 3"):
        statistics.quantile_interval([1.0, 2.0, 3.0, math.nan], 0.5)


def sojourns(rho, n, seed):
    """Sojourn times of an M/M/1 queue with service rate 1, from the engine, in arrival order."""
    service = -np.log1p(-np.random.default_rng([seed, 1]).random(n))
    arrival = np.cumsum(-np.log1p(-np.random.default_rng([seed, 2]).random(n)) / rho)
    traces = ds.TraceSet({"m": ds.Trace(service.reshape(-1, 1), model="m")})
    wl = ds.Workload(traces, arrival, np.zeros(n, np.int32), np.arange(n, dtype=np.int32), np.full(n, np.inf))
    rows = ds.simulate(wl, "fcfs").requests
    return rows["finish_s"] - rows["arrival_s"]


@pytest.mark.parametrize("rho", [0.5, 0.7, 0.9])
def test_correlated_samples_are_refused(rho):
    values = sojourns(rho, 20_000, 5)
    with pytest.raises(ValueError, match=r"samples: expected independent values, got a rank correlation of 0\.\d\d at "
                                         r"lag 1 .*use the quantile of each of several replications"):
        statistics.quantile_interval(values, 0.99)
    shuffled = np.random.default_rng(1).permutation(values)
    assert statistics.quantile_interval(shuffled, 0.99).n == 20_000


def test_correlation_beyond_lag_one_and_ties():
    rng = np.random.default_rng(7)
    other_rows = np.repeat(rng.random((500, 1)), 2, axis=1)  # every value again two rows later, noise between
    series = np.empty(2000)
    series[0::4], series[2::4] = other_rows.T
    series[1::4], series[3::4] = rng.random((2, 500))
    with pytest.raises(ValueError, match="at lag 2"):
        statistics.quantile_interval(series, 0.5)
    constant = statistics.quantile_interval(np.full(50, 3.0), 0.5)
    assert (constant.low, constant.value, constant.high) == (3.0, 3.0, 3.0)
    coins = rng.integers(0, 2, 1000).astype(float)
    assert statistics.quantile_interval(coins, 0.9).value == 1.0


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32), st.floats(0.1, 0.9), st.integers(50, 400))
def test_quantile_intervals_turn_round_with_the_sign(seed, p, n):
    values = np.random.default_rng(seed).standard_normal(n)
    try:
        up = statistics.quantile_interval(values, p)
    except ValueError:
        assume(False)
    down = statistics.quantile_interval(-values, 1 - p)
    assert (up.low, up.high) == (-down.high, -down.low)
    wider = statistics.quantile_interval(values, p, 0.8)
    assert up.low <= wider.low <= wider.high <= up.high


# ---- series ---------------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.lists(st.integers(-1000, 1000).map(lambda k: k / 8), min_size=3, max_size=60), st.integers(0, 2))
def test_autocorrelation_equals_numpy(values, lags):
    x = np.array(values)
    c = x - x.mean()
    assume((c**2).sum() > 1e-6)
    expected = [1.0, *[(c[k:] * c[:-k]).sum() / (c**2).sum() for k in range(1, lags + 1)]]
    assert statistics.autocorrelation(values, lags).tolist() == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_batch_means_by_hand():
    values = np.arange(100.0) % 7
    found = statistics.batch_means(values, 9, warmup=8)
    assert (found.size, found.dropped, len(found.means)) == (10, 10, 9)
    assert found.means.tolist() == pytest.approx(values[10:].reshape(9, 10).mean(axis=1).tolist())
    assert found.interval == statistics.mean_interval(found.means)
    with pytest.raises(ValueError, match="batches: expected an integer >= 3 and <= 92, got 93"):
        statistics.batch_means(values, 93, warmup=8)


def test_batch_means_refuse_short_batches():
    values = sojourns(0.9, 30_000, 9)
    with pytest.raises(ValueError, match=r"batches: the means of consecutive batches of 30 values correlate \(0\.\d\d, "
                                         r"limit 0\.\d\d\).*fewer batches than 1000"):
        statistics.batch_means(values, 1000)
    assert statistics.batch_means(values, 1000, check=False).correlated
    assert not statistics.batch_means(np.random.default_rng(1).random(3000)).correlated


def test_batch_means_cover_where_the_check_passes():
    hits = [statistics.batch_means(sojourns(0.5, 30_000, s), 20, warmup=1000, check=False).interval.covers(2.0)
            for s in range(150)]
    assert 0.88 <= np.mean(hits) <= 0.99


# ---- acceptance: coverage over replications -------------------------------------------------------------------------


def stationary_replications(rng, rho, count, n):
    """Sojourn times [count, n] of independent M/M/1 replications that start in the stationary state.

    The number in the system at time 0 is geometric, P(K = k) = (1 - rho) rho^k, and the one in service has an
    exponential rest (memoryless): K requests arrive at 0 and are left out. The replications run one after the other in
    one engine run, each after the one before it has drained.
    """
    backlog = rng.geometric(1 - rho, count) - 1
    length = backlog + n
    start = np.cumsum(length) - length
    position = np.arange(length.sum()) - np.repeat(start, length)
    counted = position >= np.repeat(backlog, length)
    clock = np.cumsum(np.where(counted, rng.standard_exponential(len(position)) / rho, 0.0))
    before = np.concatenate([[0.0], clock])[start]
    spacing = 3.0 * n / rho
    arrival = clock - np.repeat(before, length) + np.repeat(spacing * np.arange(count), length)
    system = sim.System()
    system.pool("fcfs")
    system.program([{"pool": 0, "hold": system.table(rng.standard_exponential((len(arrival), 1)), ("row",))}])
    simulation = sim.Simulation(system, len(arrival))
    simulation.feed(arrival)
    assert simulation.run() == "done"
    finish = simulation.columns["finish_s"]
    assert (finish[start + length - 1] < spacing * np.arange(1, count + 1)).all()
    return (finish - arrival)[counted].reshape(count, n)


def test_why_one_run_is_not_enough():
    """Order statistics of one run at a load of 0.9 miss the P99 nearly always, batch means often; the check of the
    batches refuses many of those."""
    sojourn = stationary_replications(np.random.default_rng(12), 0.9, 200, 5000)
    low, high = _base.quantile_ranks(5000, 0.99, 0.95)
    ordered = np.sort(sojourn, axis=1)
    truth = -math.log(0.01) / 0.1
    assert ((ordered[:, low] <= truth) & (truth <= ordered[:, high])).mean() < 0.2
    batches = [statistics.batch_means(run, check=False) for run in sojourn]
    assert np.mean([b.interval.covers(10.0) for b in batches]) < 0.9
    assert np.mean([b.correlated for b in batches]) > 0.4


@pytest.mark.heavy
@pytest.mark.slow
def test_item_11_interval_coverage():
    """95 % Student-t intervals over 10 replications of 5,000 requests cover the mean and the P99 of M/M/1 at rho = 0.5
    (sojourn times are exponential with rate 1 - rho) in 93 to 97 % of 1000 trials."""
    rho, trials, n = 0.5, 1000, 5000
    rng = np.random.default_rng(11)
    means, tails = [], []
    for _ in range(trials * 10 // 100):
        sojourn = stationary_replications(rng, rho, 100, n)
        means.append(sojourn.mean(axis=1))
        tails.append(np.quantile(sojourn, 0.99, axis=1))
    for values, truth in ((means, 1 / (1 - rho)), (tails, -math.log(0.01) / (1 - rho))):
        groups = np.concatenate(values).reshape(trials, 10)
        covered = sum(statistics.mean_interval(group).covers(truth) for group in groups)
        assert 930 <= covered <= 970, covered
