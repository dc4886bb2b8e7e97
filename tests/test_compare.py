"""Comparison of run directories: pairing by seeds and requests, matching of series, published numbers, the verb."""

import csv
import json
import math
import shutil

import numpy as np
import pytest

from dnnsched import cli, statistics
from dnnsched.errors import FormatError
from dnnsched.report import compare, document, provenance, rundir
from dnnsched.report.results import Point, Results

CONFIG = """
seed = 3
replications = 4

[workload]
traces = "multi-attnn-calibrated"
rho = 0.9
n = 60
slo_multiplier = 3.0

[[scheduler]]
name = "dysta"

[[scheduler]]
name = "sjf"
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Run directories: a, b with the artifact's semantics, c at a lower load, d with other seeds."""
    top = tmp_path_factory.mktemp("runs")
    (top / "config.toml").write_text(CONFIG, encoding="utf-8")
    for name, changes in (("a", []), ("b", ["semantics=artifact"]), ("c", ["workload.rho=0.6"]), ("d", ["seed=9"])):
        sets = [item for change in changes for item in ("--set", change)]
        assert cli.main(["run", str(top / "config.toml"), "-o", str(top / name), "--quiet", *sets]) == cli.OK
    return top


class Printed:
    """A published number."""

    def __init__(self, value):
        self.value, self.source, self.text = value, "Table 9", str(value)


def save(path, series, *, paper="p", seeds=(1, 2, 3), config=None):
    """A run directory of (point, metric, values, published) rows."""
    made = Results()
    for point, metric, values, published in series:
        made.add(point, metric, values, origin="synthetic", method="m", published=published and Printed(published))
    config = config or {"a": 1}
    document.Report(paper=paper, title="T", citation="", profile="ci", config=config, tables={}, claims=[],
                    results=made, notes=[], recorder=provenance.Recorder(config, seeds=seeds)).save(path)
    return path


def rows_of(path, **where):
    with open(path, newline="", encoding="utf-8") as file:
        return [r for r in csv.DictReader(file) if all(r[k] == v for k, v in where.items())]


def values_of(folder, scheduler, metric):
    return [float(r["value"]) for r in rows_of(folder / "replications.csv", scheduler=scheduler, metric=metric)]


def test_same_requests_are_paired(runs):
    report = compare.compare_runs(runs / "a", runs / "b")
    assert report.profile == "paired"
    row = next(r for r in report.tables["comparison"].rows if r[0].startswith("dysta ") and r[1] == "antt")
    a, b = (values_of(runs / name, "dysta", "antt") for name in "ab")
    difference = statistics.paired_difference(a, b)
    series = report.results.one("antt", scheduler="a - b: dysta")
    assert series.interval() == difference
    assert row[0] == "dysta paper / dysta artifact"
    assert compare.with_interval(difference) == row[5]


def test_other_requests_are_not(runs):
    for other, reason in (("c", "the runs differ in workload"), ("d", "the runs used other seeds")):
        report = compare.compare_runs(runs / "a", runs / other)
        assert report.profile == "unpaired"
        assert f"not paired: {reason}" in report.notes
        assert not report.results.find(scheduler="a - b: sjf")
        with pytest.raises(ValueError, match=f"paired: expected runs on the same seeds and requests, but {reason}"):
            compare.compare_runs(runs / "a", runs / other, paired=True)
    assert "not paired: as asked" in compare.compare_runs(runs / "a", runs / "b", paired=False).notes


def test_other_offered_load_or_length_is_noticed(tmp_path):
    point = Point("i", "w", "s")
    a = save(tmp_path / "a", [(point, "offered_load", [0.5, 0.6, 0.7], None)])
    b = save(tmp_path / "b", [(point, "offered_load", [0.5, 0.6, 0.8], None)])
    c = save(tmp_path / "c", [(point, "offered_load", [0.5, 0.6], None)])
    assert "not paired: the offered load of the same replication differs" in compare.compare_runs(a, b).notes
    assert "not paired: the runs have other numbers of replications" in compare.compare_runs(a, c).notes


