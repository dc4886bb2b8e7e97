"""The generated trace sets of the Dysta benchmark, registered for :func:`dnnsched.traces.load`.

Set A, ``multi-attnn-calibrated`` and ``multi-cnn-calibrated``
    Reconstruction of the runs that Sparse-DySta (Fan et al., MICRO 2023) published: mean isolated times fitted on
    its figures, 7 samples per file, three fixed variants of the variability. Origin ``calibrated``: agreement with
    the fitted curves is a regression check, not evidence.
Set B, ``multi-attnn`` and ``multi-cnn``
    Generated sparsity with the statistics that the paper prints, through the Sanger and Eyeriss-V2 cost models.
    Origin ``synthetic``. See :mod:`dnnsched._sets_attention`, :mod:`dnnsched._sets_cnn`.

Every set is a function of its name, its options and ``draw``: the same arguments give the same bytes.
"""

import numpy as np

from dnnsched import networks
from dnnsched._arrays import check_choice, check_int
from dnnsched._latent import exp, log, normals
from dnnsched.traces import Trace, TraceSet, register

__all__ = ["ATTNN_FILES", "CNN_FILES", "CNN_NETWORKS", "VARIANTS", "calibrated"]

#: The artifact's attention files in index order: (key, layers, mean isolated time in s). Only the index is known
#: for certain: the fit of the FCFS curves gives the times, and with them index 1 (the large one) is BART-like, 36
#: attention calls. Which of the two small ones is BERT and which GPT-2 the published numbers do not say.
ATTNN_FILES = (("attnn0", 12, 0.0167), ("attnn1", 36, 0.0600), ("attnn2", 12, 0.0193))

#: Networks behind the model names of the CNN sets.
CNN_NETWORKS = {"mobilenet": "mobilenet_v1", "resnet50": "resnet50", "vgg16": "vgg16", "ssd300": "ssd300_resnet18"}

#: The artifact's CNN files in index order: (model, mean isolated time in s). The architecture of a file is assigned
#: by magnitude; which of its three sparsity patterns a file holds is not known.
CNN_FILES = (
    ("mobilenet", 0.024), ("vgg16", 0.463), ("mobilenet", 0.035), ("resnet50", 0.224), ("vgg16", 0.408),
    ("resnet50", 0.301), ("ssd300", 0.237), ("resnet50", 0.212), ("vgg16", 0.604), ("mobilenet", 0.042),
    ("ssd300", 0.492), ("ssd300", 0.296),
)

#: Coefficient of variation of one layer's latency in each variant of set A.
VARIANTS = {"deterministic": 0.0, "cv10": 0.10, "cv18": 0.18}

_LAYER_CORRELATION = 0.93
_DENSITY = {"multi-attnn-calibrated": 0.25, "multi-cnn-calibrated": 0.5}
_FITTED = {
    "multi-attnn-calibrated": "the FCFS curves: ANTT and violation rate of Fig. 15 (10-40 requests/s) and violation "
                              "rate of Fig. 14 (30 and 40 requests/s), 20 numbers",
    "multi-cnn-calibrated": "FCFS, SJF, PREMA, Planaria, SDRM3 and Dysta at 2 and 3 requests/s (Figs. 14 and 15)",
}
_PREDICTED = {
    "multi-attnn-calibrated": "every other scheduler, Figs. 12-15 and Table 5",
    "multi-cnn-calibrated": "4-6 requests/s and the SLO sweep beyond the fitted points",
}


def _lognormal_factors(name, draw, key, n_samples, n_layers, cv):
    """Log-normal layer factors r, shape (n_samples, n_layers), mean 1, coefficient of variation `cv`."""
    if cv == 0.0:
        return np.ones((n_samples, n_layers))
    z = normals(name, draw, (key,), (n_samples, n_layers + 1))
    c = _LAYER_CORRELATION
    latent = np.sqrt(c) * z[:, :1] + np.sqrt(1.0 - c) * z[:, 1:]
    sigma = np.sqrt(log(1.0 + cv * cv))
    return exp(sigma * latent - 0.5 * sigma * sigma)


def _calibrated_trace(name, draw, variant, n_samples, key, model, pattern, n_layers, mean_s, meta):
    factors = _lognormal_factors(name, draw, key, n_samples, n_layers, VARIANTS[variant])
    factors /= np.mean(factors)
    density = _DENSITY[name] * factors
    if density.max() > 1.0:
        raise ValueError(f"{name}: draw {draw} of {key!r} has a layer {factors.max():.3g} times its mean, more than "
                         f"the {1 / _DENSITY[name]:.3g} that its density allows")
    return Trace(factors * (mean_s / n_layers), 1.0 - density, model, pattern, "calibrated",
                 {"mean_isolated_s": mean_s, **meta})


