"""Trace sets recorded from real executions, registered for :func:`dnnsched.traces.load`.

``recorded-cnn``
    Three small ReLU networks in three pruning patterns (:mod:`dnnsched._small_cnn`) on 100 real images and the same
    100 darkened and blurred. Non-zeros per layer are counted from the activations; Eyeriss-V2 gives the cycles.
``recorded-attention``
    all-MiniLM-L6-v2 (six layers of twelve heads) on 200 windows of English text at two window lengths and two
    thresholds; masks from Sanger's 4-bit prediction, latency from Sanger's cost model.

The files under ``data/recorded`` hold integer counts, so loading loses nothing; ``tools/record_traces.py`` makes them.
Masks are ``measured``, latencies ``modelled``.
"""

import json
import warnings

import numpy as np

from dnnsched import _small_cnn, accel, kernels
from dnnsched._arrays import check_choice
from dnnsched.errors import FormatError
from dnnsched.paths import data_dir
from dnnsched.traces import Trace, TraceSet, feedback, read_npz, register

__all__ = ["COMPAT", "ORIGIN", "count_masks", "load_attention", "load_cnn", "statistics"]

ORIGIN = "measured masks, modelled latency"
COMPAT = ("corrected", "artifact")
_PES = 32


def _read(name):
    path = data_dir() / "recorded" / f"{name}.npz"
    sidecar = json.loads(path.with_suffix(".json").read_text("utf-8"))
    return path, read_npz(path), sidecar


def _array(arrays, name, path, shape=None):
    if name not in arrays:
        raise FormatError(f"{path.name}: array {name!r} is missing")
    if shape is not None and arrays[name].shape != shape:
        raise FormatError(f"{path.name}: {name}: expected shape {shape}, got {arrays[name].shape}")
    return arrays[name]


def count_masks(model, images):
    """Non-zeros and Eyeriss-V2 cycles of every weighted layer of a small network.

    Parameters
    ----------
    model : dnnsched._small_cnn.SmallCnn
    images : ndarray, float32, shape (n, 3, 32, 32)

    Returns
    -------
    ones : ndarray, uint32, shape (n, layers)
        Non-zero input activations.
    cycles : dict of ndarray, uint32, shape (n, layers)
        By variant of the cost model (:data:`COMPAT`), at 200 MHz.
    """
    net = model.network()
    parts = [model.forward(images[start:start + 50])[1] for start in range(0, len(images), 50)]
    inputs = {layer.name: np.concatenate([part[layer.name] for part in parts]) for layer in net}
    ones = np.stack([kernels.count_nonzeros(inputs[layer.name], axes=inputs[layer.name].ndim - 1) for layer in net], 1)
    cycles = {compat: accel.EyerissV2(compat=compat).network(net, inputs, model.weights)["cycles"].astype(np.uint32)
              for compat in COMPAT}
    return ones.astype(np.uint32), cycles


def load_cnn(compat="corrected", light="both"):
    """``recorded-cnn``: nine traces of 200 samples.

    Parameters
    ----------
    compat : {"corrected", "artifact"}
        Variant of the Eyeriss-V2 model: real strides and padding, or the counts of the public code.
    light : {"both", "day", "low"}
        All samples (image i at 2i, its low-light version at 2i + 1), or one half.

    Returns
    -------
    TraceSet
        Keys ``"vggdigits/random"`` and so on. `sparsity` is the fraction of zeros in the layer's input, the first
        layer (dense by construction) included. ``meta`` holds ``low_light``, ``gain``, ``sigma_px`` and ``source``
        per sample.
    """
    check_choice(compat, "compat", COMPAT)
    check_choice(light, "light", ("both", "day", "low"))
    path, arrays, sidecar = _read("recorded-cnn")
    step = {"both": slice(None), "day": slice(0, None, 2), "low": slice(1, None, 2)}[light]
    traces = {}
    for model in _small_cnn.ARCHITECTURES:
        net = _small_cnn.SmallCnn(model, _small_cnn.graph(model), {}, {}).network()
        size = np.array([layer.in_channels * layer.in_h * layer.in_w for layer in net])
        shape = (len(_array(arrays, "sample/gain", path)), len(net))
        for pattern in _small_cnn.PATTERNS:
            key = f"{model}/{pattern}"
            ones = _array(arrays, f"ones/{key}", path, shape)[step]
            cycles = _array(arrays, f"cycles_{compat}/{key}", path, shape)[step]
            traces[key] = Trace(cycles / accel.EyerissV2.clock_hz, 1.0 - ones / size, model, pattern, ORIGIN,
                                {"layers": [layer.name for layer in net]})
    about = {name: _array(arrays, f"sample/{name}", path)[step].tolist()
             for name in ("low_light", "gain", "sigma_px", "label")}
    about["source"] = [sidecar["sources"][i] for i in _array(arrays, "sample/source", path)[step]]
    return TraceSet(traces, ORIGIN, {"set": "recorded-cnn", "cost_model": f"eyeriss_v2, compat {compat}",
                                     "light": light, **about})


