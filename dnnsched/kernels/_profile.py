"""A network's layers executed on this CPU: measured cost tables."""

from collections.abc import Mapping
from dataclasses import asdict
from itertools import pairwise

import numpy as np

from dnnsched import config
from dnnsched._arrays import check_choice, check_int, check_number, seed_sequence
from dnnsched.costs import CostTable
from dnnsched.kernels import _autotune, _clock, _common, _machine, _prune
from dnnsched.layers import Network

# A convolution's unfolded inputs are multiplied in pieces of whole images up to this size, one image at least.
_UNFOLDED_BYTES = 16 << 20
_NOISY = 1.15
_TIMING = "median of warm repeats, one layer at a time"
_CONV = "matrix products on unfolded inputs; unfolding is not timed"


class _Execution:
    """One layer with its weights; ``call(batch, format)`` gives a function that executes it once."""

    def __init__(self, layer, density, pattern, options, seed, threads, isa):
        if layer.kind == "attention":
            raise ValueError(f"network: layer {layer.name!r}: expected convolutions and linear layers, got attention")
        self.layer, self.threads = layer, threads
        self._rng = np.random.Generator(np.random.PCG64(seed))
        self.plans = _autotune.Candidates(self._weights(density, pattern, options), isa=isa)
        self.grouped = layer.groups > 1
        self.positions = layer.out_h * layer.out_w if layer.kind == "conv" else max(layer.seq_len, 1)

    def _weights(self, density, pattern, options):
        """Pruned normal weights as a matrix (M, C kh kw); groups are blocks on its diagonal."""
        layer, groups = self.layer, self.layer.groups
        m, depth, area = layer.out_channels, layer.in_channels // groups, layer.kernel_h * layer.kernel_w
        w = self._rng.standard_normal((m, depth, area), np.float32)
        if layer.sparse_weights and density < 1:
            try:
                w = np.where(_prune.prune(w, density, pattern, **options), w, np.float32(0))
            except ValueError as error:
                raise ValueError(f"network: layer {layer.name!r}: {error}") from None
        if groups == 1:
            return w.reshape(m, depth * area)
        full = np.zeros((groups, m // groups, groups, depth * area), np.float32)
        at = np.arange(groups)
        full[at, :, at] = w.reshape(groups, m // groups, depth * area)
        return full.reshape(m, groups * depth * area)

    @property
    def rows(self):
        """Whether vectors are rows: linear layers."""
        return self.layer.kind == "linear"

    def pieces(self, batch):
        """(vectors of a piece, number of pieces, vectors of a last smaller one or 0)."""
        images = batch
        if not self.rows:
            size = 4 * self.plans.W.shape[1] * self.positions
            images = max(1, min(batch, _UNFOLDED_BYTES // size))
        full, rest = divmod(batch, images)
        return images * self.positions, full, rest * self.positions

    def call(self, batch, name):
        """Function of no arguments that executes the layer on a batch."""
        (m, k), plan, threads = self.plans.W.shape, self.plans.plan(name), self.threads
        n, full, rest = self.pieces(batch)
        x = self._rng.random((n, k) if self.rows else (k, n), np.float32)
        out = np.empty((n, m) if self.rows else (m, n), np.float32)
        if self.rows:
            return lambda: plan.linear(x, out=out, threads=threads)

        def execute():
            for _ in range(full):
                plan.matmul(x, out=out, threads=threads)
            if rest:
                plan.matmul(x[:, :rest], out=out[:, :rest], threads=threads)
        return execute

    def estimate(self, batch, name, machine):
        """Seconds of the cost model."""
        n, full, rest = self.pieces(batch)
        plan = self.plans.plan(name)
        return full * _autotune.estimate(plan, n, machine) + (_autotune.estimate(plan, rest, machine) if rest else 0.0)

    def choose(self, batch, formats, tune, machine, record):
        """Format for a batch; grouped layers are sparse by nature."""
        if self.grouped:
            return "csr"
        return self.plans.choose(self.pieces(batch)[0], formats, measure=tune, rows=self.rows, threads=self.threads,
                                 machine=machine, record=record)


def _densities(net, density):
    """Density of each layer from a number or a mapping by name."""
    if not isinstance(density, Mapping):
        return [check_number(density, "density", 0, 1)] * len(net)
    names = [layer.name for layer in net]
    unknown = [name for name in density if name not in names]
    if unknown:
        raise ValueError(f"density: expected names of layers of {net.name!r}, got {unknown[0]!r}")
    return [check_number(density.get(name, 1.0), f"density[{name!r}]", 0, 1) for name in names]


def _formats(net, format, n_batches):
    """Per layer: the name "auto", or a tuple of one format per batch."""
    if isinstance(format, str):
        check_choice(format, "format", ("auto", *_autotune.FORMATS))
        return ["auto" if format == "auto" else (format,) * n_batches] * len(net)
    if not isinstance(format, Mapping):
        raise TypeError(f"format: expected a name or a mapping from layer to names, got {type(format).__name__}")
    out = []
    for layer in net:
        if layer.name not in format:
            raise ValueError(f"format: expected an entry for every layer, {layer.name!r} is missing")
        names = format[layer.name]
        names = (names,) * n_batches if isinstance(names, str) else tuple(names)
        if len(names) != n_batches:
            raise ValueError(f"format[{layer.name!r}]: expected {n_batches} names, one per batch, got {len(names)}")
        out.append(tuple(check_choice(n, f"format[{layer.name!r}]", tuple(_autotune.FORMATS)) for n in names))
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
        from layer to a name or to one name per batch, such as ``meta["formats"]`` of another profile. Grouped
        convolutions always run as one block-diagonal CSR matrix.
    formats : sequence of str
        Candidates of ``"auto"``.
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
    multiply rows. A convolution is a matrix product with unfolded inputs, which makes 1 x 1 kernels exact; unfolding
    for larger ones is not timed. Elementwise layers and pooling are not part of layer tables. Time includes the call
    from Python, about a microsecond.

    Examples
    --------
    >>> import dnnsched as ds
    >>> table = ds.kernels.profile("mobilenet_v1", 0.2, measure=False, batches=(1, 4))
    >>> table.origin, table.n_stages, table.batches
    ('modelled', 28, (1, 4))
    """
    net, batches = _network(network), _batches(batches)
    densities, chosen = _densities(net, density), _formats(net, format, len(batches))
    formats = _autotune.formats_of(formats)
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
    for i, j, layer, run, name in _runs(net, batches, densities, chosen, formats, tune, machine, quiet, measure,
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


def _runs(net, batches, densities, chosen, formats, tune, machine, quiet, measure, pruning, seeds, how):
    """Yield (i, j, layer, execution, format) of every layer and batch, with a progress bar."""
    from dnnsched.report import progress

    record = {}
    bar = progress.bar(len(net) * len(batches), f"profile {net.name}", quiet or not measure)
    try:
        for i, layer in enumerate(net):
            run = _Execution(layer, densities[i], *pruning, seeds[i], *how)
            for j, batch in enumerate(batches):
                name = (run.choose(batch, formats, tune, machine, record) if chosen[i] == "auto" or run.grouped
                        else chosen[i][j])
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
