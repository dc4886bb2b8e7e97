"""Figures of the Dysta report: the paper's result figures with our numbers over the printed ones."""

import numpy as np

from dnnsched.papers import dysta as paper
from dnnsched.papers.dysta import plan as plans
from dnnsched.viz import style, timeline

_BASELINES = ("fcfs", "sjf", "sdrm3", "prema", "planaria", "dysta", "dysta_oracle")
_PANELS = tuple((d, r) for d, rates in plans.RATES_14.items() for r in rates)
_DOMAINS = {"attnn": "multi-AttNN", "cnn": "multi-CNN"}
_METRICS = (("violation_rate", "SLO violations (%)"), ("antt", "ANTT"))


def figures(report):
    """All figures of a report.

    Parameters
    ----------
    report : dnnsched.report.Report

    Returns
    -------
    dict of str to matplotlib.figure.Figure
        ``tradeoff`` (Fig. 12), ``breakdown`` (Fig. 13), ``slo_sweep`` (Fig. 14), ``rate_sweep`` (Fig. 15),
        ``load_sweep`` (sets B and recorded), ``slack`` (finding), ``predictor`` (Table 4),
        ``timeline`` (of the named run).
    """
    printed = paper.published()
    drawn = {
        "tradeoff": (tradeoff, "Fig. 12: SLO violations against ANTT at M = 10. Upper row: published (hollow) and ours "
                     "on set A (filled), joined by a line; lower row: ours on generated set B at the same load."),
        "breakdown": (breakdown, "Fig. 13: what the static and the dynamic part give: PREMA, Dysta without sparsity, "
                      "Dysta. Published (hollow), set A in its variants, set B; lines are 95 % intervals."),
        "slo_sweep": (slo_sweep, "Fig. 14: SLO violations and ANTT against the SLO multiplier M, published (dashed, "
                      "hollow) and ours on set A."),
        "rate_sweep": (rate_sweep, "Fig. 15: SLO violations, ANTT and throughput against the arrival rate, published "
                       "(dashed, hollow) and ours on set A with 95 % bands."),
        "load_sweep": (load_sweep, "SLO violations and ANTT against offered load on the generated and recorded sets, "
                       "paper semantics, 95 % bands over replications."),
        "slack": (slack, "Three slack terms of Dysta on the same requests, beside the published point of Fig. 15."),
        "predictor": (predictor, "Table 4: RMSE of the predicted remaining latency, divided by average-all's."),
    }
    made = {}
    with style.context():
        for name, (draw, caption) in drawn.items():
            made[name] = draw(report.results, printed)
            made[name].set_label(caption)
    return made | timeline.figures(report.run)


def _set_a(domain, variant="deterministic"):
    return f"multi-{domain}-calibrated/{variant}"


def _color(name):
    return style.COLORS[name]


def _best(results, metric, domain, **where):
    """cv10 when it was run at this point (it has an interval over draws), else deterministic."""
    for variant in ("cv10", "deterministic"):
        series = results.one(metric, workload=_set_a(domain, variant), **where)
        if series is not None:
            return series
    return None


def _legend(fig, names, extra=(), ncol=8, markers=True):
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=_color(n), marker=style.MARKERS[n] if markers else "", linestyle="-",
                      linewidth={"dysta": 2.4, "dysta_oracle": 0.9}.get(n, 1.3), label=style.NAMES[n]) for n in names]
    fig.legend(handles=[*handles, *extra], loc="outside lower center", ncol=ncol, columnspacing=1.2, handletextpad=0.5)


