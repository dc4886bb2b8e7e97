"""Set B, CNNs: generated activation sparsity and weight masks through the Eyeriss-V2 cost model (``multi-cnn``).

Sparsity of sample b at layer l::

    g_b      = +-.6 + .8 n_b                          low-light (+) or in-distribution (-) source, half each
    z_{b,l}  = sqrt(.5) g_b + sqrt(.5) e_{b,l}        e: AR(1) over layers, phi = .5
    s_{b,l}  = logistic(q_l(z_{b,l}))                 q_l: piecewise linear through the layer's quantiles

Activations are correlated per channel: channel c of a layer has density ``logistic(a + 1.2 u_c)``, u_c standard
normal and the same for all samples, a set so that the layer's density is 1 - s. Pixels of a channel are independent.

Weight masks (Sparse-DySta prunes static weights, three patterns, 20 % here), of one total density rho in all layers
that the recipes prune:

* ``random``: every weight independent;
* ``block4``: four consecutive input channels share each decision;
* ``nm``: n of m consecutive input channels kept at each position (density n/m instead of rho);
* ``filter``: whole filters, the next layer's input channels with them. A layer keeps sqrt(rho) of its input channels
  and as many filters. Kept are the channels with the largest ``-.7 u_c + .71 v_c``: filters that fire rarely survive
  more often, which makes this pattern cheaper than random at one density, as Fig. 4 of the paper shows.

The masks enter by their number of non-zero weights per input channel, the activations by their expected number of
non-zeros, so a layer's valid multiply-accumulates are ``V = sum_c w_c n_c``; V and the expected number of non-empty
rows go through the artifact's cycle formula (stride 1, all 192 processing elements busy) at 200 MHz.

Targets (Fan et al., Sparse-DySta, MICRO 2023): quantiles of the last six layers from Fig. 3 (read as the last six
convolutions of ResNet-50 and the last six layers of VGG-16), the spread of all other layers from the relative range
of network sparsity in Table 2, channel correlation and selection from Fig. 4. Assumed: median sparsity .5 after the
first layer, going linearly to the values of Fig. 3; .5 everywhere in MobileNet and SSD, of which nothing is printed;
the dense image in front of the first layer; the correlation .5 between layers.
"""

import math
from functools import cache
from typing import NamedTuple

import numpy as np

from dnnsched import accel, networks
from dnnsched._arrays import check_choice, check_int, check_number
from dnnsched._latent import exp, int_power, latent_field, logistic, logit, normals, uniforms
from dnnsched._sets import CNN_NETWORKS
from dnnsched._sets_calibration import MIN_SAMPLES, as_records, cnn_rows
from dnnsched.traces import Trace, TraceSet

__all__ = ["FIG3", "PATTERNS", "ChannelModel", "channel_latents", "cnn_set", "expected_macs", "layer_sparsity",
           "network_of", "shown_layers"]

PATTERNS = ("random", "block4", "filter", "nm")

_SHARED, _PHI = 0.5, 0.5
_SOURCE_SHIFT = 0.6
_CHANNEL_SPREAD, _SELECTION = 1.2, 0.7
_KNOT_PROBABILITIES = (0.01, 0.25, 0.5, 0.75, 0.99)
_Z_LIMIT = 3.2
_CURVE_AT = np.linspace(-8.0, 8.0, 65)

#: Fig. 3: low whisker, lower quartile, median, upper quartile, high whisker of the last six layers' sparsity.
FIG3 = {
    "resnet50": ((.07, .09, .10, .11, .17), (.21, .28, .35, .43, .64), (.19, .26, .31, .37, .48),
                 (.07, .09, .10, .11, .17), (.24, .30, .35, .41, .55), (.25, .39, .47, .56, .67)),
    "vgg16": ((.23, .28, .37, .44, .54), (.23, .29, .34, .38, .49), (.27, .40, .49, .56, .64),
              (.37, .46, .50, .55, .73), (.55, .61, .63, .66, .71), (.64, .68, .69, .69, .74)),
}
_FIRST_MEDIAN = 0.5
#: Standard deviation (logit) of layers that Fig. 3 does not show, set by Table 2.
_SPREAD = {"mobilenet": 0.10, "resnet50": 0.05, "vgg16": 0.01, "ssd300": 0.10}


