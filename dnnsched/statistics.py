"""Confidence intervals: over replications, inside one run, of quantiles, and MLPerf's early stopping.

Which interval for which numbers:

=============================  ===================================================================================
numbers                        interval
=============================  ===================================================================================
one value per replication      :func:`mean_interval` (Student's t); replications are independent by construction
two schedulers, same requests  :func:`paired_difference`, :func:`ratio_of_means` (Fieller)
two unrelated experiments      :func:`difference_of_means` (Welch)
speed-ups                      :func:`geometric_mean` (Student's t of the logarithms)
one long run, its mean         :func:`batch_means`, refused when the batches are correlated
independent values, quantile   :func:`quantile_interval` (order statistics), refused when the values are correlated
=============================  ===================================================================================

Latencies of one run wait on each other and are *not* independent: their quantile gets an interval from replications.
"""

import math
from dataclasses import dataclass

import numpy as np

from dnnsched._arrays import as_float64, check_choice, check_int, check_number, seed_sequence
from dnnsched._native import _base

LEVEL = 0.95
"""Confidence level of every interval unless a caller says otherwise."""

QUANTILE_METHODS = ("linear", "loadgen")
"""``"linear"``: NumPy's default, between order statistics; ``"loadgen"``: element floor(n p), counted from 0."""

_LAGS, _FALSE_ALARM = 10, 0.001
_BATCH_FALSE_ALARM = 0.05


@dataclass(frozen=True)
class Interval:
    """A point estimate with its confidence interval.

    Attributes
    ----------
    value, low, high : float
        Estimate and limits; the limits are NaN when one replication leaves nothing to judge by.
    level : float
        Confidence level in (0, 1).
    n : int
        Number of replications (or batches, or samples).
    """

    value: float
    low: float
    high: float
    level: float
    n: int

    def scaled(self, factor):
        """The interval of the estimate times a positive constant."""
        return Interval(self.value * factor, self.low * factor, self.high * factor, self.level, self.n)

    def shifted(self, offset):
        """The interval of the estimate plus a constant."""
        return Interval(self.value + offset, self.low + offset, self.high + offset, self.level, self.n)

    def covers(self, value):
        """Whether `value` lies between the limits; false without limits."""
        return self.low <= value <= self.high


@dataclass(frozen=True)
class BatchMeans:
    """What :func:`batch_means` found.

    Attributes
    ----------
    interval : Interval
        Of the mean; ``interval.n`` is the number of batches.
    means : ndarray of float64, shape (batches,)
    size : int
        Values per batch.
    dropped : int
        First values left out: the warm-up and what does not fill a batch.
    lag1, limit : float
        Correlation of consecutive batch means, and the value it may not exceed.
    """

    interval: Interval
    means: np.ndarray
    size: int
    dropped: int
    lag1: float
    limit: float

    @property
    def correlated(self):
        """Whether the batches are too short for the interval to be believed."""
        return self.lag1 > self.limit


@dataclass(frozen=True)
class EarlyStopping:
    """Verdict of :func:`early_stopping`; true in a condition when the run is valid.

    Attributes
    ----------
    valid : bool
        Enough queries for the confidence.
    n, overlatency : int
        Queries, and those strictly over the latency target.
    n_min : int
        Queries needed with that many over the target.
    allowed : int
        Queries that may be over the target among `n`; -1 if `n` is too small for any verdict.
    percentile, confidence : float
    """

    valid: bool
    n: int
    overlatency: int
    n_min: int
    allowed: int
    percentile: float
    confidence: float

    def __bool__(self):
        return self.valid

    def __str__(self):
        if self.allowed < 0:
            return (f"insufficient samples: {self.n} queries, at least "
                    f"{early_stopping_min(0, self.percentile, self.confidence)} needed")
        word = "valid" if self.valid else "invalid"
        return (f"{word}: {self.overlatency} of {self.n} queries over the target, {self.allowed} allowed at percentile "
                f"{self.percentile:g} with confidence {self.confidence:g} (needs n >= {self.n_min})")


def _sample(values, name, what="replication"):
    sample = np.asarray(values, dtype=np.float64)
    if sample.ndim != 1 or sample.size == 0:
        raise ValueError(f"{name}: expected a non-empty vector of {what}s, got shape {sample.shape}")
    if not np.isfinite(sample).all():
        at = int(np.flatnonzero(~np.isfinite(sample))[0])
        raise ValueError(f"{name}: expected finite values, got {sample[at]} in {what} {at}")
    return sample