def tradeoff(results, printed):
    """Fig. 12: violations against ANTT at M = 10; published points hollow, ours filled."""
    from matplotlib.lines import Line2D

    fig = style.figure(7.2, 4.4)
    axes = fig.subplots(2, 4)
    for column, (domain, rate) in enumerate(_PANELS):
        axis = axes[0, column]
        for name in _BASELINES:
            own = [results.one(m, item="fig14", workload=_set_a(domain), scheduler=name, rate=rate, slo=10.0)
                   for m, _ in _METRICS]
            cells = [printed.get("fig12", name, f"{domain} rate={rate:g} slo=10", m) for m, _ in _METRICS]
            _tradeoff_points(axis, name, own, cells)
        axis.set_title(f"{_DOMAINS[domain]}, {rate:g}/s", fontweight="bold")
        if column == 0:
            axis.set_ylabel("ANTT (set A)")
            axes[1, 0].set_ylabel("ANTT (set B)")
        rho = plans.LOADS_12[domain][plans.RATES_14[domain].index(rate)]
        for name in _BASELINES:
            own = [results.one(m, item="load", workload=f"multi-{domain}", scheduler=name, rho=rho, slo=10.0)
                   for m, _ in _METRICS]
            _tradeoff_points(axes[1, column], name, own, (None, None))
        axes[1, column].set_title(f"generated set, load {rho:g}")
        for row in (0, 1):
            axes[row, column].set_yscale("log")
            axes[row, column].set_xscale("log")
            axes[row, column].margins(0.1)
            _plain_log(axes[row, column].yaxis)
            _plain_log(axes[row, column].xaxis)
    for axis in axes[1]:
        axis.set_xlabel("SLO violations (%)")
    hollow = Line2D([], [], color="#4D4D4D", marker="o", linestyle="", markerfacecolor="white", label="published")
    filled = Line2D([], [], color="#4D4D4D", marker="o", linestyle="", label="ours")
    _legend(fig, _BASELINES, (hollow, filled), ncol=5)
    return fig


def _tradeoff_points(axis, name, own, cells):
    color, marker = _color(name), style.MARKERS[name]
    if None not in cells and None not in own:
        axis.plot([cells[0].value, own[0].values.mean()], [cells[1].value, own[1].values.mean()], color=color,
                  linewidth=0.8, alpha=0.7, zorder=2)
    if None not in cells:
        axis.plot(cells[0].value, cells[1].value, marker=marker, color=color, markerfacecolor="white", linestyle="",
                  markersize=5.5, zorder=3)
    if None not in own:
        size = {"dysta": 6.5, "dysta_oracle": 3.5}.get(name, 5)
        axis.plot(own[0].values.mean(), own[1].values.mean(), marker=marker, color=color, linestyle="", markersize=size,
                  zorder=4)


