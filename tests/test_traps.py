"""Traps that users of a simulator step into, each through the front door: named errors, or the plain right answer.

Traps with a home elsewhere: NaN, negative and infinite times, out-of-range models (test_sim_errors.py), duplicate and
unsorted rows of files, missing columns (test_readers.py), decimal comma (test_csv.py), collapsing times
(test_workloads.py), Ctrl-C in the C loop (test_sim_stream.py, test_native.py), too few samples (test_statistics.py).
"""

import json
import math
import os
import subprocess
import sys

import numpy as np
import pytest

import dnnsched as ds
from dnnsched import _executors, cli, config, statistics

CONFIG = '[workload]\ntraces = "{traces}"\narrivals = "file"\nfile = "{file}"\n[[scheduler]]\nname = "{name}"\n'


def traces():
    return ds.TraceSet({"k": ds.Trace(np.array([[0.5, 0.5], [0.25, 0.25]]), model="m")})


def rows(*arrivals, **columns):
    n = len(arrivals)
    return ds.Workload(traces(), np.array(arrivals), np.zeros(n, np.int32), np.zeros(n, np.int32),
                       columns.get("deadline", np.full(n, 9.0)), columns.get("priority"))


def run_config(tmp_path, text, name="requests.csv", scheduler="fcfs"):
    """Exit code of `dnnsched run` on a request file of our own format."""
    traces().save(tmp_path / "traces.npz")
    (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / "run.toml").write_text(CONFIG.format(traces=tmp_path / "traces.npz", file=tmp_path / name,
                                                     name=scheduler), encoding="utf-8")
    return cli.main(["run", str(tmp_path / "run.toml"), "-o", str(tmp_path / "run"), "--quiet"])


# ---- what a request table can be -----------------------------------------------------------------------------

def test_trap_empty_trace(tmp_path, capsys):
    with pytest.raises(ValueError, match="latency"):
        ds.Trace(np.zeros((0, 3)))
    with pytest.raises(ValueError, match=r"traces|trace"):
        ds.TraceSet({})
    assert run_config(tmp_path, "arrival_s,model\n") == cli.DATA
    error = capsys.readouterr().err
    assert "requests.csv" in error
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ds.schedulers.names())
def test_trap_one_request(name):
    res = ds.simulate(rows(2.0), name, timeline=True)
    assert res.requests["finish_s"].tolist() == [3.0]
    assert res.metrics["antt"] == 1.0
    assert len(res.timeline.slices) == 2


def test_trap_zero_length_layer():
    """An estimate of a layer divides by its time, so traces refuse it and name the place."""
    with pytest.raises(ValueError, match=r"latency.*\(0, 1\)|latency.*row 0|latency.*> 0|latency.*more than 0"):
        ds.Trace(np.array([[0.5, 0.0, 0.5]]))


@pytest.mark.parametrize("keyword", ["rate", "rho"])
@pytest.mark.parametrize("value", [0, 0.0, -1.0, math.nan, math.inf])
def test_trap_rate_0(keyword, value):
    with pytest.raises(ValueError, match=keyword):
        ds.workloads.poisson(traces(), n=3, **{keyword: value})


def test_trap_slo_0():
    """A deadline at the arrival is a legal bound that nothing meets; a multiplier of 0 asks for it."""
    wl = rows(0.0, 1.0, deadline=np.array([0.0, 1.0]))
    for name in ds.schedulers.names():
        assert ds.simulate(wl, name).metrics["violation_rate"] == 1.0
    with pytest.raises(ValueError, match="slo_multiplier"):
        ds.workloads.poisson(traces(), rate=1.0, n=3, slo_multiplier=-1.0)


class DropsAll:
    """Gives up every request after its first layer."""

    def pick(self, view):
        return 0

    def outcome(self, control, request, stage):
        return "drop"


def test_trap_all_dropped():
    """Nobody is answered: every request is counted, as dropped and as a violation."""
    res = ds.simulate(rows(0.0, 1.0), DropsAll())
    assert res.requests["finish_s"].tolist() == [0.5, 1.5]
    assert not res.requests["slo_met"].any()
    for m in (res.metrics, ds.simulate(rows(0.0, 1.0), DropsAll(), record="none").metrics):
        assert (m["n"], m["dropped"], m["violation_rate"], m["throughput_rps"]) == (2, 2, 1.0, 0.0)
        assert all(np.isnan(m[name]) for name in ("antt", "stp_norm", "latency_mean_s", "latency_p99_s"))


class DropsOdd(DropsAll):
    """Drops every second request after its first layer."""

    def outcome(self, control, request, stage):
        return "drop" if request % 2 else None


def test_trap_dropped_requests_have_no_latency():
    """Sums over the answered requests, rates over all, the same with and without a row per request."""
    wl = rows(0.0, 1.0, 1.5, 4.0, 4.0)
    res = ds.simulate(wl, DropsOdd())
    r = res.requests[::2]
    latency = r["finish_s"] - r["arrival_s"]
    expected = {"n": 5, "antt": np.mean(latency / r["isolated_s"]), "latency_mean_s": latency.mean(),
                "latency_max_s": latency.max(), "stp_norm": np.sum(r["isolated_s"] / latency),
                "throughput_rps": 3 / (res.requests["finish_s"].max() - 0.0),
                "violation_rate": (2 + np.count_nonzero(~r["slo_met"])) / 5, "dropped": 2}
    stream = ds.simulate(wl, DropsOdd(), record="none")
    for name, value in expected.items():
        assert res.metrics[name] == pytest.approx(value, rel=1e-12)
        assert stream.metrics[name] == pytest.approx(value, rel=1e-12)
    assert stream.metrics["offered_load"] == pytest.approx(res.metrics["offered_load"], rel=1e-12)


