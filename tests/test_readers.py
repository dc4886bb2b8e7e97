"""Readers of request streams: exact formats, malformed files, both parsers alike, streaming, stand-ins."""

import contextlib
import gzip
import json
import math
import sys
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from request_files import ALL, ARRIVALS, JSONL, MLPERF, ROWS, SAMPLES, csv_text, options, sample_file, traces, write

import dnnsched as ds
from dnnsched import FormatError, Workload, _formats, _readers, _scan, workloads

ROUTES = ["pyarrow", "stdlib"]


@pytest.fixture(params=ROUTES)
def route(request, monkeypatch):
    """Runs a test with pyarrow, and with an interpreter that cannot import it."""
    if request.param == "pyarrow":
        pytest.importorskip("pyarrow")
    else:
        monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert (_scan.pyarrow_csv() is None) == (request.param == "stdlib")
    return request.param


def without_pyarrow():
    return mock.patch.object(_scan, "pyarrow_csv", return_value=None)


def reader(name, suffix=""):
    return getattr(workloads, f"read_{'requests' if name == 'dnnsched' else name}{suffix}")


def test_every_format_has_a_sample():
    assert sorted(ALL) == sorted(_formats.FORMATS)


@pytest.mark.parametrize("name", ALL)
def test_item_07_every_format_is_read_exactly(name, tmp_path, route):
    path = sample_file(tmp_path, name)
    arrival, order = ARRIVALS[name]
    found = _readers.find_format(path, name if name == "alibaba_gpu_2020" else None)
    assert found.name == name
    wl = reader(name)(path, traces(), rng=1, **options(name))
    assert wl.arrival.tolist() == pytest.approx(arrival, abs=1e-12)
    fmt = _formats.FORMATS[name]
    assert wl.meta["data_citations"] == fmt.citations
    assert all(fmt.licence in text for text in fmt.citations)
    assert wl.meta["arrivals"]["file"] == path.name
    table = reader(name, "_table")(path)
    assert table.dtype.names == tuple(c.field for c in fmt.columns)
    rows = ROWS.get(name) or [list(map(str, (r[c.name] for c in fmt.columns))) for r in JSONL.get(name, [])]
    for at, column in enumerate(fmt.columns if rows else ()):
        texts = [rows[i][at] for i in order]
        if column.kind == "text":
            assert table[column.field].tolist() == texts
        elif column.kind != "time":
            wanted = [math.nan if t == "" else float(t) / column.per_unit for t in texts]
            np.testing.assert_array_equal(table[column.field], wanted)
            assert table[column.field].dtype == (np.int64 if column.kind == "int" else np.float64)


@pytest.mark.parametrize("name", ROWS)
def test_item_07_crlf_bom_extra_reordered_quoted_and_gzipped_columns(name, tmp_path, route):
    fmt, rows = _formats.FORMATS[name], ROWS[name]
    plain = reader(name, "_table")(write(tmp_path / "a.csv", csv_text(name, rows)))
    variants = {"crlf": csv_text(name, rows, "\r\n"), "bom": b"\xef\xbb\xbf" + csv_text(name, rows).encode(),
                "blank": csv_text(name, rows).replace("\n", "\n\n"), "open": csv_text(name, rows).rstrip(),
                "quoted": csv_text(name, [[f'"{v}"' for v in row] for row in rows]), "cr": csv_text(name, rows, "\r")}
    if fmt.header:
        order = [*range(len(fmt.columns))][::-1]
        lines = [[c.name for c in fmt.columns], *rows]
        variants["other"] = "\n".join(",".join(["é\"x", *(line[i] for i in order), "x y"]) for line in lines)
    else:
        variants["header"] = ",".join(c.name for c in fmt.columns) + "\n" + csv_text(name, rows)
    for label, text in variants.items():
        got = reader(name, "_table")(write(tmp_path / f"{label}.csv", text))
        for field in plain.dtype.names:
            np.testing.assert_array_equal(got[field], plain[field], err_msg=f"{label} {field}")
    zipped = tmp_path / "a.csv.gz"
    zipped.write_bytes(gzip.compress(csv_text(name, rows).encode()))
    np.testing.assert_array_equal(reader(name, "_table")(zipped)[fmt.columns[-1].field], plain[fmt.columns[-1].field])


