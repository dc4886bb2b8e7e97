# %% [markdown]
# # Sweep, compare, and find the peak rate
#
# Three questions that a study of schedulers asks: how do they behave over the load, is the difference between two of
# them real, and what arrival rate does each sustain under an objective? Every answer comes with its uncertainty, and a
# long study survives being killed.

# %%
import tempfile
import time
from pathlib import Path

import numpy as np
from matplotlib_inline.backend_inline import set_matplotlib_formats

import dnnsched as ds
from dnnsched.viz import sweep as figures

set_matplotlib_formats("png")
ts = ds.traces.load("multi-attnn")
print(len(ts), "traces;", ds.traces.list()["multi-attnn"].origin)

# %% [markdown]
# ## A sweep
#
# A sweep calls one function on every point of a grid. The function gets the axes' values and a seed; it returns a
# result (or numbers of its own). The simulator leaves Python's lock, so the default executor is threads; a scheduler
# written in Python would get processes, and `executor=` takes joblib, Dask, Ray, MPI or any object with `submit`.


# %%
def study(seed, rho, scheduler, slo_multiplier):
    requests = ds.workloads.poisson(ts, rho=rho, n=1000, slo_multiplier=slo_multiplier, rng=seed)
    return ds.simulate(requests, scheduler=scheduler)


grid = {"slo_multiplier": [5.0, 10.0], "rho": [0.5, 0.6, 0.7, 0.8, 0.9],
        "scheduler": ["fcfs", "dysta_oracle", "prema", "sjf", "dysta"]}
folder = tempfile.TemporaryDirectory()
store = Path(folder.name) / "study"
found = ds.sweep(grid, study, replications=10, rng=1, store=store)
print(found)
print(found.ran, "replications were run")

# %% [markdown]
# `store=` keeps every finished replication at once. The same call again, after a crash or with a larger grid, runs only
# what is missing; here nothing is.

# %%
begin = time.perf_counter()
found = ds.sweep(grid, study, replications=10, rng=1, store=store)
assert found.ran == 0
print(f"resumed in {time.perf_counter() - begin:.2f} s")

# %% [markdown]
# Seeds derive from the points themselves, never from positions or workers: a single point, alone and on another
# executor, gives the same numbers.

# %%
alone = ds.sweep({"slo_multiplier": [5.0], "rho": [0.9], "scheduler": ["dysta"]}, study, replications=10, rng=1,
                 executor="serial")
np.testing.assert_array_equal(alone.values("antt"), found.values("antt", slo_multiplier=5.0, rho=0.9,
                                                                  scheduler="dysta"))

# %% [markdown]
# ## Tables and figures
#
# Brackets are 95 % Student-t intervals over replications.

# %%
print(found.pivot("antt", "rho", "scheduler", slo_multiplier=5.0).text())

# %%
figures.lines(found, "violation_rate", "rho", by="scheduler")

# %%
figures.lines(found, "antt", "rho", by="scheduler")

# %% [markdown]
# ## Is it a difference?
#
# All schedulers of a setting saw the same requests (common random numbers), so they are compared pair by pair. The
# intervals of two means may overlap although every single pair agrees: what luck does to one scheduler it does to the
# other too.

# %%
setting = {"slo_multiplier": 5.0, "rho": 0.9}
for other in ("sjf", "prema", "fcfs"):
    paired = found.difference("antt", "scheduler", "dysta", other, **setting)
    a, b = (found.interval("antt", scheduler=s, **setting) for s in ("dysta", other))
    print(f"dysta {a.value:6.2f} [{a.low:.2f}, {a.high:.2f}]   {other:5s} {b.value:6.2f} [{b.low:.2f}, {b.high:.2f}]   "
          f"difference {paired.value:7.3f} [{paired.low:.3f}, {paired.high:.3f}]")

# %% [markdown]
# For one pair `ds.replicate` and `ds.compare` say it in words, with the ratio of the means beside the difference.


# %%
def at_high_load(scheduler):
    def run(seed):
        return study(seed, rho=0.9, scheduler=scheduler, slo_multiplier=5.0)
    return run


dysta, sjf = (ds.replicate(at_high_load(s), n=30, rng=7) for s in ("dysta", "sjf"))
verdict = ds.compare(dysta, sjf, metric="violation_rate")
print(verdict.text())
assert dysta.digests == sjf.digests

# %% [markdown]
# ## Peak rate
#
# The highest arrival rate at which at most 5 % of the requests miss their deadline. Each replication searches on its
# own, on one seed, and the rates found give the interval.


# %%
def arrivals(rate, seed):
    return ds.workloads.poisson(ts, rate=rate, n=1000, slo_multiplier=5.0, rng=seed)


peaks = {s: ds.find_peak_rate(arrivals, {"violation_rate": 0.05}, precision=0.25, scheduler=s, replications=5)
         for s in ("fcfs", "sjf", "prema", "dysta")}
for name, peak in peaks.items():
    print(f"{name:6s} {peak.interval.value:6.2f} [{peak.interval.low:.2f}, {peak.interval.high:.2f}] requests/s "
          f"({len(peak.probes)} simulations)")
assert all(peak.rate > 0 for peak in peaks.values())

# %% [markdown]
# ## The run directory
#
# `save` puts tables, figures, `report.md` and a self-contained `report.html` beside the store.

# %%
path = found.save()
checked = ds.report.validate(path)
print("\n".join(checked["files"]))
assert checked["store"]["replications"] == 500
folder.cleanup()

# %% [markdown]
# ## Provenance

# %%
print(ds.__version__, found.keys[0], found.seeds[0, 0])
