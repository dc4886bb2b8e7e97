# %% [markdown]
# # The same scheduler at native speed
#
# A scheduler in Python costs a call into the interpreter at every decision. `ds.schedulers.native` compiles the same
# source with numba to the engine's own calling convention: decisions are then made inside the C loop, without the
# interpreter and on all cores. Nothing else changes, and that is asserted here, request by request.
#
# Needs numba (`pip install 'dnnsched[numba]'`). The traces are `synthetic`, as in the notebook before.

# %%
import os
import time

import numpy as np
from matplotlib_inline.backend_inline import set_matplotlib_formats

import dnnsched as ds
from dnnsched.viz import style

set_matplotlib_formats("png")
paper = os.environ.get("DNNSCHED_PROFILE", "ci") == "paper"
ts = ds.traces.load("multi-attnn")


class Triage:
    """Shortest remaining time first; who cannot meet the deadline any more, waits. In Python."""

    kind = "time"

    def score(self, view):
        lost = view.now + view.remaining > view.deadline
        return view.remaining + 1e6 * lost


# %% [markdown]
# ## One decorator
#
# The body is the one above. `needs` names the columns that the engine shall keep: fewer are faster.

# %%
@ds.schedulers.native(form="score", kind="time", needs=("deadline", "remaining"))
def triage(view):
    """The same source, compiled."""
    lost = view.now + view.remaining > view.deadline
    return view.remaining + 1e6 * lost


# %% [markdown]
# A loop that fills `out` needs no temporary arrays and is faster still. `params` are numbers that can change without
# compiling again: here how much of the remaining time must fit before the deadline.

# %%
@ds.schedulers.native(form="score", kind="time", needs=("deadline", "remaining"), params=(1.0,))
def triage_loop(view, out):
    """With a margin: a request is lost when now + margin * remaining is past its deadline."""
    margin = view.param[0]
    for i in range(view.n):
        r = view.remaining[i]
        out[i] = r + 1e6 if view.now + margin * r > view.deadline[i] else r


# %% [markdown]
# ## The same decisions
#
# Python, array form and loop form give the same bytes for every request of every run. `check=200` also replays the
# first 200 decisions of a run through the Python form and compares the answers: the first thing to switch on with a
# scheduler of your own.

# %%
def requests(seed, rho, n=500):
    """Poisson arrivals at offered load rho; the deadline is ten times the isolated time after the arrival."""
    return ds.workloads.poisson(ts, rho=rho, n=n, slo_multiplier=10.0, rng=seed)


compared = 0
for rho in (0.7, 1.0, 1.3):
    for seed in range(5):
        wl = requests(seed, rho)
        python = ds.simulate(wl, Triage()).requests
        for scheduler in (triage, triage_loop, triage.python):
            native = ds.simulate(wl, scheduler, check=200).requests
            np.testing.assert_array_equal(python, native)
            compared += len(native)
print(f"{compared} requests are the same, byte by byte")


# %% [markdown]
# ## What it saves
#
# CPU time of whole runs divided by their decisions, at different queue lengths: bursts of requests, each served before
# the next arrives. Best of several rounds, the forms in turn.