def test_published_numbers_stand_beside(tmp_path):
    point = Point("table5", "w", "dysta", "paper", rate=30.0)
    a = save(tmp_path / "a", [(point, "antt", [2.0, 3.0, 4.0], 2.5), (point, "latency_p99_s", [1.0, 1.0, 1.0], None)])
    b = save(tmp_path / "b", [(point, "antt", [2.5, 3.0, 5.0], 2.5), (point, "latency_p99_s", [1.0, 2.0, 3.0], None)])
    report = compare.compare_runs(a, b)
    (row,) = report.tables["published"].rows
    expected = compare.with_interval(statistics.mean_interval([-0.5, 0.5, 1.5]))
    assert row[:5] == ["dysta", "antt", "1", "2.50", expected]
    assert row[6] == "Table 9"
    report.save(tmp_path / "out")
    printed = rows_of(tmp_path / "out" / "summary.csv", scheduler="a: dysta", metric="antt")
    assert (printed[0]["published"], printed[0]["published_source"]) == ("2.5", "Table 9")
    assert rundir.validate(tmp_path / "out")["summary_rows"] == 6


def test_matching(tmp_path):
    at = [Point("i", "w", name, rate=rate) for name in ("x", "y") for rate in (1.0, 2.0)]
    a = save(tmp_path / "a", [(p, "antt", [1.0, 2.0, float(k)], None) for k, p in enumerate(at)])
    b = save(tmp_path / "b", [(p, "antt", [1.0, 2.0, 9.0], None) for p in (at[0], at[1], at[3])])
    report = compare.compare_runs(a, b)
    assert [r[0] for r in report.tables["comparison"].rows] == ["x rate=1", "x rate=2", "y rate=2"]
    assert "1 of 7 series have no counterpart" in report.notes
    c = save(tmp_path / "c", [(Point("i", "w", "z", rate=2.0), "antt", [1.0, 2.0, 3.0], None)])
    d = save(tmp_path / "d", [(Point("i", "w", "x", rate=2.0), "antt", [3.0, 2.0, 1.0], None)])
    assert compare.compare_runs(c, d, by="rate_rps").tables["comparison"].rows[0][0] == "z rate=2 / x rate=2"
    with pytest.raises(ValueError, match=r"same scheduler in both runs; .* has z, .* has x$"):
        compare.compare_runs(c, d)
    with pytest.raises(ValueError, match="several series of one run agree in it, add a field"):
        compare.compare_runs(a, c, by=("workload",))
    with pytest.raises(ValueError, match=r"by: expected fields among item, workload, .*, got 'policy'"):
        compare.compare_runs(c, d, by="policy")
    with pytest.raises(ValueError, match="by: expected at least one"):
        compare.compare_runs(c, d, by=[])
    with pytest.raises(ValueError, match="metric: expected one of antt, got 'p99'"):
        compare.compare_runs(c, d, by="rate", metrics="p99")


@pytest.mark.parametrize(("name", "edit", "message"), [
    ("replications.csv", lambda t: t.replace(",1,antt", ",2,antt", 1),
     r"replications.csv: row 2, column replication: expected 1 .* got '2'"),
    ("replications.csv", lambda t: t.replace("antt,1,2.0", "antt,1,fast", 1),
     r"row 2, column value: expected a number, got 'fast'"),
    ("replications.csv", lambda t: t.splitlines()[0] + "\n", "expected at least one row"),
    ("summary.csv", lambda t: t.replace("metric,unit", "unit,metric"), "row 1: expected the columns"),
    ("run.json", lambda t: json.dumps({**json.loads(t), "schema": 1}), "schema: expected"),
])
def test_malformed_runs_are_named(tmp_path, name, edit, message):
    a = save(tmp_path / "a", [(Point("i", "w", "s"), "antt", [2.0, 3.0, 4.0], None)])
    path = a / name
    path.write_text(edit(path.read_text(encoding="utf-8")), encoding="utf-8")
    with pytest.raises(FormatError, match=message):
        compare.compare_runs(a, a)
    shutil.rmtree(a)
    with pytest.raises(FormatError, match="expected a run directory"):
        compare.compare_runs(a, a)


