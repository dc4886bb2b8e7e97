"""One schema: saved tables, in-memory records, the validator and other libraries agree on columns and values."""

import csv
import json
import math

import numpy as np
import pytest

import dnnsched as ds
from dnnsched import cli, schema
from dnnsched.errors import FormatError
from dnnsched.frames import FORMATS, Frame
from dnnsched.report import document, provenance, rundir
from dnnsched.report.results import Point, Results


class Refuse:
    """An own scheduler that drops every seventh request after its first layer and fails every fifth."""

    def pick(self, view):
        return 0

    def outcome(self, control, request, stage):
        return "drop" if request % 7 == 0 else "fail" if request % 5 == 0 else None


@pytest.fixture(scope="module")
def traces():
    bits = np.random.default_rng(2)
    return ds.TraceSet({
        "net/dense": ds.Trace(bits.uniform(0.5, 1.5, (7, 5)) * 1e-3, model="net"),
        "net/é,\"q\"": ds.Trace(bits.uniform(0.5, 1.5, (7, 5)) * 1e-3, model="net", pattern='é,"q"'),
        "odd": ds.Trace(bits.uniform(0.5, 1.5, (7, 3)) * 3e-3, model="odd", pattern="block"),
    })


@pytest.fixture(scope="module")
def result(traces):
    wl = ds.workloads.poisson(traces, rho=0.9, n=90, slo_multiplier=4.0, rng=3)
    return ds.simulate(wl, Refuse())


def expected_rows(result):
    """The saved rows, written out by hand from the in-memory records; missing = None."""
    rows = []
    traces = list(result.traces.values())
    for r in result.requests:
        late = [float(r["finish_s"] - r["arrival_s"] - r["service_s"]),
                float(r["finish_s"] - r["first_start_s"] - r["service_s"])]
        late = [0.0 if abs(x) <= 1e-12 * r["finish_s"] else x for x in late]
        rows.append({
            "run_id": "x", "replication": 4, "request_id": int(r["request_id"]), "model": traces[r["model"]].model,
            "variant": traces[r["model"]].pattern, "sample": int(r["sample"]), "priority": float(r["priority"]),
            **{c: float(r[c]) for c in ("arrival_s", "first_start_s", "finish_s", "deadline_s", "isolated_s",
                                        "service_s")},
            "wait_s": late[0], "preempted_s": late[1], "n_preempt": int(r["n_preempt"]),
            "last_stage": int(r["last_stage"]), "n_layers": int(r["n_layers"]),
            "status": schema.STATUS[r["status"]], "slo_met": bool(r["slo_met"])})
    return rows


def test_requests_say_how_they_ended(result):
    r = result.requests
    ids = r["request_id"]
    assert (r["status"][ids % 7 == 0] == 2).all()
    assert (r["status"][(ids % 7 != 0) & (ids % 5 == 0)] == 1).all()
    gone = (ids % 7 == 0) | (ids % 5 == 0)
    assert (r["status"][~gone] == 0).all()
    assert (r["last_stage"][gone] == 0).all()
    assert (r["last_stage"][~gone] == r["n_layers"][~gone] - 1).all()
    assert not r["slo_met"][gone].any()
    assert (r["slo_met"][~gone] == (r["finish_s"] <= r["deadline_s"])[~gone]).all()
    assert result.metrics["violation_rate"] == np.mean(~r["slo_met"])


def test_the_record_array_takes_its_fields_from_the_schema(result):
    assert result.requests.dtype == schema.REQUESTS.record
    assert set(result.requests.dtype.names) < set(schema.REQUESTS.names)


