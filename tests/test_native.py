"""Native schedulers: what is accepted, that all forms decide alike, that nothing is lost or used after its end."""

import gc
import subprocess
import sys
import threading
import traceback
import weakref
from pathlib import Path

import native_policies as made
import numpy as np
import pytest
from sim_cases import random_case, workload
from test_sim_own import MyDysta, MyEdf, MyPickSjf, two

import dnnsched as ds
from dnnsched import _nativepolicy, features
from dnnsched.sim import Simulation, System


@pytest.fixture(scope="session")
def library(tmp_path_factory):
    return made.compile_library(tmp_path_factory.mktemp("policies"))


@pytest.fixture(scope="session")
def compiled(library):
    return made.by_ctypes(library)


def run(scheduler, case=None, **kw):
    requests, tables = case or two()
    return ds.simulate(workload(requests, tables), scheduler, **kw)


def finish(scheduler, **kw):
    return run(scheduler, **kw).requests["finish_s"].tolist()


def everything(error):
    return "".join(traceback.format_exception(error))


first = made.pick_callback(lambda now, n, feat, ld, param, user: 0)


# --- the same decisions in every form ---------------------------------------------------------------------------


def requests_csv(path, wl, scheduler):
    ds.simulate(wl, scheduler).frame(run_id="r", replication=0).write(path)
    return path.read_bytes()


@pytest.mark.toolchain
def test_item_04_one_policy_in_five_forms(library, compiled, tmp_path):
    """Built-in C, numba, cffi, ctypes and Python give byte-identical requests.csv on 100 random workloads."""
    pytest.importorskip("cffi")
    pytest.importorskip("numba")

    @ds.schedulers.native
    def shortest(view):
        at = 0
        for i in range(1, view.n):
            if view.remaining[i] < view.remaining[at]:
                at = i
        return at

    @ds.schedulers.native(form="score", kind="arrival", needs=("deadline",))
    def edf(view):
        return view.deadline

    @ds.schedulers.native(form="score", kind="time", params=(0.01,))
    def dysta(view, out):
        for i in range(view.n):
            e = view.remaining[i]
            pen = ((view.now - view.last_run[i]) * (1.0 / view.isolated[i])) * (1.0 / view.n)
            out[i] = e + view.param[0] * (((view.deadline[i] - view.now) - e) + pen)

    cffi = made.by_cffi(library)
    native = ds.schedulers.Native
    forms = [
        ["sjf_sparse", shortest, cffi["shortest"], compiled["shortest"], MyPickSjf()],
        ["edf", edf, native(cffi["edf"], kind="arrival", needs=("deadline",)), native(compiled["edf"], kind="arrival"),
         MyEdf()],
        ["dysta", dysta, native(cffi["dysta"], kind="time", params=(0.01,)),
         native(compiled["dysta"], kind="time", params=(0.01,)), MyDysta()],
    ]
    for seed in range(100):
        wl = workload(*random_case(60_000 + seed))
        for policies in forms if seed % 4 == 0 else forms[:1]:
            tables = {requests_csv(tmp_path / "requests.csv", wl, p) for p in policies}
            assert len(tables) == 1, (seed, policies[0])


@pytest.mark.toolchain
def test_compiled_forms_agree_with_their_python_form(compiled):
    policies = [ds.schedulers.Native(compiled["shortest"], python=MyPickSjf()),
                ds.schedulers.Native(compiled["edf"], kind="arrival", python=lambda view: view.deadline),
                ds.schedulers.Native(compiled["dysta"], kind="time", params=(0.01,), python=MyDysta())]
    for seed in range(20):
        case = random_case(61_000 + seed)
        for policy in policies:
            plain = run(policy, case).requests
            for check in (True, 1, 7):
                np.testing.assert_array_equal(plain, run(policy, case, check=check).requests)


def test_callbacks_of_ctypes_see_what_a_python_scheduler_sees():
    """Every column, the clock, the length and the parameters, at every decision."""
    native, python = [], []

    def pick(now, n, feat, ld, param, user):
        native.append((now, n, {name: [feat[at * ld + i] for i in range(n)] for at, name in enumerate(ds.sim.FEATURES)
                                if name in names}, [param[i] for i in range(1, 7)]))
        return n - 1

    class Spy:
        def pick(self, v):
            python.append((v.now, v.n, {name: getattr(v, name).tolist() for name in names},
                           [v.pool, v.resource, v.state, v.n_running, v.more_arrivals, v.flush]))
            return v.n - 1

    names = [name for name in ds.sim.FEATURES if not name.startswith(("user", "private"))]
    for seed in (3, 5):
        case = random_case(62_000 + seed)
        run(made.pick_callback(pick), case)
        run(Spy(), case)
    assert native == python
    assert len(native) > 10


