"""@schedulers.native: one Python source that numba compiles and that runs in Python as it is."""

import json
import os
import pickle
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sim_cases import random_case
from test_native import check_lost, everything, finish, run

import dnnsched as ds
from dnnsched import features

numba = pytest.importorskip("numba")
HERE = str(Path(__file__).parent)
LIMIT = 2.0


@ds.schedulers.native(needs=("remaining",))
def shortest(view):
    """Shortest remaining time; the first of equals."""
    return view.remaining.argmin()


@ds.schedulers.native(form="score", kind="time", needs=("deadline", "last_run", "remaining"), params=(0.5, 2.0))
def mixed(view, out):
    """Slack and waiting, weighted by the parameters."""
    for i in range(view.n):
        slack = view.deadline[i] - view.now - view.remaining[i]
        out[i] = view.param[0] * slack - view.param[1] * (view.now - view.last_run[i])


@ds.schedulers.native(form="score", kind="own")
def laxity(view):
    """As llf with what Dysta knows."""
    return view.deadline - view.remaining


@ds.schedulers.native
def nosy(view):
    """Looks at everything that a view has."""
    code = (view.pool + view.resource + view.state + view.n_running + view.more_arrivals + view.flush + view.now
            + view.arrival[0] + view.priority[-1] + view.next.sum() + view.isolated.min() + view.stage[0]
            + view.program[0] + view.owner[0] + view.job[0] + view.step[0] + view.variant[0] + view.gamma[0])
    return int(code * 1e6) % view.n


@pytest.mark.parametrize("policy", [shortest, mixed, mixed.with_params(-1.0, 0.25), laxity, nosy],
                         ids=["shortest", "mixed", "other params", "laxity", "nosy"])
def test_native_and_python_form_decide_alike(policy):
    for seed in range(25):
        case = random_case(70_000 + seed)
        native = run(policy, case).requests
        np.testing.assert_array_equal(native, run(policy.python, case).requests)
        np.testing.assert_array_equal(native, run(policy, case, check=True).requests)
        np.testing.assert_array_equal(native, run(policy, case, check=3).requests)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.floats(-4, 4), st.floats(-4, 4))
def test_any_parameters(seed, a, b):
    policy = mixed.with_params(a, b)
    case = random_case(seed)
    np.testing.assert_array_equal(run(policy, case).requests, run(policy.python, case, check=True).requests)


@pytest.mark.parametrize("kind", ["own", "time", "pick"])
def test_kind_changes_the_queue_not_the_schedule(kind):
    @ds.schedulers.native(form="score", kind=kind)
    def other(view):
        return view.deadline - view.remaining

    for seed in range(10):
        case = random_case(71_000 + seed)
        np.testing.assert_array_equal(run(laxity, case).requests, run(other, case).requests)


def test_user_columns_and_oracle():
    """Columns that the caller fills, and true remaining times."""
    from dnnsched.sim import Simulation, System

    @ds.schedulers.native(needs=("user0", "user7"))
    def marked(view):
        return np.argmax(view.user0 + view.user7)

    system = System()
    system.pool(marked)
    system.program([{"pool": 0, "hold": system.table([1.0], ())}])
    sim = Simulation(system, 3)
    user = np.zeros((3, 8))
    user[:, 0], user[:, 7] = [1, 2, 3], [0, 5, 0]
    sim.feed(np.zeros(3), user=user)
    assert sim.run() == "done"
    assert sim.columns["finish_s"].tolist() == [3.0, 1.0, 2.0]

    truth = ds.schedulers.native(oracle=True, needs=("remaining",))(shortest.__wrapped__)
    for seed in range(10):
        case = random_case(72_000 + seed)
        np.testing.assert_array_equal(run(truth, case).requests, run("srpt_oracle", case).requests)


def test_helpers_and_constants():
    @numba.njit
    def slack(view, i):
        return view.deadline[i] - view.now

    scale = 3.0

    @ds.schedulers.native(form="score", kind="time")
    def helped(view, out):
        for i in range(view.n):
            out[i] = slack(view, i) * scale + features.PARAM_USER * LIMIT

    assert finish(helped, check=True) == finish("edf")


def test_the_decorated_function_is_still_a_function():
    assert shortest.__doc__.startswith("Shortest")
    assert shortest.__name__ == "shortest"
    assert shortest(type("V", (), {"remaining": np.array([3.0, 1.0])})) == 1
    assert shortest.is_native
    assert (shortest.form, shortest.kind, shortest.needs, mixed.params.tolist()) == (
        "pick", "pick", ("remaining",), [0.5, 2.0])


# --- errors -----------------------------------------------------------------------------------------------------------


def test_an_exception_in_compiled_code_stops_the_run(capfd):
    """numba prints it and returns 0: request 0 would run."""
    @ds.schedulers.native
    def broken(view):
        if view.now >= 1.0:
            raise ZeroDivisionError("my own words")
        return 0

    @ds.schedulers.native(form="score", kind="own")
    def broken_score(view, out):
        out[:] = 0.0
        if view.now >= 1.0:
            raise ZeroDivisionError("my own words")

    check_lost(broken, capfd)
    check_lost(broken_score, capfd)
    with pytest.raises(ZeroDivisionError) as error:
        run(broken, check=True)
    assert "t = 1 s" in everything(error.value)


