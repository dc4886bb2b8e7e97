"""What weight patterns and mask structure do to cost: the shapes of two figures of the Dysta paper, from masks of ours.

:func:`pattern_study` is Fig. 4's experiment (Fan et al., Sparse-DySta, MICRO 2023): valid multiply-accumulates of one
network under random and channel-wise weight sparsity of one density, same inputs. :func:`sanger_study` draws
attention masks of given densities, clustered and not, and sends their statistics through the Sanger cost model: the
latency distribution of Fig. 2, and why density alone does not determine latency. Both return arrays; the published
shapes are calibration targets of the generator, so agreement is not evidence.
"""

import math

import numpy as np

from dnnsched import accel
from dnnsched._arrays import check_choice, check_int
from dnnsched._latent import uniforms
from dnnsched._sets import CNN_NETWORKS
from dnnsched._sets_attention import ATTENTION_MODELS, attention_set
from dnnsched._sets_calibration import latency_moments, pattern_macs

__all__ = ["attention_masks", "pattern_study", "pattern_summary", "sanger_study", "sanger_summary"]

#: Weight sparsity of the two networks in Fig. 4.
FIG4_SPARSITY = {"resnet50": 0.95, "mobilenet": 0.80}


def pattern_study(n_samples=300, draw=0, patterns=("random", "filter"), sparsity=None):
    """Valid multiply-accumulates per sample and pattern, at equal weight density and on the same inputs.

    Only layers that the recipes prune count. The channel-wise pattern is cheaper because activations are correlated
    per channel and the channels that survive pruning are the sparser ones (see :mod:`dnnsched._sets_cnn`); with
    independent activations the two patterns would cost the same.

    Parameters
    ----------
    n_samples, draw : int
        As of the set ``multi-cnn``, whose activations are used.
    patterns : sequence of str
        Weight patterns to compare.
    sparsity : dict, optional
        Model -> weight sparsity in [0, 1); default: Fig. 4's, ResNet-50 at .95 and MobileNet at .80.

    Returns
    -------
    structured ndarray
        ``model``, ``pattern``, ``sample``, ``macs`` (expected count) and ``relative``: macs over the mean of all
        patterns and samples of the model, the abscissa of Fig. 4.
    """
    n_samples = check_int(n_samples, "n_samples", 1)
    rows = []
    for model, level in (FIG4_SPARSITY if sparsity is None else sparsity).items():
        check_choice(model, "sparsity", tuple(CNN_NETWORKS))
        macs = np.array([pattern_macs(model, pattern, level, draw=draw, n_samples=n_samples) for pattern in patterns])
        block = np.zeros(macs.size, dtype=[("model", "U16"), ("pattern", "U12"), ("sample", "i4"), ("macs", "f8"),
                                           ("relative", "f8")])
        block["model"] = model
        block["pattern"] = np.repeat(np.array(patterns), n_samples)
        block["sample"] = np.tile(np.arange(n_samples), len(patterns))
        block["macs"] = macs.ravel()
        block["relative"] = macs.ravel() / macs.mean()
        rows.append(block)
    return np.concatenate(rows)


def _moments(values):
    """Mean, standard deviation, skewness, min, max."""
    mean = values.mean()
    sd = values.std()
    skew = np.mean((values - mean) ** 3) / sd**3 if sd > 0.0 else 0.0
    return mean, sd, skew, values.min(), values.max()


def pattern_summary(study):
    """Mean, standard deviation, skewness, min and max of ``relative`` per model and pattern of a pattern study.

    Returns
    -------
    structured ndarray
        ``model``, ``pattern``, ``mean``, ``sd``, ``skewness``, ``min``, ``max``, and ``ratio``: mean over the mean of
        the model's first pattern.
    """
    rows = []
    for model in dict.fromkeys(study["model"].tolist()):
        of_model = study[study["model"] == model]
        first = None
        for pattern in dict.fromkeys(of_model["pattern"].tolist()):
            moments = _moments(of_model["relative"][of_model["pattern"] == pattern])
            first = moments[0] if first is None else first
            rows.append((model, pattern, *moments, moments[0] / first))
    return np.array(rows, dtype=[("model", "U16"), ("pattern", "U12"), *((name, "f8") for name in (
        "mean", "sd", "skewness", "min", "max", "ratio"))])


