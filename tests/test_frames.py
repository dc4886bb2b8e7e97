"""One schema: saved tables, in-memory records, the validator and other libraries agree on columns and values."""

import csv
import ctypes
import json
import math
import sys

import numpy as np
import pytest

import dnnsched as ds
from dnnsched import cli, schema
from dnnsched._native import _base
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
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert cli.main([*args, "--format", "parquet"]) == cli.USAGE
    assert "dnnsched[io]" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    assert cli.main([*args, "--format", "jsonl"]) == cli.OK
    assert cli.main(["validate-run", str(tmp_path / "run")]) == cli.OK
    assert "20 requests" in capsys.readouterr().out
    assert cli.main([*args, "--format", "xml"]) == cli.USAGE


# --- Arrow ----------------------------------------------------------------------------------------------

def rows_of(frame):
    """Plain rows by our own accessor; missing = None."""
    out = []
    for i in range(len(frame)):
        row = {}
        for c in frame.schema.columns:
            value = frame[c.name][i]
            value = value.item() if hasattr(value, "item") else value
            gone = c.nullable and (value is None or (c.dtype == "float64" and math.isnan(value))
                                   or (c.dtype in ("int64", "int32") and value < 0))
            row[c.name] = None if gone else value
        out.append(row)
    return out


def wide_frame(n, seed=0):
    """Every type, with and without missing values, at `n` rows."""
    bits = np.random.default_rng(seed)
    columns, data = [], {}
    for nullable in (False, True):
        for dtype in schema.DTYPES:
            name = f"{dtype} {nullable} é"
            columns.append(schema.Column(name, dtype, "", "", nullable))
            gone = bits.random(n) < (0.3 if nullable else 0.0)
            if dtype == "string":
                data[name] = (np.where(gone, -1, bits.integers(0, 3, n)), ("", "naïve", "x" * 50))
            elif dtype == "bool":
                data[name] = bits.random(n) < 0.5
            elif dtype == "float64":
                data[name] = np.where(gone, np.nan, bits.normal(size=n))
            else:
                data[name] = np.where(gone, -1, bits.integers(0, 2**31, n))
    return Frame(schema.Schema("wide", "", tuple(columns)), data)


@pytest.mark.parametrize("n", [0, 1, 7, 8, 9, 64, 1000])
@pytest.mark.parametrize("reader", ["pyarrow", "polars", "duckdb"])
def test_arrow_readers_get_the_same_rows(n, reader):
    library = pytest.importorskip(reader)
    frame = wide_frame(n)
    if reader == "pyarrow":
        table = library.table(frame)
        table.validate(full=True)
        got = table.to_pylist()
        assert [f.nullable for f in table.schema] == [c.nullable for c in frame.schema.columns]
        assert library.schema(frame) == table.schema
        mark = json.loads(table.schema.metadata[b"dnnsched"])
        assert mark == {"schema": schema.VERSION, "table": "wide"}
    elif reader == "polars":
        got = library.DataFrame(frame).to_dicts()
    else:
        relation = library.sql("select * from frame")
        got = [dict(zip(relation.columns, row, strict=True)) for row in relation.fetchall()]
    assert got == rows_of(frame)


def test_a_result_is_an_arrow_table(result):
    pa = pytest.importorskip("pyarrow")
    table = pa.table(result)
    assert table.to_pylist() == rows_of(result.frame()) == result.to_arrow().to_pylist()
    assert table.schema.names == list(schema.REQUESTS.names[2:])
    duckdb = pytest.importorskip("duckdb")
    late = duckdb.sql("select model, count(*) from result where not slo_met group by model").fetchall()
    want = {}
    for row in rows_of(result.frame()):
        if not row["slo_met"]:
            want[row["model"]] = want.get(row["model"], 0) + 1
    assert dict(late) == want


def test_plain_text_if_the_consumer_asks_for_it():
    pa = pytest.importorskip("pyarrow")
    frame = frame_with_gaps()
    plain = pa.schema([("x", pa.float64()), ("i", pa.int64()), ("t", pa.string()), ("b", pa.bool_())])
    given = pa.RecordBatchReader.from_stream(Asked(frame, plain)).read_all()
    assert given.schema.field("t").type == pa.string()
    assert given.to_pylist() == rows_of(frame)
    with pytest.raises(TypeError, match="arrow_schema capsule"):
        frame.__arrow_c_stream__(3)


class Asked:
    """Passes a requested schema on, as libraries do."""

    def __init__(self, frame, requested):
        self.capsule = frame.__arrow_c_stream__(requested.__arrow_c_schema__())

    def __arrow_c_stream__(self, requested_schema=None):
        return self.capsule


class CSchema(ctypes.Structure):
    pass


CSchema._fields_ = [("format", ctypes.c_char_p), ("name", ctypes.c_char_p), ("metadata", ctypes.c_void_p),
                    ("flags", ctypes.c_int64), ("n_children", ctypes.c_int64),
                    ("children", ctypes.POINTER(ctypes.POINTER(CSchema))), ("dictionary", ctypes.POINTER(CSchema)),
                    ("release", ctypes.CFUNCTYPE(None, ctypes.POINTER(CSchema))), ("private_data", ctypes.c_void_p)]


class CArray(ctypes.Structure):
    pass


CArray._fields_ = [(n, ctypes.c_int64) for n in ("length", "null_count", "offset", "n_buffers", "n_children")] + [
    ("buffers", ctypes.POINTER(ctypes.c_void_p)), ("children", ctypes.POINTER(ctypes.POINTER(CArray))),
    ("dictionary", ctypes.POINTER(CArray)), ("release", ctypes.CFUNCTYPE(None, ctypes.POINTER(CArray))),
    ("private_data", ctypes.c_void_p)]