# ---- the machine ---------------------------------------------------------------------------------------------

def test_trap_one_core(monkeypatch):
    """One core in the affinity mask: the same results, on one worker."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0}, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    assert _executors.execute(lambda x: x * x, range(5), executor=None) == [0, 1, 4, 9, 16]


def test_trap_read_only_home(tmp_path):
    """Nothing is written at home: a run with an unwritable home and cache folder is an ordinary run."""
    home = tmp_path / "home"
    home.mkdir()
    home.chmod(0o500)
    (tmp_path / "run.toml").write_text('replications = 1\n[workload]\ntraces = "multi-attnn"\nrho = 0.5\nn = 20\n'
                                       '[[scheduler]]\nname = "fcfs"\n', encoding="utf-8")
    env = {**os.environ, "HOME": str(home), "XDG_CACHE_HOME": str(home / "none"), "MPLCONFIGDIR": str(tmp_path)}
    code = ("import sys; sys.modules['matplotlib'] = None; from dnnsched import cli; "
            "raise SystemExit(cli.main(['run', 'run.toml', '-o', 'run', '--quiet']))")
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True,
                          timeout=300)
    assert done.returncode == 0, done.stderr
    assert list(home.iterdir()) == []


def test_trap_non_ascii_paths(tmp_path):
    folder = tmp_path / "Fälle é 日本"
    folder.mkdir()
    text = "arrival_s,model\n0.0,m\n1.0,m\n"
    assert run_config(folder, text, "Anfragen ü.csv") == cli.OK
    assert cli.main(["validate-run", str(folder / "run")]) == cli.OK
    record = json.loads((folder / "run" / "run.json").read_text(encoding="utf-8"))
    assert "Anfragen ü.csv" in record["provenance"]["inputs"]
    ds.simulate(rows(0.0), "fcfs", timeline=True).timeline.to_chrome_trace(folder / "Spur ü.json.gz")
    assert (folder / "Spur ü.json.gz").stat().st_size > 0


# ---- optional packages ---------------------------------------------------------------------------------------

MISSING = {
    "pandas": "import dnnsched as ds; ds.simulate(ds.workloads.poisson(ds.traces.load('multi-attnn'), rate=1, n=5), "
              "'fcfs').to_pandas()",
    "matplotlib": "import dnnsched.viz.style",
    "numba": "import dnnsched as ds; ds.schedulers.native(form='score')(lambda view: view.arrival).compile()",
    "pyarrow": "import dnnsched.frames as f; f.check_format('parquet')",
    "pooch": "import dnnsched as ds; ds.workloads.fetch('azure_llm_2023_conv')",
    "joblib": "from dnnsched import _executors as e; e.execute(abs, [1, 2], executor='joblib')",
    "distributed": "from dnnsched import _executors as e; e.execute(abs, [1, 2], executor='dask')",
    "ray": "from dnnsched import _executors as e; e.execute(abs, [1, 2], executor='ray')",
    "mpi4py": "from dnnsched import _executors as e; e.execute(abs, [1, 2], executor='mpi')",
    "gymnasium": "import dnnsched.rl",
}


@pytest.mark.parametrize("package", MISSING)
def test_trap_missing_package_names_the_extra(package):
    lines = MISSING[package].replace("; ", "\n    ")
    code = (f"import sys; sys.modules[{package!r}] = None\ntry:\n    {lines}\n"
            "except ImportError as error:\n    print(error)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert f"pip install 'dnnsched[{config.OPTIONAL[package]}]'" in done.stdout


def test_every_extra_is_in_the_table():
    """Packages that features import lazily, against the extras of the distribution."""
    from importlib import metadata

    extras = set(metadata.metadata("dnnsched").get_all("Provides-Extra"))
    assert {extra for extra in config.OPTIONAL.values() if extra} <= extras
    only_used_if_there = {"threadpoolctl", "sklearn", "torch"}
    assert set(MISSING) == {name for name, extra in config.OPTIONAL.items() if extra} - only_used_if_there


# ---- numbers -------------------------------------------------------------------------------------------------

def test_trap_two_definitions_of_a_percentile_are_named():
    assert set(statistics.QUANTILE_METHODS) == {"linear", "loadgen"}
    with pytest.raises(ValueError, match="method: expected one of"):
        statistics.quantile([1.0, 2.0], 0.5, "nearest")


def test_trap_too_few_requests_for_a_p99():
    """With one miss 662 queries are needed for P99, and an interval says "insufficient samples" instead of a number."""
    assert not statistics.early_stopping(661, 1).valid
    assert statistics.early_stopping(662, 1).valid
    assert str(statistics.early_stopping(458, 0)) == "insufficient samples: 458 queries, at least 459 needed"
    with pytest.raises(ValueError, match="insufficient samples"):
        statistics.quantile_interval(np.random.default_rng(1).random(100), 0.99)


def test_trap_unknown_model():
    with pytest.raises(ValueError, match=r"mix: .*'nn'"):
        ds.workloads.poisson(traces(), rate=1.0, n=3, mix={"nn": 1.0})


def test_unsorted_file_names_the_line(tmp_path, capsys):
    assert run_config(tmp_path, "arrival_s,model\n1.0,m\n0.5,m\n") == cli.DATA
    assert "line 3" in capsys.readouterr().err