def test_an_exception_in_a_plain_cfunc_stops_the_run(capfd):
    t = numba.types
    doubles = t.CPointer(t.float64)

    @numba.cfunc(t.int64(t.float64, t.int64, doubles, t.int64, doubles, t.voidptr))
    def broken(now, n, feat, ld, param, user):
        if now >= 1.0:
            raise ZeroDivisionError("my own words")
        return 0

    assert ds.schedulers.Native(broken).name == "broken"
    check_lost(broken, capfd)


def test_a_plain_cfunc_and_its_low_level_callable():
    scipy = pytest.importorskip("scipy")
    t = numba.types
    doubles = t.CPointer(t.float64)

    @numba.cfunc(t.void(t.float64, t.int64, doubles, t.int64, doubles, doubles, t.voidptr))
    def edf(now, n, feat, ld, param, out, user):
        for i in range(n):
            out[i] = feat[features.DEADLINE * ld + i]

    for policy in (edf, scipy.LowLevelCallable(edf.ctypes), edf.ctypes,
                   ds.schedulers.Native(edf, kind="arrival", needs=("deadline",), python=lambda v: v.deadline)):
        for seed in range(5):
            case = random_case(73_000 + seed)
            np.testing.assert_array_equal(run(policy, case).requests, run("edf", case).requests)

    @numba.cfunc(t.int32(t.float64, t.int64, doubles, t.int64, doubles, t.voidptr))
    def narrow(now, n, feat, ld, param, user):
        return 0

    with pytest.raises(TypeError, match="int32"):
        run(narrow)


@pytest.mark.parametrize("slot", [2, -2, 2**40])
def test_a_pick_out_of_range_aborts(slot):
    @ds.schedulers.native(params=(float(slot),))
    def wild(view):
        return int(view.param[0]) if view.now >= 1.0 else 0

    with pytest.raises(ds.StateError, match=f"picked slot {slot} at t = 1 s"):
        run(wild)


def test_nan_and_missing_scores_abort():
    @ds.schedulers.native(form="score", kind="time")
    def nan(view):
        return view.arrival / 0.0 - view.deadline / 0.0

    @ds.schedulers.native(form="score", kind="time")
    def half(view, out):
        out[0] = 1.0

    @ds.schedulers.native(form="score", kind="time")
    def short(view):
        return view.arrival[:1]

    for policy in (nan, half):
        with pytest.raises(ds.StateError, match="NaN"):
            run(policy)
    with pytest.raises(ValueError, match="one score per waiting request") as error:
        run(short)
    assert "t = 1 s" in everything(error.value)


def test_division_by_zero_gives_inf_as_in_numpy():
    @ds.schedulers.native(form="score", kind="time")
    def inverse(view, out):
        for i in range(view.n):
            out[i] = -1.0 / (view.arrival[i] - view.arrival[i])

    assert finish(inverse) == [3.0, 6.0]


def test_picks_must_be_integers():
    for answer in (0.5, None, "0", True):
        @ds.schedulers.native
        def wrong(view, answer=answer):
            return answer

        with pytest.raises(TypeError, match=r"integer|compile"):
            run(wrong)


def test_engine_memory_cannot_be_written():
    @ds.schedulers.native
    def vandal(view):
        view.remaining[0] = 0.0
        return 0

    with pytest.raises(TypeError, match=r"(?i)readonly|read-only|Cannot modify"):
        run(vandal)


def test_columns_that_were_not_declared_do_not_exist():
    @ds.schedulers.native(needs=("arrival",))
    def greedy(view):
        return int(view.remaining[0])

    with pytest.raises(TypeError, match="remaining"):
        run(greedy)
    with pytest.raises(AttributeError, match="remaining"):
        run(greedy.python)


def test_boundscheck():
    @ds.schedulers.native(boundscheck=True)
    def beyond(view):
        return int(view.arrival[view.n + 5])

    with pytest.raises(IndexError) as error:
        run(beyond)
    assert "t = 0 s" in everything(error.value)


def test_bad_declarations():
    for function, options, error, word in [
            (lambda view, out: 0, {}, TypeError, "2 arguments"),
            (lambda: 0, {"form": "score"}, TypeError, "0 arguments"),
            (lambda view: 0, {"form": "score", "kind": "never"}, ValueError, "kind"),
            (lambda view: 0, {"kind": "own"}, ValueError, "score form"),
            (lambda view: 0, {"needs": ("deadlin",)}, ValueError, "deadline"), (len, {}, TypeError, "function")]:
        with pytest.raises(error, match=word):
            ds.schedulers.native(**options)(function)
    with pytest.raises(ValueError, match="expected 2 numbers"):
        mixed.with_params(1.0)