def calibrated(name, variant="deterministic", draw=0, n_samples=7):
    """Set A: traces whose mean isolated times were fitted on the published curves.

    Each file has `n_samples` samples; the order of the keys is the file index of the artifact, so its random
    stream of models addresses the same files. Construction, per file with n layers and fitted mean T:

    * ``deterministic``: every layer of every sample takes T/n.
    * ``cv10``, ``cv18``: latency = T/n times r, with r log-normal of mean 1 and coefficient of variation 0.10 or
      0.18. ``ln r = s z - s^2/2``, ``s^2 = ln(1 + CV^2)``, ``z_{b,l} = sqrt(.93) g_b + sqrt(.07) e_{b,l}``, g and e
      independent standard normals: two layers of one sample have correlation .93 (in z), samples and files are
      independent. All r of a file are then divided by their mean, so the mean isolated time of its samples is T.

    The sparsity column is ``1 - d r`` with d = 0.25 (attention) or 0.5 (CNN), the same for all layers: the ratio
    of a layer's density to its average equals the ratio of its latency to its average, so the monitored sparsity
    carries as much information as it can. The fit does not depend on it.

    Parameters
    ----------
    name : {"multi-attnn-calibrated", "multi-cnn-calibrated"}
    variant : {"deterministic", "cv10", "cv18"}
        Named in advance; reports show all three.
    draw : int
        Realisation of the samples, >= 0 (without effect on ``deterministic``).
    n_samples : int
        Samples per file; the artifact uses 7.

    Returns
    -------
    TraceSet
        Origin ``"calibrated"``; ``meta`` says what was fitted and what is predicted.
    """
    check_choice(name, "name", tuple(_DENSITY))
    check_choice(variant, "variant", tuple(VARIANTS))
    draw = check_int(draw, "draw", 0)
    n_samples = check_int(n_samples, "n_samples", 1)
    meta = {
        "set": name, "variant": variant, "draw": draw, "n_samples": n_samples, "cv": VARIANTS[variant],
        "layer_correlation": _LAYER_CORRELATION, "mean_density": _DENSITY[name], "fitted": _FITTED[name],
        "predicted": _PREDICTED[name], "source": "Fan et al., Sparse-DySta, MICRO 2023, Figs. 14 and 15",
        "fit": "benchmarks/fit_isolated_times.py; residuals in data/calibration",
    }
    traces = {}
    if name == "multi-attnn-calibrated":
        meta["model_mean"] = "own"
        meta["names"] = ("attnn1 is BART-like by its time (36 attention calls); which of attnn0 and attnn2 is BERT and "
                         "which GPT-2 is not known, and their two times are known to about 20 %")
        for index, (key, n_layers, mean_s) in enumerate(ATTNN_FILES):
            traces[key] = _calibrated_trace(name, draw, variant, n_samples, key, key, "attention", n_layers, mean_s,
                                            {"file_index": index})
        return TraceSet(traces, "calibrated", meta)
    meta["names"] = ("architectures are assigned to the fitted means by magnitude; the pattern of a file is not known: "
                     "a, b, c count the files of one architecture in index order")
    meta["layers"] = {model: len(networks.get(net)) for model, net in CNN_NETWORKS.items()}
    seen = dict.fromkeys(CNN_NETWORKS, 0)
    for index, (model, mean_s) in enumerate(CNN_FILES):
        key = f"{model}/file{index:02d}"
        traces[key] = _calibrated_trace(name, draw, variant, n_samples, key, model, f"pattern_{'abc'[seen[model]]}",
                                        meta["layers"][model], mean_s, {"file_index": index})
        seen[model] += 1
    return TraceSet(traces, "calibrated", meta)


def _load_attnn_calibrated(**options):
    return calibrated("multi-attnn-calibrated", **options)


def _load_cnn_calibrated(**options):
    return calibrated("multi-cnn-calibrated", **options)


register("multi-attnn-calibrated", _load_attnn_calibrated,
         "three attention models with mean times fitted on the published FCFS curves (Dysta set A)", "calibrated")
register("multi-cnn-calibrated", _load_cnn_calibrated,
         "twelve CNN files with mean times fitted on six published curves (Dysta set A)", "calibrated")


def _load_attnn(**options):
    from dnnsched._sets_attention import attention_set
    return attention_set("multi-attnn", **options)


register("multi-attnn", _load_attnn, "BERT, GPT-2 and BART with generated attention masks on Sanger (Dysta set B)",
         "synthetic")


def _load_cnn(**options):
    from dnnsched._sets_cnn import cnn_set
    return cnn_set("multi-cnn", **options)


register("multi-cnn", _load_cnn, "SSD300, VGG-16, ResNet-50 and MobileNet with three weight patterns and generated "
         "activation sparsity on Eyeriss-V2 (Dysta set B)", "synthetic")
