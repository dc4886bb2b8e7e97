"""Plug-ins by entry points: found in installed distributions, loaded when used, broken ones named when used."""

import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from sim_cases import random_case, workload

import dnnsched as ds
from dnnsched import accel, cli, papers, plugins, runconfig, running

CODE = '''
"""A system of ours."""
import numpy as np
import dnnsched as ds


class Last:
    """The newest request."""

    kind = "arrival"

    def __init__(self, sign=-1.0):
        self.sign = sign

    def score(self, view):
        return self.sign * view.arrival


def make(sign=1.0):
    return Last(sign)


@ds.schedulers.native(form="score", kind="arrival", needs=("deadline",))
def fast_edf(view):
    return view.deadline


ready = Last()
nonsense = {"no": "scheduler"}


class Model:
    def __init__(self, speed=1.0):
        self.speed = speed


def pairs(ts, *, rate, rho, n, slo_multiplier, slo_base, semantics, rng):
    """Requests that arrive two by two."""
    return ds.workloads.from_arrivals(ts, np.repeat(np.arange(n // 2) / rate, 2), rng=rng,
                                      slo_multiplier=slo_multiplier, slo_base=slo_base, semantics=semantics)


def reproduce(profile="ci", **options):
    return "reproduced " + profile
'''
ENTRIES = """
[dnnsched.schedulers]
last = tiny_schedulers:Last
made = tiny_schedulers:make
ready = tiny_schedulers:ready
fast = tiny_schedulers:fast_edf
nonsense = tiny_schedulers:nonsense
gone = tiny_schedulers:no_such_name
missing = no_such_module_anywhere:thing
fcfs = tiny_schedulers:Last

[dnnsched.cost_models]
tiny_model = tiny_schedulers:Model

[dnnsched.workloads]
pairs = tiny_schedulers:pairs

[dnnsched.papers]
tiny_paper = tiny_schedulers
"""


def install(folder, name, version, entries, code=None):
    """A distribution as an installer leaves it: a module and its metadata."""
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(entries, encoding="utf-8")
    (info / "RECORD").write_text("", encoding="utf-8")
    if code is not None:
        (folder / "tiny_schedulers.py").write_text(code, encoding="utf-8")


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """The distribution tiny-schedulers 0.3 on the path."""
    folder = tmp_path / "site"
    install(folder, "tiny-schedulers", "0.3", ENTRIES, CODE)
    monkeypatch.syspath_prepend(str(folder))
    yield folder
    sys.modules.pop("tiny_schedulers", None)


def requests(scheduler, seed=5):
    return ds.simulate(workload(*random_case(seed)), scheduler).requests


def test_schedulers_by_the_name_of_a_plug_in(tiny):
    for seed in range(5):
        last = requests(ds.schedulers.get("last"), seed)
        np.testing.assert_array_equal(requests("last", seed), last)
        np.testing.assert_array_equal(requests("ready", seed), last)
        np.testing.assert_array_equal(requests(ds.schedulers.get("made", sign=-1.0), seed), last)
        np.testing.assert_array_equal(requests("made", seed), requests("fcfs", seed))


def test_native_schedulers_in_plug_ins(tiny):
    pytest.importorskip("numba")
    np.testing.assert_array_equal(requests("fast"), requests("edf"))


def test_nothing_is_imported_before_it_is_used(tiny):
    assert {p.name for p in plugins.find("schedulers")} >= {"last", "gone", "missing"}
    requests("sjf")
    with pytest.raises(ValueError, match="did you mean 'last'"):
        ds.schedulers.get("lats")
    assert cli.main(["list", "schedulers"]) == 0
    assert "tiny_schedulers" not in sys.modules
    ds.schedulers.get("last")
    assert "tiny_schedulers" in sys.modules


def test_built_in_names_come_first(tiny):
    assert isinstance(ds.schedulers.get("fcfs"), ds.schedulers.Fcfs)


@pytest.mark.parametrize(("name", "reason"), [("gone", "AttributeError"), ("missing", "ModuleNotFoundError")])
def test_a_broken_plug_in_is_named_when_it_is_used(tiny, name, reason):
    with pytest.raises(ImportError, match=reason) as error:
        ds.schedulers.get(name)
    assert f"plug-in '{name}' of tiny-schedulers 0.3" in str(error.value)
    requests("last")  # the others work


