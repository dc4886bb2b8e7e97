"""Crossover figures: time of each format over sparsity, beside the dense product or convolution, on this CPU."""

import json
from dataclasses import asdict

import numpy as np

from dnnsched import config
from dnnsched._arrays import check_int, check_number
from dnnsched.kernels import _clock, _common, _machine, _prune
from dnnsched.kernels._bsr import bsr
from dnnsched.kernels._conv import conv2d
from dnnsched.kernels._csr import csr
from dnnsched.kernels._dense import dense
from dnnsched.kernels._nested import nested
from dnnsched.kernels._nm import nm

#: Published layers: name -> (M, K, N) of a product, or (O, C, H, W, k) of a k x k convolution of one image, stride 1,
#: padding k // 2.
SHAPES = {
    "MobileNetV1 1x1, block 3": (128, 128, 3136),
    "MobileNetV1 1x1, block 8": (512, 512, 196),
    "ResNet-50 3x3, stage 3": (128, 128, 28, 28, 3),
    "ResNet-50 3x3, stage 5": (512, 512, 7, 7, 3),
    "BERT-base FFN 1": (3072, 768, 128),
}
SPARSITIES = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98)
#: Pattern -> format that multiplies it. A convolution takes those of CSR, by its direct kernel.
PATTERNS = {"uniform": "csr", "gaussian": "csr", "channel-skewed": "csr", "block 4x1": "bsr", "n:m": "nm"}
#: Sparsity -> (n, m): the points of pattern "n:m".
NM = {0.5: (2, 4), 0.75: (1, 4), 0.875: (1, 8), 0.9375: (1, 16)}
BITS = (2, 3, 4, 8)
_SIGMA = 1.0  # of the lognormal density of rows
_GEMV, _ROUNDS, _NOISY = 4096, 3, 1.15


def pattern_weights(m, k, sparsity, pattern, seed=0):
    """Pruned weights of one of the patterns of the crossover figures.

    Parameters
    ----------
    m, k : int
    sparsity : float
        Fraction of zeros, in [0, 1]; counts are exact.
    pattern : {"uniform", "gaussian", "channel-skewed", "block 4x1", "n:m"}
        ``"uniform"``: places drawn uniformly. ``"gaussian"``: the largest of normal weights. ``"channel-skewed"``: rows
        have lognormal scales (sigma 1) before the largest are kept, so that their non-zeros differ widely. ``"block
        4x1"``: the largest groups of four rows of a column. ``"n:m"``: the n largest of every m in a row, for the
        sparsities 0.5 (2:4), 0.75 (1:4), 0.875 (1:8) and 0.9375 (1:16).
    seed : int

    Returns
    -------
    ndarray of float32, shape (m, k)
    """
    rng = np.random.default_rng(seed)
    w = rng.standard_normal((m, k), np.float32)
    w[w == 0] = 1e-3
    density = 1 - sparsity
    if pattern == "block 4x1":
        mask = _prune.prune(w, density, "block", block=(4, 1))
    elif pattern == "n:m":
        mask = _prune.prune(w, density, "nm", m=NM[sparsity][1])
    else:
        score = w * rng.lognormal(0.0, _SIGMA, (m, 1)) if pattern == "channel-skewed" else w
        mask = _prune.prune(score, density, rng=seed if pattern == "uniform" else None)
    return np.where(mask, w, np.float32(0))


def _measured(calls, repeats, bar):
    """Least and median seconds of each call, over rounds through all of them: a disturbance hits one round only."""
    draws = [[] for _ in calls]
    for _ in range(_ROUNDS):
        for found, call in zip(draws, calls, strict=True):
            found.append(_clock.times(call, repeats))
            bar.update()
    return [{"seconds": float(np.min(d)), "median_s": float(np.median(d))} for d in draws]


def _packed(w, pattern, sparsity, isa):
    """Weights in the format of their pattern."""
    if pattern == "block 4x1":
        return bsr(w, (4, 1), isa=isa)
    if pattern == "n:m":
        return nm(w, *NM[sparsity], isa=isa)
    return csr(w, isa=isa)


def _sparsities_of(pattern, sparsities):
    """Where a pattern is measured: the n:m points lie where n and m are small."""
    if pattern != "n:m":
        return sparsities
    return [s for s in NM if min(sparsities) <= s <= max(sparsities)]


def _product(shape):
    """(M, K, N, how weights (M, K) are packed dense, how by pattern, x, out) of a matrix product."""
    m, k, n = shape
    x = np.random.default_rng(1).random((k, n), np.float32)
    return m, k, n, lambda w, isa: dense(w, isa=isa).matmul, \
        lambda w, p, s, isa: _packed(w, p, s, isa).matmul, x, np.empty((m, n), np.float32)


