# %% [markdown]
# # Reproducing Sparse-DySta
#
# The main job from Python: run the experiments of *Sparse-DySta* (MICRO 2023), put our numbers beside the printed
# ones, and judge every claim. The command line does the same with `dnnsched reproduce dysta`.
#
# Nothing is downloaded. The environment variable `DNNSCHED_PROFILE` chooses the size: `ci` (seconds) or `paper`.

# %%
import os
import tempfile
from pathlib import Path

from matplotlib_inline.backend_inline import set_matplotlib_formats

import dnnsched as ds

set_matplotlib_formats("png")
profile = os.environ.get("DNNSCHED_PROFILE", "ci")
report = ds.reproduce("dysta", profile=profile)
print(report.run_id, len(report.results), "series,", len(report.claims), "claims")

# %% [markdown]
# ## Table 5
#
# Three sets stand side by side. **A** replays the published request tables (seeds 1 to 5) with mean latencies that were
# fitted on some of the paper's curves, in three variants of the variability named in advance. **B** is generated from
# the paper's sparsity statistics and runs at the same offered load. The **recorded** set runs real networks on real
# inputs. Brackets are 95 % Student-t intervals.

# %%
print(report.tables["table5_antt"].text())

# %%
print(report.tables["table5_violation_rate"].text())

# %% [markdown]
# ## The printed Algorithm 2 is not what was measured
#
# As printed, the slack of a late request is negative and pulls it forward. Under overload this costs most of the
# advantage; the published curves follow the public code, which clamps the slack at zero.

# %%
print(report.tables["slack"].text())

# %%
report.figures["slack"]

# %% [markdown]
# ## Figures
#
# Published points are hollow (dashed lines), ours filled (solid lines).

# %%
figures = report.figures
figures["tradeoff"]

# %%
figures["slo_sweep"]

# %%
figures["rate_sweep"]

# %%
figures["load_sweep"]

# %% [markdown]
# ## Verdicts
#
# Each claim has a verdict with its reason. *Not reproduced* is a legitimate outcome; what would be a defect is a
# verdict that differs from the one on record.

# %%
counts = {}
for claim in report.claims:
    counts[claim.verdict] = counts.get(claim.verdict, 0) + 1
print(counts)
for claim in report.claims:
    if claim.verdict not in ("reproduced", "not attempted"):
        print(f"- {claim.verdict}: {claim.title}\n  {claim.reason}")

# %%
assert not report.unexpected, [claim.id for claim in report.unexpected]

# %% [markdown]
# ## Where the paper contradicts itself
#
# The audit reads nothing but the printed numbers.

# %%
audit = ds.audit("dysta")
for finding in audit.contradictions:
    print(f"- {finding.statement}: printed {finding.printed}; recomputed {finding.recomputed}")
assert len(audit.contradictions) > 15

# %% [markdown]
# ## The run directory
#
# Tidy tables, the requests and the timeline of one run, figures and a report. `trace.json.gz` opens in
# [Perfetto](https://ui.perfetto.dev).

# %%
with tempfile.TemporaryDirectory() as folder:
    path = report.save(Path(folder) / "run")
    found = ds.report.validate(path)
    print("\n".join(found["files"]))

# %% [markdown]
# ## Provenance

# %%
record = report.recorder.record()
for key in ("dnnsched", "git", "compiler", "isa", "python", "numpy", "seeds", "config_sha256"):
    print(f"{key}: {record[key]}")