def _pair(a, b):
    first, second = _sample(a, "a"), _sample(b, "b")
    if first.size != second.size:
        raise ValueError(f"b: expected {first.size} replications as in a, got {second.size}")
    return first, second


def _critical(level, df):
    """Two-sided Student-t factor."""
    if not 0.0 < level < 1.0:
        raise ValueError(f"level: expected a value in (0, 1), got {level!r}")
    return t_quantile(0.5 + level / 2, df)


def t_quantile(p, df):
    """Quantile of Student's t distribution.

    Parameters
    ----------
    p : float
        Probability in (0, 1).
    df : float
        Degrees of freedom, at least 1.

    Returns
    -------
    float
    """
    return _base.student_t_quantile(p, df)


def seeds(rng, n):
    """Seeds of n replications: independent of each other and of who asks for them.

    Parameters
    ----------
    rng : int, SeedSequence, Generator or None
        Entropy; None draws fresh entropy from the system.
    n : int
        Number of seeds, >= 1.

    Returns
    -------
    list of int
        Seed r is the first 64-bit word of child r of the SeedSequence, without its lowest bit, so that it fits a
        signed 64-bit column. The first seeds do not depend on `n`.
    """
    root, _ = seed_sequence(rng)
    children = (np.random.SeedSequence(root.entropy, spawn_key=(*root.spawn_key, r))
                for r in range(check_int(n, "n", 1)))
    return [int(child.generate_state(1, np.uint64)[0] >> np.uint64(1)) for child in children]


def mean_interval(values, level=LEVEL):
    """Student-t interval of the mean of independent replications.

    Parameters
    ----------
    values : array_like of float, shape (n,)
        One value per replication.
    level : float
        Confidence level in (0, 1).

    Returns
    -------
    Interval
    """
    sample = _sample(values, "values")
    mean = float(sample.mean())
    if sample.size == 1:
        return Interval(mean, math.nan, math.nan, level, 1)
    half = _critical(level, sample.size - 1) * float(sample.std(ddof=1)) / math.sqrt(sample.size)
    return Interval(mean, mean - half, mean + half, level, int(sample.size))


def paired_difference(a, b, level=LEVEL):
    """Interval of the mean of ``a - b``, replication by replication.

    Parameters
    ----------
    a, b : array_like of float, shape (n,)
        The two schedulers on the same requests, in the same order.
    level : float
        Confidence level in (0, 1).

    Returns
    -------
    Interval

    Notes
    -----
    Differences within 1e-12 of the values are rounding, two orders of summation say, and count as 0.
    """
    first, second = _pair(a, b)
    differences = first - second
    differences[np.abs(differences) <= 1e-12 * np.maximum(np.abs(first), np.abs(second))] = 0.0
    return mean_interval(differences, level)


def difference_of_means(a, b, level=LEVEL):
    """Interval of mean(a) - mean(b) for two unrelated sets of replications, by Welch's method.

    Parameters
    ----------
    a, b : array_like of float, shape (n,), (m,)
    level : float
        Confidence level in (0, 1).

    Returns
    -------
    Interval
        ``n`` is the smaller number of replications; without limits if that is 1.

    Notes
    -----
    Welch (1947): unequal variances, degrees of freedom by Satterthwaite's formula.
    """
    first, second = _sample(a, "a"), _sample(b, "b")
    difference = float(first.mean() - second.mean())
    n = min(first.size, second.size)
    if n == 1:
        return Interval(difference, math.nan, math.nan, level, 1)
    va, vb = float(first.var(ddof=1)) / first.size, float(second.var(ddof=1)) / second.size
    if va + vb == 0.0:
        return Interval(difference, difference, difference, level, n)
    df = (va + vb) ** 2 / (va**2 / (first.size - 1) + vb**2 / (second.size - 1))
    half = _critical(level, df) * math.sqrt(va + vb)
    return Interval(difference, difference - half, difference + half, level, n)


