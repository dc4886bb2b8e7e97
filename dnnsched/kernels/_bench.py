"""Crossover figures: time of each format over sparsity, beside the dense product, on this CPU."""

import json
from dataclasses import asdict

import numpy as np

from dnnsched import config
from dnnsched._arrays import check_int, check_number
from dnnsched.kernels import _autotune, _clock, _common, _machine, _prune
from dnnsched.kernels._dense import dense

#: Weight matrices (M, K) and columns N of published layers: name -> (M, K, N).
SHAPES = {
    "MobileNetV1 1x1, block 3": (128, 128, 3136),
    "MobileNetV1 1x1, block 8": (512, 512, 196),
    "ResNet-50 3x3, stage 3": (128, 1152, 784),
    "ResNet-50 3x3, stage 5": (512, 4608, 49),
    "BERT-base FFN 1": (3072, 768, 128),
}
SPARSITIES = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98)
PATTERNS = ("uniform", "gaussian", "channel-skewed")
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
    pattern : {"uniform", "gaussian", "channel-skewed"}
        ``"uniform"``: places drawn uniformly. ``"gaussian"``: the largest of normal weights. ``"channel-skewed"``: rows
        have lognormal scales (sigma 1) before the largest are kept, so that their non-zeros differ widely.
    seed : int

    Returns
    -------
    ndarray of float32, shape (m, k)
    """
    rng = np.random.default_rng(seed)
    w = rng.standard_normal((m, k), np.float32)
    w[w == 0] = 1e-3
    score = w * rng.lognormal(0.0, _SIGMA, (m, 1)) if pattern == "channel-skewed" else w
    mask = _prune.prune(score, 1 - sparsity, rng=seed if pattern == "uniform" else None)
    return np.where(mask, w, np.float32(0))


def _measured(calls, repeats, bar):
    """Least and median seconds of each call, over rounds through all of them: a disturbance hits one round only."""
    draws = [[] for _ in calls]
    for _ in range(_ROUNDS):
        for found, call in zip(draws, calls, strict=True):
            found.append(_clock.times(call, repeats))
            bar.update()
    return [{"seconds": float(np.min(d)), "median_s": float(np.median(d))} for d in draws]


def _points(m, k, sparsities, patterns, formats, isa):
    """(record, plan) of the dense product and of every format, pattern and sparsity."""
    plan = dense(pattern_weights(m, k, 0.0, "uniform"), isa=isa)
    yield {"format": "dense", "pattern": "none", "sparsity": 0.0, "nnz": m * k}, plan
    for pattern in patterns:
        for sparsity in sparsities:
            w = pattern_weights(m, k, sparsity, pattern)
            for name in formats:
                plan = _autotune.FORMATS[name](w, isa=isa)
                yield {"format": name, "pattern": pattern, "sparsity": float(sparsity), "nnz": plan.nnz}, plan


def _sparsity_rows(shapes, sparsities, patterns, levels, formats, repeats, bar):
    """A record per point; shape by shape and level by level."""
    rows = []
    for shape, (m, k, n) in shapes.items():
        x = np.random.default_rng(1).random((k, n), np.float32)
        out = np.empty((m, n), np.float32)
        for isa in levels:
            points = list(_points(m, k, sparsities, patterns, formats, isa))
            calls = [lambda plan=plan, x=x, out=out: plan.matmul(x, out=out) for _, plan in points]
            rows += [{"shape": shape, "m": m, "k": k, "n": n, "isa": isa, **point, **measured}
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
    """Seconds of a nested any-precision matrix-vector product; (rows, why none)."""
    from dnnsched import kernels

    if not hasattr(kernels, "nested"):
        return [], "time over bits: this build has no nested any-precision kernel"
    w = np.random.default_rng(0).standard_normal((size, size), np.float32)
    x, rows = np.random.default_rng(1).standard_normal(size).astype(np.float32), []
    for isa in levels:
        plan = kernels.nested(w, isa=isa)
        calls = [lambda b=b, plan=plan: plan.matmul(x, bits=b) for b in BITS]
        rows += [{"isa": isa, "m": size, "k": size, "bits": b, **measured}
                 for b, measured in zip(BITS, _measured(calls, repeats, bar), strict=True)]
    return rows, None


def bench(out=None, *, plot=False, force=False, shapes=SHAPES, sparsities=SPARSITIES, patterns=PATTERNS, isa=None,
          formats=("csr",), repeats=5, bits_size=_GEMV, quiet=False):
    """Measure where sparse kernels overtake the dense product on this CPU.

    Parameters
    ----------
    out : path-like, optional
        Folder to write ``kernels.json`` into; it appears complete or not at all.
    plot : bool
        Also draw ``crossover.svg`` and ``.png``, and ``bits.*`` where there are any.
    force : bool
        Replace an existing folder of an earlier run.
    shapes : mapping of str to (int, int, int)
        M, K, N by name; default layers of MobileNetV1 (1x1), ResNet-50 (3x3, as matrices) and BERT's feed-forward part.
    sparsities : sequence of float
        Fractions of zeros.
    patterns : sequence of str
        Of ``"uniform"``, ``"gaussian"``, ``"channel-skewed"`` (see Notes).
    isa : sequence of str, optional
        Instruction-set levels; default all floating-point ones that run here.
    formats : sequence of str
        Sparse formats.
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
        above the least time), ``skipped`` (what this build cannot do, by name).

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
    One thread, warm. Dense is OpenBLAS, which keeps its own instruction-set level at all of ours. Patterns: uniform
    places; the largest of Gaussian weights; the largest after rows were scaled by lognormal factors (sigma 1), which
    skews the non-zeros of output channels.
    """
    from dnnsched.report import progress, rundir

    if plot and out is None:
        raise ValueError("plot: expected an output folder for the figures, got out=None")
    if plot:
        import dnnsched.viz.kernels  # noqa: F401  a missing matplotlib is told before anything is measured
    if out is not None:
        rundir.refuse_existing(out, force)
    levels = tuple(level for level in config.runnable_isa_levels() if level in ("generic", "avx2", "avx512"))
    if isa is not None:
        for level in isa:
            _common.level(level)
        levels = tuple(isa)
    formats = tuple(f for f in _autotune.formats_of(formats) if f != "dense")
    unknown = [p for p in patterns if p not in PATTERNS]
    if unknown:
        raise ValueError(f"patterns: expected some of {', '.join(PATTERNS)}, got {unknown[0]!r}")
    for sparsity in sparsities:
        check_number(sparsity, "sparsities", 0, 1)
    check_int(repeats, "repeats", 1)
    total = _ROUNDS * len(shapes) * len(levels) * (1 + len(patterns) * len(sparsities) * len(formats))
    bar = progress.bar(total, "kernels", quiet)
    try:
        machines = {level: asdict(_machine.machine(measure=True, isa=level)) for level in levels}
        rows = _sparsity_rows(shapes, sparsities, patterns, levels, formats, repeats, bar)
        bits, skipped = _bits_rows(levels, repeats, bits_size, bar)
    finally:
        bar.close()
    noisy = float(np.mean([r["median_s"] > _NOISY * r["seconds"] for r in [*rows, *bits]]))
    record = json.loads(json.dumps({
        "machine": machines, "installation": config.info(), "repeats": _ROUNDS * repeats, "threads": 1,
        "noisy": noisy, "sparsity": rows,
        "crossover": crossovers(rows), "bits": bits, "skipped": [skipped] if skipped else []}))
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
    return "\n".join([*lines, *(f"skipped: {reason}" for reason in record["skipped"])])


def _save(record, folder, plot, force):
    """Write ``kernels.json`` and the figures; the folder appears complete or not at all."""
    from dnnsched.report import rundir

    with rundir.writing(folder, force=force) as made:
        rundir.write_json(made / "kernels.json", record)
        if plot:
            from dnnsched.viz import kernels as figures
            from dnnsched.viz import style

            style.save(figures.crossover(record["sparsity"]), made / "crossover")
            if record["bits"]:
                style.save(figures.bits(record["bits"]), made / "bits")