# %%
def bursts(queue, n):
    """Bursts of twice `queue` requests; on average about `queue` of them are there."""
    size = 2 * queue
    alone = np.mean([trace.isolated_s.mean() for trace in ts.values()])
    arrival = np.repeat(np.arange(max(1, n // size)), size) * (1.2 * size * alone)
    return ds.workloads.from_arrivals(ts, arrival, rng=1)


forms = {"Python": Triage(), "numba, arrays": triage, "numba, loop": triage_loop, "built in (Dysta)": "dysta"}
queues = [4, 8, 16, 32, 64, 128, 256, 512]
cost = {name: [] for name in forms}
for queue in queues:
    wl = bursts(queue, 1500 if paper else 1100)
    best = dict.fromkeys(forms, np.inf)
    for _ in range(5):
        for name, scheduler in forms.items():
            start = time.thread_time()
            res = ds.simulate(wl, scheduler, record="none")
            best[name] = min(best[name], (time.thread_time() - start) / res.metrics["decisions"])
    for name, value in best.items():
        cost[name].append(value)
speed_up = np.array(cost["Python"]) / np.array(cost["numba, loop"])
for queue, row in zip(queues, zip(*cost.values(), strict=True), strict=True):
    print(f"queue {queue:4d}: " + ", ".join(f"{name} {1e9 * c:.0f} ns" for name, c in zip(cost, row, strict=True)))
print(f"the loop form is {speed_up.min():.0f} to {speed_up.max():.0f} times as fast as Python")

# %%
look = {"Python": ("#D55E00", "o"), "numba, arrays": ("#0072B2", "s"), "numba, loop": ("#000000", "*"),
        "built in (Dysta)": ("#999999", "^")}
with style.context():
    figure = style.figure(3.5, 2.6)
    axis = figure.subplots()
    for name, values in cost.items():
        color, marker = look[name]
        axis.plot(queues, 1e9 * np.array(values), color=color, marker=marker, label=name)
    axis.set(xscale="log", yscale="log", xlabel="requests in the queue", ylabel="ns a decision")
    axis.set_xticks(queues, [str(q) for q in queues])
    axis.minorticks_off()
    axis.legend(loc="upper left", bbox_to_anchor=(0.0, 0.88))
figure

# %% [markdown]
# ## What it is good for
#
# How careful should triage be? The margin is a parameter, so nothing is compiled again. Every point is the mean of
# replications on common requests, with its 95 % interval; the sweep runs on all cores, because no decision needs the
# interpreter.

# %%
margins = [0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0]
loads = [0.9, 1.0, 1.1, 1.2]
replications = 60 if paper else 16


def run(seed, rho, margin):
    """One replication; margin 0 gives nobody up that still has time left."""
    return ds.simulate(requests(seed, rho, 1000), triage_loop.with_params(margin))


start = time.perf_counter()
found = ds.sweep({"rho": loads, "margin": margins}, run, replications=replications, rng=3, common_over=["margin"],
                 keep=["violation_rate", "decisions"])
wall = time.perf_counter() - start
runs = len(loads) * len(margins) * replications
decisions = sum(found.values("decisions", rho=r, margin=m).sum() for r in loads for m in margins)
print(f"{runs} runs, {decisions / 1e6:.1f} million decisions in {wall:.1f} s")

# %%
def curve(axis, intervals, color, marker, label):
    """Means with their intervals, in per cent."""
    axis.plot(margins, [100 * i.value for i in intervals], color=color, marker=marker, label=label)
    axis.fill_between(margins, [100 * i.low for i in intervals], [100 * i.high for i in intervals], color=color,
                      alpha=0.15, linewidth=0)


with style.context():
    figure = style.figure(7.0, 2.8)
    left, right = figure.subplots(1, 2)
    for rho, color, marker in zip(loads, ["#56B4E9", "#0072B2", "#D55E00", "#000000"], "os^D", strict=True):
        level = [found.interval("violation_rate", rho=rho, margin=m) for m in margins]
        paired = [found.difference("violation_rate", "margin", m, 1.0, rho=rho) for m in margins]
        curve(left, level, color, marker, f"load {rho:g}")
        curve(right, paired, color, marker, "")
    left.set(ylabel="violations (%)", ylim=(0, None), title="Requests that miss their deadline")
    right.set(ylabel="difference to margin 1 (pp)", title="The same, paired on common requests")
    right.axhline(0.0, color="#4D4D4D", linewidth=0.7)
    for axis in (left, right):
        axis.set_xlabel("margin (remaining times before the deadline)")
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=4)
figure

# %% [markdown]
# On the left the intervals hide the effect: they are the difference between one set of requests and another. Paired on
# common requests (right) it shows: a margin of one, the estimate taken at its word, is best or close to it, and giving
# up too early costs more than giving up too late.

# %%
best = {rho: min(margins, key=lambda m, rho=rho: found.interval("violation_rate", rho=rho, margin=m).value)
        for rho in loads}
for rho, margin in best.items():
    d = found.difference("violation_rate", "margin", 1.0, 0.0, rho=rho)
    print(f"load {rho:g}: fewest violations at margin {margin:g}; margin 1 against 0: {100 * d.value:+.2f} pp "
          f"[{100 * d.low:+.2f}, {100 * d.high:+.2f}]")

# %% [markdown]
# ## Other ways in
#
# `scheduler=` takes any native function with the flat signature of `ds.features`: numba's own `cfunc`, C through
# ctypes or cffi, a PyCapsule, or `scipy.LowLevelCallable(function.ctypes)` (SciPy refuses the `cfunc` object itself).
# Columns are numbers there: column `f` of queue position `i` is `feat[f * ld + i]`.

# %%
import numba
from numba import types

pointer = types.CPointer(types.float64)


@numba.cfunc(types.int64(types.float64, types.int64, pointer, types.int64, pointer, types.voidptr))
def earliest_deadline(now, n, feat, ld, param, user):
    """Position of the earliest deadline."""
    at = 0
    for i in range(1, n):
        if feat[ds.features.DEADLINE * ld + i] < feat[ds.features.DEADLINE * ld + at]:
            at = i
    return at


wl = requests(1, 1.0)
np.testing.assert_array_equal(ds.simulate(wl, earliest_deadline).requests, ds.simulate(wl, "edf").requests)


# %% [markdown]
# An exception in compiled code stops the run with time and request. (By itself numba prints it and returns 0, which
# would run the first request and go on.)

# %%
@ds.schedulers.native
def fragile(view):
    """Fails after a while."""
    if view.now > 0.5:
        raise ValueError("a case I did not think of")
    return 0


try:
    ds.simulate(wl, fragile)
except ValueError as error:
    print(error, *error.__notes__, sep="\n")
else:
    raise AssertionError("the exception was lost")

# %% [markdown]
# ## Provenance

# %%
package = ds.simulate(wl, triage).provenance["package"]
for key in ("dnnsched", "compiler", "isa", "python", "numpy"):
    print(f"{key}: {package[key]}")
print(f"numba: {numba.__version__}")
