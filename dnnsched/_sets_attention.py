"""Set B, attention: generated densities of attention masks through the Sanger cost model (``multi-attnn``).

Per model, sample b and layer l::

    z_{b,l}  = sqrt(c_l) g_b + sqrt(1 - c_l) e_{b,l}            e: AR(1) over layers, phi = .5
    d_{b,l}  = logistic(m_l + s_l y(z_{b,l}))                   y: Tukey g-and-h, median 0, so logistic(m_l) is the
                                                                median density
    r_{b,l}  = (P(n >= 1) + P(n >= 33)) / 2                     n of 64: non-zeros of one mask vector, beta-binomial
    t_{b,l}  = Sanger latency of (density d, load balance d / r) at 512 tokens

r is the processed share of the score matrix when 64-wide mask vectors are cut into groups of 32 and empty vectors
are skipped. n is beta-binomial with mean 64 d and concentration `clustering`: small values mean that a vector is
nearly full or nearly empty (heads and regions differ), large ones that non-zeros are spread evenly.

What the constants are fitted to (Fan et al., Sparse-DySta, MICRO 2023): c to Fig. 9 (correlation of layer sparsities:
BERT .94, GPT-2 .91 with a loose last layer); m, s, g, h of BERT's last two layers to Fig. 2 (distribution of layer
latency over its mean); s of all other layers to a coefficient of variation of .085, the level of Fig. 2; m of the
other layers to the mean isolated times 16.7, 19.3 and 60 ms that follow from Figs. 14 and 15, in which BERT = 16.7 ms
and GPT-2 = 19.3 ms is an assumption. Not published, hence assumed: the depth profiles (BERT linear in the logit, the
others flat), BART's correlation (as BERT's) and the clustering of the masks (0.25, strongly clustered).

Sanger's latency has a large part that no sparsity removes (the input projections) and at most doubles with density:
a mean of 19.3 or 60 ms leaves no room for the long right tail of Fig. 2, and the elasticity of latency to density
stays below one half. :func:`dnnsched.traces.feedback` measures it.
"""

from typing import NamedTuple

import numpy as np

from dnnsched import accel
from dnnsched._arrays import check_choice, check_int, check_number
from dnnsched._latent import latent_field, logistic, normals, tukey_gh
from dnnsched._sets_calibration import MIN_SAMPLES, as_records, attention_rows
from dnnsched.traces import Trace, TraceSet

__all__ = ["ATTENTION_MODELS", "attention_set", "vector_load"]

_PHI = 0.5
# Spread that gives layer latency a coefficient of variation of .085 at a median density of logistic(m): solved for
# clustering 0.25, g = .5, h = 0 and 512 tokens.
_SPREAD_AT = (np.linspace(-1.2, 1.4, 14),
              np.array([.361, .351, .347, .350, .361, .380, .410, .453, .509, .583, .675, .786, .915, 1.060]))


class AttentionModel(NamedTuple):
    """Constants of one model's generator; arrays have one entry per layer."""

    mean_s: float
    shared: np.ndarray
    median_logit: np.ndarray
    spread: np.ndarray
    g: np.ndarray
    h: np.ndarray


def _model(mean_s, shared, median_logit, last_shared=None, tail=()):
    """Layers of `median_logit` with the common spread, then the (m, s, g, h) rows of `tail`."""
    m = np.concatenate([median_logit, [row[0] for row in tail]])
    s = np.concatenate([np.interp(median_logit, *_SPREAD_AT), [row[1] for row in tail]])
    g = np.concatenate([np.full(len(median_logit), 0.5), [row[2] for row in tail]])
    h = np.concatenate([np.zeros(len(median_logit)), [row[3] for row in tail]])
    c = np.full(len(m), shared)
    if last_shared is not None:
        c[-1] = last_shared
    return AttentionModel(mean_s, c, m, s, g, h)


#: Generator constants per model, in key order.
ATTENTION_MODELS = {
    "bert": _model(0.0167, 0.95, np.linspace(1.06, -0.88, 10),
                   tail=((-1.00, 0.345, 0.09, 0.155), (-1.10, 0.385, 0.035, 0.186))),
    "gpt2": _model(0.0193, 0.92, np.full(12, 0.766), last_shared=0.60),
    "bart": _model(0.0600, 0.95, np.full(36, 1.08)),
}