def attention_masks(density, clustering, seq_len=256, draw=0, vector=64):
    """Random attention masks whose 64-wide row vectors have beta-binomial counts of non-zeros.

    A vector is filled by Polya's urn, ``P(next bit = 1) = (c d + ones so far) / (c + bits so far)`` with density d
    and concentration c: exactly the beta-binomial distribution that the trace generator assumes.

    Parameters
    ----------
    density : ndarray of float64, shape (n,)
        Expected density of each mask, in [0, 1].
    clustering : float
        c > 0; ``math.inf`` gives independent bits.
    seq_len : int
        Rows and columns, a multiple of `vector`.
    draw : int
        Realisation.
    vector : int
        Width of a vector.

    Returns
    -------
    ndarray of bool, shape (n, seq_len, seq_len)
    """
    density = np.asarray(density, dtype=np.float64)
    if seq_len < vector or seq_len % vector:
        raise ValueError(f"seq_len: expected a multiple of {vector}, got {seq_len}")
    if not clustering > 0.0:
        raise ValueError(f"clustering: expected a value > 0, got {clustering}")
    vectors = seq_len * (seq_len // vector)
    masks = np.empty((len(density), vectors, vector), dtype=bool)
    for i, d in enumerate(density):
        u = uniforms("attention-masks", draw, (i,), (vector, vectors))
        if math.isinf(clustering):
            masks[i] = (u < d).T
            continue
        ones = np.zeros(vectors)
        for step in range(vector):
            bit = u[step] * (clustering + step) < clustering * d + ones
            ones += bit
            masks[i, :, step] = bit
    return masks.reshape(len(density), seq_len, seq_len)


def sanger_study(n_masks=100, clusterings=(0.25, 4.0, math.inf), draw=0, model="bert", layer=-1, seq_len=256,
                 cost_seq_len=512):
    """Sanger latency against density for masks of different structure but the same densities.

    Parameters
    ----------
    n_masks : int
        Masks per structure; mask i has the density of sample i of one layer of the set ``multi-attnn``.
    clusterings : sequence of float
        See :func:`attention_masks`.
    draw : int
        Realisation of densities and masks.
    model, layer
        Which layer's densities: default BERT's last, which Fig. 2 shows.
    seq_len : int
        Side of the masks drawn; their statistics are ratios, so a smaller side than the one costed saves time.
    cost_seq_len : int
        Tokens of the cost model.

    Returns
    -------
    structured ndarray
        ``clustering``, ``sample``, ``target`` and achieved ``density``, ``load_balance``, ``load`` (density over load
        balance: the share of the score matrix that is processed), ``latency_s``.
    """
    check_choice(model, "model", tuple(ATTENTION_MODELS))
    n_masks = check_int(n_masks, "n_masks", 1)
    density = 1.0 - attention_set(draw=draw, n_samples=n_masks)[f"{model}/dynamic"].sparsity[:, layer]
    device = accel.Sanger(compat="artifact")
    out = np.zeros(n_masks * len(clusterings), dtype=[
        ("clustering", "f8"), ("sample", "i4"), ("target", "f8"), ("density", "f8"), ("load_balance", "f8"),
        ("load", "f8"), ("latency_s", "f8")])
    for block, clustering in zip(out.reshape(len(clusterings), n_masks), clusterings, strict=True):
        block["clustering"], block["sample"], block["target"] = clustering, np.arange(n_masks), density
        for row, mask in zip(block, attention_masks(density, clustering, seq_len, draw), strict=True):
            row["density"], row["load_balance"] = _mask_stats(mask)
        block["load"] = block["density"] / block["load_balance"]
        block["latency_s"] = device.latency(block["density"], block["load_balance"], cost_seq_len)
    return out


def _mask_stats(mask):
    """(density, load balance with empty vectors skipped) of one square mask, by the cost model's own counter."""
    stats = accel.sanger_mask_stats(mask[None])
    return stats["density"], stats["lb_skip"]


def sanger_summary(study):
    """The statistics of Fig. 2 per mask structure of a Sanger study.

    Returns
    -------
    structured ndarray
        ``clustering``, ``mean_s``, and over that mean ``sd``, ``skewness``, ``min``, ``p5``, ``median``, ``p95``,
        ``p99``, ``max``.
    """
    names = ("mean_s", "sd", "skewness", "min", "p5", "median", "p95", "p99", "max")
    rows = []
    for clustering in dict.fromkeys(study["clustering"].tolist()):
        latency = study["latency_s"][study["clustering"] == clustering]
        rows.append((clustering, latency.mean(), *latency_moments(latency)))
    return np.array(rows, dtype=[("clustering", "f8"), *((name, "f8") for name in names)])