def load_attention(compat="corrected"):
    """``recorded-attention``: four traces of 200 samples and six layers.

    Parameters
    ----------
    compat : {"corrected", "artifact"}
        Variant of Sanger's cost model. It also says over which area the density is taken: ``"artifact"`` over the
        pairs of real tokens, as the public code reports it (vectors that padding cuts short then count as full, so
        that density / load balance can exceed 1), ``"corrected"`` over the padded window, which is what the
        accelerator works through: padding holds no ones and is skipped.

    Returns
    -------
    TraceSet
        Keys ``"minilm128/t002"``: window length in tokens and threshold in thousandths. `sparsity` is one minus the
        density of the predicted mask. ``meta["tokens"]`` holds the tokens per sample of each model.
    """
    check_choice(compat, "compat", COMPAT)
    path, arrays, sidecar = _read("recorded-attention")
    device = accel.Sanger(compat=compat, width=sidecar["hidden"], pes=_PES)
    traces, tokens = {}, {}
    for seq_len in (128, 256):
        model = f"minilm{seq_len}"
        lengths = _array(arrays, f"tokens/{model}", path)
        tokens[model] = lengths.tolist()
        side = np.full(len(lengths), seq_len) if compat == "corrected" else lengths.astype(np.int64)
        pairs = (sidecar["heads"] * side * side)[:, None]
        for pattern, threshold in sidecar["thresholds"].items():
            key = f"{model}/{pattern}"
            ones, segments = (_array(arrays, f"{name}/{key}", path, (len(lengths), sidecar["layers"]))
                              for name in ("ones", f"segments{_PES}"))
            density = ones / pairs
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "density / lb", RuntimeWarning)
                latency = device.latency(density, ones / (_PES * segments), seq_len)
            traces[key] = Trace(latency, 1.0 - density, model, pattern, ORIGIN, {"threshold": threshold})
    return TraceSet(traces, ORIGIN, {"set": "recorded-attention", "cost_model": f"sanger, compat {compat}",
                                     "tokens": tokens})


def statistics(ts):
    """Mean and spread of a trace set, one dict per key.

    Returns
    -------
    dict of dict
        ``isolated_mean_s``, ``isolated_cv`` (standard deviation / mean over samples), ``sparsity_mean`` (over samples
        and layers), and ``correlation`` and ``elasticity`` of :func:`dnnsched.traces.feedback`: how well, and how
        strongly, a layer's density tells its latency.
    """
    result = {}
    for (key, trace), row in zip(ts.items(), feedback(ts, warn=False), strict=True):
        isolated = trace.isolated_s
        result[key] = {
            "isolated_mean_s": float(isolated.mean()), "isolated_cv": float(isolated.std() / isolated.mean()),
            "sparsity_mean": float(trace.sparsity.mean()), "correlation": float(row["correlation"]),
            "elasticity": float(row["elasticity"]),
        }
    return result


register("recorded-cnn", load_cnn, "sparse CNNs on real images, by day and in low light, on Eyeriss-V2", ORIGIN)
register("recorded-attention", load_attention, "MiniLM attention on English text, on Sanger", ORIGIN)