def ratio_of_means(a, b, level=LEVEL, *, paired=True):
    """Interval of mean(a) / mean(b), by Fieller's theorem.

    Parameters
    ----------
    a, b : array_like of float, shape (n,)
        Replications; lengths may differ only if they are not paired.
    level : float
        Confidence level in (0, 1).
    paired : bool
        The two ran on the same requests. If not, no covariance is assumed and the smaller number of replications
        gives the degrees of freedom, which errs on the wide side.

    Returns
    -------
    Interval
        The limits are infinite when the denominator is not clearly away from zero.

    Notes
    -----
    Fieller (1954): the ratios r for which mean(a) - r mean(b) is not significantly different
    from zero.
    """
    first, second = _pair(a, b) if paired else (_sample(a, "a"), _sample(b, "b"))
    n = min(first.size, second.size)
    top, bottom = float(first.mean()), float(second.mean())
    if bottom == 0.0:
        return Interval(math.nan, -math.inf, math.inf, level, n)
    ratio = top / bottom
    if n == 1:
        return Interval(ratio, math.nan, math.nan, level, 1)
    if paired:
        cov = np.cov(first, second, ddof=1) / n
    else:
        cov = np.diag([first.var(ddof=1) / first.size, second.var(ddof=1) / second.size])
    t2 = _critical(level, n - 1) ** 2
    qa = bottom**2 - t2 * cov[1, 1]
    qb = top * bottom - t2 * cov[0, 1]
    qc = top**2 - t2 * cov[0, 0]
    if qa <= 0.0:
        return Interval(ratio, -math.inf, math.inf, level, n)
    root = math.sqrt(max(qb * qb - qa * qc, 0.0))
    return Interval(ratio, (qb - root) / qa, (qb + root) / qa, level, n)


def geometric_mean(ratios, level=LEVEL):
    """Geometric mean of positive ratios (speed-ups) with the Student-t interval of their logarithms.

    Parameters
    ----------
    ratios : array_like of float, shape (n,)
        One ratio > 0 per replication or per benchmark.
    level : float
        Confidence level in (0, 1).

    Returns
    -------
    Interval
    """
    sample = _sample(ratios, "ratios")
    if (sample <= 0.0).any():
        at = int(np.argmax(sample <= 0.0))
        raise ValueError(f"ratios: expected values > 0, got {sample[at]} in replication {at}")
    logs = mean_interval(np.log(sample), level)
    return Interval(math.exp(logs.value), math.exp(logs.low), math.exp(logs.high), level, logs.n)


def quantile(samples, p, method="linear"):
    """Sample quantile by a named definition.

    Parameters
    ----------
    samples : array_like of float, shape (n,)
    p : float
        Probability in [0, 1); 1 is accepted by ``"linear"`` too.
    method : {"linear", "loadgen"}
        See `QUANTILE_METHODS`. The two differ by up to one order statistic.

    Returns
    -------
    float
    """
    sample = _sample(samples, "samples", "row")
    check_choice(method, "method", QUANTILE_METHODS)
    p = check_number(p, "p", 0.0, 1.0)
    if method == "linear":
        return float(np.quantile(sample, p))
    if p == 1.0:
        raise ValueError("p: expected a value in [0, 1) for method 'loadgen', got 1.0")
    at = math.floor(sample.size * p)
    return float(np.partition(sample, at)[at])


def autocorrelation(samples, lags=1):
    """Sample autocorrelation of a series.

    Parameters
    ----------
    samples : array_like of float, shape (n,)
        In the order of time, n >= 2.
    lags : int
        Largest lag, in [0, n - 1].

    Returns
    -------
    ndarray of float64, shape (lags + 1,)
        ``r[0]`` is 1; NaN beyond it for a constant series. Independent values give about -1/n with standard
        deviation 1/sqrt(n).
    """
    return _base.autocorrelation(as_float64(samples, "samples", 1), check_int(lags, "lags", 0))


def _correlation_limit(n, false_alarm):
    """Lag correlation that independent values exceed with the given probability (t test of a correlation)."""
    t = t_quantile(1.0 - false_alarm, max(n - 2, 1))
    return t / math.sqrt(n - 2 + t * t)


def _refuse_correlated(sample):
    """Raise ValueError when the ranks of the values correlate with the ranks of the values before them."""
    lags = min(_LAGS, sample.size - 2)
    if lags < 1:
        return
    ordered = np.sort(sample)
    ranks = np.searchsorted(ordered, sample, "left") + np.searchsorted(ordered, sample, "right")
    r = _base.autocorrelation(ranks.astype(np.float64), lags)[1:]
    limit = _correlation_limit(sample.size, _FALSE_ALARM / lags)
    if (r > limit).any():
        at = int(np.nanargmax(r))
        raise ValueError(f"samples: expected independent values, got a rank correlation of {r[at]:.2f} at lag {at + 1} "
                         f"(independent values stay below {limit:.2f}); order statistics give too narrow an interval "
                         "here: use the quantile of each of several replications with mean_interval")