def test_the_verb(runs, tmp_path, capsys):
    out = tmp_path / "out"
    assert cli.main(["compare", str(runs / "a"), str(runs / "b"), "--paired", "-o", str(out)]) == cli.OK
    printed = capsys.readouterr().out
    assert "a - b" in printed
    assert "pair by pair on the same requests" in printed
    assert rundir.validate(out)["unexpected"] == []
    assert cli.main(["compare", str(runs / "a"), str(runs / "b"), "-o", str(out)]) == cli.USAGE
    assert "--force" in capsys.readouterr().err
    assert cli.main(["compare", str(runs / "a"), str(runs / "c"), "--paired"]) == cli.USAGE
    assert "the runs differ in workload" in capsys.readouterr().err
    assert cli.main(["compare", str(runs / "a"), str(tmp_path / "none")]) == cli.DATA
    assert cli.main(["compare", str(runs / "a"), str(runs / "b"), "--paired", "--unpaired"]) == cli.USAGE
    capsys.readouterr()
    assert cli.main(["compare", str(runs / "a"), str(runs / "b"), "--metric", "antt", "--by", "scheduler",
                     "--unpaired"]) == cli.OK
    lines = capsys.readouterr().out.splitlines()
    assert sum(" antt " in line for line in lines) == 2
    assert not any("latency_p99_s" in line for line in lines)


def test_same_report_twice(runs, tmp_path):
    for name in ("x", "y"):
        compare.compare_runs(runs / "a", runs / "b").save(tmp_path / name)
    for file in ("summary.csv", "replications.csv", "report.md"):
        assert (tmp_path / "x" / file).read_bytes() == (tmp_path / "y" / file).read_bytes()


def test_saved_replications_can_be_compared(tmp_path):
    import dnnsched as ds

    def noisy(shift):
        def run(seed):
            return {"cost": float(np.random.default_rng(seed).normal(10.0)) + shift}
        return run

    a, b = (ds.replicate(noisy(shift), n=5, label="plan") for shift in (0.0, 0.25))
    a.report().save(tmp_path / "a")
    b.report().save(tmp_path / "b")
    report = compare.compare_runs(tmp_path / "a", tmp_path / "b", paired=True)
    interval = report.results.one("cost", scheduler="a - b: plan").interval()
    assert interval.value == pytest.approx(-0.25)
    assert not math.isnan(interval.low)
    other = ds.replicate(noisy(0.0), n=5, rng=8, label="plan")
    other.report().save(tmp_path / "c")
    assert "not paired: the runs used other seeds" in compare.compare_runs(tmp_path / "a", tmp_path / "c").notes


def test_many_numbers_are_summed_up(tmp_path):
    rng = np.random.default_rng(1)
    points = [Point("i", "w", "s", rate=float(k)) for k in range(100)]
    values = rng.normal(10, 1, (100, 8))
    other = values + rng.normal(0, 0.1, (100, 8)) + np.where(np.arange(100) < 30, 1.0, 0.0)[:, None]
    a, b = (save(tmp_path / name, [(p, "antt", v, None) for p, v in zip(points, table, strict=True)])
            for name, table in (("a", values), ("b", other)))
    report = compare.compare_runs(a, b)
    short, full = (report.tables[name] for name in ("comparison", "all"))
    assert 30 <= len(short.rows) <= 45
    assert {row[0] for row in short.rows} >= {f"s rate={k}" for k in range(30)}
    assert len(full.rows) == 100
    assert not full.brief
    assert any(note.startswith("100 numbers compared: ") and "interval covers 0" in note for note in report.notes)
    few = compare.compare_runs(a, b, metrics="antt").tables["comparison"].rows
    assert few == short.rows


def sweep_study(seed, rate, scheduler):
    import dnnsched as ds

    wl = ds.workloads.poisson(ds.traces.load("multi-attnn-calibrated"), rate=rate, n=40, rng=seed)
    return ds.simulate(wl, scheduler)


def test_sweeps_share_seeds_where_they_share_points(tmp_path):
    import dnnsched as ds

    for name, rates, rng in (("a", [20.0, 25.0], 0), ("b", [25.0, 30.0], 0), ("c", [20.0, 25.0], 1)):
        grid = {"rate": rates, "scheduler": ["sjf", "dysta"]}
        ds.sweep(grid, sweep_study, replications=3, rng=rng).report().save(tmp_path / name)
    report = compare.compare_runs(tmp_path / "a", tmp_path / "b", paired=True, metrics="antt")
    assert [r[-2] for r in report.tables["comparison"].rows] == ["equal in every replication"] * 2
    crossed = compare.compare_runs(tmp_path / "a", tmp_path / "b", by=["rate"], metrics="antt")
    assert crossed.profile == "paired"
    assert "not paired: the runs differ in rng" in compare.compare_runs(tmp_path / "a", tmp_path / "c").notes