def test_item_07_seven_digit_fractions_are_exact(tmp_path, route):
    stamps = ["2023-12-31 23:59:59.9999999", "2024-01-01 00:00:00.0000000", "2024-02-29 12:00:00.0000001",
              "2024-03-01T00:00:00Z", "2024-05-12 00:00:10+00:00", "2024-05-12 00:00:10.5+00:00",
              "2261-12-31 23:59:59.999999999"]
    path = write(tmp_path / "t.csv", csv_text("azure_llm", [[s, "1", "2"] for s in stamps]))
    day = 86400 * 10**9
    nanoseconds = [0, 100, 59 * day + day // 2 + 200, 60 * day + 100, 132 * day + 10 * 10**9 + 100,
                   132 * day + 105 * 10**8 + 100]
    got = workloads.read_azure_llm_table(path)["time_s"]
    assert got[:6].tolist() == [ns / 1e9 for ns in nanoseconds]


@pytest.mark.parametrize("stamp", [
    "2023-11-31 18:15:46", "2023-02-29 18:15:46", "1900-02-28 18:15:46", "2023-11-16 24:00:00", "2023-11-16 18:60:00",
    "2023-11-16 18:15:60", "2023-13-16 18:15:46", "2023-00-16 18:15:46", "2023-11-00 18:15:46", "2023-11-16",
    "2023-11-16 18:15", "2023-11-16 18:15:46.", "2023-11-16 18:15:46.1234567890", "2023-11-16 18:15:46+02:00",
    "2023-11-16_18:15:46", "2262-01-01 00:00:00", "16.11.2023 18:15:46", "", "2023-11-16 18:15:46,5",
    "٢٠٢٣-11-16 18:15:46"])
def test_stamps_that_are_none(stamp, tmp_path, route):
    rows = [ROWS["azure_llm"][0], [f'"{stamp}"', "1", "2"]]
    path = write(tmp_path / "t.csv", csv_text("azure_llm", rows))
    with pytest.raises(FormatError, match=r"line 3, column 'TIMESTAMP': expected a time YYYY-MM-DD hh:mm:ss"):
        workloads.read_azure_llm_table(path)


# --- malformed files -------------------------------------------------------------------------------

def damaged_csv(name):
    """(text, what the message must say) of files with one defect each."""
    fmt, rows = _formats.FORMATS[name], ROWS[name]
    good, first = csv_text(name, rows), 2 if fmt.header else 1
    out = [("", "expected at least one row" if not fmt.header else "is missing"),
           (good.replace("\n", ",\n", 1), f"line {first}: expected" if fmt.header else "line 1: expected"),
           (good.rsplit(",", 1)[0], f"line {first + 3}: expected {len(fmt.columns)} fields"),
           (good + "1\n", f"line {first + 4}: expected {len(fmt.columns)} fields"),
           (good + ",".join(["x"] * (len(fmt.columns) + 1)), f"line {first + 4}: expected {len(fmt.columns)} fields"),
           (good + '"', f"line {first + 4}: expected {len(fmt.columns)} fields")]
    if fmt.header:
        head, body = good.split("\n", 1)
        out.append((head + "\n", "expected at least one row after the header"))
        for column in [c for c in fmt.columns if not c.optional][:4]:
            names = head.split(",")
            at = names.index(column.name)
            names[at] = "other"
            out.append((",".join(names) + "\n" + body, f"line 1: column '{column.name}' is missing"))
            names = [*head.split(","), column.name]
            longer = "\n".join(line + ",1" for line in body.split("\n") if line)
            out.append((",".join(names) + "\n" + longer, f"line 1: column '{column.name}' occurs 2 times"))
    number = [(i, c) for i, c in enumerate(fmt.columns) if c.kind in ("float", "int")]
    bad = ["x", "1_000", "0x10", "nan", "-inf", "1e400", "1 2", "--1", "1e", "1,5", "٣", "1\0", "$1"]
    for at, column in number:
        where = f"line {first + 2}, column '{column.name}': expected"
        values = [b for b in bad if not (column.infinity and b == "1e400")] + [""] * (not column.nullable)
        for value in values + ["1.5", "1e17"] * (column.kind == "int"):
            quoted = '"1,5"' if value == "1,5" else value
            damaged = [*rows[2][:at], quoted, *rows[2][at + 1:]]
            what = f"{where} {'an integer' if column.kind == 'int' else 'a'}"
            out.append((csv_text(name, [*rows[:2], damaged, rows[3]]), what))
        if column.low >= 0:
            out.append((csv_text(name, [*rows[:2], [*rows[2][:at], "-1", *rows[2][at + 1:]], rows[3]]),
                        f"{where} .*{'>' if column.open_low else '>='} 0.*, got '-1'"))
    if not fmt.sorts:
        out.append((csv_text(name, [rows[0], rows[3], *rows[1:3]]), f"line {first + 2}, column .*expected a time not"))
    return out