def vector_load(density, clustering, vector=64, pes=32):
    """Expected processed share r of a mask whose vectors have beta-binomial counts of non-zeros.

    Parameters
    ----------
    density : array_like
        Fraction of non-zeros, in [0, 1].
    clustering : float
        Concentration a + b of the beta distribution, > 0; r -> density as it goes to 0.
    vector : int
        Width of a vector, even multiple of `pes` or equal to it.
    pes : int
        Non-zeros that one pass over a vector processes.

    Returns
    -------
    ndarray of float64
        ``pes/vector * sum_{j >= 0} P(n > j pes)``, interpolated linearly in a table of 1025 densities; in
        [density, 1].
    """
    grid = np.linspace(0.0, 1.0, 1025)
    inner = grid[1:-1]
    a, b = inner * clustering, (1.0 - inner) * clustering
    term = np.ones_like(inner)  # P(n = 0), then P(n = 1), ...
    for n in range(vector):
        term = term * (1.0 - a / (clustering + n))
    above = 1.0 - term
    load = above.copy()
    for n in range(1, vector):
        term = term * ((vector - n + 1) / n) * (a + n - 1) / (b + vector - n)
        above = above - term
        if n % pes == 0:
            load += above
    table = np.concatenate([[0.0], np.maximum(load * (pes / vector), inner), [1.0]])
    return np.interp(density, grid, table)


def attention_set(name="multi-attnn", draw=0, n_samples=300, clustering=0.25, rescale=False, seq_len=512):
    """Set B of the attention models: BERT, GPT-2 and BART on Sanger.

    Parameters
    ----------
    name : {"multi-attnn"}
        Seeds the random stream.
    draw : int
        Realisation, >= 0. Sample b is the same whatever `n_samples` is.
    n_samples : int
        Samples per model, >= 1.
    clustering : float
        How strongly non-zeros gather in mask vectors (see :func:`vector_load`); the constants are fitted at 0.25.
    rescale : bool
        Multiply each model's latencies by one factor so that its mean isolated time is exactly the target; off by
        default, since the cost model comes within a few per cent by itself. The factors stand in the traces' meta.
    seq_len : int
        Tokens, a multiple of 64.

    Returns
    -------
    TraceSet
        Keys ``bert/dynamic``, ``gpt2/dynamic``, ``bart/dynamic``; origin ``"synthetic"``. The sparsity column is
        one minus the density of the attention mask.
    """
    check_choice(name, "name", ("multi-attnn",))
    draw = check_int(draw, "draw", 0)
    n_samples = check_int(n_samples, "n_samples", 1)
    clustering = check_number(clustering, "clustering", 0.0, open_low=True)
    if not isinstance(rescale, (bool, np.bool_)):
        raise TypeError(f"rescale: expected True or False, got {type(rescale).__name__}")
    device = accel.Sanger(compat="artifact")
    traces = {}
    for key, model in ATTENTION_MODELS.items():
        z = normals(name, draw, (key,), (n_samples, len(model.spread) + 1))
        field = latent_field(z[:, 0], z[:, 1:], model.shared, _PHI)
        density = logistic(model.median_logit + model.spread * tukey_gh(field, model.g, model.h))
        latency = device.latency(density, density / vector_load(density, clustering), seq_len)
        factor = 1.0
        if rescale:
            factor = model.mean_s / np.mean(latency.sum(axis=1))
            latency = latency * factor
        traces[f"{key}/dynamic"] = Trace(latency, 1.0 - density, key, "dynamic", "synthetic",
                                         {"target_mean_isolated_s": model.mean_s, "rescale_factor": float(factor)})
    ts = TraceSet(traces, "synthetic", {
        "set": name, "draw": draw, "n_samples": n_samples, "clustering": clustering, "rescale": bool(rescale),
        "seq_len": int(seq_len), "model_mean": "own", "cost_model": "sanger, compat artifact",
        "calibrated_to": "Fan et al., Sparse-DySta, MICRO 2023: Fig. 2, Fig. 9, means of Figs. 14 and 15",
    })
    if n_samples >= MIN_SAMPLES:
        ts.meta["calibration"] = as_records(attention_rows(ts))
    return ts