class ChannelModel(NamedTuple):
    """Expected counts of one layer as functions of its activation density, tabulated.

    Arrays over the grid: `density` increasing; `macs` and `rows` divided by density, which makes them nearly
    constant and linear interpolation accurate; `measured` the density that a zero counter sees (with the emptied
    channels), divided by density.
    """

    density: np.ndarray
    macs: np.ndarray
    rows: np.ndarray
    measured: np.ndarray

    def at(self, field, density):
        """Interpolated `field` times `density`."""
        return np.interp(density, self.density, getattr(self, field)) * density


@cache
def _knots():
    """Quantiles of z at the knot probabilities; z is a mixture of two normals of equal weight."""
    shift = math.sqrt(_SHARED) * _SOURCE_SHIFT
    scale = math.sqrt(1.0 - shift * shift)

    def cdf(x):
        return sum(0.25 * math.erfc((side * shift - x) / (scale * math.sqrt(2.0))) for side in (-1, 1))

    knots = []
    for p in _KNOT_PROBABILITIES:
        low, high = -6.0, 6.0
        for _ in range(60):
            middle = 0.5 * (low + high)
            low, high = (middle, high) if cdf(middle) < p else (low, middle)
        knots.append(0.5 * (low + high))
    return np.array(knots)


def _quantile_map(z, quantiles):
    """Sparsity whose logit is piecewise linear in z through (knot, quantile), continued beyond the ends."""
    x, y = _knots(), logit(np.array(quantiles))
    z = np.clip(z, -_Z_LIMIT, _Z_LIMIT)
    out = np.interp(z, x, y)
    for end, inner in ((0, 1), (-1, -2)):
        slope = (y[end] - y[inner]) / (x[end] - x[inner])
        beyond = z < x[0] if end == 0 else z > x[-1]
        out = np.where(beyond, y[end] + slope * (z - x[end]), out)
    return logistic(out)


def _same_input(net):
    """For every layer the index of the first layer that reads the same activation (itself if none does)."""
    index = {layer.name: i for i, layer in enumerate(net)}
    source = list(range(len(net)))
    for i, layer in enumerate(net):
        part, _, what = layer.name.rpartition(".")
        if what == "downsample":
            source[i] = index[f"{part}.conv1"]
        elif part.startswith("predict"):
            source[i] = index.get(f"head{part[7:]}.conv1", index[f"{part}.loc"])
    return source


def network_of(model):
    """Layer table of a model of the CNN sets."""
    return networks.get(CNN_NETWORKS[model])


def shown_layers(model, net):
    """Indices of the layers that Fig. 3 shows: last six convolutions of ResNet-50, last six layers of VGG-16."""
    if model == "resnet50":
        return [i for i, layer in enumerate(net) if layer.kind == "conv"][-6:]
    return list(range(len(net) - 6, len(net))) if model == "vgg16" else []


def _medians(model, net):
    """Median sparsity per layer and, where Fig. 3 shows the layer, its five quantiles (else None)."""
    n, shown = len(net), shown_layers(model, net)
    medians, quantiles = np.full(n, _FIRST_MEDIAN), [None] * n
    if model == "resnet50":
        by_role = {"conv1": .10, "conv2": .35, "conv3": .39, "downsample": .10}
        for i, layer in enumerate(net):
            end = by_role.get(layer.name.rpartition(".")[2], _FIRST_MEDIAN)
            medians[i] = _FIRST_MEDIAN + (end - _FIRST_MEDIAN) * i / shown[-1]
    elif model == "vgg16":
        medians[:shown[0]] = np.interp(np.arange(shown[0]), [1, shown[0]], [_FIRST_MEDIAN, FIG3[model][0][2]])
    for i, row in zip(shown, FIG3.get(model, ()), strict=True):
        medians[i], quantiles[i] = row[2], row
    return medians, quantiles


def layer_sparsity(model, net, name, draw, n_samples):
    """Sparsity of every sample and layer, before any channel is emptied; shape (n_samples, layers)."""
    z = normals(name, draw, (model, "latent"), (n_samples, len(net) + 1))
    low_light = uniforms(name, draw, (model, "source"), n_samples) < 0.5
    common = np.where(low_light, _SOURCE_SHIFT, -_SOURCE_SHIFT) + math.sqrt(1.0 - _SOURCE_SHIFT**2) * z[:, 0]
    field = latent_field(common, z[:, 1:], _SHARED, _PHI)
    medians, quantiles = _medians(model, net)
    out = np.empty((n_samples, len(net)))
    for i, source in enumerate(_same_input(net)):
        if i == 0:
            out[:, i] = 0.0
        elif source != i:
            out[:, i] = out[:, source]
        elif quantiles[i] is not None:
            out[:, i] = _quantile_map(field[:, i], quantiles[i])
        else:
            out[:, i] = logistic(logit(medians[i]) + _SPREAD[model] * field[:, i])
    return out