def test_a_module_that_fails_on_import(tmp_path, monkeypatch):
    install(tmp_path, "tiny-schedulers", "1", "[dnnsched.schedulers]\nbad = tiny_schedulers:x\n", "1 / 0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ImportError, match=r"tiny-schedulers 1 .*ZeroDivisionError"):
        ds.schedulers.get("bad")


def test_what_is_no_scheduler(tiny):
    with pytest.raises(TypeError, match=r"'nonsense'.*dict"):
        ds.schedulers.get("nonsense")
    with pytest.raises(ValueError, match="takes no parameters"):
        ds.schedulers.get("ready", sign=1.0)
    with pytest.raises(TypeError, match="colour"):
        ds.schedulers.get("last", colour=1)


def test_two_distributions_with_the_same_name(tiny, tmp_path, monkeypatch):
    install(tmp_path / "other", "other-schedulers", "2.0", "[dnnsched.schedulers]\nlast = tiny_schedulers:make\n")
    monkeypatch.syspath_prepend(str(tmp_path / "other"))
    with pytest.raises(ValueError, match=r"tiny-schedulers 0\.3") as error:
        ds.schedulers.get("last")
    assert "other-schedulers 2.0" in str(error.value)
    requests("ready")


def test_the_list_shows_plug_ins_with_their_distribution(tiny, capsys):
    assert cli.main(["list", "schedulers"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[: len(ds.schedulers.names())] == list(ds.schedulers.names())
    last = next(line for line in lines if line.startswith("last "))
    assert last.split() == ["last", "plug-in", "of", "tiny-schedulers", "0.3"]
    assert next(line for line in lines if line.startswith("fcfs  ")).endswith("(hidden by the name above)")
    for what, name in (("accelerators", "tiny_model"), ("arrivals", "pairs"), ("papers", "tiny_paper")):
        assert cli.main(["list", what]) == 0
        assert f"{name:24s} plug-in of tiny-schedulers 0.3" in capsys.readouterr().out


def test_cost_models(tiny):
    assert accel.get("tiny_model", speed=2.0).speed == 2.0
    with pytest.raises(ValueError, match="tiny_model"):
        accel.get("tiny_modle")


def test_papers(tiny):
    assert papers.reproduce("tiny_paper", "paper") == "reproduced paper"
    assert papers.describe("tiny_paper") == "A system of ours."
    with pytest.raises(ValueError, match="no audit"):
        papers.audit("tiny_paper")
    with pytest.raises(ValueError, match="did you mean 'tiny_paper'"):
        papers.reproduce("tiny_papr")


def test_a_run_with_arrivals_and_a_scheduler_of_a_plug_in(tiny):
    config = {"replications": 2, "timeline": False,
              "workload": {"traces": "multi-attnn-calibrated", "arrivals": "pairs", "rate": 20.0, "n": 40},
              "scheduler": [{"name": "made", "sign": -1.0}, {"name": "fcfs"}]}
    report = running.run(runconfig.parse(config), jobs=1)
    assert {s.point.scheduler for s in report.results} == {"made sign=-1.0", "fcfs"}
    config["workload"]["arrivals"] = "pear"
    with pytest.raises(runconfig.ConfigError, match="did you mean 'pairs'"):
        runconfig.parse(config)


def test_the_command_line_finds_installed_plug_ins(tiny, tmp_path):
    """A fresh interpreter, as a user has it; a broken plug-in ends with its name and code 2."""
    path = tmp_path / "run.toml"
    env = {**os.environ, "PYTHONPATH": str(tiny)}
    for name, code in (("last", 0), ("missing", 2)):
        path.write_text(textwrap.dedent(f"""
            replications = 1
            timeline = false
            [workload]
            traces = "multi-attnn-calibrated"
            rho = 0.9
            n = 30
            [[scheduler]]
            name = "{name}"
            """), encoding="utf-8")
        done = subprocess.run([sys.executable, "-m", "dnnsched", "run", path, "-o", tmp_path / name], env=env,
                              capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stderr
    assert "plug-in 'missing' of tiny-schedulers 0.3" in done.stderr
    assert not (tmp_path / "missing").exists()


def test_an_unknown_group():
    with pytest.raises(ValueError, match="cost_models"):
        plugins.find("models")