class CStream(ctypes.Structure):
    pass


CStream._fields_ = [
    ("get_schema", ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(CStream), ctypes.POINTER(CSchema))),
    ("get_next", ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(CStream), ctypes.POINTER(CArray))),
    ("get_last_error", ctypes.CFUNCTYPE(ctypes.c_char_p, ctypes.POINTER(CStream))),
    ("release", ctypes.CFUNCTYPE(None, ctypes.POINTER(CStream))), ("private_data", ctypes.c_void_p)]


def pointer_of(capsule, name, kind):
    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype, get.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    return ctypes.cast(get(capsule, name), ctypes.POINTER(kind))


def test_the_interface_step_by_step():
    """The stream as the specification describes it, with no library: a moved child outlives its parent and stream."""
    capsule = frame_with_gaps().__arrow_c_stream__()
    stream = pointer_of(capsule, b"arrow_array_stream", CStream)
    made = CSchema()
    for _ in range(2):  # get_schema may be called again
        assert stream[0].get_schema(stream, made) == 0
        kids = [made.children[i][0] for i in range(made.n_children)]
        assert [(k.format, k.name, k.flags) for k in kids] == [
            (b"g", b"x", 2), (b"l", b"i", 2), (b"i", b"t", 2), (b"b", b"b", 0)]
        assert kids[2].dictionary[0].format == b"u"
        assert made.format == b"+s"
        made.release(made)
        assert not made.release
    array, end = CArray(), CArray()
    assert stream[0].get_next(stream, array) == 0
    assert stream[0].get_next(stream, end) == 0
    assert not end.release
    stream[0].release(stream)
    assert not stream[0].release
    del capsule
    assert (array.length, array.n_children, array.n_buffers, array.null_count) == (3, 4, 1, 0)
    moved = CArray()
    ctypes.memmove(ctypes.byref(moved), array.children[0], ctypes.sizeof(CArray))
    array.children[0][0].release = type(moved.release)()
    array.release(array)
    assert not array.release
    assert moved.null_count == 1
    assert ctypes.cast(moved.buffers[0], ctypes.POINTER(ctypes.c_uint8))[0] == 0b101
    values = ctypes.cast(moved.buffers[1], ctypes.POINTER(ctypes.c_double))
    assert (values[0], values[2]) == (1.5, math.inf)
    assert moved.buffers[1] % 64 == 0
    moved.release(moved)
    assert not moved.release


def test_streams_that_nobody_reads_are_freed():
    frame = wide_frame(20_000)
    columns = [c if isinstance(c, np.ndarray) else c[0] for c in frame._columns.values()]
    before = [sys.getrefcount(c) for c in columns]
    resource = pytest.importorskip("resource")
    for part in range(2):
        for _ in range(150):
            frame.__arrow_c_schema__()
            frame.__arrow_c_stream__()
        if part == 0:
            first = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert [sys.getrefcount(c) for c in columns] == before
    if _base.build_info()["sanitizer"] != "none":
        return  # it keeps freed memory for a while
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - first) * 1024
    assert grown < 50 * sum(c.nbytes for c in columns)  # 150 leaked streams would be three times that


@pytest.mark.parametrize(("args", "error"), [
    ((("a",), (), (True,), b""), TypeError), ((("a",), (1,), (True,), b""), TypeError),
    (((1,), (np.ones(1),), (True,), b""), TypeError), ((("a",), (np.ones(1, "f4"),), (True,), b""), TypeError),
    ((("a", "b"), (np.ones(1), np.ones(2)), (True, True), b""), ValueError),
    ((("a",), ((np.array([1], np.int32), ("x",)),), (True,), b""), ValueError),
    ((("a",), ((np.array([-1], np.int32), ("x",)),), (False,), b""), ValueError),
    ((("a",), ((np.array([0], np.int32), (3,)),), (False,), b""), TypeError),
    ((("a",), (np.ones(1),), (True,), "text"), TypeError), ((["a"], (np.ones(1),), (True,), b""), TypeError)])
def test_bad_arguments_of_the_native_stream(args, error):
    with pytest.raises(error):
        _base.arrow_stream(*args, None)


def test_frames_of_plain_columns():
    frame = Frame.of("t", {"a": [1, 2], "b": [0.5, math.nan], "c": ["x", None], "d": [True, False],
                           "e": np.array(["p", "q"]), "f": np.array([3, 4], "u1")})
    assert rows_of(frame) == [{"a": 1, "b": 0.5, "c": "x", "d": True, "e": "p", "f": 3},
                              {"a": 2, "b": None, "c": None, "d": False, "e": "q", "f": 4}]
    with pytest.raises(ValueError, match="a: row 0: 18446744073709551615"):
        Frame.of("t", {"a": np.array([2**64 - 1], np.uint64)})


def test_sweeps_replications_and_reports_are_arrow_tables(result, traces):
    pa = pytest.importorskip("pyarrow")

    def run(seed, rho):
        return ds.simulate(ds.workloads.poisson(traces, rho=rho, n=20, rng=seed), "fcfs")

    sweep = ds.sweep({"rho": [0.5, 0.8]}, run, replications=2, executor="serial")
    table = pa.table(sweep)
    for name, column in sweep.table().items():
        assert table[name].to_pylist() == [None if v != v else v for v in column.tolist()]
    made = ds.replicate(lambda seed: run(seed, 0.5), n=3)
    table = pa.table(made)
    assert table["antt"].to_pylist() == made.metrics["antt"].tolist()
    assert table["seed"].to_pylist() == [int(s) for s in made.seeds]
    rows = pa.table(report_with(result)).to_pylist()
    assert [(r["metric"], r["value"], r["n"], r["verdict"]) for r in rows] == [("antt", 1.5, 2, None)]
