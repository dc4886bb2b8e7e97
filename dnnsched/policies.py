"""What a scheduler may know about running requests: average latencies, and sparsity predictors.

The offline tables hold averages per (model, pattern) or per model; a predictor turns the
sparsity monitored on the layers already executed into a factor gamma on what remains
[Sparse-DySta, MICRO 2023, section 5.1]. Every sum runs from left to right, so results
are bit-identical to a scalar program that adds in file order.
"""

from typing import NamedTuple

import numpy as np

from dnnsched._arrays import as_float64, check_choice, check_int, check_number
from dnnsched._native import _policy
from dnnsched.traces import TraceSet

PREDICTORS = ("last_one", "average_all", "last_n")
_KIND = {name: i for i, name in enumerate(PREDICTORS)}


class Estimate(NamedTuple):
    """What a scheduler believes about one trace key.

    Every array is float64, C-contiguous, shape (R, layers): row s for sample s, or R = 1 when
    all samples share the values. Column k holds once k layers are done.
    """

    remaining: np.ndarray
    """Seconds still needed."""
    next: np.ndarray
    """Seconds of layer k."""
    isolated: np.ndarray
    """Seconds of the whole request alone."""
    gamma: np.ndarray
    """Predicted over average remaining time."""
    n_clamped: int = 0
    """How many values of gamma the clamp changed."""


def average_latency(ts, aware=True):
    """Average layer latencies per key.

    Parameters
    ----------
    ts : TraceSet
    aware : bool
        True: mean over the samples of the key, added in order, then one division. False: the mean
        over the keys of one model, sum(n_i avg_i) / sum(n_i) in key order.

    Returns
    -------
    list of float64[layers]
        Seconds, one array per key.
    """
    own = [_policy.column_means(trace.latency) for trace in ts.values()]
    if aware:
        return own
    total, count = {}, {}
    for model, trace, average in zip(ts.model_index.tolist(), ts.values(), own, strict=True):
        total[model] = total.get(model, np.zeros(trace.n_layers)) + trace.n_samples * average
        count[model] = count.get(model, 0) + trace.n_samples
    return [total[model] / count[model] for model in ts.model_index.tolist()]


def predict_gamma(sparsity, avg_sparsity, predictor="last_one", *, n_last=3, ratio="density", artifact=False,
                  clamp=(0.1, 10.0)):
    """Ratio of predicted to average remaining time after each layer.

    Parameters
    ----------
    sparsity : array_like, shape (samples, layers)
        Monitored fraction of zeros in [0, 1].
    avg_sparsity : array_like, shape (layers,)
        Averages known beforehand, in [0, 1].
    predictor : {"last_one", "average_all", "last_n"}
        Layers looked at: the last one, all executed ones, the last ``n_last``.
    n_last : int
        Window of ``"last_n"``, >= 1.
    ratio : {"density", "literal"}
        Ratio of densities 1 - s (as latency does), or of the fractions of zeros, which is the
        literal reading of the paper.
    artifact : bool
        False: mean of monitored values over mean of averages of the same layers, clamped. True:
        as the public simulator: mean of per-layer ratios (``"last_n"``: their sum over n_last, even
        when fewer layers have run), no clamp.
    clamp : (float, float)
        0 <= low <= 1 <= high.

    Returns
    -------
    float64, shape (samples, layers)
        Column k uses layers 0 .. k-1 only; column 0 is 1. An average of density 0 gives the ratio 1.
    """
    sparsity = as_float64(sparsity, "sparsity", 2)
    return _gamma(sparsity, as_float64(avg_sparsity, "avg_sparsity", 1), predictor, n_last, ratio, artifact, clamp)[0]


def _gamma(sparsity, average, predictor, n_last, ratio, artifact, clamp):
    check_choice(predictor, "predictor", PREDICTORS)
    check_choice(ratio, "ratio", ("density", "literal"))
    n_last = check_int(n_last, "n_last", 1)
    try:
        low, high = clamp
    except (TypeError, ValueError):
        raise ValueError(f"clamp: expected (low, high), got {clamp!r}") from None
    low, high = check_number(low, "clamp[0]", 0, 1), check_number(high, "clamp[1]", 1, finite=False)
    return _policy.predict_gamma(sparsity, average, _KIND[predictor], n_last, ratio == "literal", bool(artifact),
                                 low, high)


def _check_set(ts):
    if not isinstance(ts, TraceSet):
        raise TypeError(f"ts: expected a TraceSet, got {type(ts).__name__}")


