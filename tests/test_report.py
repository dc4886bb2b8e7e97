"""Tables, CSV, run directories, provenance and the tools around them, on small hand-made reports."""

import csv
import gzip
import io
import json
import math
import sys

import numpy as np
import pytest

from dnnsched import schema
from dnnsched.errors import FormatError
from dnnsched.report import document, progress, provenance, rundir, tables
from dnnsched.report.results import Point, Results
from dnnsched.statistics import Interval


def small_report(values=(1.0, 2.0, 4.0), **changes):
    made = Results()
    made.add(Point("fig", "w/x", "fcfs", "paper", rate=1 / 3, slo=10.0), "antt", values, origin="synthetic",
             method="seeds")
    given = {"paper": "p", "title": "T", "citation": "C", "profile": "ci", "config": {"a": 1}, "tables":
             {"t": tables.Table("t", "Title", ["", "x"], [["a|b", "1.5"]], "note")}, "claims": [], "results": made,
             "notes": ["n"], "recorder": provenance.Recorder({"a": 1}, seeds=[1], citations=["cite"]),
             "platforms": {"w": "Chip"}}
    return document.Report(**{**given, **changes})


def read_rows(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_saved_report_validates_and_floats_read_back(tmp_path):
    report = small_report((0.1 + 0.2, 1e-17, 1 / 3))
    report.save(tmp_path / "run")
    found = rundir.validate(tmp_path / "run")
    assert found["summary_rows"] == 1
    assert found["unexpected"] == []
    row = read_rows(tmp_path / "run" / "summary.csv")[0]
    assert float(row["rate_rps"]) == 1 / 3
    assert row["platform"] == "Chip"
    assert row["n"] == "3"
    values = [float(r["value"]) for r in read_rows(tmp_path / "run" / "replications.csv")]
    assert values == [0.1 + 0.2, 1e-17, 1 / 3]
    raw = (tmp_path / "run" / "summary.csv").read_bytes()
    assert b"\r" not in raw
    assert raw.endswith(b"\n")


def test_existing_directory_names_force_and_survives(tmp_path):
    target = tmp_path / "run"
    small_report().save(target)
    before = sorted(p.name for p in target.iterdir())
    with pytest.raises(FileExistsError, match="--force"):
        small_report().save(target)
    assert sorted(p.name for p in target.iterdir()) == before
    small_report((5.0,)).save(target, force=True)
    assert read_rows(target / "summary.csv")[0]["value"] == "5.0"
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


def test_force_does_not_replace_other_folders_or_files(tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.txt").write_text("x")
    with pytest.raises(FileExistsError, match="not a run directory"):
        small_report().save(tmp_path / "home", force=True)
    assert (tmp_path / "home" / "thesis.txt").read_text() == "x"
    (tmp_path / "empty").mkdir()
    small_report().save(tmp_path / "empty", force=True)


def test_failure_leaves_nothing_behind(tmp_path):
    class Broken:
        requests = ()

        def __iter__(self):
            raise RuntimeError("boom")

    report = small_report()
    report.run = document.NamedRun("x", "x", Broken(), None)
    with pytest.raises(AttributeError):
        report.save(tmp_path / "deep" / "run")
    assert list((tmp_path / "deep").iterdir()) == []
    small_report().save(tmp_path / "deep" / "run")
    with pytest.raises(AttributeError):
        report.save(tmp_path / "deep" / "run", force=True)
    assert read_rows(tmp_path / "deep" / "run" / "summary.csv")[0]["n"] == "3"
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["run"]


def test_interrupt_while_writing_leaves_nothing(tmp_path):
    def write():
        with rundir.writing(tmp_path / "run") as folder:
            (folder / "half.csv").write_text("x")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert list(tmp_path.iterdir()) == []


def test_report_markdown_is_the_same_for_the_same_results(tmp_path):
    assert small_report().markdown() == small_report().markdown()
    text = small_report().markdown()
    assert "a\\|b" in text
    assert "cite" in text
    assert "pip install 'dnnsched[viz]'" in small_report().markdown(missing_viz=True)


@pytest.mark.parametrize(("name", "edit", "message"), [
    ("summary.csv", lambda t: t.replace("antt", "", 1), r"summary.csv: row 2, column metric: expected a value"),
    ("summary.csv", lambda t: t.replace("2.33", "x.33", 1), r"row 2, column value: expected a number, got 'x.33"),
    ("summary.csv", lambda t: t.replace("unit,value", "value,unit"), r"row 1: expected the columns"),
    ("summary.csv", lambda t: t.splitlines()[0] + "\n", r"expected at least one row"),
    ("run.json", lambda t: t[:-5], r"run.json: not JSON"),
    ("run.json", lambda t: t.replace('"schema": 2', '"schema": 99'), r"schema: expected 2, got 99"),
    ("run.json", lambda t: t.replace('"config_sha256"', '"x"'), r"provenance: expected the key 'config_sha256'"),
])
def test_validation_names_file_row_and_column(tmp_path, name, edit, message):
    small_report().save(tmp_path / "run")
    path = tmp_path / "run" / name
    path.write_text(edit(path.read_text(encoding="utf-8")), encoding="utf-8")
    with pytest.raises(FormatError, match=message):
        rundir.validate(tmp_path / "run")


def test_validation_of_requests_and_timeline(tmp_path):
    target = tmp_path / "run"
    small_report().save(target)
    row = ("r", 1, 0, "m", "v", 0, 1.0, 0.0, 1.0, 3.0, 2.0, 1.0, 1.0, 2.0, 1.0, 0, 2, 3, "answered", True)
    columns = schema.REQUESTS.names
    tables.write_csv(target / "requests.csv", columns, [row])
    with pytest.raises(FormatError, match=r"row 2, column slo_met: expected false"):
        rundir.validate(target)
    tables.write_csv(target / "requests.csv", columns, [(*row[:-1], False)])
    assert rundir.validate(target)["request_rows"] == 1
    with gzip.open(target / "trace.json.gz", "wt") as file:
        json.dump({"traceEvents": 3}, file)
    with pytest.raises(FormatError, match="traceEvents"):
        rundir.validate(target)
    with pytest.raises(FormatError, match="expected a run directory"):
        rundir.validate(tmp_path / "none")


def test_results_reject_bad_series():
    made = Results()
    point = Point("fig")
    made.add(point, "antt", [1.0], origin="synthetic", method="m")
    with pytest.raises(ValueError, match="already stored"):
        made.add(point, "antt", [1.0], origin="synthetic", method="m")
    with pytest.raises(ValueError, match="metric: expected one of"):
        made.add(point, "speed", [1.0], origin="synthetic", method="m")
    with pytest.raises(ValueError, match="finite"):
        made.add(point, "violation_rate", [np.nan], origin="synthetic", method="m")
    with pytest.raises(ValueError, match="origin: expected one of"):
        made.add(point, "violation_rate", [1.0], origin="guess", method="m")
    with pytest.raises(ValueError, match="fields among"):
        made.find(colour="red")


@pytest.mark.parametrize(("value", "text"), [
    (0.0, "0"), (1.0, "1.00"), (9.996, "10.00"), (149.8, "150"), (0.0123, "0.0123"), (1e-7, "1.00e-07"),
    (123456.0, "1.23e+05"), (math.nan, "-"), (math.inf, "inf"), (-2.5, "-2.50"), (1000.0, "1000"),
])
def test_numbers_for_people(value, text):
    assert tables.number(value) == text


def test_interval_text():
    assert tables.with_interval(Interval(2.0, 1.0, 3.0, 0.95, 5)) == "2.00 [1.00, 3.00]"
    assert tables.with_interval(Interval(2.0, math.nan, math.nan, 0.95, 1)) == "2.00"


def test_text_table_aligns_numbers():
    text = tables.Table("t", "T", ["name", "x"], [["a", "1.5"], ["bb", "10"]]).text()
    assert text.splitlines()[2:] == ["----  ---", "a     1.5", "bb     10"]


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_progress_bar_on_a_terminal_and_silence_elsewhere(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    stream = Terminal()
    bar = progress.bar(4, "work", stream=stream)
    for _ in range(4):
        bar.update()
    bar.close()
    assert "work [##############################] 4/4" in stream.getvalue()
    quiet = io.StringIO()
    progress.bar(4, "work", stream=quiet).update()
    progress.bar(4, "work", quiet=True, stream=Terminal()).update()
    assert quiet.getvalue() == ""


def test_provenance_record(tmp_path):
    source = tmp_path / "in.csv"
    source.write_bytes(b"abc")
    recorder = provenance.Recorder({"b": 1, "a": [2]}, seeds=range(3), inputs=[source])
    record = recorder.record()
    assert record["inputs"] == {"in.csv": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"}
    assert record["config_sha256"] == provenance.Recorder({"a": [2], "b": 1}).record()["config_sha256"]
    json.dumps(record)
    for key in ("dnnsched", "git", "compiler", "isa", "cpu", "cores", "python", "numpy", "blas", "started_utc",
                "finished_utc", "wall_s", "seeds"):
        assert key in record