@pytest.mark.parametrize("name", ROWS)
def test_item_07_malformed_csv_files_name_line_and_column(name, tmp_path):
    cases = damaged_csv(name)
    assert len(cases) >= 20
    for at, (text, message) in enumerate(cases):
        path = write(tmp_path / f"{at}.csv", text)
        with without_pyarrow(), pytest.raises(FormatError, match=message) as slow:
            reader(name, "_table")(path)
        assert str(slow.value).startswith(f"{path}: ")
        pytest.importorskip("pyarrow")
        with pytest.raises(FormatError) as fast:
            reader(name, "_table")(path)
        assert str(fast.value) == str(slow.value)


def damaged_jsonl(name):
    rows = [json.dumps(r) for r in JSONL[name]]
    first = _formats.FORMATS[name].columns[0].name
    out = [("", "expected at least one row"), ("\n\n", "expected at least one row"),
           *((f"{rows[0]}\n{bad}\n", "line 2: expected one JSON object")
             for bad in ("x", "{", "[]", "1", '"a"', "null", rows[1] + rows[2], rows[1] + ",", '{"timestamp": NaN}',
                         '{"timestamp": Infinity}', "[" * 2000)),
           (f"{rows[0]}\n{{}}\n", f"line 2, column '{first}': the field is missing"),
           ("\n".join([rows[0], rows[3], rows[1]]), "line 3, column 'timestamp': expected a time not before")]
    for column in _formats.FORMATS[name].columns:
        what = {"int": "an integer", "float": "a finite number", "text": "UTF-8 text"}[column.kind]
        bad = [True, None, [1], 1] if column.kind == "text" else [True, None, "1", [1], 1e999, 10**400]
        for value in [*bad, *([-2] if column.low >= -1 else []), *([1.5, 2**60] if column.kind == "int" else [])]:
            damaged = {**JSONL[name][1], column.name: value}
            text = json.dumps(damaged).replace("Infinity", "1e999")
            out.append((f"{rows[0]}\n{text}\n", f"line 2, column '{column.name}': expected {what}"))
    return out


@pytest.mark.parametrize("name", JSONL)
def test_item_07_malformed_jsonl_files_name_line_and_field(name, tmp_path):
    cases = damaged_jsonl(name)
    assert len(cases) >= 20
    for at, (text, message) in enumerate(cases):
        path = write(tmp_path / f"{at}.jsonl", text)
        with pytest.raises(FormatError, match=message) as info:
            reader(name, "_table")(path)
        assert str(info.value).startswith(f"{path}: ")


