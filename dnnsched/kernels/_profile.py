"""A network's layers executed on this CPU: measured cost tables."""

from collections.abc import Mapping
from dataclasses import asdict
from itertools import pairwise

import numpy as np

from dnnsched import config
from dnnsched._arrays import check_choice, check_int, check_number, seed_sequence
from dnnsched.costs import CostTable
from dnnsched.kernels import _autotune, _clock, _common, _conv, _machine, _prune
from dnnsched.layers import Network

_NOISY = 1.15
_TIMING = "median of warm repeats, one layer at a time"
_CONV = "conv2d, from image to result; 1 x 1 kernels without stride or padding as matrix products, image by image"


def _runnable(layer):
    """Formats in which a layer can be executed; an attention layer raises ValueError."""
    if layer.kind == "attention":
        raise ValueError(f"network: layer {layer.name!r}: expected convolutions and linear layers, got attention")
    if _is_matrix(layer):
        return tuple(_autotune.FORMATS)
    return ("dense", *(f for f in _conv.FORMATS if f != "depthwise" or _is_depthwise(layer)))


def _is_matrix(layer):
    """Linear layers, and convolutions whose input is a matrix of channels by pixels as it lies."""
    return layer.kind == "linear" or (layer.kernel_h * layer.kernel_w * layer.groups == 1 and
                                      layer.stride_hw == (1, 1) and layer.padding_hw == (0, 0))


def _is_depthwise(layer):
    return layer.kind == "conv" and layer.groups == layer.in_channels > 1


def _candidates(layer, formats):
    """Those of `formats` that a layer can be executed in; a depthwise convolution always is one."""
    if _is_depthwise(layer):
        return ("depthwise",)
    runnable = _runnable(layer)
    found = tuple(f for f in formats if f in runnable)
    if not found:
        raise ValueError(f"formats: layer {layer.name!r}: expected one of {', '.join(runnable)}, "
                         f"got {', '.join(formats)}")
    return found


class _Execution:
    """One layer with its weights; ``call(batch, format)`` gives a function that executes it once and returns it all."""

    def __init__(self, layer, density, pattern, options, seed, threads, isa):
        self.layer, self.threads, self.isa = layer, threads, isa
        self._rng = np.random.Generator(np.random.PCG64(seed))
        self.w = self._weights(density, pattern, options)

    def _weights(self, density, pattern, options):
        """Pruned normal weights (M, C / groups, kh kw)."""
        layer = self.layer
        w = self._rng.standard_normal((layer.out_channels, layer.in_channels // layer.groups,
                                       layer.kernel_h * layer.kernel_w), np.float32)
        if layer.sparse_weights and density < 1:
            try:
                w = np.where(_prune.prune(w, density, pattern, **options), w, np.float32(0))
            except ValueError as error:
                raise ValueError(f"network: layer {layer.name!r}: {error}") from None
        return w


class _Product(_Execution):
    """A matrix: rows of linear layers, columns of one image after the other."""

    def __init__(self, layer, *how):
        super().__init__(layer, *how)
        self.plans = _autotune.Candidates(self.w[:, :, 0], isa=self.isa)
        self.rows = layer.kind == "linear"
        self.positions = max(layer.seq_len, 1) if self.rows else layer.out_h * layer.out_w

    def call(self, batch, name):
        (m, k), plan, threads = self.plans.W.shape, self.plans.plan(name), self.threads
        if self.rows:
            x = self._rng.random((batch * self.positions, k), np.float32)
            out = np.empty((len(x), m), np.float32)
            return lambda: plan.linear(x, out=out, threads=threads)
        x = self._rng.random((batch, k, self.positions), np.float32)
        out = np.empty((batch, m, self.positions), np.float32)

        def execute():
            for image, result in zip(x, out, strict=True):
                plan.matmul(image, out=result, threads=threads)
            return out
        return execute

    def estimate(self, batch, name, machine):
        """Seconds of the cost model."""
        plan = self.plans.plan(name)
        if self.rows:
            return _autotune.estimate(plan, batch * self.positions, machine)
        return batch * _autotune.estimate(plan, self.positions, machine)

    def choose(self, batch, formats, tune, machine, record):
        """Format for a batch, of those that the layer can be executed in."""
        n = batch * self.positions if self.rows else self.positions
        return self.plans.choose(n, formats, measure=tune, rows=self.rows, threads=self.threads,
                                 machine=machine, record=record)