def _convolution(shape):
    """The same of a convolution."""
    o, c, h, w, k = shape
    x, out = np.random.default_rng(1).random((1, c, h, w), np.float32), np.empty((1, o, h, w), np.float32)

    def packed(weights, format, isa):
        return conv2d(weights.reshape(o, c, k, k), (c, h, w), padding=k // 2, format=format, isa=isa)

    return o, c * k * k, h * w, lambda weights, isa: packed(weights, "dense", isa), \
        lambda weights, p, s, isa: packed(weights, "csr", isa), x, out


def _sparsity_rows(shapes, sparsities, patterns, levels, repeats, bar):
    """A record per point; shape by shape and level by level."""
    rows = []
    for name, shape in shapes.items():
        convolution = len(shape) == 5
        m, k, n, pack_dense, pack, x, out = (_convolution if convolution else _product)(shape)
        for isa in levels:
            points = [({"format": "dense", "pattern": "none", "sparsity": 0.0, "nnz": m * k},
                       pack_dense(pattern_weights(m, k, 0.0, "uniform"), isa))]
            for pattern in patterns:
                for sparsity in _sparsities_of(pattern, sparsities):
                    if convolution and PATTERNS[pattern] != "csr":
                        continue
                    w = pattern_weights(m, k, sparsity, pattern)
                    points.append(({"format": PATTERNS[pattern], "pattern": pattern, "sparsity": float(sparsity),
                                    "nnz": int(np.count_nonzero(w))}, pack(w, pattern, sparsity, isa)))
            calls = [lambda run=run, x=x, out=out: run(x, out=out) for _, run in points]
            common = {"shape": name, "layer": "convolution" if convolution else "product", "m": m, "k": k, "n": n}
            rows += [{**common, "isa": isa, **point, **measured}
                     for (point, _), measured in zip(points, _measured(calls, repeats, bar), strict=True)]
    return rows


def crossovers(rows):
    """Sparsity from which each format is no slower than the dense product.

    Parameters
    ----------
    rows : list of dict
        As ``"sparsity"`` of :func:`bench`.

    Returns
    -------
    list of dict
        ``shape``, ``isa``, ``format``, ``pattern``, ``sparsity``: the smallest measured one from which on every point
        is at most the dense time; None where there is none.
    """
    dense_s = {(r["shape"], r["isa"]): r["seconds"] for r in rows if r["format"] == "dense"}
    lines = {}
    for r in rows:
        if r["format"] != "dense":
            line = r["shape"], r["isa"], r["format"], r["pattern"]
            lines.setdefault(line, []).append((r["sparsity"], r["seconds"]))
    out = []
    for (shape, isa, name, pattern), points in lines.items():
        best = None
        for sparsity, seconds in sorted(points, reverse=True):
            if seconds > dense_s[shape, isa]:
                break
            best = sparsity
        out.append({"shape": shape, "isa": isa, "format": name, "pattern": pattern, "sparsity": best})
    return out


def _bits_rows(levels, repeats, size, bar):
    """Seconds of a nested any-precision matrix-vector product, at the levels that have a kernel of their own."""
    w = np.random.default_rng(0).standard_normal((size, size), np.float32)
    x, rows = np.random.default_rng(1).standard_normal(size).astype(np.float32), []
    for isa in levels:
        plan = nested(w, isa=isa)
        if plan.isa != isa:
            bar.update(_ROUNDS * len(BITS))
            continue
        calls = [lambda b=b, plan=plan: plan.matmul(x, bits=b) for b in BITS]
        rows += [{"isa": isa, "m": size, "k": size, "bits": b, **measured}
                 for b, measured in zip(BITS, _measured(calls, repeats, bar), strict=True)]
    return rows


def bench(out=None, *, plot=False, force=False, shapes=SHAPES, sparsities=SPARSITIES, patterns=tuple(PATTERNS),
          isa=None, repeats=5, bits_size=_GEMV, quiet=False):
    """Measure where sparse kernels overtake the dense product on this CPU.

    Parameters
    ----------
    out : path-like, optional
        Folder to write ``kernels.json`` into; it appears complete or not at all.
    plot : bool
        Also draw ``crossover.svg`` and ``.png``, and ``bits.*``.
    force : bool
        Replace an existing folder of an earlier run.
    shapes : mapping of str to tuple of int
        By name M, K, N of a product, or O, C, H, W, k of a k x k convolution of one image (stride 1, padding k // 2);
        default layers of MobileNetV1 (1x1), ResNet-50 (3x3) and BERT's feed-forward part.
    sparsities : sequence of float
        Fractions of zeros.
    patterns : sequence of str
        Of ``"uniform"``, ``"gaussian"``, ``"channel-skewed"``, ``"block 4x1"``, ``"n:m"`` (see Notes).
    isa : sequence of str, optional
        Instruction-set levels; default all that run here and have kernels of their own: of floating point for the
        times over sparsity, of integers for those over bits.
    repeats : int
        Measurements of a point in each of three rounds through all points of a shape and level; the least counts.
    bits_size : int
        Extent of the square matrix of time over bits.
    quiet : bool
        No progress bar.

    Returns
    -------
    dict
        JSON types: ``machine`` (measured rates by level), ``installation``, ``sparsity`` (a record per point),
        ``crossover`` (see :func:`crossovers`), ``bits``, ``noisy`` (fraction of points whose median lies more than 15 %
        above the least time).

    Raises
    ------
    ValueError, TypeError
        An argument is wrong.
    FileExistsError
        `out` exists and `force` is False.
    ImportError
        `plot` without matplotlib; the message names the extra.

    Notes
    -----
    One thread, warm. A dense product is OpenBLAS's, which keeps its own instruction-set level at all of ours; a dense
    convolution is the direct kernel's. CSR multiplies the patterns of single weights: uniform places; the largest of
    Gaussian weights; the largest after rows were scaled by lognormal factors (sigma 1), which skews the non-zeros of
    output channels; convolutions take these by the direct sparse kernel. BSR multiplies ``"block 4x1"``; N:M its own
    points, 2:4, 1:4, 1:8 and 1:16. Both are measured on products only.
    """
    from dnnsched.report import progress, rundir

    if plot and out is None:
        raise ValueError("plot: expected an output folder for the figures, got out=None")
    if plot:
        import dnnsched.viz.kernels  # noqa: F401  a missing matplotlib is told before anything is measured
    if out is not None:
        rundir.refuse_existing(out, force)
    for level in isa or ():
        _common.level(level)
    integer_levels = config.runnable_isa_levels() if isa is None else tuple(isa)
    levels = tuple(isa or (level for level in integer_levels if level in ("generic", "avx2", "avx512")))
    for name, shape in shapes.items():
        if len(shape) not in (3, 5) or min(shape) < 1:
            raise ValueError(f"shapes: {name!r}: expected 3 or 5 extents >= 1, got {shape!r}")
    unknown = [p for p in patterns if p not in PATTERNS]
    if unknown:
        raise ValueError(f"patterns: expected some of {', '.join(PATTERNS)}, got {unknown[0]!r}")
    for sparsity in sparsities:
        check_number(sparsity, "sparsities", 0, 1)
    check_int(repeats, "repeats", 1)
    points = sum(1 + sum(len(_sparsities_of(p, sparsities)) for p in patterns
                         if len(shape) == 3 or PATTERNS[p] == "csr") for shape in shapes.values())
    total = _ROUNDS * (len(levels) * points + len(integer_levels) * len(BITS))
    bar = progress.bar(total, "kernels", quiet)
    try:
        machines = {level: asdict(_machine.machine(measure=True, isa=level)) for level in levels}
        rows = _sparsity_rows(shapes, sparsities, patterns, levels, repeats, bar)
        bits = _bits_rows(integer_levels, repeats, bits_size, bar)
    finally:
        bar.close()
    noisy = float(np.mean([r["median_s"] > _NOISY * r["seconds"] for r in [*rows, *bits]]))
    record = json.loads(json.dumps({
        "machine": machines, "installation": config.info(), "repeats": _ROUNDS * repeats, "threads": 1,
        "noisy": noisy, "sparsity": rows,
        "crossover": crossovers(rows), "bits": bits}))
    if out is not None:
        _save(record, out, plot, force)
    return record


def text(record):
    """Lines that say from which sparsity each format is no slower than dense, and what was left out.

    Parameters
    ----------
    record : dict
        Of :func:`bench`.

    Returns
    -------
    str
    """
    lines = [f"{'shape':26s} {'isa':8s} {'format':6s} {'pattern':15s} no slower than dense from sparsity"]
    lines += [f"{c['shape']:26s} {c['isa']:8s} {c['format']:6s} {c['pattern']:15s} "
              f"{'-' if c['sparsity'] is None else format(c['sparsity'], '.2f')}" for c in record["crossover"]]
    lines += [f"{b['isa']}: {b['m']}^2 matrix-vector product, {b['bits']} bits: {b['seconds'] * 1e6:.0f} us"
              for b in record["bits"]]
    if record["noisy"] > 0.1:
        lines.append(f"noisy: {100 * record['noisy']:.0f} % of the medians lie more than 15 % above the least time; "
                     "measure again on a quiet machine")
    return "\n".join(lines)


def _save(record, folder, plot, force):
    """Write ``kernels.json`` and the figures; the folder appears complete or not at all."""
    from dnnsched.report import rundir

    with rundir.writing(folder, force=force) as made:
        rundir.write_json(made / "kernels.json", record)
        if plot:
            from dnnsched.viz import kernels as figures
            from dnnsched.viz import style

            style.save(figures.crossover(record["sparsity"]), made / "crossover")
            style.save(figures.bits(record["bits"]), made / "bits")
