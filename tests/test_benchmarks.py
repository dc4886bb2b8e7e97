"""The engine's scoreboard measures what it says; how fast is no test."""

import importlib.util
import json
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parent.parent / "benchmarks"


def script(name):
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def bench():
    return script("bench_engine")


@pytest.fixture(scope="module")
def policies():
    return script("bench_policies")


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


@pytest.mark.toolchain
def test_policies(policies, tmp_path, capsys):
    """Every form is measured at the queue that is claimed, one decision a layer; the table ends with the verdict."""
    out = tmp_path / "board.json"
    code = policies.main(["--seconds", "0.002", "--repeats", "2", "--queues", "8", "32", "--points", "4", "--requests",
                          "200", "--json", str(out)])
    board = json.loads(out.read_text(encoding="utf-8"))
    assert len(board["decisions"]) == 4
    for row in board["decisions"]:
        assert {"built-in", "ctypes", "python"} <= set(row["forms"])
        for form, m in row["forms"].items():
            asked = (row["policy"], form) != ("shortest", "built-in")  # sjf is a heap
            assert m["decisions_per_step"] == pytest.approx(1.0 if asked else 0.0, abs=0.05), (row["policy"], form)
            assert m["achieved"] == pytest.approx(row["queue"], rel=0.3)
            assert m["ns"] * m["rate"] == pytest.approx(1e9)
    sweep = board["sweep"]
    assert sweep["same"]
    assert sweep["stages"] == 4 * 200 * 50
    assert 0 < sweep["engine_share"] < 1
    printed = capsys.readouterr().out
    assert code == ("MISSED" in printed)
    assert printed.count("queue 8  ") >= 2


@pytest.mark.toolchain
def test_forms_of_a_policy_take_the_same_decisions(policies):
    """What is compared is one policy: the same schedule in every form."""
    wl = policies.ds.workloads.poisson(policies.bench_engine.trace_set(4), rho=0.95, n=60, rng=1)
    for forms in policies.contestants().values():
        tables = {form: policies.ds.simulate(wl, s).requests.tobytes() for form, s in forms.items()}
        assert len(set(tables.values())) == 1, list(tables)


def test_a_missed_promise_is_an_exit_code(policies):
    m = {"ns": 61.0, "rate": 1e9}
    out = {"decisions": [{"policy": p, "queue": 8, "forms": {"numba": m, "python": {"ns": 3001.0, "rate": 1.9e5}}}
                         for p in ("shortest", "dysta")], "sweep": {"points": 3, "speed_up": 1.69}}
    assert [met for *_, met in policies.promises(out)] == [False] * 6
    for row in out["decisions"]:
        row["forms"] = {"numba": {"ns": 60.0, "rate": 1e9}, "python": {"ns": 3000.0, "rate": 2e5}}
    out["sweep"]["speed_up"] = 1.7
    assert [met for *_, met in policies.promises(out)] == [True] * 6


@pytest.fixture(scope="module")
def kernel_bench():
    return script("bench_kernels")


def test_kernel_scoreboard(kernel_bench, tmp_path, capsys):
    out = tmp_path / "board.json"
    assert kernel_bench.main(["csr", "--only", "512x512x256 density 0.2", "--seconds", "0.001", "--cpu", "-1",
                              "--json", str(out)]) in (0, 1)
    printed = capsys.readouterr().out
    assert "before:" in printed
    record = json.loads(out.read_text(encoding="utf-8"))
    assert record["machine_before"]["origin"] == record["machine_after"]["origin"] == "measured"
    assert record["drift"] >= 0
    rows = {row["peer"].split()[0]: row for row in record["rows"]}
    assert {"torch", "mkl_sparse_s_mm", "dense"} <= set(rows)
    for row in rows.values():
        assert row["gflops"] == pytest.approx(2 * round(0.2 * 512 * 512) * 256 / row["ours_s"] / 1e9, rel=1e-3)
        assert row["achieved"] == pytest.approx(row["attainable_s"] / row["ours_s"])
        assert (row["verdict"] == "skipped") == (row["peer_s"] is None)


def test_kernel_scoreboard_judges_by_the_ratio(kernel_bench):
    board = kernel_bench.board
    kinds = [board.Result("f", "w", "p", 1.0, ratio=r, gate=1.2, goal=2.0).verdict for r in (1.1, 1.3, 2.1)]
    assert kinds == ["MISSED", "gate", "goal"]
    assert board.Result("f", "w", "p", 1.0, ratio=3.0).verdict == "info"
    assert board.Result("f", "w", "p", 1.0, ratio=1.1, gate=1.2, noisy=True).verdict == "MISSED noisy"
    assert board.Result("f", "w", "p", 1.0, skipped="no p").verdict == "skipped"


def test_kernel_scoreboard_pairs_neighbours(kernel_bench):
    calls = []
    ours_s, peer_s, ratio, _ = kernel_bench.board.pairwise(lambda: calls.append("o"), lambda: calls.append("p"), 1e-4)
    assert min(ours_s, peer_s, ratio) > 0
    assert "".join(calls).count("op") >= 5
    assert kernel_bench.board.peer("no_such_package") is None
    assert {"count", "csr"} <= set(kernel_bench.board.families())
    with pytest.raises(SystemExit):
        kernel_bench.main(["no_family"])


@pytest.mark.toolchain
def test_readers(tmp_path, capsys, monkeypatch):
    """Every route reads every row in its own process; the table ends with the gates that were missed."""
    pytest.importorskip("pyarrow")
    readers = script("bench_readers")
    monkeypatch.setattr(readers, "ROUTES", ("pyarrow", "stdlib", "stream"))
    out = tmp_path / "board.json"
    code = readers.main(["--rows", "20000", "--repeats", "1", "--json", str(out)])
    board = json.loads(out.read_text(encoding="utf-8"))
    assert [row["route"] for row in board["board"]] == ["pyarrow", "stdlib", "stream"]
    assert {row["rows"] for row in board["board"]} == {20_000}
    assert code == (1 if board["missed"] else 0)
    assert "x pyarrow" in capsys.readouterr().out
    monkeypatch.setattr(readers, "MB_PER_S", 1e9)
    monkeypatch.setattr(readers, "ROUTES", ("pyarrow",))
    assert readers.main(["--rows", "2000", "--repeats", "1"]) == 1
    assert "missed: " in capsys.readouterr().out


@pytest.mark.slow
def test_what_an_import_loads(tmp_path):
    out = tmp_path / "import.json"
    script("bench_import").main(["--repeats", "1", "--json", str(out)])  # whether it is fast enough is no test
    rows = {r["step"]: r for r in json.loads(out.read_text(encoding="utf-8"))["rows"]}
    assert rows["import dnnsched"]["packages"] == ["dnnsched"]
    assert rows["import dnnsched"]["median_ms"] > 0