@pytest.mark.toolchain
def test_parameters_reach_the_scheduler(compiled):
    seen = np.full(features.N_PARAM, -1.0)
    run(ds.schedulers.Native(compiled["spy"], params=(0.5, 7.0), user=seen))
    assert seen[features.PARAM_ABI] == features.ABI
    assert seen[features.PARAM_USER:features.PARAM_USER + 3].tolist() == [0.5, 7.0, 0.0]


# --- bad answers and lost exceptions --------------------------------------------------------------------------------


@pytest.mark.toolchain
@pytest.mark.parametrize("slot", [2, -2, 2**40, 2**63 - 1])
def test_a_pick_out_of_range_aborts(compiled, slot):
    cell = np.array([slot])
    with pytest.raises(ds.StateError, match=f"picked slot {slot} at t = 1 s") as error:
        run(ds.schedulers.Native(compiled["constant"], user=cell))
    assert "request 0" in str(error.value)


@pytest.mark.toolchain
def test_the_reserved_error_aborts(compiled):
    with pytest.raises(ds.StateError, match="callback failed at t = 1 s"):
        run(ds.schedulers.Native(compiled["constant"], user=np.array([features.PICK_ERROR])))


@pytest.mark.toolchain
@pytest.mark.parametrize("kind", ["time", "pick"])
def test_scores_that_are_nan_or_left_out_abort(compiled, kind):
    for leave_out in (0.0, 1.0):
        with pytest.raises(ds.StateError, match="NaN at t = ") as error:
            run(ds.schedulers.Native(compiled["odd"], kind=kind, params=(leave_out,)))
        assert "request" in str(error.value)


@pytest.mark.toolchain
def test_idling_forever_is_an_error(compiled):
    with pytest.raises(ds.StateError, match=r"idle for ever|stays idle"):
        run(ds.schedulers.Native(compiled["constant"], user=np.array([-1])))


def broken(now, n, feat, ld, param, *rest):
    if now >= 1.0:
        raise ZeroDivisionError("my own words")
    if len(rest) == 2:
        for i in range(n):
            rest[0][i] = feat[i]
    return 0


def lossy_forms():
    """The same broken scheduler behind everything that loses exceptions."""
    yield "ctypes pick", made.pick_callback(broken)
    score = made.score_callback(broken)
    yield from ((f"ctypes score {k}", ds.schedulers.Native(score, kind=k)) for k in ("own", "time", "pick"))


def check_lost(policy, capfd):
    before = sys.unraisablehook
    with pytest.raises(ZeroDivisionError, match="my own words") as error:
        run(policy)
    text = everything(error.value)
    assert "t = 1 s" in text
    assert "request 0" in text
    assert sys.unraisablehook is before
    assert capfd.readouterr().err == ""
    assert not _nativepolicy._running


@pytest.mark.parametrize(("name", "policy"), list(lossy_forms()), ids=[name for name, _ in lossy_forms()])
def test_an_exception_in_a_callback_is_not_lost(name, policy, capfd):
    """ctypes prints the exception and returns 0, which would run request 0."""
    check_lost(policy, capfd)


def test_an_exception_in_a_cffi_callback_is_not_lost(capfd):
    ffi = pytest.importorskip("cffi").FFI()
    check_lost(ffi.callback("int64_t(double, int64_t, double *, int64_t, double *, void *)", broken), capfd)


def test_the_hook_of_others_still_hears_other_threads(monkeypatch):
    heard = []
    monkeypatch.setattr(sys, "unraisablehook", lambda u: heard.append(u.exc_type))

    class Noisy:
        def __del__(self):
            raise LookupError("from a finalizer")

    def elsewhere():
        made.pick_callback(broken)(2.0, 1, None, 1, None, None)

    def pick(now, n, feat, ld, param, user):
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        Noisy()
        return 0

    assert finish(made.pick_callback(pick)) == [3.0, 6.0]
    assert set(heard) == {ZeroDivisionError, LookupError}


def test_python_exceptions_keep_time_and_request():
    class Broken:
        def pick(self, v):
            return broken(v.now, v.n, None, 0, None)

    with pytest.raises(ZeroDivisionError, match="my own words") as error:
        run(Broken())
    assert "t = 1 s" in everything(error.value)
    assert "request 0" in everything(error.value)


