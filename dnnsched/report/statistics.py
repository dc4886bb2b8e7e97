"""Confidence intervals over replications.

Replications are independent by construction (own seed, own trace draw), so Student's t is
the right interval for a mean; two schedulers run on the same requests, so their difference
is taken pair by pair.
"""

import math
from dataclasses import dataclass

import numpy as np

from dnnsched._native import _base

LEVEL = 0.95
"""Confidence level of every interval unless a caller says otherwise."""


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
        Number of replications.
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


def _sample(values, name):
    sample = np.asarray(values, dtype=np.float64)
    if sample.ndim != 1 or sample.size == 0:
        raise ValueError(f"{name}: expected a non-empty vector of replications, got shape {sample.shape}")
    if not np.isfinite(sample).all():
        at = int(np.flatnonzero(~np.isfinite(sample))[0])
        raise ValueError(f"{name}: expected finite values, got {sample[at]} in replication {at}")
    return sample


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
    half = t_quantile(0.5 + level / 2, sample.size - 1) * float(sample.std(ddof=1)) / math.sqrt(sample.size)
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
    """
    first, second = _sample(a, "a"), _sample(b, "b")
    if first.size != second.size:
        raise ValueError(f"b: expected {first.size} replications as in a, got {second.size}")
    return mean_interval(first - second, level)


def ratio_of_means(a, b, level=LEVEL):
    """Interval of mean(a) / mean(b) for paired replications, by Fieller's theorem.

    Parameters
    ----------
    a, b : array_like of float, shape (n,)
        Paired replications.
    level : float
        Confidence level in (0, 1).

    Returns
    -------
    Interval
        The limits are infinite when the denominator is not clearly away from zero.

    Notes
    -----
    Fieller (1954): the ratios r for which mean(a) - r mean(b) is not significantly different
    from zero.
    """
    first, second = _sample(a, "a"), _sample(b, "b")
    if first.size != second.size:
        raise ValueError(f"b: expected {first.size} replications as in a, got {second.size}")
    n = first.size
    top, bottom = float(first.mean()), float(second.mean())
    if bottom == 0.0:
        return Interval(math.nan, -math.inf, math.inf, level, n)
    ratio = top / bottom
    if n == 1:
        return Interval(ratio, math.nan, math.nan, level, 1)
    cov = np.cov(first, second, ddof=1) / n
    t2 = t_quantile(0.5 + level / 2, n - 1) ** 2
    qa = bottom**2 - t2 * cov[1, 1]
    qb = top * bottom - t2 * cov[0, 1]
    qc = top**2 - t2 * cov[0, 0]
    if qa <= 0.0:
        return Interval(ratio, -math.inf, math.inf, level, n)
    root = math.sqrt(max(qb * qb - qa * qc, 0.0))
    return Interval(ratio, (qb - root) / qa, (qb + root) / qa, level, n)