def test_a_wrong_python_form_is_found():
    """The two forms are one source; integer overflow still tells them apart, and check finds it."""
    @ds.schedulers.native
    def wraps(view):
        big = 2**62
        return 0 if (big + big) * view.n > 0 else view.n - 1

    with pytest.raises(ds.StateError, match="the native form picks slot 1, the Python form slot 0") as error:
        run(wraps, check=True)
    assert "t = 1 s" in str(error.value)


def test_without_numba_the_message_names_the_extra():
    code = """
    import sys
    sys.modules["numba"] = None
    import numpy as np
    import dnnsched as ds
    from test_native import two
    from sim_cases import workload

    @ds.schedulers.native
    def first(view):
        return 0

    wl = workload(*two())
    print(ds.simulate(wl, first.python).requests["finish_s"].tolist())
    try:
        ds.simulate(wl, first)
    except ImportError as error:
        print(error)
    """
    out = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True, capture_output=True, text=True,
                         env={**os.environ, "PYTHONPATH": HERE}).stdout.splitlines()
    assert out[0] == "[3.0, 6.0]"
    assert "dnnsched[numba]" in out[1]


# --- compiled once, in any thread; moved to other processes -----------------------------------------------------


def test_compiled_once_by_whoever_comes_first():
    calls = []

    @ds.schedulers.native
    def counted(view):
        return 0

    real = counted._code._compile

    def compile_once(module):
        calls.append(threading.get_ident())
        return real(module)

    counted._code._compile = compile_once
    threads = [threading.Thread(target=lambda: finish(counted)) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(calls) == 1
    assert counted.with_params().compile() is counted.compile()


def test_pickled_by_name():
    text = pickle.dumps(mixed.with_params(1.0, 2.0))
    assert b"test_native_compile:mixed" in text
    again = pickle.loads(text)
    assert again.params.tolist() == [1.0, 2.0]
    assert again._code is mixed._code


def test_pickled_by_source_with_its_closure():
    factor = np.array([2.0, 0.5])

    def twice(x):
        return 2 * x

    def weight(view, i):
        return twice(view.priority[i]) * factor[0]

    helper = numba.njit(weight)

    @ds.schedulers.native(form="score", kind="time", params=(0.1,))
    def local(view, out):
        for i in range(view.n):
            out[i] = view.param[0] * np.sqrt(view.arrival[i]) - view.deadline[i] * factor[1]

    again = pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(local))))
    assert again is not local
    for seed in range(5):
        case = random_case(74_000 + seed)
        np.testing.assert_array_equal(run(local, case).requests, run(again, case, check=True).requests)
    assert helper is not None


NOTEBOOK = """
import json, pickle, subprocess, sys
import numpy as np
import dnnsched as ds
from sim_cases import random_case, workload

WEIGHT = 0.25

def slack(view, i):
    return view.deadline[i] - view.now

import numba
fast_slack = numba.njit(slack)

@ds.schedulers.native(form="score", kind="time", params=(2.0,))
def mine(view, out):
    for i in range(view.n):
        out[i] = WEIGHT * fast_slack(view, i) + view.param[0] * view.remaining[i]

wl = workload(*random_case(75_001))
with open(sys.argv[1], "wb") as file:
    pickle.dump((mine.with_params(0.5), wl.arrival), file)
print(json.dumps(ds.simulate(wl, mine.with_params(0.5)).requests["finish_s"].tolist()))
"""


def test_defined_in_main_and_run_in_another_process(tmp_path):
    """As from a notebook: the source text travels, with the constants and helpers that it uses."""
    script = tmp_path / "notebook.py"
    script.write_text(NOTEBOOK, encoding="utf-8")
    env = {**os.environ, "PYTHONPATH": HERE}
    there = json.loads(subprocess.run([sys.executable, script, tmp_path / "p.pickle"], check=True, capture_output=True,
                                      text=True, env=env).stdout)
    policy, _ = pickle.loads((tmp_path / "p.pickle").read_bytes())
    res = run(policy, random_case(75_001), check=True)
    assert res.requests["finish_s"].tolist() == there
    assert policy.params.tolist() == [0.5]


def test_what_cannot_move_says_so():
    scheduler = ds.schedulers.native(lambda view: 0)
    with pytest.raises(TypeError, match="def"):
        pickle.dumps(scheduler)
    space = {}
    exec("def f(view):\n    return 0\n", space)
    with pytest.raises(TypeError, match="source text"):
        pickle.dumps(ds.schedulers.native(space["f"]))


def antt(seed, scheduler):
    wl = ds.workloads.poisson(ds.traces.load("multi-attnn"), rho=0.9, n=40, rng=seed)
    return ds.simulate(wl, scheduler).metrics["antt"]


def test_in_a_sweep_on_threads_and_processes():
    policies = [shortest, mixed, mixed.with_params(1.0, 0.5)]
    results = [ds.sweep({"scheduler": policies}, antt, replications=2, executor=e, jobs=2)
               for e in ("serial", "threads", "processes")]
    values = [[r.values("value", scheduler=p).tolist() for p in policies] for r in results]
    assert values[0] == values[1] == values[2]
    assert values[0][1] != values[0][2]