def quantile_interval(samples, p, level=LEVEL):
    """Distribution-free interval of a quantile of independent values, between two order statistics.

    Parameters
    ----------
    samples : array_like of float, shape (n,)
        Independent values, in the order in which they arose.
    p : float
        Probability in (0, 1).
    level : float
        Confidence level in (0, 1); the true coverage is at least this.

    Returns
    -------
    Interval
        ``value`` is the sample quantile by ``"linear"``.

    Raises
    ------
    ValueError
        "insufficient samples", with the number needed; or values that are correlated at one of the first 10 lags
        (a rank correlation that independent values exceed once in 1000 series).

    Notes
    -----
    The number of values at or below the true quantile is Bin(n, p); David and Nagaraja, Order Statistics, section
    7.1. Serial correlation is judged on ranks, so heavy tails do not hide it.
    """
    sample = _sample(samples, "samples", "row")
    low, high = _base.quantile_ranks(sample.size, p, level)
    _refuse_correlated(sample)
    parted = np.partition(sample, (low, high))
    return Interval(quantile(sample, p), float(parted[low]), float(parted[high]), level, int(sample.size))


def batch_means(samples, batches=30, *, warmup=0, level=LEVEL, check=True):
    """Interval of the mean of one long stationary run, from the means of consecutive batches.

    Parameters
    ----------
    samples : array_like of float, shape (n,)
        In the order of time.
    batches : int
        Number of batches, in [3, n - warmup]; what does not divide is left out at the beginning.
    warmup : int
        First values to leave out; 10 % of a run that starts empty is customary.
    level : float
        Confidence level in (0, 1).
    check : bool
        Raise if the batch means are correlated; else only ``correlated`` says so.

    Returns
    -------
    BatchMeans

    Raises
    ------
    ValueError
        If the lag-1 correlation of the batch means exceeds what independent ones exceed in 5 % of runs: the
        batches are too short and the interval would be too narrow.

    Notes
    -----
    Law, Simulation Modeling and Analysis, section 9.5.3. Passing the check does not prove independence; replications
    are safer.
    """
    sample = _sample(samples, "samples", "row")
    warmup = check_int(warmup, "warmup", 0, sample.size - 3)
    batches = check_int(batches, "batches", 3, sample.size - warmup)
    means = _base.batch_means(np.ascontiguousarray(sample[warmup:]), batches)
    size = (sample.size - warmup) // batches
    lag1 = float(_base.autocorrelation(means, 1)[1])
    limit = _correlation_limit(batches, _BATCH_FALSE_ALARM)
    if check and lag1 > limit:
        raise ValueError(f"batches: the means of consecutive batches of {size} values correlate ({lag1:.2f}, limit "
                         f"{limit:.2f}), so that the interval would be too narrow: take fewer batches than {batches}, "
                         "a longer run, or independent replications")
    return BatchMeans(mean_interval(means, level), means, size, sample.size - size * batches, lag1, limit)


def early_stopping_min(overlatency, percentile=0.99, confidence=0.99):
    """Queries that MLPerf's early stopping needs.

    Parameters
    ----------
    overlatency : int
        Queries strictly over the latency target, >= 0.
    percentile, confidence : float
        In (0, 1).

    Returns
    -------
    int
        Smallest n with P[Bin(n, 1 - percentile) <= overlatency] <= 1 - confidence: 64 for one over the target at the
        90th percentile, 662 at the 99th.
    """
    return _base.early_stop_min(check_int(overlatency, "overlatency", 0), percentile, confidence)


def early_stopping(n, overlatency, percentile=0.99, confidence=0.99):
    """Whether a run may claim its latency percentile, as MLPerf loadgen decides (tolerance 0).

    Parameters
    ----------
    n : int
        Queries of the run, >= 0.
    overlatency : int
        Those strictly over the latency target, in [0, n].
    percentile, confidence : float
        In (0, 1).

    Returns
    -------
    EarlyStopping
    """
    n = check_int(n, "n", 0)
    overlatency = check_int(overlatency, "overlatency", 0, n)
    needed = early_stopping_min(overlatency, percentile, confidence)
    return EarlyStopping(n >= needed, n, overlatency, needed, _base.early_stop_allowed(n, percentile, confidence),
                         percentile, confidence)