def test_a_simulation_inside_a_callback():
    inner = []

    def pick(now, n, feat, ld, param, user):
        if not inner:
            inner.append(finish(first))
            with pytest.raises(ZeroDivisionError):
                run(made.pick_callback(broken))
        return 0

    assert finish(made.pick_callback(pick)) == [3.0, 6.0]
    assert inner == [[3.0, 6.0]]


def test_runs_in_threads_do_not_mix_their_exceptions():
    results = {}

    def work(index):
        try:
            results[index] = finish(made.pick_callback(broken) if index % 2 else first)
        except ZeroDivisionError:
            results[index] = "raised"

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert results == {i: "raised" if i % 2 else [3.0, 6.0] for i in range(8)}


# --- check=N ---------------------------------------------------------------------------------------------------------


def test_check_counts_decisions_and_true_means_all():
    """A scheduler that lies from its third decision on is found by 3 and more, not by 2; True is not 1."""
    def make():
        calls = []

        class Two:
            def pick(self, v):
                calls.append(v.now)
                return 0 if len(calls) < 3 else v.n - 1

        return ds.schedulers.Native(first, python=Two())

    for check in (False, 0, None, 1, 2, np.int64(2), np.False_):
        assert finish(make(), check=check) == [3.0, 6.0]
    for check in (3, 100, True, np.True_):
        with pytest.raises(ds.StateError, match="at t = 2 s the native form picks slot 0, the Python form slot 1") as e:
            run(make(), check=check)
        assert "request 0" in str(e.value)
    for bad in (-1, 1.5, "all"):
        with pytest.raises((TypeError, ValueError), match="check"):
            run(make(), check=bad)


def test_check_finds_scores_that_differ():
    def arrival(now, n, feat, ld, param, out, user):
        for i in range(n):
            out[i] = feat[features.ARRIVAL * ld + i]

    fn = made.score_callback(arrival)
    for kind in ("arrival", "own", "time", "pick"):
        good = ds.schedulers.Native(fn, kind=kind, python=lambda v: v.arrival * (1.0 + 1e-15))
        assert finish(good, check=True) == [3.0, 6.0]
        with pytest.raises(ds.StateError, match=r"request 1 at t = 1 s is 0.5 in the native form, 1 in the Python"):
            run(ds.schedulers.Native(fn, kind=kind, python=lambda v: v.arrival * 2), check=True)


def test_check_holds_a_native_score_to_its_kind():
    def moving(now, n, feat, ld, param, out, user):
        for i in range(n):
            out[i] = feat[features.ARRIVAL * ld + i] + now

    with pytest.raises(ds.StateError, match="promises"):
        run(ds.schedulers.Native(made.score_callback(moving), kind="arrival"), check=True)
    assert finish(ds.schedulers.Native(made.score_callback(moving), kind="time"), check=True) == [3.0, 6.0]


def test_check_needs_something_to_compare_with():
    with pytest.raises(ValueError, match="python="):
        run(first, check=True)
    with pytest.raises(TypeError, match=r"pick\(view\)"):
        run(ds.schedulers.Native(first, python=type("S", (), {"score": lambda s, v: v.arrival, "pick": None})()),
            check=True)
    private = ds.schedulers.Native(made.score_callback(broken), needs=("private0", "arrival"))
    with pytest.raises(ValueError, match="private"):
        run(private, check=True)


def test_an_exception_of_the_python_form_surfaces():
    class Broken:
        def pick(self, v):
            return broken(v.now, v.n, None, 0, None)

    with pytest.raises(ZeroDivisionError) as error:
        run(ds.schedulers.Native(first, python=Broken()), check=True)
    assert "t = 1 s" in everything(error.value)


def test_check_of_built_in_schedulers_changes_nothing():
    for name in ds.schedulers.names():
        for seed in range(3):
            case = random_case(63_000 + seed)
            np.testing.assert_array_equal(run(name, case).requests, run(name, case, check=True).requests, err_msg=name)


def test_check_works_beside_hooks_and_outcomes():
    class Counting(MyEdf):
        def __init__(self):
            self.seen = []

        def on_finish(self, control, request):
            self.seen.append((control.now, request))

        def outcome(self, control, request, stage):
            return "exit" if stage == 1 else None

    plain, checked = Counting(), Counting()
    assert finish(plain) == finish(checked, check=True)
    assert plain.seen == checked.seen
    assert len(plain.seen) == 2