def test_item_07_malformed_mlperf_traces_name_the_line(tmp_path):
    good = SAMPLES.split("\n")[2]
    cases = [("", "expected at least one event 'Sample'"), ('{"traceEvents":[\n]}', "at least one event 'Sample'"),
             *((f"{MLPERF[:40].splitlines()[0]}\n{good[:cut]}\n", "line 2: expected one trace event")
               for cut in (30, 60, 90, 120, 150)),
             *((f'{{"traceEvents":[\n{good.replace(old, new)}\n', f"line 2{message}") for old, new, message in (
                 ('"ts":15.5,', "", ": expected a Sample event with 'ts' and 'args'"),
                 ('"args"', '"arg"', ": expected a Sample event with 'ts' and 'args'"),
                 ('"sample_seq":1', '"sample":1', ", column 'sample_seq': the field is missing"),
                 ('"query_seq":0', '"query":0', ", column 'query_seq': the field is missing"),
                 ('"sample_idx":8', '"idx":8', ", column 'sample_idx': the field is missing"),
                 ('"complete_ns"', '"complete"', ", column 'complete_ns': the field is missing"),
                 ('"issue_start_ns"', '"issue"', ", column 'issue_start_ns': the field is missing"),
                 ('"sample_seq":1', '"sample_seq":-1', ", column 'sample_seq': expected an integer >= 0, got '-1'"),
                 ('"sample_seq":1', '"sample_seq":1.5', ", column 'sample_seq': expected an integer"),
                 ('"sample_seq":1', '"sample_seq":"1"', ", column 'sample_seq': expected an integer"),
                 ('"ts":15.5', '"ts":"15"', ", column 'ts': expected a finite number"),
                 ('"ts":15.5', '"ts":NaN', ": expected one trace event"),
                 ('"ts":15.5', '"ts":null', ", column 'ts': expected a finite number"),
                 ('"ts":15.5', '"ts":1e999', ", column 'ts': expected a finite number"),
                 ("}},", "}};", ": expected a comma behind an event")))]
    assert len(cases) >= 20
    for at, (text, message) in enumerate(cases):
        path = write(tmp_path / f"{at}.json", text)
        with pytest.raises(FormatError, match=message) as info:
            workloads.read_mlperf_table(path)
        assert str(info.value).startswith(f"{path}: ")


def test_mlperf_events_may_share_a_line(tmp_path):
    one = write(tmp_path / "one.json", json.dumps({"traceEvents": [json.loads(line[:-1]) for line in
                                                                   SAMPLES.strip().split("\n")]}))
    many = sample_file(tmp_path, "mlperf")
    assert workloads.read_mlperf_table(one).tolist() == workloads.read_mlperf_table(many).tolist()


@pytest.mark.parametrize("name", ROWS)
def test_bytes_that_are_no_text(name, tmp_path, route):
    text = csv_text(name, ROWS[name]).encode()
    columns = [c for c in _formats.FORMATS[name].columns if c.kind == "text"]
    at = [c.kind for c in _formats.FORMATS[name].columns].index("text") if columns else None
    if at is None:
        path = write(tmp_path / "b.csv", text.replace(b"91", b"9\xff").replace(b"7.25", b"7\xff"))
        with pytest.raises(FormatError, match=r"line 5, column .*got '.*\\xff"):
            reader(name, "_table")(path)
        return
    rows = [[*row] for row in ROWS[name]]
    rows[1][at] = "MARK"
    path = write(tmp_path / "b.csv", csv_text(name, rows).encode().replace(b"MARK", b"\xff\xfe"))
    with pytest.raises(FormatError, match=f"column '{columns[0].name}': expected UTF-8 text"):
        reader(name, "_table")(path)


