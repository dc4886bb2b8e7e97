"""``dnnsched sweep``: the configuration, resuming, refusals, and the same numbers as the Python call."""

import os
import re
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest

import dnnsched as ds
from dnnsched import cli, runconfig, sweepconfig
from dnnsched.report import document

CONFIG = """
seed = 3
replications = 2

[workload]
traces = "multi-attnn-calibrated"
n = 40

[sweep]
workload.rho = [0.5, 0.9]
scheduler = ["sjf", { name = "dysta", slack = "clamped" }]
"""


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.setattr(document, "has_matplotlib", lambda: False)
    path = tmp_path / "sweep.toml"
    path.write_text(CONFIG, encoding="utf-8")
    return path


def run(config, out, *options):
    return cli.main(["sweep", str(config), "-o", str(out), "-j", "2", *options])


def test_command_line_resumes_and_grows(config, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(config, out) == cli.OK
    printed = capsys.readouterr().out
    assert "difference to sjf on the same requests" in printed
    assert "(8 replications run, 0 from the store" in printed
    assert cli.main(["validate-run", str(out)]) == cli.OK
    assert "store: 8 replications of 4 points" in capsys.readouterr().out
    first = (out / "summary.csv").read_bytes()
    assert run(config, out) == cli.USAGE
    assert "go on with --resume, replace it with --force" in capsys.readouterr().err
    (out / "store" / "index.sqlite").write_bytes(b"rubbish" * 200)
    assert run(config, out, "--resume", "--quiet") == cli.DATA
    assert "--rebuild-index" in capsys.readouterr().err
    assert run(config, out, "--rebuild-index", "--quiet") == cli.OK
    assert "(0 replications run, 8 from the store" in capsys.readouterr().out
    assert (out / "summary.csv").read_bytes() == first
    assert run(config, out, "--resume", "--quiet", "--set", "replications=3", "--set",
               "sweep.workload.rho=[0.5, 0.9, 0.7]") == cli.OK
    assert "(10 replications run, 8 from the store" in capsys.readouterr().out
    assert run(config, out, "--resume", "--set", "seed=4") == cli.USAGE
    assert "rng: stored [3], now [4]" in capsys.readouterr().err
    assert run(config, out, "--force", "--quiet", "--executor", "serial") == cli.OK
    assert "(8 replications run, 0 from the store" in capsys.readouterr().out
    assert (out / "summary.csv").read_bytes() == first


def test_numbers_are_those_of_simulate(config):
    read = sweepconfig.load(config)
    found = sweepconfig.run(read)
    for i, point in enumerate(found.points):
        name = point["scheduler"]
        scheduler = ds.schedulers.get(name) if isinstance(name, str) else ds.schedulers.Dysta(slack="clamped")
        for r in range(2):
            wl = ds.workloads.poisson(ds.traces.load("multi-attnn-calibrated"), rho=point["workload.rho"], n=40,
                                      rng=int(found.seeds[i, r]))
            assert found.metrics["antt"][i, r] == ds.simulate(wl, scheduler).metrics["antt"]
    assert found.common_over == ["scheduler"]
    assert {found.label(i, "scheduler") for i in range(4)} == {"sjf", "dysta slack=clamped"}


def test_schedulers_of_the_base_are_an_axis_by_themselves():
    data = tomllib.loads(CONFIG.replace("scheduler = [", "semantics = [\"artifact\", \"paper\"]\nclock = [")
                         .replace('"sjf", { name = "dysta", slack = "clamped" }', '"monotonic"'))
    data["scheduler"] = [{"name": "sjf"}, {"name": "dysta", "beta": 0.02}]
    read = sweepconfig.parse(data)
    assert len(read.points) == 8
    assert read.points[0] == {"workload.rho": 0.5, "semantics": "artifact", "clock": "monotonic",
                              "scheduler": {"name": "sjf"}}


def test_trace_files_are_part_of_the_sweep(config, tmp_path, capsys):
    ts = ds.traces.load("multi-attnn-calibrated")
    path = tmp_path / "own.npz"
    ts.save(path)
    assert run(config, tmp_path / "out", "--quiet", "--set", f"workload.traces={path}") == cli.OK
    ds.TraceSet({k: ts[k] for k in list(ts)[:2]}).save(path)
    assert run(config, tmp_path / "out", "--quiet", "--resume", "--set", f"workload.traces={path}") == cli.USAGE
    assert "holds another sweep: function.arguments" in capsys.readouterr().err


@pytest.mark.parametrize(("override", "message"), [
    ("sweep.workload.rh=[1]", "sweep: unknown key 'workload.rh'; did you mean 'workload.rho'"),
    ("sweep.workload.rho=0.5", "sweep.workload.rho: expected a list of values, got 0.5"),
    ("sweep.workload.rho=[]", "sweep.workload.rho: expected a list of values"),
    ("sweep.workload.rho=[0.5,-1]", "at workload.rho = -1, scheduler = 'sjf': workload.rho: expected more than 0"),
    ("sweep.workload.rho=[0.5,0.5]", "grid: points 0 and 2 are the same"),
    ("sweep.seed=[1]", "sweep.seed: cannot be an axis"), ("sweep=3", "expected a table [sweep]"),
    ("sweep.scheduler=[\"dista\"]", "did you mean 'dysta'"), ("workload.rate=3", "expected exactly one of rate, rho"),
    ("workload.traces=nothing", "nothing"), ("replication=3", "unknown key 'replication'; did you mean 'replications'"),
])
def test_bad_configurations_are_usage_errors(config, tmp_path, capsys, override, message):
    assert run(config, tmp_path / "out", "--set", override) == cli.USAGE
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out" / "store" / "sweep.json").exists() or "nothing" in override


def test_foreign_folders_are_not_replaced(config, tmp_path, capsys):
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "thesis.tex").write_text("x")
    assert run(config, tmp_path / "own", "--force") == cli.USAGE
    assert "is not a run directory" in capsys.readouterr().err
    assert cli.main(["sweep", str(tmp_path / "none.toml")]) == cli.DATA
    assert cli.main(["sweep", str(config), "--executor", "thread"]) == cli.USAGE