class _Convolution(_Execution):
    """A convolution by :func:`~dnnsched.kernels.conv2d`: padding and all."""

    def __init__(self, layer, *how):
        super().__init__(layer, *how)
        self._plans = {}
        # Padding that is not the same on both sides has one zero more at the high end: it is part of the image here.
        extra = [max((out - 1) * stride + dilation * (kernel - 1) + 1 - size - 2 * pad, 0)
                 for out, stride, dilation, kernel, size, pad in zip(
                     (layer.out_h, layer.out_w), layer.stride_hw, layer.dilation_hw,
                     (layer.kernel_h, layer.kernel_w), (layer.in_h, layer.in_w), layer.padding_hw, strict=True)]
        self.image = (layer.in_channels, layer.in_h + extra[0], layer.in_w + extra[1])

    def plan(self, name):
        """The plan of a format, packed when it is first wanted."""
        if name not in self._plans:
            layer = self.layer
            w = self.w.reshape(*self.w.shape[:2], layer.kernel_h, layer.kernel_w)
            self._plans[name] = _conv.conv2d(w, self.image, stride=layer.stride_hw, padding=layer.padding_hw,
                                             dilation=layer.dilation_hw, groups=layer.groups, format=name,
                                             isa=self.isa)
        return self._plans[name]

    def call(self, batch, name):
        plan, threads = self.plan(name), self.threads
        x = np.zeros((batch, *self.image), np.float32)
        x[:, :, :self.layer.in_h, :self.layer.in_w] = self._rng.random(
            (batch, self.layer.in_channels, self.layer.in_h, self.layer.in_w), np.float32)
        out = np.empty((batch, *plan.out_shape), np.float32)
        return lambda: plan(x, out=out, threads=threads)

    def estimate(self, batch, name, machine):
        """Seconds of the cost model."""
        return _autotune.estimate_conv(self.plan(name), batch, machine)

    def choose(self, batch, formats, tune, machine, record):
        """Format for a batch, of those that the layer can be executed in."""
        if not tune:
            return min(formats, key=lambda name: self.estimate(batch, name, machine))
        layer = self.layer
        key = (f"conv {'x'.join(map(str, self.image))} to {layer.out_channels}, {layer.kernel_h}x{layer.kernel_w}, "
               f"stride {layer.stride_hw}, dilation {layer.dilation_hw}, padding {layer.padding_hw}, groups "
               f"{layer.groups}, nnz {np.count_nonzero(self.w)}, batch {batch}, threads {self.threads}, "
               f"{' '.join(formats)}")
        return _autotune.fastest(formats, lambda name: self.call(batch, name), key, record)


def _densities(net, density):
    """Density of each layer from a number or a mapping by name."""
    if not isinstance(density, Mapping):
        return [check_number(density, "density", 0, 1)] * len(net)
    names = [layer.name for layer in net]
    unknown = [name for name in density if name not in names]
    if unknown:
        raise ValueError(f"density: expected names of layers of {net.name!r}, got {unknown[0]!r}")
    return [check_number(density.get(name, 1.0), f"density[{name!r}]", 0, 1) for name in names]


def _formats(net, format, formats, n_batches):
    """Per layer and batch a tuple of formats: one, or the candidates to choose from."""
    if isinstance(format, str):
        check_choice(format, "format", ("auto", *_autotune.FORMATS))
        if format == "auto":
            return [(_candidates(layer, formats),) * n_batches for layer in net]
        format = {layer.name: "depthwise" if _is_depthwise(layer) else format for layer in net}
    elif not isinstance(format, Mapping):
        raise TypeError(f"format: expected a name or a mapping from layer to names, got {type(format).__name__}")
    out = []
    for layer in net:
        if layer.name not in format:
            raise ValueError(f"format: expected an entry for every layer, {layer.name!r} is missing")
        names = format[layer.name]
        names = (names,) * n_batches if isinstance(names, str) else tuple(names)
        if len(names) != n_batches:
            raise ValueError(f"format[{layer.name!r}]: expected {n_batches} names, one per batch, got {len(names)}")
        out.append(tuple((check_choice(n, f"format[{layer.name!r}]", _runnable(layer)),) for n in names))
    return out


def _batches(batches):
    sizes = tuple(check_int(b, "batches", 1) for b in batches)
    if not sizes or any(a >= b for a, b in pairwise(sizes)):
        raise ValueError(f"batches: expected ascending sizes, at least one, got {sizes}")
    return sizes


