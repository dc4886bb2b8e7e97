"""One look for every figure: colours safe for colour-blind readers, sizes for a paper's column, stable bytes."""

import io
import re

try:
    import matplotlib
except ImportError as error:  # pragma: no cover - exercised in a subprocess without matplotlib
    raise ImportError("figures need matplotlib: install the extra with  pip install 'dnnsched[viz]'") from error

matplotlib.use("Agg", force=False)

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

# Okabe and Ito (2008), told apart under the common colour-vision deficiencies; markers repeat the distinction.
COLORS = {
    "fcfs": "#999999", "sjf": "#56B4E9", "sdrm3": "#CC79A7", "prema": "#E69F00", "planaria": "#009E73",
    "dysta": "#D55E00", "dysta_oracle": "#000000", "dysta_naive": "#0072B2",
}
MARKERS = {"fcfs": "s", "sjf": "^", "sdrm3": "v", "prema": "D", "planaria": "P", "dysta": "o", "dysta_oracle": "X",
           "dysta_naive": "h"}
NAMES = {"fcfs": "FCFS", "sjf": "SJF", "sdrm3": "SDRM3", "prema": "PREMA", "planaria": "Planaria", "dysta": "Dysta",
         "dysta_oracle": "Oracle", "dysta_naive": "Dysta w/o sparse"}

RC = {
    "font.family": "sans-serif", "font.sans-serif": ["DejaVu Sans"], "font.size": 8.0, "axes.titlesize": 8.5,
    "axes.labelsize": 8.0, "legend.fontsize": 7.5, "xtick.labelsize": 7.5, "ytick.labelsize": 7.5,
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.color": "#E3E3E3",
    "grid.linewidth": 0.6, "axes.axisbelow": True, "axes.edgecolor": "#4D4D4D", "axes.linewidth": 0.7,
    "xtick.color": "#4D4D4D", "ytick.color": "#4D4D4D", "lines.linewidth": 1.3, "lines.markersize": 4.5,
    "legend.frameon": False, "figure.dpi": 100, "savefig.dpi": 200, "svg.hashsalt": "dnnsched", "svg.fonttype": "path",
    "mathtext.fontset": "dejavusans", "axes.unicode_minus": False,
}


def figure(width, height):
    """An empty figure of this size in inches, without pyplot's global state.

    Returns
    -------
    matplotlib.figure.Figure
        Laid out by the constrained engine.
    """
    made = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(made)
    return made


def context():
    """The style as a context manager; draw and save inside it."""
    return matplotlib.rc_context(RC)


def save(fig, stem):
    """Write ``stem.svg`` and ``stem.png`` with the same bytes for the same figure.

    Parameters
    ----------
    fig : matplotlib.figure.Figure
    stem : pathlib.Path
        Path without suffix.

    Returns
    -------
    str
        The SVG.
    """
    with context():
        fig.draw_without_rendering()
        fig.set_layout_engine(None)  # the layout is settled: saving need not compute it again
        buffer = io.StringIO()
        fig.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
        text = re.sub(r"[ \t]+\n", "\n", buffer.getvalue())
        stem.with_suffix(".svg").write_text(text, encoding="utf-8", newline="\n")
        fig.savefig(stem.with_suffix(".png"), metadata={"Software": None})
    return text
