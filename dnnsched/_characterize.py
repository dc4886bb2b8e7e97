"""What the trace sets look like: latency per network, pattern and sparsity, and the effect of low light.

The functions return structured arrays for reports; they compute nothing that a trace set does not hold.
"""

import numpy as np

from dnnsched import traces

__all__ = ["INFERRED_MEANS_S", "architecture_order", "latency_table", "relative_range", "sparsity_shift"]

#: Mean isolated time in seconds of each CNN architecture of the Sparse-DySta evaluation, inferred from its published
#: queueing curves (a fit, not printed numbers), in increasing order.
INFERRED_MEANS_S = {"mobilenet": 0.032, "resnet50": 0.25, "ssd300": 0.35, "vgg16": 0.478}

_LATENCY = np.dtype([("set", "U16"), ("origin", "U40"), ("model", "U16"), ("pattern", "U8"), ("weight_sparsity", "f8"),
                     ("activation_sparsity", "f8"), ("mean_s", "f8"), ("cv", "f8"), ("inferred_s", "f8"),
                     ("ratio", "f8")])
_SHIFT = np.dtype([("model", "U16"), ("pattern", "U8"), ("n_images", "i8"), ("median_day", "f8"),
                   ("median_low", "f8"), ("shift", "f8"), ("median_change", "f8"), ("fraction_up", "f8"),
                   ("range_day", "f8"), ("range_low", "f8"), ("range_both", "f8")])


def latency_table(weight_sparsity=(0.2, 0.6), n_samples=100, draw=0, recorded=True):
    """Mean and spread of the isolated latency per network, weight pattern and weight sparsity.

    Parameters
    ----------
    weight_sparsity : sequence of float
        Levels for the generated set ``multi-cnn`` (origin ``synthetic``); the Dysta recipes prune 20 % or 60 %.
    n_samples, draw : int
        Samples per network and realisation of that set.
    recorded : bool
        Add the rows of ``recorded-cnn`` (masks measured on networks trained here, half of the weights pruned).

    Returns
    -------
    ndarray, structured
        ``set, origin, model, pattern, weight_sparsity, activation_sparsity`` (mean fraction of zeros over samples and
        layers), ``mean_s`` (seconds), ``cv`` (standard deviation / mean over samples), ``inferred_s`` (see
        :data:`INFERRED_MEANS_S`; NaN where there is none) and ``ratio = mean_s / inferred_s``.
    """
    rows = []
    for level in weight_sparsity:
        rows += _latency_rows("multi-cnn", traces.load("multi-cnn", weight_sparsity=level, n_samples=n_samples,
                                                       draw=draw), level)
    if recorded:
        rows += _latency_rows("recorded-cnn", traces.load("recorded-cnn"), 0.5)
    return np.array(rows, _LATENCY)


def _latency_rows(name, ts, weight_sparsity):
    rows = []
    for trace in ts.values():
        isolated = trace.isolated_s
        mean = isolated.mean()
        inferred = INFERRED_MEANS_S.get(trace.model, np.nan)
        rows.append((name, trace.origin, trace.model, trace.pattern, weight_sparsity, trace.sparsity.mean(), mean,
                     isolated.std() / mean, inferred, mean / inferred))
    return rows


def architecture_order(table, weight_sparsity=0.2):
    """Mean latency per architecture at one weight sparsity against the inferred means.

    The claim behind it: MobileNet < ResNet-50 < SSD300 < VGG-16, each within [0.6, 1.6] of the inferred mean.

    Parameters
    ----------
    table : ndarray
        From :func:`latency_table`.
    weight_sparsity : float
        Which rows of ``multi-cnn`` to average, over patterns.

    Returns
    -------
    ndarray, structured
        ``model, mean_s, inferred_s, ratio``, in increasing order of the inferred mean: the ordering holds if
        ``mean_s`` increases.
    """
    chosen = table[(table["set"] == "multi-cnn") & (table["weight_sparsity"] == weight_sparsity)]
    if len(chosen) == 0:
        raise ValueError(f"weight_sparsity: expected one of {sorted(set(table['weight_sparsity'].tolist()))}, "
                         f"got {weight_sparsity}")
    rows = []
    for model, inferred in INFERRED_MEANS_S.items():
        mean = chosen["mean_s"][chosen["model"] == model].mean()
        rows.append((model, mean, inferred, mean / inferred))
    return np.array(rows, [("model", "U16"), ("mean_s", "f8"), ("inferred_s", "f8"), ("ratio", "f8")])


def relative_range(values):
    """Largest minus smallest value, divided by the mean."""
    values = np.asarray(values)
    return float((values.max() - values.min()) / values.mean())


def sparsity_shift():
    """How low light moves the network sparsity of the recorded CNNs: measured here, on our own small networks.

    The network sparsity of one image is the mean over layers of the fraction of zeros in the layer's input, as the
    public Dysta code averages it; the first layer, whose input is a dense image, is left out. Each of 100 test images
    is compared with itself, darkened (gain 0.1-0.5) and blurred (0.3-1.5 pixels).

    Returns
    -------
    ndarray, structured
        Per network and pattern: ``n_images``, ``median_day``, ``median_low``, ``shift`` (difference of the medians),
        ``median_change`` (median over images of low light minus day), ``fraction_up`` (images whose sparsity is higher
        in low light), and the relative range over images by day, in low light, and over both.
    """
    rows = []
    day, low = traces.load("recorded-cnn", light="day"), traces.load("recorded-cnn", light="low")
    for key, trace in day.items():
        a, b = trace.sparsity[:, 1:].mean(axis=1), low[key].sparsity[:, 1:].mean(axis=1)
        rows.append((trace.model, trace.pattern, len(a), np.median(a), np.median(b), np.median(b) - np.median(a),
                     np.median(b - a), np.mean(b > a), relative_range(a), relative_range(b),
                     relative_range(np.concatenate([a, b]))))
    return np.array(rows, _SHIFT)
