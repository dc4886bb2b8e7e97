# %% [markdown]
# # A scheduler of your own, in eight lines of Python
#
# A scheduler is any object with `score(view)`: an array with one number for each waiting request, the smallest runs
# next. `view` shows the engine's own columns without copying them. This notebook writes one, looks at what it does on
# a timeline, and compares it with the published schedulers, with confidence intervals on common requests.
#
# Nothing is downloaded. The traces are `synthetic`: generated to published statistics of three attention networks.

# %%
import os

import numpy as np
from matplotlib_inline.backend_inline import set_matplotlib_formats

import dnnsched as ds
from dnnsched.viz import style

set_matplotlib_formats("png")
paper = os.environ.get("DNNSCHED_PROFILE", "ci") == "paper"
ts = ds.traces.load("multi-attnn")
ts


# %% [markdown]
# ## The idea
#
# Shortest remaining time first has the best mean turnaround, but under overload it spends time on requests that are
# lost already. Triage keeps the order and lets those wait that cannot meet their deadline any more. `remaining` is
# what Dysta would know: the average of the model and pattern, scaled by the sparsity monitored so far. True times
# stay hidden.

# %%
class Triage:
    """Shortest remaining time first; who cannot meet the deadline any more, waits."""

    kind = "time"

    def score(self, view):
        lost = view.now + view.remaining > view.deadline
        return view.remaining + 1e6 * lost


# %% [markdown]
# `kind` says when the scores change: at any time here. It chooses the queue (heap or scan), and `check=True` verifies
# the promise at every decision.

# %%
def requests(seed, rho, n=500):
    """Poisson arrivals at offered load rho; the deadline is ten times the isolated time after the arrival."""
    return ds.workloads.poisson(ts, rho=rho, n=n, slo_multiplier=10.0, rng=seed)


wl = requests(seed=7, rho=1.0)
for scheduler in ("sjf_sparse", "dysta", Triage()):
    res = ds.simulate(wl, scheduler, check=True)
    name = scheduler if isinstance(scheduler, str) else "triage"
    print(f"{name:12s} ANTT {res.metrics['antt']:5.2f}   violations {res.metrics['violation_rate']:6.1%}")

# %% [markdown]
# ## What it does
#
# The same requests under two schedulers: thin while waiting, thick while running, a tick at the deadline, a cross
# where a request ends late. Triage gives up on a few long requests and answers the others in time.

# %%
late = {name: ds.simulate(wl, s, timeline=True) for name, s in (("dysta", "dysta"), ("triage", Triage()))}
met = {name: res.requests["slo_met"] for name, res in late.items()}
rescued = np.flatnonzero(met["triage"] & ~met["dysta"])
given_up = np.flatnonzero(met["dysta"] & ~met["triage"])
print(f"{len(rescued)} requests are in time under triage only, {len(given_up)} under Dysta only")
ends = late["dysta"].requests["finish_s"][rescued]
near = [(abs(ends - t) < 0.5).sum() for t in ends]
window = (ends[int(np.argmax(near))] - 1.0, ends[int(np.argmax(near))] + 0.5)
late["dysta"].timeline.plot(window=window, n=40, title="Dysta")

# %%
late["triage"].timeline.plot(window=window, n=40, title="Triage")

# %% [markdown]
# ## How good it is
#
# Replications share their requests between schedulers, so differences are taken pair by pair. Bars and bands are 95 %
# Student-t intervals.

# %%
def run(seed, rho, scheduler):
    """One replication."""
    return ds.simulate(requests(seed, rho), Triage() if scheduler == "triage" else scheduler)


names = ["fcfs", "edf", "sjf_sparse", "prema", "planaria", "dysta", "triage"]
loads = [0.7, 0.8, 0.9, 1.0, 1.1, 1.2]
found = ds.sweep({"rho": loads, "scheduler": names}, run, replications=30 if paper else 8, rng=1, executor="threads",
                 keep=["antt", "violation_rate"])

COLORS = {**style.COLORS, "edf": "#0072B2", "sjf_sparse": style.COLORS["sjf"], "triage": "#000000"}
MARKERS = {**style.MARKERS, "edf": "h", "sjf_sparse": style.MARKERS["sjf"], "triage": "*"}
LABELS = {**style.NAMES, "edf": "EDF", "sjf_sparse": "SJF, sparse", "triage": "Triage (ours)"}


def lines(axis, metric, scale=1.0):
    """Mean and interval over the load, a line for each scheduler."""
    for name in names:
        at = [found.interval(metric, rho=rho, scheduler=name) for rho in loads]
        axis.plot(loads, [scale * i.value for i in at], color=COLORS[name], marker=MARKERS[name], label=LABELS[name],
                  linewidth=2.0 if name == "triage" else 1.2, zorder=3 if name == "triage" else 2)
        axis.fill_between(loads, [scale * i.low for i in at], [scale * i.high for i in at], color=COLORS[name],
                          alpha=0.15, linewidth=0)
    axis.set_xlabel("offered load")


with style.context():
    figure = style.figure(7.0, 2.9)
    left, right = figure.subplots(1, 2)
    lines(left, "antt")
    left.set(yscale="log", ylabel="ANTT", title="Mean normalised turnaround")
    left.set_yticks([2, 5, 10, 20, 50], ["2", "5", "10", "20", "50"])
    left.minorticks_off()
    lines(right, "violation_rate", 100.0)
    right.set(ylabel="violations (%)", ylim=(0, None), title="Requests that miss their deadline")
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=7, columnspacing=1.2)
figure

# %% [markdown]
# ## Is the difference real?
#
# Paired differences at offered load 1.1: a negative number means that triage is lower.

# %%
for name in names[:-1]:
    for metric, scale, unit in (("violation_rate", 100.0, "pp"), ("antt", 1.0, "")):
        d = found.difference(metric, "scheduler", "triage", name, rho=1.1)
        print(f"triage - {name:11s} {metric:15s} {scale * d.value:+8.2f} {unit:2s} "
              f"[{scale * d.low:+.2f}, {scale * d.high:+.2f}]")

violations = found.difference("violation_rate", "scheduler", "triage", "dysta", rho=1.1)
assert violations.high < 0, violations

# %% [markdown]
# ## The trade-off
#
# One point for each scheduler at offered load 1.1; to the lower left is better.

# %%
with style.context():
    figure = style.figure(3.5, 2.7)
    axis = figure.subplots()
    for name in names:
        x, y = (found.interval(m, rho=1.1, scheduler=name) for m in ("antt", "violation_rate"))
        axis.errorbar(x.value, 100 * y.value, xerr=[[x.value - x.low], [x.high - x.value]],
                      yerr=[[100 * (y.value - y.low)], [100 * (y.high - y.value)]], color=COLORS[name], capsize=2,
                      marker=MARKERS[name], markersize=9 if name == "triage" else 5, linewidth=0.8)
        below = name == "triage"
        axis.annotate(LABELS[name], (x.value, 100 * y.value), xytext=(6, -9 if below else 4), fontsize=7,
                      textcoords="offset points")
    axis.set(xlabel="ANTT", ylabel="violations (%)", xscale="log", ylim=(0, None))
    axis.set_xticks([10, 20, 40], ["10", "20", "40"])
    axis.minorticks_off()
figure

# %% [markdown]
# A decision of this scheduler costs a few microseconds, nearly all of it the call into Python. The next notebook runs
# the same source at native speed.

# %% [markdown]
# ## Provenance

# %%
package = late["triage"].provenance["package"]
for key in ("dnnsched", "compiler", "isa", "python", "numpy"):
    print(f"{key}: {package[key]}")