def test_files_that_are_not_there_or_unknown(tmp_path, route):
    with pytest.raises(FileNotFoundError, match="no such file"):
        workloads.read_vidur_table(tmp_path / "none.csv")
    with pytest.raises(FormatError, match="expected a file, got a folder"):
        workloads.read_vidur_table(tmp_path)
    path = write(tmp_path / "odd.csv", "a,b\n1,2\n")
    with pytest.raises(FormatError, match="expected the columns of a known format, got a, b; name the format: azure"):
        workloads.trace_stats(path)
    with pytest.raises(ValueError, match="format: expected one of 'azure_llm'"):
        workloads.trace_stats(path, format="azure")
    broken = write(tmp_path / "b.csv.gz", gzip.compress(csv_text("vidur", ROWS["vidur"] * 1).encode())[:-9])
    with pytest.raises(FormatError, match=r"b\.csv\.gz: line .*cannot read on"):
        workloads.read_vidur_table(broken)


ODD = ["", "inf", "nan", "1e308", "1e400", "5e-324", "0.1e-400", "٣", "+1", ".5", "5.", "-0", "0x1", "1_0"]
FIELD = (st.text(st.sampled_from("0123456789+-.eE_ \tinfx\"',"), max_size=7) | st.floats(0, 1e9).map(repr)
         | st.integers(0, 2**62).map(str) | st.sampled_from(ODD))
CLEAN = st.floats(0, 100).map(repr) | st.integers(0, 9).map(str)


@given(st.lists(st.tuples(CLEAN | FIELD, FIELD, CLEAN | FIELD, CLEAN | FIELD), min_size=1, max_size=6),
       st.sampled_from(["\n", "\r\n"]), st.booleans())
@settings(max_examples=300, deadline=None)
def test_item_07_both_parsers_agree_on_any_fields(tmp_path_factory, rows, end, quote):
    """What the fast route accepts, the standard library accepts with the same bits; refusals have one message."""
    pytest.importorskip("pyarrow")
    path = tmp_path_factory.getbasetemp() / "fuzz.csv"
    lines = ["arrival_s,key,sample,deadline_s"]
    lines += [",".join('"' + v.replace('"', '""') + '"' if quote else v for v in row) for row in rows]
    path.write_bytes(end.join(lines).encode())
    results = []
    for route in (without_pyarrow, contextlib.nullcontext):
        with route():
            try:
                table = workloads.read_requests_table(path, sort=True)
                results.append([table[f].tobytes() if table[f].dtype != object else table[f].tolist()
                                for f in table.dtype.names])
            except FormatError as error:
                results.append(str(error))
    assert results[0] == results[1]


