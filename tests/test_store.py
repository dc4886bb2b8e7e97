"""A sweep's store: what is committed survives kills, is never computed twice, and damage is told from a torn end."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
import sweep_cases as cases
from hypothesis import given, settings
from hypothesis import strategies as st

import dnnsched as ds
from dnnsched import _store, sweeps
from dnnsched.errors import FormatError, StateError

HERE = Path(__file__).resolve().parent
GRID = {"a": [1, 2, 3, 4], "b": [0.5]}


def sweep(folder, grid=None, **options):
    options = {"replications": 3, "executor": "serial", "chunk": 2} | options
    return ds.sweep(grid or GRID, cases.arithmetic, store=folder, **options)


def index(folder):
    """Everything that the index says."""
    base = sqlite3.connect(folder / "store" / "index.sqlite")
    try:
        return {table: base.execute(f"SELECT * FROM {table} ORDER BY 1, 2").fetchall()
                for table in ("meta", "segment", "point")}
    finally:
        base.close()


def segments(folder):
    return sorted((folder / "store").glob("points-*.jsonl"))


def same_numbers(a, b):
    assert a.keys == b.keys
    assert list(a.metrics) == list(b.metrics)
    assert all((a.metrics[m] == b.metrics[m]).all() for m in a.metrics)
    assert a.origins == b.origins


@pytest.fixture
def half(tmp_path):
    """A store that holds two of the four points."""
    sweep(tmp_path / "s", {"a": [1, 2], "b": [0.5]})
    return tmp_path / "s"


def test_what_is_stored_is_not_run_again(half):
    found = sweep(half)
    assert found.ran == 6
    same_numbers(found, ds.sweep(GRID, cases.arithmetic, replications=3))
    assert sweep(half).ran == 0
    assert sweep(half, replications=5).ran == 8
    assert sweep(half, {"a": [4], "b": [0.5]}, replications=1).ran == 0
    assert len(segments(half)) == 3


def test_values_that_are_no_numbers_survive(tmp_path):
    grid = {"a": [1]}
    for _ in range(2):
        found = ds.sweep(grid, cases.extremes, store=tmp_path / "s", executor="serial")
        assert {m: repr(float(v[0, 0])) for m, v in found.metrics.items()} == {
            "nan": "nan", "inf": "inf", "minus": "-inf", "tiny": "5e-324", "third": repr(1 / 3), "zero": "-0.0"}
    assert found.ran == 0


@given(st.binary(min_size=1, max_size=30))
@settings(max_examples=20, deadline=None)
def test_a_torn_end_is_cut_off_and_run_again(tmp_path_factory, rubbish):
    """Whatever a killed write leaves behind the committed part."""
    folder = tmp_path_factory.mktemp("torn") / "s"
    sweep(folder, {"a": [1, 2], "b": [0.5]})
    size = segments(folder)[0].stat().st_size
    with open(segments(folder)[0], "ab") as file:
        file.write(rubbish)
    assert _store.summary(folder)["torn"] == len(rubbish)
    assert sweep(folder).ran == 6
    assert segments(folder)[0].stat().st_size == size
    assert index(folder) == (sweeps.rebuild_index(folder), index(folder))[1]


@pytest.mark.parametrize("cut", [1, 20, 150, 400])
def test_lines_the_index_never_saw_count_as_committed(half, cut):
    """The process died between the files and the index: sound lines are entered, the broken one is run again."""
    path = segments(half)[0]
    data = path.read_bytes()
    (half / "store" / "index.sqlite").unlink()
    path.write_bytes(data[:-cut])
    sound = len(_store.read_segment(path)[0])
    assert 3 <= sound < 6
    assert sweep(half).ran == 12 - sound
    same_numbers(sweep(half), ds.sweep(GRID, cases.arithmetic, replications=3))


def test_an_index_behind_the_files_catches_up(half):
    late = shutil.copytree(half, half.parent / "late")
    sweep(half)
    for path in segments(half):
        shutil.copy(path, late / "store" / path.name)
    assert sweep(late).ran == 0
    assert index(late) == index(half)


def test_the_index_can_be_made_from_the_files(half):
    sweep(half)
    before = index(half)
    assert len(before["point"]) == 12
    for row in before["point"]:
        place = dict(zip(("hash", "replication", "seed", "key", "segment", "offset", "bytes"), row, strict=True))
        line = (half / "store" / place["segment"]).read_bytes()[place["offset"]:place["offset"] + place["bytes"]]
        found = _store.decode(line)
        assert {k: found[k] for k in ("hash", "replication", "seed", "key")} == {k: place[k] for k in (
            "hash", "replication", "seed", "key")}
    (half / "store" / "index.sqlite").write_bytes(b"not a database, but long enough to be taken for one" * 100)
    with pytest.raises(FormatError, match=r"index\.sqlite: .*--rebuild-index"):
        sweep(half)
    assert sweeps.rebuild_index(half) == 12
    assert index(half) == before
    assert sweep(half).ran == 0


@pytest.mark.parametrize("rebuild", [False, True])
def test_damage_is_an_error_that_names_file_and_row(half, rebuild):
    path = segments(half)[0]
    lines = path.read_bytes().splitlines(keepends=True)
    lines[2] = lines[2].replace(b'"sum":', b'"sun":')
    path.write_bytes(b"".join(lines))
    with pytest.raises(FormatError, match=r"points-000001\.jsonl: row 3: damaged"):
        sweeps.rebuild_index(half) if rebuild else sweep(half)
    with pytest.raises(FormatError, match="row 3: damaged"):
        _store.summary(half)


def test_missing_parts_are_errors(half):
    path = segments(half)[0]
    data = path.read_bytes()
    path.write_bytes(data[:-30])
    with pytest.raises(FormatError, match=f"expected {len(data)} bytes that were committed, got {len(data) - 30}"):
        sweep(half)
    path.unlink()
    with pytest.raises(FormatError, match="expected this file, the index has its points"):
        sweep(half)
    path.write_bytes(data)
    header = half / "store" / "sweep.json"
    header.write_text("{", encoding="utf-8")
    with pytest.raises(FormatError, match=r"sweep\.json: not JSON"):
        sweep(half)
    header.unlink()
    with pytest.raises(FormatError, match=r"sweep\.json: expected this file"):
        sweep(half)
    with pytest.raises(FormatError, match="expected this file in a sweep's store"):
        sweeps.rebuild_index(half.parent)


@pytest.mark.parametrize(("options", "message"), [
    ({"rng": 2}, r"rng: stored \[0\], now \[2\]"), ({"keep": ["sum"]}, r'keep: stored null, now \["sum"\]'),
    ({"common_over": ["a"]}, r'common_over: stored \[\], now \["a"\]')])
def test_a_store_of_another_sweep_is_refused(half, options, message):
    with pytest.raises(StateError, match=f"holds another sweep: {message}"):
        sweep(half, **options)
    with pytest.raises(StateError, match=r"function\.name: .*arithmetic.*, now .*fails"):
        ds.sweep({"a": [1]}, cases.fails, store=half)
    assert sweep(half).ran == 6


def test_two_writers_are_refused(half):
    with _store.Store(half, _store.read_header(half / "store")):
        with pytest.raises(StateError, match=rf"in use by another sweep \(process {os.getpid()}\)"):
            sweep(half)
        with pytest.raises(StateError, match="in use"):
            sweeps.rebuild_index(half)
    assert sweep(half).ran == 6


def test_a_folder_that_cannot_be_written(half):
    (half.parent / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        sweep(half.parent / "file")
    sealed = half.parent / "sealed"
    sealed.mkdir(mode=0o555)
    user = os.geteuid()
    try:
        if user == 0:
            os.seteuid(65534)
        if os.access(half.parent, os.X_OK):
            with pytest.raises(PermissionError):
                sweep(sealed)
    finally:
        os.seteuid(user)
    assert list(sealed.iterdir()) == []


def test_the_report_stands_beside_the_store(half):
    found = sweep(half)
    with pytest.raises(FormatError, match="an unfinished sweep: 12 replications of 4 points"):
        ds.report.validate(half)
    assert found.save() == half
    assert ds.report.validate(half)["store"] == {"replications": 12, "points": 4, "torn": 0}
    first = (half / "summary.csv").read_bytes()
    assert sweep(half).save() == half
    assert (half / "summary.csv").read_bytes() == first
    assert not list(half.glob(".*"))
    with pytest.raises(ValueError, match="path: expected a folder"):
        ds.sweep(GRID, cases.arithmetic).save()


@pytest.mark.slow
@pytest.mark.heavy
def test_kill_at_random_moments_loses_and_repeats_nothing(tmp_path):
    run = subprocess.run([sys.executable, str(HERE / "sweep_kills.py"), str(tmp_path), "20"], capture_output=True,
                         text=True, timeout=300, env=os.environ | {"PYTHONPATH": str(HERE)})
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout)
    assert found["kills"] == 20
    assert found["partial"] >= 15
    assert found["in_flight"] > 0
    assert found["lost"] == 0
    assert found["recomputed"] == 0
    assert found["last_ran"] == found["last_open"]
    assert found["total"] == 800
    for name in ("summary.csv", "replications.csv"):
        assert (tmp_path / "report-killed" / name).read_bytes() == (tmp_path / "report-whole" / name).read_bytes()
    before = index(tmp_path / "killed")
    assert sweeps.rebuild_index(tmp_path / "killed") == 800
    assert index(tmp_path / "killed") == before


@pytest.mark.toolchain
@pytest.mark.parametrize("executor", ["threads", "processes"])
def test_ctrl_c_stops_at_once_and_keeps_what_is_done(tmp_path, executor):
    script = tmp_path / "script.py"
    script.write_text(
        "import sys, sweep_cases as cases, dnnsched as ds\nif __name__ == '__main__':\n    ds.sweep({'a': list(range("
        "20000))}, cases.endless, executor=sys.argv[1], jobs=2, store='store', chunk=2)\n", encoding="utf-8")
    process = subprocess.Popen([sys.executable, str(script), executor], stderr=subprocess.PIPE, text=True, cwd=tmp_path,
                               env=os.environ | {"PYTHONPATH": str(HERE)}, start_new_session=True)
    end = time.monotonic() + 60
    while time.monotonic() < end and not any(p.stat().st_size for p in segments(tmp_path / "store")):
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to every process of the group
    _, error = process.communicate(timeout=30)
    assert error.splitlines()[-1] == "KeyboardInterrupt"
    assert process.returncode == -signal.SIGINT
    done = _store.summary(tmp_path / "store")
    assert 0 < done["replications"] < 20000
    assert done["torn"] == 0
    found = ds.sweep({"a": list(range(10))}, cases.endless, store=tmp_path / "store")
    assert found.ran <= max(0, 10 - done["replications"]) + 4