def test_default_folder_is_named_by_the_configuration(config, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["sweep", str(config), "--quiet"]) == cli.OK
    assert list((tmp_path / "runs").iterdir()) == [tmp_path / "runs" / sweepconfig.run_id(sweepconfig.load(config))]


@pytest.mark.toolchain
def test_an_interrupt_says_how_to_go_on(config, tmp_path):
    out = tmp_path / "out"
    command = [sys.executable, "-m", "dnnsched", "sweep", str(config), "-o", str(out), "--set", "replications=20000"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ)
    end = time.monotonic() + 60
    while time.monotonic() < end and not any(p.stat().st_size for p in out.glob("store/points-*.jsonl")):
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == cli.INTERRUPTED
    assert error == f"interrupted; finished replications are in {out}: go on with --resume\n"
    assert cli.main(["validate-run", str(out)]) == cli.DATA
    found = sweepconfig.run(sweepconfig.load(config), store=out)
    assert found.ran <= 8


def test_the_example_of_the_documentation_is_accepted():
    assert issubclass(runconfig.ConfigError, ValueError)
    data = tomllib.loads("\n".join(line[4:] for line in sweepconfig.__doc__.partition("::\n")[2].partition(
        "\nAny key")[0].splitlines()))
    assert len(sweepconfig.parse(data).points) == 12


@pytest.mark.parametrize("page", ["cli.md", "concepts/sweeps.md"])
def test_the_examples_of_the_pages_are_accepted(page):
    text = (Path(__file__).resolve().parent.parent / "docs" / page).read_text(encoding="utf-8")
    blocks = [b for b in re.findall(r"^```toml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL) if "[sweep]" in b]
    assert len(blocks) == 1
    assert len(sweepconfig.parse(tomllib.loads(blocks[0])).points) in (6, 9)
