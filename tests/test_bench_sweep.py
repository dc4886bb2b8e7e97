"""The sweep scoreboard measures what it says; how fast is no test."""

import importlib
import json
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parent.parent / "benchmarks"


@pytest.mark.toolchain
def test_sweep_scoreboard(tmp_path, capsys, monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))  # workers import its functions
    module = importlib.import_module("bench_sweep")
    assert module.main(["--quick", "--json", str(tmp_path / "board.json")]) == 0
    board = json.loads((tmp_path / "board.json").read_text(encoding="utf-8"))
    assert board["threads"]["points"] == 20
    assert board["threads"]["speedup"] == board["threads"]["one_s"] / board["threads"]["two_s"]
    assert [row["executor"] for row in board["dispatch"]] == ["serial", "threads", "processes"]
    assert all(row["chunked_us"] < row["task_us"] for row in board["dispatch"])
    assert "resumed in" in capsys.readouterr().out