@given(st.binary(max_size=200))
@settings(max_examples=150, deadline=None)
def test_any_bytes_are_read_or_refused(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "any.csv"
    for head, name in ((b"arrived_at,num_prefill_tokens,num_decode_tokens\n", "vidur"), (b"", "vidur"),
                       (b"", "alibaba_gpu_2020")):
        path.write_bytes(head + data)
        outcomes = []
        for route in (without_pyarrow, contextlib.nullcontext):
            with route():
                try:
                    outcomes.append(reader(name, "_table")(path).tolist())
                except FormatError as error:
                    outcomes.append(str(error))
        assert repr(outcomes[0]) == repr(outcomes[1])


def test_a_file_that_pyarrow_leaves_half_way_is_read_to_its_end(tmp_path):
    """Stamps change their zone notation after more than a block: the standard library goes on behind it."""
    pytest.importorskip("pyarrow")
    rows = [[f"2024-05-12 00:{i // 1000:02d}:{i // 20 % 50:02d}", str(i), "1"] for i in range(40_000)]
    rows[30_000:] = [[f"2024-05-13 00:00:00{'+00:00' if i % 2 else 'Z'}", "+7", "1"] for i in range(10_000)]
    rows.sort(key=lambda r: r[0][:19])
    path = write(tmp_path / "mixed.csv", csv_text("azure_llm", rows))
    parts = [*_scan.scan(path, _formats.FORMATS["azure_llm"])]
    with without_pyarrow():
        slow = [*_scan.scan(path, _formats.FORMATS["azure_llm"])]
    for field in ("time_s", "context_tokens"):
        np.testing.assert_array_equal(np.concatenate([p[field] for p in parts]),
                                      np.concatenate([p[field] for p in slow]))

    def refuse(path, fmt):
        for at, part in enumerate(real(path, fmt)):
            if at == 1:
                raise _scan._Refused
            yield part

    real = _scan._arrow_batches
    with mock.patch.object(_scan, "_arrow_batches", refuse):
        mended = [*_scan.scan(path, _formats.FORMATS["azure_llm"])]
    np.testing.assert_array_equal(np.concatenate([p["context_tokens"] for p in mended]),
                                  np.concatenate([p["context_tokens"] for p in slow]))


# --- workloads -------------------------------------------------------------------------------------

def test_models_of_a_file_are_mapped(tmp_path):
    path, ts = sample_file(tmp_path, "burstgpt"), traces()
    wl = workloads.read_burstgpt(path, ts, failures="keep", mapping={"ChatGPT": "m2", "GPT-4": "m0"}, rng=1)
    assert wl.model.tolist() == [2, 2, 0, 0]
    assert (wl.sample < ts.n_samples[wl.model]).all()
    assert wl.meta["mix"] == {"m0": 0.5, "m1": 0.0, "m2": 0.5}
    assert wl.meta["arrivals"]["failures"] == "keep"
    turn = workloads.read_burstgpt(path, ts, failures="drop", mapping="round-robin", rng=1)
    assert turn.model.tolist() == [0, 0, 1]
    assert turn.arrival.tolist() == [0, 40.5, 113]
    load = workloads.read_burstgpt(path, ts, failures="keep", mapping="round-robin", rho=0.5, rng=1)
    mean = np.mean([np.mean(ts["m0"].isolated_s), np.mean(ts["m1"].isolated_s)])
    assert load.meta["rate"] == pytest.approx(0.5 / mean)
    for bad, error, message in (({"mapping": {"ChatGPT": "m2"}}, ValueError, "missing 'GPT-4'"),
                                ({"mapping": {"ChatGPT": "m2", "GPT-4": "q"}}, (KeyError, ValueError), "q"),
                                ({"mapping": "random"}, TypeError, "mapping: expected a mapping from name to key"),
                                ({"mapping": "round-robin", "model": "m0"}, ValueError, "model, mix: expected")):
        with pytest.raises(error, match=message):
            workloads.read_burstgpt(path, ts, failures="keep", **bad)
    with pytest.raises(ValueError, match="failures: expected 'keep' or 'drop' for requests with no response tokens"):
        workloads.read_burstgpt(path, ts)
    with pytest.raises(ValueError, match="failures: expected None"):
        workloads.read_vidur(sample_file(tmp_path, "vidur"), ts, failures="keep")
    with pytest.raises(ValueError, match="mapping: expected None"):
        workloads.read_vidur(sample_file(tmp_path, "vidur"), ts, mapping="round-robin")


def test_given_models_draw_the_samples_of_the_same_words(tmp_path):
    """With one model the mapped rows are those that `model` draws."""
    path, ts = sample_file(tmp_path, "burstgpt"), traces(50)
    mapped = workloads.read_burstgpt(path, ts, failures="keep", mapping={"ChatGPT": "m1", "GPT-4": "m1"}, rng=7)
    drawn = workloads.read_burstgpt(path, ts, failures="keep", model="m1", rng=7)
    assert mapped.sample.tolist() == drawn.sample.tolist()


def test_unsorted_rows_are_refused_or_sorted(tmp_path, route):
    rows = [ROWS["vidur"][i] for i in (3, 0, 2, 1)]
    path = write(tmp_path / "v.csv", csv_text("vidur", rows))
    with pytest.raises(FormatError, match="line 3, column 'arrived_at': expected a time not before that of the row"):
        workloads.read_vidur(path, traces())
    table = workloads.read_vidur_table(path, sort=True)
    assert table["time_s"].tolist() == [0, 0.5, 0.5, 7.25]
    assert table["prefill_tokens"].tolist() == [512, 64, 128, 64]


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_item_07_own_requests_round_trip(ending, tmp_path, route):
    if ending == "parquet":
        if route == "stdlib":
            with pytest.raises(ImportError, match=r"dnnsched\[io\]"):
                workloads.convert_trace(sample_file(tmp_path, "dnnsched"), tmp_path / "b.parquet")
            assert not (tmp_path / "b.parquet").exists()
            return
        pytest.importorskip("pyarrow")
    source, ts = sample_file(tmp_path, "dnnsched"), traces()
    target = tmp_path / f"b.{ending}"
    assert workloads.convert_trace(source, target) == 4
    first, again = (workloads.read_requests(p, ts, rng=1) for p in (source, target))
    for column in ("arrival", "model", "sample", "deadline", "priority"):
        np.testing.assert_array_equal(getattr(again, column), getattr(first, column))
    assert first.model.tolist() == [1, 0, 2, 2]
    assert first.sample.tolist() == [3, 0, 6, 1]
    assert first.deadline.tolist() == [math.inf, 2.5, math.inf, 3]
    assert first.priority.tolist() == [1, 9, 3, 1]
    table = workloads.read_requests_table(target)
    assert table["session_id"].tolist() == ["s1", "s1", "s2", "s2"]
    assert table["input_tokens"].tolist() == [10, 20, 30, 40]
    assert table["variant"].tolist() == ["x", "x", "größe", "größe"]
    fresh = workloads.read_requests(target, ts, slo_multiplier=2.0, priorities=4.0, rate=7.0, model="m0", rng=1)
    assert (fresh.model == 0).all()
    assert (fresh.priority == 4).all()
    np.testing.assert_array_equal(fresh.deadline, fresh.arrival + fresh.isolated_s * 2)
    with pytest.raises(ValueError, match="slo_multiplier: expected a value with rate, rho or time_scale"):
        workloads.read_requests(target, ts, time_scale=2.0)


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_a_saved_run_can_be_replayed(ending, tmp_path):
    if ending == "parquet":
        pytest.importorskip("pyarrow")
    ts = traces()
    wl = workloads.poisson(ts, rho=0.7, n=200, rng=4)
    res = ds.simulate(wl, "sjf")
    res.frame().write(tmp_path / f"requests.{ending}", ending)
    again = workloads.read_requests(tmp_path / f"requests.{ending}", ts, mapping={k: k for k in ts}, rng=0)
    np.testing.assert_array_equal(again.arrival, wl.arrival)
    np.testing.assert_array_equal(again.model, wl.model)


def test_workload_csv_round_trip(tmp_path, route):
    wl = workloads.gamma(traces(), rho=0.8, n=300, cv=3, rng=9)
    wl.save(tmp_path / "w.csv")
    for again in (Workload.load(tmp_path / "w.csv", wl.traces), workloads.read_requests(tmp_path / "w.csv", wl.traces)):
        for column in ("arrival", "model", "sample", "deadline", "priority"):
            np.testing.assert_array_equal(getattr(again, column), getattr(wl, column))


@pytest.mark.parametrize(("row", "message"), [
    ("1,q,0,inf,1", "line 3, column 'key': expected a known name, got 'q'"),
    ("1,m0,5,inf,1", "line 3, column 'sample': expected an index below 5 .trace 'm0'., got 5"),
    ("1,m0,-1,inf,1", "line 3, column 'sample': expected an integer >= 0"),
    ("1,m0,0,x,1", "line 3, column 'deadline_s': expected a number, or nothing, got 'x'"),
    ("1,m0,0,inf,0", "line 3, column 'priority': expected a finite number > 0, got '0'"),
])
def test_rows_that_do_not_fit_the_traces(row, message, tmp_path, route):
    path = write(tmp_path / "r.csv", f"arrival_s,key,sample,deadline_s,priority\n0,m1,1,2,3\n{row}\n")
    with pytest.raises(FormatError, match=message):
        workloads.read_requests(path, traces())
    with pytest.raises(FormatError, match=message):
        [*workloads.stream_csv(path, traces())]


# --- streaming -------------------------------------------------------------------------------------

def long_file(tmp_path, n=5_000):
    ts = traces()
    workloads.poisson(ts, rho=0.8, n=n, rng=5).save(tmp_path / "long.csv")
    return tmp_path / "long.csv", ts


@pytest.mark.parametrize("chunk", [1000, 4096, 77, 10_000])
def test_a_stream_gives_the_rows_of_the_file_whatever_its_pieces(chunk, tmp_path, route):
    path, ts = long_file(tmp_path)
    whole = workloads.read_requests(path, ts)
    stream = workloads.stream_csv(path, ts, chunk=chunk)
    pieces = [*stream]
    assert [p.n for p in pieces[:-1]] == [chunk] * (len(pieces) - 1)
    for column in ("arrival", "model", "sample", "deadline", "priority"):
        np.testing.assert_array_equal(np.concatenate([getattr(p, column) for p in pieces]), getattr(whole, column))
    drawn = np.concatenate([p.sample for p in workloads.stream_csv(path, ts, chunk=chunk, model="m2", rng=3)])
    np.testing.assert_array_equal(drawn, workloads.read_requests(path, ts, model="m2", slo_multiplier=3, rng=3).sample)
    assert sum(p.n for p in workloads.stream_csv(path, ts, chunk=chunk, n=1234)) == 1234


def test_a_stream_can_be_simulated(tmp_path, route):
    path, ts = long_file(tmp_path)
    pieces = ds.simulate(workloads.stream_csv(path, ts, chunk=512), "sjf", record="none")
    whole = ds.simulate(workloads.read_requests(path, ts), "sjf", record="none")
    assert pieces.metrics == whole.metrics


def test_a_stream_names_the_row_that_is_late_across_pieces(tmp_path, route):
    path, ts = long_file(tmp_path)
    lines = path.read_text().split("\n")
    lines[1025], lines[1024] = lines[1024], lines[1025]
    path.write_text("\n".join(lines))
    with pytest.raises(FormatError, match="line 1026, column 'arrival_s': expected a time not before"):
        [*workloads.stream_csv(path, ts, chunk=1024)]


def test_a_stream_skips_failures_and_counts_from_the_first_request(tmp_path, route):
    path = sample_file(tmp_path, "burstgpt")
    for chunk in (1, 2, 3, 9):
        stream = workloads.stream_csv(path, traces(), chunk=chunk, failures="drop", mapping="round-robin", rng=2)
        assert np.concatenate([p.arrival for p in stream]).tolist() == [0, 40.5, 113]
        assert np.concatenate([p.model for p in stream]).tolist() == [0, 0, 1]
        assert "CC-BY" in stream.meta["data_citations"][0]
    twice = workloads.stream_csv(path, traces(), failures="keep", time_scale=2.0, slo_multiplier=5.0)
    assert next(iter(twice)).arrival.tolist() == [0, 81, 226, 226]
    assert "burstgpt" in repr(twice)


@pytest.mark.parametrize(("name", "more", "message"), [
    ("azure_functions", {}, "are not in order of arrival"), ("burstgpt", {}, "failures: expected 'keep' or 'drop'"),
    ("vidur", {"failures": "keep"}, "failures: expected None"), ("vidur", {"chunk": 0}, "chunk: expected an integer"),
    ("vidur", {"time_scale": 0}, "time_scale"), ("dnnsched", {"time_scale": 2}, "slo_multiplier: expected a value"),
    ("burstgpt", {"failures": "lose"}, "failures: expected one of 'keep', 'drop'")])
def test_streams_that_cannot_be(name, more, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        workloads.stream_csv(sample_file(tmp_path, name), traces(), **more)
    path = sample_file(tmp_path, "vidur")
    with pytest.raises(ValueError, match="n: expected at most the 4 requests"):
        [*workloads.stream_csv(path, traces(), n=5)]