def _plain_log(axis):
    """Labels 2, 5, 10, 20, ... without exponents on a logarithmic axis."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(base=10, subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
    axis.set_minor_formatter(NullFormatter())


def _percent_axis(axis):
    """Violations from 0 to 100 %: linear below 1, logarithmic above, so that small rates stay visible."""
    axis.set_yscale("symlog", linthresh=1.0, linscale=0.4)
    axis.set_ylim(-0.05, 130.0)
    axis.set_yticks([0, 1, 2, 5, 10, 20, 50, 100], ["0", "1", "2", "5", "10", "20", "50", "100"])
    axis.set_yticks([], minor=True)


def breakdown(results, printed):
    """Fig. 13: PREMA, Dysta without sparsity, Dysta; published, set A in its three variants, set B."""
    from matplotlib.patches import Patch

    fig = style.figure(7.2, 4.0)
    axes = fig.subplots(2, 2)
    names = ("prema", "dysta_naive", "dysta")
    groups = ("published", "A determ.", "A cv10", "A cv18", "B")
    for column, (domain, rate, rho) in enumerate((("attnn", 30.0, 0.95), ("cnn", 3.0, 0.83))):
        for row, (metric, label) in enumerate(_METRICS):
            axis = axes[row, column]
            for k, name in enumerate(names):
                cell = printed.get("fig13", name, f"{domain} rate={rate:g} slo=10", metric)
                found = [None, *(results.one(metric, item="fig14", workload=_set_a(domain, v), scheduler=name,
                                             rate=rate, slo=10.0) for v in ("deterministic", "cv10", "cv18")),
                         results.one(metric, item="load", workload=f"multi-{domain}", scheduler=name, rho=rho,
                                     slo=10.0)]
                _bars(axis, k, len(names), name, cell, found)
            axis.set_xticks(range(len(groups)), groups)
            axis.grid(axis="x", visible=False)
            axis.set_ylabel(label)
            if row == 0:
                axis.set_title(f"{_DOMAINS[domain]}, {rate:g}/s (B: load {rho:g})", fontweight="bold")
    fig.legend(handles=[*(Patch(color=_color(n), label=style.NAMES[n]) for n in names),
                        Patch(facecolor="white", edgecolor="#4D4D4D", label="published (hollow)")],
               loc="outside lower center", ncol=4)
    return fig


def _bars(axis, k, count, name, cell, found):
    width = 0.8 / count
    for x, series in enumerate(found):
        at = x + (k - (count - 1) / 2) * width
        if x == 0 and cell is not None:
            axis.bar(at, cell.value, width * 0.9, facecolor="white", edgecolor=_color(name), linewidth=1.2)
            value, top = cell.value, cell.value
        elif series is not None:
            interval = series.interval()
            value = top = interval.value
            axis.bar(at, value, width * 0.9, color=_color(name))
            if x > 1 and interval.high > interval.low:
                axis.plot([at, at], [max(interval.low, 0.0), interval.high], color="#333333", linewidth=0.9)
                top = interval.high
        else:
            continue
        axis.annotate(f"{value:.1f}", (at, top), xytext=(0, 1.5), textcoords="offset points", ha="center", va="bottom",
                      fontsize=5.8, color="#333333")
    axis.margins(y=0.12)


def _curve(axis, name, xs, series, cells, item_x, floor=0.0):
    """Published dashed with hollow markers, ours solid with its interval as a band, cut at `floor`."""
    color, marker = _color(name), style.MARKERS[name]
    front = 3 if name in ("dysta", "dysta_oracle") else 2
    if any(c is not None for c in cells):
        points = [(x, c.value) for x, c in zip(item_x, cells, strict=True) if c is not None]
        axis.plot(*zip(*points, strict=True), color=color, linestyle=(0, (4, 2)), linewidth=0.9, marker=marker,
                  markersize=4, markerfacecolor="white", markeredgewidth=0.8, zorder=front)
    points = [(x, s.interval()) for x, s in zip(xs, series, strict=True) if s is not None]
    if not points:
        return
    width = {"dysta": 2.4, "dysta_oracle": 0.9}.get(name, 1.3)
    axis.plot([x for x, _ in points], [i.value for _, i in points], color=color, zorder=front + 2, linewidth=width)
    spread = [(x, max(i.low, floor), i.high) for x, i in points if i.n > 1 and np.isfinite(i.low)]
    if spread and "seeds 1-5; Student-t over seeds" not in series[0].method:
        axis.fill_between(*zip(*spread, strict=True), color=color, alpha=0.18, linewidth=0, zorder=front - 1)


def slo_sweep(results, printed):
    """Fig. 14: violations and ANTT against the SLO multiplier, set A."""
    fig = style.figure(7.2, 4.4)
    axes = fig.subplots(2, 4, sharex=True)
    for column, (domain, rate) in enumerate(_PANELS):
        for row, (metric, label) in enumerate(_METRICS):
            axis = axes[row, column]
            for name in _BASELINES:
                series = [results.one(metric, item="fig14", workload=_set_a(domain), scheduler=name, rate=rate, slo=m)
                          for m in plans.SLOS]
                cells = [printed.get("fig14", name, f"{domain} rate={rate:g} slo={m:g}", metric) for m in plans.SLOS]
                _curve(axis, name, plans.SLOS, series, cells, plans.SLOS)
            if metric == "violation_rate":
                _percent_axis(axis)
            else:
                axis.set_yscale("log")
                _plain_log(axis.yaxis)
                axis.set_xlabel("SLO multiplier M")
            axis.set_xticks([10, 50, 100, 150])
            if row == 0:
                axis.set_title(f"{_DOMAINS[domain]}, {rate:g}/s", fontweight="bold")
            if column == 0:
                axis.set_ylabel(label)
    _legend(fig, _BASELINES, _line_styles("ours (set A, deterministic)"), ncol=5)
    return fig


def _line_styles(ours):
    from matplotlib.lines import Line2D

    return (Line2D([], [], color="#4D4D4D", linestyle=(0, (4, 2)), marker="o", markerfacecolor="white", markersize=4,
                   linewidth=0.9, label="published"),
            Line2D([], [], color="#4D4D4D", label=ours))


def rate_sweep(results, printed):
    """Fig. 15: violations, ANTT and throughput against the arrival rate, set A with intervals over draws."""
    fig = style.figure(7.2, 4.6)
    axes = fig.subplots(2, 3)
    for row, (domain, rates) in enumerate(plans.RATES_15.items()):
        for column, (metric, label) in enumerate((*_METRICS, ("throughput_rps", "throughput (1/s)"))):
            axis = axes[row, column]
            for name in _BASELINES:
                series = [_best(results, metric, domain, item="fig15", scheduler=name, rate=r, slo=10.0)
                          for r in rates]
                cells = [printed.get("fig15", name, f"{domain} rate={r:g} slo=10", metric) for r in rates]
                _curve(axis, name, rates, series, cells, rates, floor=1.0 if metric == "antt" else 0.0)
            if metric == "violation_rate":
                _percent_axis(axis)
            elif metric == "antt":
                axis.set_yscale("log")
                _plain_log(axis.yaxis)
            axis.set_xticks(rates, [f"{r:g}" for r in rates])
            axis.set_xlabel("arrival rate (requests/s)")
            axis.set_ylabel(label)
            if column == 1:
                axis.set_title(_DOMAINS[domain], fontweight="bold")
    _legend(fig, _BASELINES, _line_styles("ours (set A cv10, 95 %)"), ncol=5)
    return fig


def load_sweep(results, printed=None):
    """Violations and ANTT against offered load: sets B and recorded, paper semantics."""
    from matplotlib.lines import Line2D

    found = list(dict.fromkeys(s.point.workload for s in results.find("antt", item="load")))
    fig = style.figure(1.0 + 1.75 * max(len(found), 1), 4.2)
    axes = fig.subplots(2, max(len(found), 1), squeeze=False)
    for column, workload in enumerate(found):
        loads = sorted({s.point.rho for s in results.find("antt", item="load", workload=workload)})
        for row, (metric, label) in enumerate(_METRICS):
            axis = axes[row, column]
            top = 1.0
            for name in _BASELINES:
                series = [results.one(metric, item="load", workload=workload, scheduler=name, rho=r, slo=10.0)
                          for r in loads]
                _curve(axis, name, loads, series, [None] * len(loads), loads, floor=1.0 if metric == "antt" else 0.0)
                top = max(top, *(float(s.values.mean()) for s in series if s is not None))
            clamped = [results.one(metric, item="load", workload=workload, scheduler="dysta slack=clamped", rho=r,
                                   slo=10.0) for r in loads]
            axis.plot(loads, [float(s.values.mean()) if s is not None else np.nan for s in clamped],
                      color=_color("dysta"), linestyle=(0, (1, 1)), linewidth=2.0, zorder=8)
            if metric == "violation_rate":
                _percent_axis(axis)
            else:
                axis.set_ylim(1.0, 2.0 * top)
                axis.set_yscale("log")
                _plain_log(axis.yaxis)
                axis.set_xlabel("offered load")
            axis.axvline(1.0, color="#B0B0B0", linewidth=0.8, linestyle=":")
            if row == 0:
                axis.set_title(workload, fontweight="bold")
            if column == 0:
                axis.set_ylabel(label)
    dotted = Line2D([], [], color=_color("dysta"), linestyle=(0, (1, 1)), linewidth=2.0, label="Dysta, clamped slack")
    _legend(fig, _BASELINES, (dotted,), ncol=4, markers=False)
    return fig


def slack(results, printed):
    """The finding: violations and ANTT of Dysta under three slack terms, beside the published point."""
    fig = style.figure(7.2, 4.2)
    axes = fig.subplots(2, 2).T.ravel()
    colors = {"clamped": "#D55E00", "signed": "#0072B2", "deadline": "#56B4E9"}
    pairs = [(m, d) for d in _DOMAINS for m in _METRICS]
    for axis, ((metric, label), domain) in zip(axes, pairs, strict=True):
        rates = plans.RATES_14[domain]
        for x, rate in enumerate(rates):
            cell = printed.get("fig15", "dysta", f"{domain} rate={rate:g} slo=10", metric)
            bars = [("published", cell.value, "white")]
            for kind, color in colors.items():
                series = results.one(metric, item="slack", workload=_set_a(domain), scheduler=f"dysta slack={kind}",
                                     rate=rate)
                if series is not None:
                    bars.append((kind, float(series.values.mean()), color))
            for k, (kind, value, color) in enumerate(bars):
                at = x + (k - 1.5) * 0.2
                axis.bar(at, value, 0.18, color=color, edgecolor="#333333" if kind == "published" else color,
                         linewidth=1.0)
                axis.annotate(f"{value:.1f}", (at, value), xytext=(0, 1.5), textcoords="offset points", ha="center",
                              fontsize=5.8, color="#333333")
        axis.set_xticks(range(len(rates)), [f"{r:g}/s" for r in rates])
        axis.set_ylabel(label)
        axis.grid(axis="x", visible=False)
        axis.margins(y=0.12)
        axis.set_title(_DOMAINS[domain], fontweight="bold")
    from matplotlib.patches import Patch

    fig.legend(handles=[Patch(facecolor="white", edgecolor="#333333", label="published"),
                        Patch(color=colors["clamped"], label="clamped (public code)"),
                        Patch(color=colors["signed"], label="signed (Algorithm 2 as printed)"),
                        Patch(color=colors["deadline"], label="deadline - now (Fig. 11b)")],
               loc="outside lower center", ncol=4)
    return fig


def predictor(results, printed):
    """Table 4: RMSE of the predictors divided by average-all's; published hollow."""
    from matplotlib.patches import Patch

    colors = {"average_all": "#0072B2", "last_n": "#E69F00", "last_one": "#D55E00"}
    panels = [("published", None, None)]
    for semantics in ("paper", "artifact"):
        for workload in dict.fromkeys(s.point.workload for s in results.find("rmse_s", item="table4")):
            panels.append((f"{workload}\n{semantics} definitions", workload, semantics))
    panels = [p for p in panels if p[1] is None or "attn" in p[1]]
    fig = style.figure(1.4 + 1.45 * len(panels), 2.5)
    axes = fig.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axis, (title, workload, semantics) in zip(axes, panels, strict=True):
        values = _predictor_values(results, printed, workload, semantics)
        for x, (_, found) in enumerate(values.items()):
            for k, (name, value) in enumerate(found.items()):
                ratio = value / found["average_all"]
                at = x + (k - 1) * 0.26
                axis.bar(at, ratio, 0.23, color="white" if workload is None else colors[name], edgecolor=colors[name],
                         linewidth=1.2)
        axis.set_xticks(range(len(values)), [v.upper() for v in values])
        axis.set_title(title)
        axis.grid(axis="x", visible=False)
    axes[0].set_ylabel("RMSE / average-all")
    labels = {"average_all": "average-all", "last_n": "last-N", "last_one": "last-one"}
    fig.legend(handles=[Patch(color=c, label=labels[n]) for n, c in colors.items()]
               + [Patch(facecolor="white", edgecolor="#333333", label="published (hollow)")],
               loc="outside lower center", ncol=4)
    return fig


def _predictor_values(results, printed, workload, semantics):
    """{model: {predictor: RMSE}} of one panel; without workload, the published ones."""
    names = ("average_all", "last_n", "last_one")
    if workload is None:
        models = dict.fromkeys(c.column for c in printed.select(item="table4"))
        return {m: {n: printed.value("table4", n, m, "rmse") for n in names} for m in models}
    found = {}
    for series in results.find("rmse_s", item="table4", workload=workload, semantics=semantics):
        if series.point.scheduler in names:
            found.setdefault(series.point.group.partition("=")[2], {})[series.point.scheduler] = float(
                series.values.mean())
    return {m: v for m, v in found.items() if len(v) == len(names)}
