"""The shipped reproduction as a whole (acceptance item 10): verdicts, provenance, golden table; and golden updates."""

import csv
import json
import re
from pathlib import Path

import pytest

import dnnsched as ds
from dnnsched import cli, papers
from dnnsched.errors import FormatError
from dnnsched.papers import dysta
from dnnsched.papers.dysta import plan
from dnnsched.report import claims, document, golden, provenance
from dnnsched.report.results import Point, Results

GOLDEN = Path(__file__).parent / "golden"
REASON = "the cost model of set B changed"


def report(values=(1.0, 2.0, 4.0), other=7.0):
    """A report of two numbers: a mean over replications and a single one."""
    made = Results()
    made.add(Point("fig", "w", "a", "paper"), "antt", list(values), origin="synthetic", method="seeds")
    made.add(Point("fig", "w", "b, c", "paper", slo=10.0), "antt", [other], origin="synthetic", method="seeds")
    return document.Report(paper="p", title="t", citation="", profile="ci", config={}, tables={}, claims=[],
                           results=made, notes=[], recorder=provenance.Recorder({}))


@pytest.mark.slow
@pytest.mark.heavy
def test_item_10_the_ci_reproduction(tmp_path):
    """Every claim on file has the verdict on record, run.json says where the numbers come from, and the numbers are
    the golden ones.
    """
    made = papers.reproduce("dysta", "ci", quiet=True)
    made.draw_figures = None
    made.save(tmp_path / "run")
    record = json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))
    verdicts = {c["id"]: c for c in record["claims"]}
    assert list(verdicts) == [spec["id"] for spec in dysta.claim_specs()]
    for claim in verdicts.values():
        assert claim["verdict"] in claims.VERDICTS
        assert claim["verdict"] == claim["expected"], claim
        assert claim["reason"]
    check_provenance(record["provenance"])
    assert record["provenance"]["events"] > 1_000_000
    assert golden.compare(made, GOLDEN) == []


def check_provenance(found):
    texts = {"dnnsched", "compiler", "build", "isa", "cpu", "platform", "python", "numpy", "blas"}
    assert all(isinstance(found[key], str) and found[key] for key in texts)
    assert re.fullmatch("[0-9a-f]{64}", found["config_sha256"])
    assert set(found["git"]) == {"commit", "dirty"}
    assert found["policy_abi"] == ds.features.ABI
    assert found["cores"] >= 1
    assert found["seeds"]
    assert isinstance(found["inputs"], dict)
    assert isinstance(found["data_citations"], list)
    assert found["started_utc"] <= found["finished_utc"]
    assert found["wall_s"] > 0


def test_item_10_provenance_of_a_run(tmp_path):
    (tmp_path / "c.toml").write_text('replications = 1\n[workload]\ntraces = "multi-attnn"\nrho = 0.5\n'
                                     'n = 20\n[[scheduler]]\nname = "fcfs"\n', encoding="utf-8")
    assert cli.main(["run", str(tmp_path / "c.toml"), "-o", str(tmp_path / "run"), "--quiet"]) == cli.OK
    record = json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))
    check_provenance(record["provenance"])
    with open(tmp_path / "run" / "requests.csv", newline="", encoding="utf-8") as file:
        layers = sum(int(row["n_layers"]) for row in csv.DictReader(file))
    assert record["provenance"]["events"] == layers


@pytest.mark.parametrize("reason", ["", "   ", "because", None])
def test_item_10_a_golden_update_without_a_reason_fails(tmp_path, reason):
    with pytest.raises(ValueError, match="reason: expected at least ten characters"):
        golden.update(report(), tmp_path, reason)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [["--update-golden"], ["--update-golden", " "], ["--update-golden", "short"],
                                       ["--update-golden", REASON, "--golden", "tests/golden"]])
def test_item_10_the_command_refuses_before_anything_runs(arguments, monkeypatch, capsys):
    monkeypatch.setattr(papers, "reproduce", None)
    assert cli.main(["reproduce", "dysta", *arguments]) == cli.USAGE
    assert "golden" in capsys.readouterr().err


def test_update_and_compare(tmp_path):
    path = golden.update(report(), tmp_path, f"  {REASON}. ")
    assert path == tmp_path / "p" / "ci.csv"
    assert golden.compare(report(), tmp_path) == []
    assert golden.compare(report(other=7.0 + 1e-15), tmp_path) == [
        "item=fig scheduler=b, c workload=w semantics=paper group=all slo=10.0 metric=antt: expected 7.0, got "
        "7.000000000000001"]
    golden.update(report(other=8.0), tmp_path, "The second number is right now")
    log = (tmp_path / "CHANGES.md").read_text(encoding="utf-8")
    assert re.findall("^## p/ci.csv, [0-9-]{10}$", log, re.M) == re.findall("^## .*$", log, re.M)
    assert f"{REASON}: 0 numbers changed, 2 new, 0 gone." in log
    assert log.endswith("The second number is right now: 1 numbers changed, 0 new, 0 gone.\n")


def test_other_platforms_may_round_another_way(tmp_path):
    path = golden.update(report(), tmp_path, REASON)
    path.with_suffix(".json").write_text("{}", encoding="utf-8")
    assert golden.compare(report(other=7.0 * (1 + 1e-10)), tmp_path) == []
    assert len(golden.compare(report(other=7.0 * (1 + 1e-8)), tmp_path)) == 1
    assert golden.compare(report(values=(1.1, 2.0, 4.0)), tmp_path) == []
    assert len(golden.compare(report(values=(101.0, 102.0, 104.0)), tmp_path)) == 1


def test_missing_and_new_numbers_are_differences(tmp_path):
    path = golden.update(report(), tmp_path, REASON)
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join([*lines[:2], lines[2].replace("fig,", "tab,")]) + "\n", encoding="utf-8")
    assert [line.partition(":")[0] for line in golden.compare(report(), tmp_path)] == ["missing",
                                                                                       "not in the golden table"]


@pytest.mark.parametrize(("text", "message"), [
    ("a,b\n", "row 1: expected the columns item"),
    ("{head}\nfig,a,w\n", "row 2: expected 12 fields"),
    ("{head}\nfig,a,w,paper,all,,,,antt,one,,\n", "row 2: .* got 'fig,a,w"),
])
def test_damaged_golden_tables(tmp_path, text, message):
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "ci.csv").write_text(text.format(head=",".join(golden.COLUMNS)), encoding="utf-8")
    with pytest.raises(FormatError, match=message):
        golden.compare(report(), tmp_path)


def test_absent_golden_tables(tmp_path):
    with pytest.raises(FormatError, match="--update-golden REASON"):
        golden.compare(report(), tmp_path)
    with pytest.raises(FormatError, match="expected the folder of golden tables"):
        golden.update(report(), tmp_path / "none", REASON)


def test_the_command_compares(tmp_path, monkeypatch, capsys):
    small = plan.Plan("ci", seeds=(1, 2), draws=2, requests=40, etas=(0.01,), slo_loads={"attnn": (0.95,),
                                                                                        "cnn": (0.83,)})
    monkeypatch.setitem(plan.PLANS, "ci", small)
    monkeypatch.setattr(plan, "LOADS", plan.LOADS_12)
    monkeypatch.setattr(document, "has_matplotlib", lambda: False)
    out = ["-o", str(tmp_path / "run"), "--quiet", "--force"]
    assert cli.main(["reproduce", "dysta", *out, "--golden", str(GOLDEN)]) == cli.DIFFERS
    assert "differs from the golden table: " in capsys.readouterr().err