def read(path):
    """Rows of a saved table by a reader that is not ours."""
    if path.suffix == ".csv":
        with open(path, newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    parquet = pytest.importorskip("pyarrow.parquet")
    return parquet.read_table(path).to_pylist()


@pytest.mark.parametrize("format", FORMATS)
def test_saved_requests_read_back_exactly(result, tmp_path, format):
    if format == "parquet":
        pytest.importorskip("pyarrow")
    path = tmp_path / f"requests.{format}"
    result.frame(run_id="x", replication=4).write(path, format)
    rows = read(path)
    assert list(rows[0]) == list(schema.REQUESTS.names)
    assert [schema.REQUESTS.check_row(row) for row in rows] == expected_rows(result)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def frame_with_gaps():
    columns = (schema.Column("x", "float64", "s", "", True), schema.Column("i", "int64", "1", "", True),
               schema.Column("t", "string", "", "", True), schema.Column("b", "bool", "", ""))
    return Frame(schema.Schema("gaps", "", columns), {
        "x": [1.5, math.nan, math.inf], "i": [3, -1, 0], "t": ([0, -1, 1], ("a\"b", "a\"b")),
        "b": np.array([True, False, True])})


def test_missing_values_in_every_format(tmp_path):
    frame = frame_with_gaps()
    frame.write(tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_text() == 'x,i,t,b\n1.5,3,"a""b",true\n,,,false\ninf,0,"a""b",true\n'
    frame.write(tmp_path / "t.jsonl", "jsonl")
    assert [json.loads(line) for line in (tmp_path / "t.jsonl").read_text().splitlines()] == [
        {"x": 1.5, "i": 3, "t": 'a"b', "b": True}, {"x": None, "i": None, "t": None, "b": False},
        {"x": None, "i": 0, "t": 'a"b', "b": True}]
    assert frame["t"].tolist() == ['a"b', None, 'a"b']
    pytest.importorskip("pyarrow")
    assert frame.to_arrow().to_pylist() == [
        {"x": 1.5, "i": 3, "t": 'a"b', "b": True}, {"x": None, "i": None, "t": None, "b": False},
        {"x": math.inf, "i": 0, "t": 'a"b', "b": True}]


def test_pandas_gives_the_same_columns(result):
    pytest.importorskip("pandas")
    data = result.to_pandas()
    assert list(data.columns) == ["request_id", "key", *schema.REQUESTS.names[3:]]
    want = expected_rows(result)
    assert data["model"].tolist() == [row["model"] for row in want]
    assert data["key"].tolist() == [list(result.traces)[i] for i in result.requests["model"]]
    assert data["wait_s"].tolist() == [row["wait_s"] for row in want]


@pytest.mark.parametrize(("columns", "word"), [
    ({"x": [1.0]}, "missing or unknown: b, i, t"),
    ({"x": [1.0], "i": [1], "t": "a", "b": [True], "z": [1]}, "unknown: z"),
    ({"x": [1.0], "i": [1, 2], "t": "a", "b": [True]}, "i: expected one dimension with 1 rows"),
    ({"x": [1.0], "i": [1], "t": ([1], ("a",)), "b": [True]}, "from -1 to 0")])
def test_columns_that_do_not_fit(columns, word):
    with pytest.raises(ValueError, match=word):
        Frame(frame_with_gaps().schema, columns)


def test_a_value_must_be_there_unless_it_may_be_missing():
    columns = schema.Schema("s", "", (schema.Column("x", "float64", "s", ""),))
    with pytest.raises(ValueError, match="x: row 1: expected a value"):
        Frame(columns, {"x": [0.0, math.nan]})
    with pytest.raises(ValueError, match="column x: expected a value"):
        columns.check_row({"x": None})


def report_with(result):
    made = Results()
    made.add(Point("fig"), "antt", (1.0, 2.0), origin="synthetic", method="seeds")
    return document.Report(paper="p", title="T", citation="C", profile="ci", config={}, tables={}, claims=[],
                           results=made, notes=[], recorder=provenance.Recorder({}, seeds=[1]),
                           run=document.NamedRun("a", "A", result, None),
                           more_runs=[document.NamedRun("b", "B", result, None)])


@pytest.mark.parametrize("format", FORMATS)
def test_run_directories_validate_in_every_format(result, tmp_path, format):
    if format == "parquet":
        pytest.importorskip("pyarrow")
    report_with(result).save(tmp_path / "run", format=format)
    found = rundir.validate(tmp_path / "run")
    assert {f"requests.{format}", f"requests-b.{format}"} <= set(found["files"])
    assert found["request_rows"] == 2 * len(result.requests)


@pytest.mark.parametrize(("line", "word"), [
    ("{", "row 2: not JSON"), ("[]", "row 2: expected the columns run_id, replication"),
    ("late", "row 2, column slo_met: expected false, got true"), ("early", "row 2, column finish_s: expected at least"),
    ("word", "row 2, column n_preempt: expected a whole number, got 'x'"),
    ("odd", "row 2, column status: expected one of answered, failed, dropped, got 'lost'")])
def test_a_bad_row_is_named(result, tmp_path, line, word):
    report_with(result).save(tmp_path / "run", format="jsonl")
    path = tmp_path / "run" / "requests.jsonl"
    rows = path.read_text(encoding="utf-8").splitlines()
    good = json.loads(rows[1])
    edits = {"late": {"finish_s": 1e9, "slo_met": True}, "early": {"finish_s": -1.0}, "word": {"n_preempt": "x"},
             "odd": {"status": "lost"}}
    rows[1] = json.dumps(good | edits[line]) if line in edits else line
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    with pytest.raises(FormatError, match=word):
        rundir.validate(tmp_path / "run")


def test_a_parquet_file_that_is_none(result, tmp_path):
    pytest.importorskip("pyarrow")
    report_with(result).save(tmp_path / "run")
    (tmp_path / "run" / "requests.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(FormatError, match=r"requests\.parquet: not Parquet"):
        rundir.validate(tmp_path / "run")


CONFIG = """
replications = 1
timeline = false
[workload]
traces = "multi-attnn-calibrated"
rho = 0.9
n = 20
[[scheduler]]
name = "fcfs"
"""


def test_the_command_line_saves_in_the_format_asked_for(tmp_path, monkeypatch, capsys):
    (tmp_path / "c.toml").write_text(CONFIG)
    args = ["run", str(tmp_path / "c.toml"), "--quiet", "-o", str(tmp_path / "run")]
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    assert cli.main([*args, "--format", "parquet"]) == cli.USAGE
    assert "dnnsched[io]" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    assert cli.main([*args, "--format", "jsonl"]) == cli.OK
    assert cli.main(["validate-run", str(tmp_path / "run")]) == cli.OK
    assert "20 requests" in capsys.readouterr().out
    assert cli.main([*args, "--format", "xml"]) == cli.USAGE
