"""The engine's scoreboard measures what it says; how fast is no test."""

import importlib.util
import json
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parent.parent / "benchmarks" / "bench_engine.py"


@pytest.fixture(scope="module")
def bench():
    spec = importlib.util.spec_from_file_location("bench_engine", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_scoreboard(bench, tmp_path, capsys):
    out = tmp_path / "board.json"
    assert bench.main(["--only", "fcfs", "dysta", "round_robin", "--backlogs", "2", "16", "--seconds", "0.002",
                       "--repeats", "1", "--json", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "what bounds them" in printed
    board = json.loads(out.read_text(encoding="utf-8"))
    rows = {(r["semantics"], r["scheduler"], r["backlog"]): r for r in board["engine"]}
    assert len(rows) == 10
    for (semantics, scheduler, backlog), r in rows.items():
        assert r["steps"] > 0
        assert (r["target"] is None) == (scheduler == "round_robin" or (semantics, scheduler) == ("artifact", "fcfs"))
        if scheduler == "dysta":  # every layer is a decision at the backlog that is claimed
            assert r["achieved"] == pytest.approx(backlog, rel=0.05)
            assert r["decisions_per_step"] == pytest.approx(1.0, abs=0.05)
        if scheduler == "fcfs" and semantics == "paper":
            assert r["achieved"] == backlog
            assert r["decisions_per_step"] == 0


def test_the_figures_are_all_there(bench):
    parts = list(bench.figure_tables())
    assert sum(len(slos) * len(names) for _, slos, names in parts) == 1185
    assert {table.n for table, _, _ in parts} == {1000}


def test_a_chunk_counts_its_own_steps(bench):
    run = bench.Chunks("sjf", "paper", 4)
    run(8)
    sample = run(10)
    assert sample["steps"] == 10 * bench.LAYERS
    assert sample["requests"] == 10
    assert sample["backlog"] == 4.0