# --- memory and locks -------------------------------------------------------------------------------------------------


def test_the_callable_lives_as_long_as_the_simulation():
    fn = made.pick_callback(lambda now, n, feat, ld, param, user: n - 1)
    data = np.zeros(4)
    alive = weakref.ref(data)
    system = System()
    system.pool(ds.schedulers.Native(fn, user=data))
    system.program([{"pool": 0, "hold": system.table([1.0], ())}])
    sim = Simulation(system, 50)
    del fn, data, system
    gc.collect()
    assert alive() is not None
    sim.feed(np.arange(50.0))
    assert sim.run() == "done"
    del sim
    gc.collect()
    assert alive() is None


def test_a_system_is_used_by_several_simulations_at_once():
    system = System()
    system.pool(first)
    system.program([{"pool": 0, "hold": system.table([0.5], ())}])
    done = []

    def work():
        sim = Simulation(system, 200)
        sim.feed(np.arange(200.0))
        done.append((sim.run(), sim.columns["finish_s"].tolist()))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(done) == 4
    assert all(d == done[0] for d in done)


def test_a_failed_simulation_lets_go_of_everything():
    class Probe(ValueError):
        pass

    def pick(*args):
        raise Probe

    fn = made.pick_callback(pick)
    with pytest.raises(Probe) as error:
        run(fn)
    gone = weakref.ref(error.value)
    del error
    gc.collect()
    assert gone() is None


def test_many_runs_do_not_leak_references():
    policy = ds.schedulers.Native(first, params=(1.0, 2.0))
    run(policy)
    gc.collect()
    before = sys.getrefcount(first), sys.getrefcount(policy), sys.getrefcount(policy.params)
    for _ in range(50):
        run(policy)
    gc.collect()
    assert (sys.getrefcount(first), sys.getrefcount(policy), sys.getrefcount(policy.params)) == before


@pytest.mark.toolchain
def test_the_lock_is_released_when_everything_is_native(compiled):
    """Asked in C: native schedulers run without the interpreter's lock, under check they hold it."""
    counts = np.zeros(2, np.int64)
    run(ds.schedulers.Native(compiled["lock"], user=counts))
    assert counts[0] == 0
    assert counts[1] > 0
    counts[:] = 0
    run(ds.schedulers.Native(compiled["lock"], user=counts, python=lambda v: 0), check=1)
    assert counts[1] == 0
    assert counts[0] > 1


@pytest.mark.toolchain
def test_one_python_pool_makes_the_run_hold_the_lock(compiled):
    counts = np.zeros(2, np.int64)
    system = System()
    system.pool(ds.schedulers.Native(compiled["lock"], user=counts))
    system.pool(MyEdf())
    hold = system.table([1.0], ())
    system.program([{"pool": 0, "hold": hold}, {"pool": 1, "hold": hold}])
    sim = Simulation(system, 3)
    sim.feed(np.arange(3.0))
    assert sim.run() == "done"
    assert counts[1] == 0
    assert counts[0] > 0


HERE = str(Path(__file__).parent)
ENDLESS = """
import signal, sys
import numpy as np
import dnnsched as ds
import native_policies as made

fn = made.by_ctypes(sys.argv[1])["shortest"] if len(sys.argv) > 1 else made.pick_callback(lambda *a: 0)
n = 200_000
ts = ds.TraceSet({"m": ds.Trace(np.full((4, 400), 1e-3), model="m")})
wl = ds.Workload(ts, arrival=np.zeros(n), model=np.zeros(n, np.int32), sample=np.zeros(n, np.int32),
                 deadline=np.full(n, 1e9))
signal.signal(signal.SIGINT, signal.default_int_handler)
print("ready", flush=True)
try:
    ds.simulate(wl, fn)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


def interrupt(*arguments):
    import os
    import signal

    child = subprocess.Popen([sys.executable, "-c", ENDLESS, *arguments], stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": HERE})
    try:
        assert child.stdout.readline().strip() == "ready"
        signal.sigtimedwait([], 1.0)
        os.kill(child.pid, signal.SIGINT)
        out, err = child.communicate(timeout=120)
    finally:
        child.kill()
    assert out.split() == ["interrupted"], err


@pytest.mark.toolchain
def test_ctrl_c_interrupts_compiled_schedulers(library):
    interrupt(str(library))


def test_ctrl_c_interrupts_callbacks():
    interrupt()