def estimate(ts, *, aware=True, source="average", predictor=None, n_last=3, ratio="density", artifact=False, alpha=1.0,
             clamp=(0.1, 10.0)):
    """Remaining-time estimates for every key of a trace set.

    With S[k] the sum of the average latencies of layers k, k+1, ... (each suffix summed on its own):
    without a predictor ``remaining`` is S; with one it is alpha * gamma * S per sample.

    Parameters
    ----------
    ts : TraceSet
    aware : bool
        Averages per key, that is per model and pattern (True), or per model (False).
    source : {"average", "true"}
        ``"true"`` is the oracle: each sample's own latencies, gamma 1; `predictor` must be None.
    predictor, n_last, ratio, artifact, clamp
        As in :func:`predict_gamma`; None for no predictor. A trace without sparsity has gamma 1.
    alpha : float
        How much of the sparsity the accelerator turns into speed, > 0; not used with `artifact`.

    Returns
    -------
    list of Estimate
        One per key. ``next`` is gamma times the average of layer k; ``isolated`` is S[0].
    """
    _check_set(ts)
    check_choice(source, "source", ("average", "true"))
    alpha = check_number(alpha, "alpha", 0, open_low=True)
    if predictor is not None:
        check_choice(predictor, "predictor", PREDICTORS)
    if source == "true":
        if predictor is not None:
            raise ValueError(f"predictor: expected None with source='true', got {predictor!r}")
        return [_true_estimate(trace) for trace in ts.values()]
    out = []
    for trace, average in zip(ts.values(), average_latency(ts, aware), strict=True):
        rest = _policy.suffix_sums(average[None, :])
        gamma, n_clamped = np.ones_like(rest), 0
        remaining = rest
        if predictor is not None:
            if trace.sparsity is not None:
                gamma, n_clamped = _gamma(trace.sparsity, _policy.column_means(trace.sparsity), predictor, n_last,
                                          ratio, artifact, clamp)
            remaining = gamma * rest if artifact else alpha * gamma * rest
        out.append(Estimate(remaining, gamma * average, np.full_like(gamma, rest[0, 0]), gamma, n_clamped))
    return out


def _true_estimate(trace):
    remaining = _policy.suffix_sums(trace.latency)
    isolated = np.repeat(remaining[:, :1], trace.n_layers, axis=1)
    return Estimate(remaining, trace.latency.copy(), isolated, np.ones_like(remaining))


_ERROR_DTYPE = [("rmse_s", "f8"), ("rmse_rel", "f8"), ("correlation", "f8"), ("n", "i8")]


def evaluate_predictors(ts, predictors=("none", *PREDICTORS), *, n_last=3, ratio="density", artifact=False, alpha=1.0,
                        clamp=(0.1, 10.0)):
    """Error of predicted remaining time against the truth, per key and predictor.

    Protocol: root mean square over all samples and k = 1 .. layers-1 of (predicted - true), averages
    and suffix sums per key.

    Parameters
    ----------
    ts : TraceSet
    predictors : sequence of str
        Names as in :func:`predict_gamma`, and ``"none"`` (averages alone, gamma 1).
    n_last, ratio, artifact, alpha, clamp
        As in :func:`estimate`.

    Returns
    -------
    structured array, one row per (key, predictor)
        ``key``, ``predictor``, ``rmse_s`` (seconds), ``rmse_rel`` (of (predicted - true) / true),
        ``correlation`` (Pearson, of gamma and true over average remaining time; NaN when either is
        constant), ``n`` (pairs compared). NaN for one-layer traces and, predictors apart from
        ``"none"``, for traces without sparsity.
    """
    _check_set(ts)
    alpha = check_number(alpha, "alpha", 0, open_low=True)
    predictors = tuple(predictors)
    for name in predictors:
        check_choice(name, "predictors", ("none", *PREDICTORS))
    width = max(len(key) for key in ts)
    out = np.empty(len(ts) * len(predictors), dtype=[("key", f"U{width}"), ("predictor", "U11"), *_ERROR_DTYPE])
    row = 0
    for (key, trace), average in zip(ts.items(), average_latency(ts), strict=True):
        rest, truth = _policy.suffix_sums(average[None, :])[0], _policy.suffix_sums(trace.latency)
        for name in predictors:
            errors = (0, np.nan, np.nan, np.nan)
            if name == "none":
                errors = _policy.prediction_errors(np.ones_like(truth), rest, truth, 1.0)
            elif trace.sparsity is not None:
                gamma, _ = _gamma(trace.sparsity, _policy.column_means(trace.sparsity), name, n_last, ratio, artifact,
                                  clamp)
                errors = _policy.prediction_errors(gamma, rest, truth, 1.0 if artifact else alpha)
            out[row] = (key, name, errors[1], errors[2], errors[3], errors[0])
            row += 1
    return out