def channel_latents(model, net, name, draw):
    """Per layer the normals (u, v, noise) of :func:`expected_macs`; layers that read one activation share u and v."""
    latents = [normals(name, draw, (model, "channels", i), (3, layer.in_channels)) for i, layer in enumerate(net)]
    for i, source in enumerate(_same_input(net)):
        latents[i][:2] = latents[source][:2]
    return latents


def _offset_extent(size, kernel):
    """Sum over kernel offsets of the input rows that each touches: stride 1, padding "same"."""
    low = (kernel - 1) // 2
    return sum(max(size - abs(offset - low), 0) for offset in range(kernel))


def _window_lengths(size, kernel, block):
    """{length: count} of the row windows [h, min(h + kernel - 1, end of block)] that start inside the map."""
    counts = {}
    for h in range(size):
        length = min(kernel, block - h % block, size - h)
        counts[length] = counts.get(length, 0) + 1
    return counts


def _weight_counts(layer, pattern, density, noise, nm):
    """Non-zero weights per input channel, float64 (channels,), for the patterns that keep every channel."""
    channels, per_channel = layer.in_channels, layer.out_channels // layer.groups * layer.kernel_h * layer.kernel_w
    if pattern == "nm":
        density = nm[0] / nm[1]
    scale = math.sqrt(per_channel * density * (1.0 - density))
    if pattern == "block4":
        noise = np.repeat(noise[::4], 4)[:channels]
    elif pattern == "nm":
        groups = np.arange(channels) // nm[1]
        size = np.bincount(groups)
        mean = np.bincount(groups, noise) / size
        noise = (noise - mean[groups]) * np.sqrt(size / np.maximum(size - 1, 1))[groups]
    return np.clip(np.rint(per_channel * density + scale * noise), 0.0, per_channel)


def channel_densities(u):
    """Density of every channel at every point of the curve; shape (points, channels)."""
    return 1.0 / (1.0 + exp(-_CURVE_AT)[:, None] * exp(-_CHANNEL_SPREAD * u))


def expected_macs(layer, latents, pattern="random", weight_sparsity=0.2, nm=(3, 4), row_block=None, densities=None):
    """Expected counts of one layer as functions of its activation density.

    Parameters
    ----------
    layer : Layer
        Convolution or linear layer; stride and padding are ignored, as the artifact does.
    latents : ndarray, shape (3, in_channels)
        Standard normals u (channel density), v (selection), and the noise of the weight counts.
    pattern : str
        One of :data:`PATTERNS`; layers with ``sparse_weights`` False stay dense.
    weight_sparsity : float
        Fraction of zero weights.
    nm : (int, int)
        n and m of the pattern ``"nm"``.
    row_block : int, optional
        Rows that the accelerator keeps together (F0 of its mapping); default: the whole map.
    densities : ndarray, optional
        :func:`channel_densities` of u, if at hand.

    Returns
    -------
    ChannelModel
    """
    u, v, noise = latents
    channels = layer.in_channels
    per_channel = layer.out_channels // layer.groups * layer.kernel_h * layer.kernel_w
    kept = np.ones(channels, dtype=bool)
    if not layer.sparse_weights or (weight_sparsity == 0.0 and pattern != "nm"):
        counts = np.full(channels, float(per_channel))
    elif pattern == "filter":
        n_kept = max(round(math.sqrt(1.0 - weight_sparsity) * channels), 1)
        order = np.argsort(_SELECTION * u - math.sqrt(1.0 - _SELECTION**2) * v, kind="stable")
        kept[order[n_kept:]] = False
        counts = kept * (per_channel * (1.0 - weight_sparsity) * channels / n_kept)
    else:
        counts = _weight_counts(layer, pattern, 1.0 - weight_sparsity, noise, nm)
    p = channel_densities(u) if densities is None else densities
    density = p.sum(axis=1) / channels
    extent = _offset_extent(layer.in_h, layer.kernel_h) * _offset_extent(layer.in_w, layer.kernel_w)
    macs = (p * counts).sum(axis=1) * (extent / (layer.kernel_h * layer.kernel_w))
    live = p[:, kept]
    rows = np.zeros(len(_CURVE_AT))
    for length, n in _window_lengths(layer.in_h, layer.kernel_h, row_block or layer.in_h).items():
        rows += n * (1.0 - int_power(1.0 - live, length * layer.in_w)).sum(axis=1)
    measured = live.sum(axis=1) / channels
    return ChannelModel(density, macs / density, rows / density, measured / density)


