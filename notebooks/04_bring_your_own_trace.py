# %% [markdown]
# # Bring your own trace
#
# Requests from a file instead of a generator: a CSV of your own, and the public Azure LLM trace. Nothing is downloaded:
# where the public file is missing, a synthetic stand-in with its statistics is used, and says so.

# %%
import os
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib_inline.backend_inline import set_matplotlib_formats

import dnnsched as ds

set_matplotlib_formats("png")
ci = os.environ.get("DNNSCHED_PROFILE", "ci") == "ci"
n = 4_000 if ci else 40_000
folder = tempfile.TemporaryDirectory()
here = Path(folder.name)
ts = ds.traces.load("multi-attnn")
print(*ts, sep="\n")

# %% [markdown]
# ## A CSV of your own
#
# One row per request, in order of arrival; `arrival_s` is the only column that must be there. What a file does not say
# (network, input, priority) is drawn from `rng`; deadlines follow from `slo_multiplier`.

# %%
rng = np.random.default_rng(1)
arrival = np.cumsum(rng.exponential(0.04, 500))
names = rng.choice(["search", "chat"], 500, p=[0.8, 0.2])
own = here / "requests.csv"
own.write_text("arrival_s,model\n" + "".join(f"{t!r},{m}\n" for t, m in zip(arrival.tolist(), names, strict=True)))

keys = list(ts)
wl = ds.workloads.read_requests(own, ts, mapping={"search": keys[0], "chat": keys[-1]}, slo_multiplier=10.0, rng=1)
print(wl)
print({key: share for key, share in wl.meta["mix"].items() if share})

# %% [markdown]
# A file that does not fit is refused with its line and column, before anything runs.

# %%
bad = here / "bad.csv"
bad.write_text("arrival_s,model\n0.5,search\n0,5,chat\n")
try:
    ds.workloads.read_requests(bad, ts)
except ds.FormatError as error:
    message = str(error).replace(str(here), "")
    print(message)
assert "line 3: expected 2 fields" in message

# %% [markdown]
# ## The Azure LLM traces
#
# `ds.workloads.fetch("azure_llm_2023_code")` downloads the public file once (extra `data`). Here it is used if it is in
# the folder already; otherwise `azure_like_table` stands in for it.

# %%
kinds = {}
for kind in ("conv", "code"):
    path = Path(os.environ.get("DNNSCHED_DATA_DIR", "")) / f"AzureLLMInferenceTrace_{kind}.csv"
    if path.is_file():
        kinds[kind] = ds.workloads.read_azure_llm_table(path)[:n]
    else:
        print(f"{kind}: synthetic stand-in, calibrated to the public trace")
        kinds[kind] = ds.workloads.azure_like_table(kind, n, rng=1)

figure, axes = plt.subplots(1, 2, figsize=(9, 2.8), layout="constrained")
for axis, (kind, table) in zip(axes, kinds.items(), strict=True):
    minutes = np.bincount((table["time_s"] // 60).astype(int))[:-1]
    axis.bar(np.arange(len(minutes)), minutes, width=1.0, color="#4477aa")
    axis.set(title=kind, xlabel="minute", ylabel="requests per minute")
    gaps = np.diff(table["time_s"])
    print(f"{kind}: {1 / gaps.mean():.2f} requests/s, coefficient of variation {gaps.std() / gaps.mean():.1f}")
plt.show()

# %% [markdown]
# Chat is close to a Poisson process, code completion is not: silence, then hundreds of requests at once.
#
# ## What bursts do to a conclusion
#
# The same offered load, three processes, two schedulers.

# %%
load = 0.7
streams = {
    "poisson": ds.workloads.poisson(ts, rho=load, n=n, rng=1),
    "conv": ds.workloads.from_arrivals(ts, kinds["conv"]["time_s"], rho=load, rng=1),
    "code": ds.workloads.from_arrivals(ts, kinds["code"]["time_s"], rho=load, rng=1),
}
violations = {}
print(f"{'arrivals':10}{'scheduler':12}{'ANTT':>10}{'late':>9}")
for label, stream in streams.items():
    for scheduler in ("fcfs", "dysta"):
        metrics = ds.simulate(stream, scheduler).metrics
        violations[label, scheduler] = metrics["violation_rate"]
        print(f"{label:10}{scheduler:12}{metrics['antt']:10.2f}{100 * metrics['violation_rate']:8.1f}%")
assert violations["code", "fcfs"] > violations["poisson", "fcfs"]

# %% [markdown]
# ## Files larger than memory
#
# A stream is read piece by piece. With pyarrow (extra `io`) CSV files are read several times faster; the values are the
# same to the last bit.

# %%
big = here / "big.csv"
streams["conv"].save(big)
stream = ds.workloads.stream_csv(big, ts, chunk=1024)
pieces = ds.simulate(stream, "sjf", record="none")
whole = ds.simulate(ds.workloads.read_requests(big, ts), "sjf", record="none")
print(pieces.metrics["antt"], whole.metrics["antt"])
assert pieces.metrics == whole.metrics

# %% [markdown]
# ## On the command line
#
# `dnnsched trace stats FILE`, `dnnsched trace convert IN OUT` and `dnnsched trace slice FILE OUT --window 0:600` do the
# same for files of every known format (`dnnsched list formats`).

# %%
stats = ds.workloads.trace_stats(big)
print({key: stats[key] for key in ("format", "n", "span_s", "rate_rps", "gap_cv")})
ds.workloads.slice_trace(big, here / "first.jsonl", n=2)
print((here / "first.jsonl").read_text())

# %% [markdown]
# ## Provenance

# %%
print(*ds.workloads.azure_like("code", ts, 10, rng=1).meta["data_citations"], sep="\n")
print("dnnsched", ds.__version__)
folder.cleanup()
