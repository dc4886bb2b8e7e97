"""The command line: exit codes, refusals, whole or no output, the same bytes twice."""

import hashlib
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from dnnsched import cli
from dnnsched.papers.dysta import plan, runs
from dnnsched.report import document

CONFIG = """
seed = 3
replications = 2

[workload]
traces = "multi-attnn-calibrated"
rho = 0.9
n = 60

[[scheduler]]
name = "dysta"

[[scheduler]]
name = "dysta"
slack = "clamped"
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text(CONFIG, encoding="utf-8")
    return path


@pytest.fixture
def tiny(monkeypatch):
    """The ci profile shrunk to a few requests: its verdicts differ from the record."""
    small = plan.Plan("ci", seeds=(1, 2), draws=2, requests=40, etas=(0.01,),
                      slo_loads={"attnn": (0.95,), "cnn": (0.83,)})
    monkeypatch.setitem(plan.PLANS, "ci", small)
    monkeypatch.setattr(plan, "LOADS", plan.LOADS_12)


def files(folder):
    return {p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
            for p in sorted(Path(folder).rglob("*")) if p.is_file()}


@pytest.mark.heavy
@pytest.mark.slow
def test_reproduce_writes_everything_twice_the_same(tiny, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    for name, jobs in (("a", "1"), ("b", "3")):
        assert cli.main(["reproduce", "dysta", "-o", str(tmp_path / name), "-j", jobs]) == cli.DIFFERS
    captured = capsys.readouterr()
    assert "Table 5 and Fig. 12" in captured.out
    assert "differs from the record" in captured.err
    a, b = files(tmp_path / "a"), files(tmp_path / "b")
    assert a.pop("run.json")
    assert b.pop("run.json")
    assert a == b
    assert {"summary.csv", "replications.csv", "claims.csv", "requests.csv", "report.md", "report.html",
            "trace.json.gz", "figures/tradeoff.svg", "figures/tradeoff.png", "figures/predictor.svg",
            "figures/slo_sweep.png", "figures/rate_sweep.svg", "figures/breakdown.png"} <= set(a)
    assert (tmp_path / "a" / "report.html").stat().st_size < 2_000_000
    assert cli.main(["validate-run", str(tmp_path / "a")]) == cli.DIFFERS
    assert "valid;" in capsys.readouterr().out


def test_existing_output_is_refused_before_anything_runs(tiny, tmp_path, monkeypatch, capsys):
    (tmp_path / "run").mkdir()
    monkeypatch.setattr(runs, "simulate", None)
    assert cli.main(["reproduce", "dysta", "-o", str(tmp_path / "run")]) == cli.USAGE
    assert "--force" in capsys.readouterr().err


def test_failure_in_a_run_leaves_no_directory(tiny, tmp_path, monkeypatch, capsys):
    def broken(*args, **kwargs):
        raise ValueError("rate: expected more than 0, got -1")

    monkeypatch.setattr(runs, "simulate", broken)
    assert cli.main(["reproduce", "dysta", "-o", str(tmp_path / "run"), "--quiet"]) == cli.USAGE
    assert "rate: expected more than 0" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_interrupt_is_clean(tiny, tmp_path, monkeypatch, capsys):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(runs, "simulate", interrupted)
    assert cli.main(["reproduce", "dysta", "-o", str(tmp_path / "run"), "--quiet"]) == cli.INTERRUPTED
    assert "interrupted" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_run_writes_a_valid_directory(config, tmp_path, capsys):
    out = tmp_path / "run"
    assert cli.main(["run", str(config), "-o", str(out), "--save-requests"]) == cli.OK
    assert "dysta slack=clamped" in capsys.readouterr().out
    assert {"requests.csv", "requests-dysta-slack-clamped.csv", "trace.json.gz", "summary.csv"} <= set(files(out))
    assert cli.main(["validate-run", str(out)]) == cli.OK
    assert cli.main(["run", str(config), "-o", str(out)]) == cli.USAGE
    assert cli.main(["run", str(config), "-o", str(out), "--force", "--set", "replications=1", "-j", "1"]) == cli.OK


def test_run_prints_paired_differences(config, tmp_path, capsys):
    assert cli.main(["run", str(config), "-o", str(tmp_path / "run")]) == cli.OK
    assert "dysta slack=clamped - dysta" in capsys.readouterr().out


def test_signal_during_a_real_run_leaves_nothing(tmp_path):
    out = tmp_path / "run"
    process = subprocess.Popen([sys.executable, "-m", "dnnsched", "reproduce", "dysta", "-o", str(out), "--profile",
                                "paper"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    time.sleep(4)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == cli.INTERRUPTED
    assert "interrupted" in error
    assert list(tmp_path.iterdir()) == []


def test_original_trace_files_are_run_exactly(tiny, tmp_path, capsys):
    rng = np.random.default_rng(4)
    folder = tmp_path / "csv"
    folder.mkdir()
    for name, layers in (("bert", 4), ("gpt2", 3), ("bart", 6)):
        density = rng.uniform(0.2, 0.4, (8, layers)).tolist()
        lines = ["overall-sparsity,batch-indx,layer-indx,50%-skip"]
        lines += [f"{d!r},{b},{k},{1.3 * d!r}" for b, row in enumerate(density) for k, d in enumerate(row)]
        (folder / f"{name}.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    out = tmp_path / "run"
    assert cli.main(["reproduce", "dysta", "--traces", str(folder), "-o", str(out)]) == cli.DIFFERS
    text = capsys.readouterr().out
    assert "original" in text
    record = json.loads((out / "run.json").read_text(encoding="utf-8"))
    assert set(record["config"]["traces"]) == {"bert.csv", "gpt2.csv", "bart.csv"}
    verdicts = {c["id"]: c["verdict"] for c in record["claims"]}
    assert verdicts["original-attnn-antt"] == "not reproduced"
    assert verdicts["original-cnn-antt"] == "not attempted"


def test_without_matplotlib_the_report_names_the_extra(tiny, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(document, "has_matplotlib", lambda: False)
    cli.main(["reproduce", "dysta", "-o", str(tmp_path / "run"), "--quiet"])
    assert "pip install 'dnnsched[viz]'" in capsys.readouterr().err
    assert "pip install 'dnnsched[viz]'" in (tmp_path / "run" / "report.md").read_text(encoding="utf-8")
    assert not (tmp_path / "run" / "figures").exists()


def test_run_is_the_same_for_any_thread_count(config, tmp_path):
    for name, jobs in (("a", "1"), ("b", "4")):
        assert cli.main(["run", str(config), "-o", str(tmp_path / name), "-j", jobs, "--quiet"]) == cli.OK
    a, b = files(tmp_path / "a"), files(tmp_path / "b")
    a.pop("run.json"), b.pop("run.json")
    assert a == b


@pytest.mark.parametrize(("overrides", "message"), [
    (["workload.rh=0.9"], "unknown key 'rh'; did you mean 'rho'"),
    (["workload.rate=3"], "expected exactly one of rate, rho"),
    (["workload.rho=-1"], "workload.rho: expected more than 0, got -1.0"),
    (["workload.rho=nan"], "workload.rho: expected a finite number"),
    (["workload.n=0"], "workload.n: expected at least 1, got 0"),
    (["workload.n=1.5"], "workload.n: expected a whole number, got 1.5"),
    (["workload.arrivals=poison"], "did you mean 'poisson'"),
    (["workload.cv=2"], "workload.cv: needed by arrivals"),
    (["workload.traces=multi-atnn"], "did you mean 'multi-attnn'"),
    (["semantics=papr"], "semantics: expected one of paper, artifact, got 'papr'"),
    (["warmup=60"], "warmup: expected less than workload.n = 60, got 60"),
    (["sed=2"], "unknown key 'sed'; did you mean 'seed'"),
    (["scheduler.1.name=dista"], "scheduler 1: "),
    (["scheduler.1.slack=soft"], "scheduler 1: slack"),
    (["scheduler.1.bta=2"], "scheduler 1: "),
    (["nonsense"], "expected key=value"),
])
def test_bad_configuration_is_a_usage_error(config, tmp_path, capsys, overrides, message):
    arguments = [a for o in overrides for a in ("--set", o)]
    assert cli.main(["run", str(config), "-o", str(tmp_path / "run"), *arguments]) == cli.USAGE
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_bad_input_data_is_exit_code_3(tmp_path, config, capsys):
    assert cli.main(["run", str(tmp_path / "none.toml")]) == cli.DATA
    (tmp_path / "bad.toml").write_text("seed = [", encoding="utf-8")
    assert cli.main(["run", str(tmp_path / "bad.toml")]) == cli.DATA
    assert cli.main(["validate-run", str(tmp_path)]) == cli.DATA
    folder = tmp_path / "traces"
    folder.mkdir()
    assert cli.main(["reproduce", "dysta", "--traces", str(folder), "-o", str(tmp_path / "run")]) == cli.DATA
    (folder / "bert.csv").write_text("overall-sparsity,batch-indx,layer-indx,sim_lat\n0.5,0,0,-1\n", encoding="utf-8")
    assert cli.main(["reproduce", "dysta", "--traces", str(folder), "-o", str(tmp_path / "run")]) == cli.DATA
    assert "bert.csv" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("arguments", [
    [], ["reprodce"], ["reproduce"], ["reproduce", "dista"], ["reproduce", "dysta", "--profile", "big"],
    ["reproduce", "dysta", "-j", "0"], ["list", "paper"], ["audit", "dista"],
])
def test_usage_errors(arguments, capsys):
    assert cli.main(arguments) == cli.USAGE
    assert capsys.readouterr().err


def test_did_you_mean(capsys):
    cli.main(["list", "paper"])
    assert "did you mean 'papers'" in capsys.readouterr().err


def test_list_info_audit(capsys):
    for what, word in (("papers", "dysta"), ("schedulers", "planaria"), ("traces", "multi-cnn-calibrated"),
                       ("networks", "resnet50"), ("arrivals", "poisson")):
        assert cli.main(["list", what]) == cli.OK
        assert word in capsys.readouterr().out
    assert cli.main(["info"]) == cli.OK
    assert "numpy" in capsys.readouterr().out
    assert cli.main(["audit", "dysta"]) == cli.OK
    assert "contradictions" in capsys.readouterr().out


def test_export_timeline(config, tmp_path, capsys):
    out = tmp_path / "t.json.gz"
    assert cli.main(["export-timeline", str(config), "-o", str(out), "--scheduler", "dysta slack=clamped"]) == cli.OK
    assert out.stat().st_size > 1000
    assert cli.main(["export-timeline", str(config), "-o", str(out)]) == cli.USAGE
    assert "--force" in capsys.readouterr().err
    assert cli.main(["export-timeline", str(config), "-o", str(out), "--force", "--scheduler", "sjf"]) == cli.USAGE


def test_module_entry_and_missing_matplotlib(tmp_path):
    code = ("import sys; sys.modules['matplotlib'] = None\n"
            "from dnnsched import cli\n"
            "from dnnsched.viz import dysta\n")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "pip install 'dnnsched[viz]'" in done.stderr
    done = subprocess.run([sys.executable, "-m", "dnnsched", "list", "papers"], capture_output=True, text=True)
    assert done.returncode == 0
    assert "dysta" in done.stdout
