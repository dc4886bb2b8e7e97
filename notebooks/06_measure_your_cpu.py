# %% [markdown]
# # Measure your CPU, then schedule
#
# The layers of two pruned networks run on this machine, with real sparse kernels. The measured times become the cost
# table of a scheduling study; the same study on modelled times (the roofline of this CPU, and Eyeriss v2) shows which
# conclusions depend on where the numbers come from.
#
# Times differ from machine to machine and from day to day: what is asserted here holds on a slow and busy machine too.

# %%
import tempfile
from pathlib import Path

import numpy as np
from matplotlib_inline.backend_inline import set_matplotlib_formats

import dnnsched as ds
from dnnsched.viz import kernels as figures
from dnnsched.viz import style

set_matplotlib_formats("png")
info = ds.config.info()
print(info["cpu"], info["isa"], info["blas"])

# %% [markdown]
# ## The networks
#
# Layer tables at a small input, four fifths of the weights pruned by magnitude. First convolutions, depthwise
# convolutions and classifiers stay dense, as in the usual recipes.

# %%
nets = {name: ds.networks.get(name, input_size=64) for name in ("mobilenet_v1", "resnet18")}
for name, net in nets.items():
    print(f"{name:14s} {len(net)} layers, {net.macs / 1e6:.0f} M products, {net.params / 1e6:.1f} M weights")

# %% [markdown]
# ## Measure
#
# `profile` packs each layer's weights, executes it warm, several times, for every batch size, and returns a `CostTable`
# of origin "measured". `format="auto"` takes dense or CSR, whichever the cost model expects to be faster.

# %%
machine = ds.kernels.machine(measure=True)
print(f"{machine.flops_per_s / 1e9:.0f} GF fp32; read GB/s",
      ", ".join(f"{b / 1e9:.0f}" for b in machine.bytes_per_s), "(L1, L2, L3, DRAM)")
sparse = {name: ds.kernels.profile(net, 0.2, batches=(1, 4), repeats=7, machine=machine) for name, net in nets.items()}
whole = {name: ds.kernels.profile(net, format="dense", batches=(1,), repeats=3, machine=machine)
         for name, net in nets.items() if name == "resnet18"}
for name, table in sparse.items():
    one, four = table.column(1).sum(), table.column(4).sum()
    print(f"{name:14s} batch 1: {one * 1e3:.2f} ms, batch 4: {four / 4 * 1e3:.2f} ms an input; "
          f"{100 * table.meta['noisy']:.0f} % of the cells are noisy")
print(f"resnet18 dense: {whole['resnet18'].column(1).sum() * 1e3:.2f} ms")
assert all(table.origin == "measured" for table in sparse.values())

# %% [markdown]
# The table is a file with everything that a reader needs: machine, versions, formats, every single measurement.

# %%
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "resnet18.npz"
    sparse["resnet18"].save(path)
    again = ds.CostTable.load(path)
assert again == sparse["resnet18"]
print(again, "\n", {k: again.meta[k] for k in ("density", "pattern", "timing", "threads")})

# %% [markdown]
# ## Beside the model
#
# The same layers by the cost model of this CPU, and by Eyeriss v2, an accelerator that skips zeros of weights *and*
# activations (here half of the activations are zero). Eyeriss runs at 200 MHz: shapes can be compared, not levels.

# %%
roofline = {name: ds.kernels.profile(net, 0.2, batches=(1, 4), measure=False, machine=machine)
            for name, net in nets.items()}
dev = ds.accel.get("eyeriss_v2")
eyeriss = {name: dev.cost(net, density=0.5, weight_density=0.2).table(net, model=name) for name, net in nets.items()}
for name in nets:
    a, b = sparse[name].column(), roofline[name].column()
    e = eyeriss[name].seconds[0]
    print(f"{name:14s} measured / roofline model: {a.sum() / b.sum():5.2f}   rank correlation of the layers: "
          f"{np.corrcoef(a.argsort().argsort(), b.argsort().argsort())[0, 1]:.2f} (roofline), "
          f"{np.corrcoef(a.argsort().argsort(), e.argsort().argsort())[0, 1]:.2f} (Eyeriss v2)")

# %%
figures.layers({"measured": sparse["resnet18"], "measured, dense": whole["resnet18"],
                "cost model": roofline["resnet18"]})

# %% [markdown]
# ## Schedule
#
# Each table becomes a trace set. A sample of the measured one takes every layer's time from that layer's measurements;
# the modelled ones are deterministic. Load, mix and deadlines are relative to each set's own times, so that only the
# *shape* of the cost differs.

# %%
sets = {
    "measured": ds.TraceSet({n: t.to_trace(100, rng=1) for n, t in sparse.items()}),
    "cost model": ds.TraceSet({n: t.to_trace() for n, t in roofline.items()}),
    "Eyeriss v2": ds.TraceSet({n: t.to_trace() for n, t in eyeriss.items()}),
}
schedulers = ("fcfs", "sjf", "prema", "planaria", "dysta")


def study(seed, costs, scheduler):
    wl = ds.workloads.poisson(sets[costs], rho=0.9, n=1000, slo_multiplier=10.0, rng=seed)
    return ds.simulate(wl, scheduler=scheduler)


found = ds.sweep({"costs": list(sets), "scheduler": list(schedulers)}, study, replications=10, rng=7)
values = {}
for costs in sets:
    for scheduler in schedulers:
        values[costs, scheduler] = found.interval("antt", costs=costs, scheduler=scheduler)
    print(f"{costs:12s}" + "".join(f"{s:>10s} {values[costs, s].value:6.2f}" for s in schedulers))

# %% [markdown]
# Normalised turnaround per scheduler and source of costs, 95 % intervals over ten replications:

# %%
with style.context():
    fig = style.figure(5.2, 2.4)
    ax = fig.subplots()
    for i, costs in enumerate(sets):
        middle = np.array([values[costs, s].value for s in schedulers])
        low, high = (np.array([getattr(values[costs, s], end) for s in schedulers]) for end in ("low", "high"))
        ax.bar(np.arange(len(schedulers)) + 0.27 * (i - 1), middle, 0.25, yerr=(middle - low, high - middle),
               color=figures.COLORS[i], label=costs, error_kw={"elinewidth": 0.8, "capsize": 2.0})
    ax.set_xticks(range(len(schedulers)), [style.NAMES[s] for s in schedulers])
    ax.set_ylabel("ANTT")
    ax.grid(axis="x", visible=False)
    ax.legend(ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.0))
fig

# %% [markdown]
# Does the order of the schedulers survive the change of costs?

# %%
order = {costs: sorted(schedulers, key=lambda s: values[costs, s].value) for costs in sets}
for costs, names in order.items():
    print(f"{costs:12s}", " < ".join(names))
same = order["measured"] == order["cost model"]
print("The cost model of this CPU gives", "the same order." if same else "another order: measure before concluding.")
assert all(np.isfinite(v.value) and v.value >= 1.0 for v in values.values())

# %% [markdown]
# ## Provenance

# %%
record = sparse["resnet18"].meta["installation"]
print(record["dnnsched"], record["cpu"], record["isa"], record["blas"])