def _pattern_traces(net, sparsity, latents, device, patterns, weight_sparsity, nm):
    """(latency in s, measured sparsity) of one network per pattern; all arrays (patterns, samples, layers)."""
    latency = np.empty((len(patterns), *sparsity.shape))
    measured = np.empty_like(latency)
    for i, layer in enumerate(net):
        mapping, densities = device.mapping(layer), channel_densities(latents[i][0])
        density = 1.0 - sparsity[:, i]
        for number, pattern in enumerate(patterns):
            model = expected_macs(layer, latents[i], pattern, weight_sparsity, nm, mapping["F0"], densities)
            macs, rows = model.at("macs", density), model.at("rows", density)
            cycles = np.floor((4.0 * macs + mapping["A"] + mapping["weight_factor"] * rows) / device.pes)
            latency[number, :, i] = cycles / device.clock_hz
            measured[number, :, i] = 1.0 - np.minimum(model.at("measured", density), 1.0)
    return latency, measured


def cnn_set(name="multi-cnn", draw=0, n_samples=300, patterns=("random", "block4", "filter"), weight_sparsity=0.2,
            nm=(3, 4)):
    """Set B of the CNNs: SSD300, VGG-16, ResNet-50 and MobileNet on Eyeriss-V2, one trace per weight pattern.

    The patterns of one network share inputs and activations: sample b is the same image in all of them.

    Parameters
    ----------
    name : {"multi-cnn"}
        Seeds the random stream.
    draw : int
        Realisation, >= 0. Sample b is the same whatever `n_samples` is.
    n_samples : int
        Samples per network, >= 1.
    patterns : sequence of str
        Of :data:`PATTERNS`.
    weight_sparsity : float
        Fraction of zero weights in pruned layers, in [0, 1); ``"nm"`` has 1 - n/m instead.
    nm : (int, int)
        n kept of m, 1 <= n <= m.

    Returns
    -------
    TraceSet
        Keys ``model/pattern``; origin ``"synthetic"``. The sparsity column is the fraction of zeros in a layer's
        input, emptied channels included.
    """
    check_choice(name, "name", ("multi-cnn",))
    draw = check_int(draw, "draw", 0)
    n_samples = check_int(n_samples, "n_samples", 1)
    weight_sparsity = check_number(weight_sparsity, "weight_sparsity", 0.0, 1.0)
    if weight_sparsity == 1.0:
        raise ValueError("weight_sparsity: expected a value >= 0 and < 1, got 1.0")
    patterns = (patterns,) if isinstance(patterns, str) else tuple(patterns)
    if not patterns or len(set(patterns)) != len(patterns):
        raise ValueError(f"patterns: expected at least one of {', '.join(PATTERNS)}, none twice, got {patterns!r}")
    for pattern in patterns:
        check_choice(pattern, "patterns", PATTERNS)
    if len(nm) != 2 or not 1 <= nm[0] <= nm[1]:
        raise ValueError(f"nm: expected a pair with 1 <= n <= m, got {nm!r}")
    device = accel.EyerissV2(compat="artifact")
    traces = {}
    for model in reversed(CNN_NETWORKS):
        net = network_of(model)
        sparsity = layer_sparsity(model, net, name, draw, n_samples)
        latents = channel_latents(model, net, name, draw)
        results = _pattern_traces(net, sparsity, latents, device, patterns, weight_sparsity, nm)
        for pattern, latency, measured in zip(patterns, *results, strict=True):
            traces[f"{model}/{pattern}"] = Trace(latency, measured, model, pattern, "synthetic", {"network": net.name})
    ts = TraceSet(traces, "synthetic", {
        "set": name, "draw": draw, "n_samples": n_samples, "patterns": list(patterns),
        "weight_sparsity": weight_sparsity, "nm": list(nm), "cost_model": "eyeriss_v2, compat artifact",
        "calibrated_to": "Fan et al., Sparse-DySta, MICRO 2023: Fig. 3, Fig. 4, Table 2",
    })
    if n_samples >= MIN_SAMPLES:
        ts.meta["calibration"] = as_records(cnn_rows(ts))
    return ts