def profile(network, density=1.0, pattern="unstructured", *, batches=(1,), format="auto", formats=("dense", "csr"),
            tune=False, measure=True, repeats=9, threads=1, rng=0, block=4, m=4, machine=None, isa=None, quiet=False):
    """Execute the layers of a network on this CPU and return what they took.

    Parameters
    ----------
    network : Network or str
        Convolutions and linear layers; a name is looked up by :func:`dnnsched.networks.get`.
    density : float or mapping
        Fraction of weights kept, in [0, 1], of layers with ``sparse_weights``; or by layer name (others: 1).
    pattern : str
        Of :data:`~dnnsched.kernels.PATTERNS`; weights are normal and the largest are kept.
    batches : sequence of int
        Batch sizes, ascending.
    format : str or mapping
        ``"auto"``: per layer and batch as :func:`~dnnsched.kernels.autotune` chooses; or a format's name; or a mapping
        from layer to a name or to one name per batch, such as ``meta["formats"]`` of another profile. Convolutions
        whose input is not a matrix as it lies run as ``"dense"`` or ``"csr"``; those of one channel per group as
        ``"depthwise"`` unless the mapping, which may name any format of :func:`~dnnsched.kernels.conv2d`, says
        otherwise.
    formats : sequence of str
        Candidates of ``"auto"``, for each layer those that it can be executed in.
    tune : bool
        ``"auto"`` chooses by timing instead of by the cost model.
    measure : bool
        False: the cost model's seconds instead of measured ones, the same at every call.
    repeats : int
        Measurements of each layer and batch, >= 1.
    threads : int
        Of each execution; the cost model knows one.
    rng : int, SeedSequence, Generator or BitGenerator
        Of weights and inputs.
    block, m : int
        Group sizes of the patterns, as for :func:`~dnnsched.kernels.prune`.
    machine : Machine, optional
        For the cost model and the record; default measured where the table is, else modelled.
    isa : str, optional
        Instruction-set level.
    quiet : bool
        No progress bar (there is none off a terminal).

    Returns
    -------
    CostTable
        Layout ``"stage_batch"``, one stage per layer; seconds are medians, `draws_s` the measurements. Its origin is
        ``"measured"`` or ``"modelled"``; `meta` holds machine, installation, formats, settings and ``noisy``, the
        fraction of cells whose median lies more than 15 % above the least measurement.

    Raises
    ------
    TypeError, ValueError
        An argument is wrong; the message names it, or the layer that cannot be executed.

    Notes
    -----
    Every layer is timed alone and warm: its weights and inputs lie in the smallest cache that holds them. Linear layers
    multiply rows. Convolutions are those of :func:`~dnnsched.kernels.conv2d` on images with channels first, from image
    to result: padding is part of the time. A 1 x 1 kernel without stride or padding multiplies each
    image as the matrix of channels by pixels that it is. Elementwise layers and pooling are not part of layer tables.
    Time includes the call from Python, about a microsecond.

    Examples
    --------
    >>> import dnnsched as ds
    >>> table = ds.kernels.profile("mobilenet_v1", 0.2, measure=False, batches=(1, 4))
    >>> table.origin, table.n_stages, table.batches
    ('modelled', 28, (1, 4))
    """
    net, batches = _network(network), _batches(batches)
    densities = _densities(net, density)
    candidates = _formats(net, format, _autotune.formats_of(formats), len(batches))
    check_choice(pattern, "pattern", _prune.PATTERNS)
    check_int(repeats, "repeats", 1)
    check_int(threads, "threads", 1, 256)
    _common.level(isa)
    if not measure and (tune or threads != 1):
        raise ValueError("tune, threads: expected False and 1 with measure=False: the cost model knows one core")
    seed, rng_record = seed_sequence(rng)
    if machine is None:
        machine = _machine.machine(measure=measure, isa=isa)
    options = {"block": block, "m": m}
    seconds, names = np.empty((len(net), len(batches), repeats if measure else 1)), {}
    for i, j, layer, run, name in _runs(net, batches, densities, candidates, tune, machine, quiet, measure,
                                        (pattern, options), seed.spawn(len(net)), (threads, isa)):
        names.setdefault(layer.name, []).append(name)
        seconds[i, j] = (_clock.times(run.call(batches[j], name), repeats) if measure
                         else run.estimate(batches[j], name, machine))
    meta = {"network": net.name, "density": dict(density) if isinstance(density, Mapping) else float(density),
            "pattern": pattern, "options": options, "formats": names, "threads": threads, "rng": rng_record,
            "machine": _record(machine), "installation": _installation(isa), "convolutions": _CONV}
    if measure:
        noisy = np.median(seconds, axis=2) > _NOISY * seconds.min(axis=2)
        meta |= {"timing": _TIMING, "repeats": repeats, "noisy": float(noisy.mean())}
    return CostTable(np.median(seconds, axis=2), "stage_batch", draws_s=seconds if measure else None, stages=net,
                     batches=batches, model=net.name, pattern=pattern if density != 1 else "dense",
                     origin="measured" if measure else "modelled", meta=meta)


def _network(network):
    from dnnsched import networks

    net = networks.get(network) if isinstance(network, str) else network
    if not isinstance(net, Network):
        raise TypeError(f"network: expected a Network or its name, got {type(net).__name__}")
    return net


def _runs(net, batches, densities, candidates, tune, machine, quiet, measure, pruning, seeds, how):
    """Yield (i, j, layer, execution, format) of every layer and batch, with a progress bar."""
    from dnnsched.report import progress

    record = {}
    bar = progress.bar(len(net) * len(batches), f"profile {net.name}", quiet or not measure)
    try:
        for i, layer in enumerate(net):
            run = (_Product if _is_matrix(layer) else _Convolution)(layer, densities[i], *pruning, seeds[i], *how)
            for j, batch in enumerate(batches):
                names = candidates[i][j]
                name = names[0] if len(names) == 1 else run.choose(batch, names, tune, machine, record)
                yield i, j, layer, run, name
                bar.update()
    finally:
        bar.close()


def _record(machine):
    return {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(machine).items()}


def _installation(isa):
    info = config.info()
    keys = ("dnnsched", "cpu", "cores", "platform", "compiler", "build", "blas", "numpy")
    return {**{key: info[key] for key in keys}, "isa": isa or info["isa"]}
