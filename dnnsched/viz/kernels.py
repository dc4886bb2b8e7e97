"""Figures of kernels: time over sparsity with the dense line, time over bits, layers measured beside modelled."""

import numpy as np
from matplotlib.ticker import LogLocator, NullLocator

from dnnsched.viz import style

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "h")
_DENSE = "#4D4D4D"


def layers(tables, batch=1, width=6.8, height=2.6):
    """Microseconds of every stage of several cost tables of one network.

    Parameters
    ----------
    tables : mapping of str to CostTable
        Layout ``"stage_batch"``, same stages; a table with measurements gets bars of their quartiles.
    batch : int
    width, height : float
        Inches.

    Returns
    -------
    matplotlib.figure.Figure
    """
    with style.context():
        made = style.figure(width, height)
        ax = made.subplots()
        for i, (name, table) in enumerate(tables.items()):
            x, middle = np.arange(table.n_stages), table.column(batch) * 1e6
            bars = None
            if table.draws_s is not None:
                draws = table.draws_s[:, table.batches.index(batch)] * 1e6
                bars = np.abs(np.quantile(draws, (0.25, 0.75), axis=1) - middle)
            ax.errorbar(x, middle, yerr=bars, color=COLORS[i], marker=MARKERS[i], label=name, elinewidth=0.8,
                        linewidth=0.8, markeredgecolor="white", markeredgewidth=0.4)
        step = max(1, -(-table.n_stages // 16))
        ax.set_xticks(x[::step], table.stages[::step], rotation=45, ha="right", fontsize=6.5)
        ax.set_yscale("log")
        ax.set_ylabel("time of a layer (us)")
        ax.grid(axis="x", visible=False)
        ax.legend(ncols=len(tables), loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return made


def crossover(rows, width=2.35, height=2.0):
    """Time over sparsity: a panel per shape and instruction-set level, a line per format and pattern.

    Parameters
    ----------
    rows : list of dict
        As ``"sparsity"`` of :func:`dnnsched.kernels.bench`.
    width, height : float
        Inches of a panel.

    Returns
    -------
    matplotlib.figure.Figure
    """
    shapes = list(dict.fromkeys(r["shape"] for r in rows))
    levels = list(dict.fromkeys(r["isa"] for r in rows))
    lines = list(dict.fromkeys((r["format"], r["pattern"]) for r in rows if r["format"] != "dense"))
    with style.context():
        made = style.figure(width * len(shapes), height * len(levels) + 0.3)
        axes = made.subplots(len(levels), len(shapes), squeeze=False, sharex=True)
        for i, level in enumerate(levels):
            for j, shape in enumerate(shapes):
                panel = [r for r in rows if r["isa"] == level and r["shape"] == shape]
                _panel(axes[i, j], panel, lines)
                if i == 0:
                    axes[i, j].set_title("{shape}\n{layer} {m} x {k} x {n}".format(**panel[0]))
                if j == 0:
                    axes[i, j].set_ylabel(f"{level}\ntime (us)")
                if i == len(levels) - 1:
                    axes[i, j].set_xlabel("sparsity (fraction of zeros)")
        labels = {}
        for ax in axes.flat:
            labels.update(zip(*ax.get_legend_handles_labels()[::-1], strict=True))
        names, handles = list(labels), list(labels.values())
        made.legend(handles, names, loc="outside lower center", ncols=min(len(names), 6))
    return made


def _panel(ax, panel, lines):
    dense = next(r for r in panel if r["format"] == "dense")
    ax.axhline(dense["seconds"] * 1e6, color=_DENSE, linestyle="--", linewidth=1.0, label="dense")
    for number, line in enumerate(lines):
        points = sorted((r["sparsity"], r["seconds"] * 1e6) for r in panel if (r["format"], r["pattern"]) == line)
        if points:
            ax.plot(*zip(*points, strict=True), color=COLORS[number % len(COLORS)],
                    marker=MARKERS[number % len(MARKERS)], label=f"{line[0]}, {line[1]}", markersize=3.5,
                    markeredgecolor="white", markeredgewidth=0.4)
    ax.set_yscale("log")
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.yaxis.set_major_formatter("{x:g}")
    ax.yaxis.set_minor_locator(NullLocator())
    ax.set_xlim(None, 1.0)


def bits(rows, width=1.9, height=1.9):
    """Time of a matrix-vector product over bits, beside one proportional to them: a panel per instruction-set level.

    Parameters
    ----------
    rows : list of dict
        As ``"bits"`` of :func:`dnnsched.kernels.bench`.
    width, height : float
        Inches of a panel.

    Returns
    -------
    matplotlib.figure.Figure
    """
    levels = list(dict.fromkeys(r["isa"] for r in rows))
    with style.context():
        made = style.figure(width * len(levels), height)
        axes = made.subplots(1, len(levels), squeeze=False, sharex=True)[0]
        for ax, level in zip(axes, levels, strict=True):
            points = sorted((r["bits"], r["seconds"] * 1e6) for r in rows if r["isa"] == level)
            top = points[-1]
            ax.plot([0, top[0]], [0, top[1]], color=_DENSE, linestyle=":", linewidth=0.8, label="proportional")
            ax.plot(*zip(*points, strict=True), color=COLORS[0], marker=MARKERS[0], label="measured")
            ax.set_xlim(0, None)
            ax.set_ylim(0, None)
            ax.set_xticks([bits for bits, _ in points])
            ax.set_title(level)
            ax.set_xlabel("bits per weight")
        axes[0].set_ylabel("time (us)")
        axes[0].legend(loc="upper left")
    return made
