"""The flat policy ABI: which callables are accepted, which signatures, ds.features, and how they move."""

import ctypes
import os
import pickle
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import native_policies as made
import pytest
from test_native import finish, first, run

import dnnsched as ds
from dnnsched import features
from dnnsched._native import _sim

# --- what is accepted ---------------------------------------------------------------------------------------------


CAPSULE = ctypes.pythonapi.PyCapsule_New
CAPSULE.restype, CAPSULE.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
SET_CONTEXT = ctypes.pythonapi.PyCapsule_SetContext
SET_CONTEXT.argtypes = [ctypes.py_object, ctypes.c_void_p]


def capsule(fn, name):
    """PyCapsule of a ctypes function (which must live as long), and the memory of its name."""
    text = ctypes.create_string_buffer(name.encode())
    made_here = CAPSULE(ctypes.cast(fn, ctypes.c_void_p), ctypes.cast(text, ctypes.c_char_p), None)
    return made_here, text


@pytest.mark.parametrize("name", [
    features.SIGNATURES["pick"], "long (double, long, double *, long, double *, void *)",
    "int64_t(double,long long,const double*,int64_t,double const *,void*)",
    "int64_t pick(double now, int64_t n, const double *feat, int64_t ld, const double *param, void *user);",
    "long long int ( * ) ( double , signed long , double const * const , int64_t , double * restrict , void * )",
    "npy_intp pick(double t, ssize_t n, const double feat[], Py_ssize_t ld, double *param, void *)".replace(
        "feat[]", "*feat")])
def test_capsules_by_the_name_of_their_signature(name):
    cap, text = capsule(first, name)
    assert finish(cap) == [3.0, 6.0]
    assert ds.schedulers.Native(cap).form == "pick"
    assert text


def test_the_context_of_a_capsule_is_the_user_pointer():
    seen = []
    fn = made.pick_callback(lambda now, n, feat, ld, param, user: seen.append(user) or 0)
    cap, text = capsule(fn, features.SIGNATURES["pick"])
    SET_CONTEXT(cap, 0x1230)
    run(cap)
    assert set(seen) == {0x1230}
    assert text


def test_low_level_callable_of_scipy():
    scipy = pytest.importorskip("scipy")
    assert finish(scipy.LowLevelCallable(first)) == [3.0, 6.0]
    with_data = scipy.LowLevelCallable(first, ctypes.c_void_p(64))
    assert ds.schedulers.Native(with_data).bind()[1] == 64


def test_cffi_callbacks():
    ffi = pytest.importorskip("cffi").FFI()

    @ffi.callback("int64_t(double, int64_t, const double *, int64_t, const double *, void *)")
    def last(now, n, feat, ld, param, user):
        return n - 1

    assert finish(last) == finish(type("Last", (), {"pick": lambda self, v: v.n - 1})())
    with pytest.raises(TypeError, match=r"int\(\*\)\(int\)"):
        run(ffi.callback("int(int)", lambda x: x))
    with pytest.raises(TypeError, match=r"'int\[3\]'"):
        run(ffi.new("int[3]"))


def test_no_package_is_imported():
    """Accepting a ctypes callback or a capsule loads none of numba, cffi and SciPy, and so does the module itself."""
    code = """
    import sys
    import dnnsched as ds
    from dnnsched import schedulers, sim
    assert not {"numba", "cffi", "_cffi_backend", "scipy", "ctypes"} & set(sys.modules) - {"ctypes"}, "import"
    import native_policies as made
    fn = made.pick_callback(lambda *a: 0)
    ds.schedulers.Native(fn)
    @ds.schedulers.native
    def later(view):
        return 0
    assert not {"numba", "cffi", "_cffi_backend", "scipy"} & set(sys.modules), "use"
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True,
                   env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)})


# --- wrong signatures --------------------------------------------------------------------------------------------


WRONG = ["int (double, int64_t, double *, int64_t, double *, void *)",
         "int64_t (float, int64_t, double *, int64_t, double *, void *)",
         "int64_t (double, int64_t, float *, int64_t, double *, void *)",
         "int64_t (double, int64_t, double **, int64_t, double *, void *)",
         "int64_t (double, int64_t, double *, int64_t, double *)",
         "int64_t (double, uint64_t, double *, int64_t, double *, void *)",
         "int64_t (double, unsigned long, double *, int64_t, double *, void *)",
         "int64_t (double, int64_t, double *, int64_t, double *, double *)",
         "double (double, int64_t, double *, int64_t, double *, double *, void *)",
         "void (double, int64_t, double *, int64_t, double *, void *)", "pick", "", "int64_t ()"]


@pytest.mark.parametrize("name", WRONG)
def test_wrong_signatures_say_what_was_got_and_what_is_expected(name):
    cap, text = capsule(first, name)
    with pytest.raises(TypeError, match="expected") as error:
        run(cap)
    assert name in str(error.value)
    assert features.SIGNATURES["pick"] in str(error.value)
    assert features.SIGNATURES["score"] in str(error.value)
    assert text


def test_a_capsule_without_a_name():
    cap = CAPSULE(ctypes.cast(first, ctypes.c_void_p), None, None)
    with pytest.raises(TypeError, match="expected"):
        run(cap)
    with pytest.raises(TypeError, match="PyCapsule"):
        _sim.capsule(3)


@pytest.mark.parametrize("types", [(ctypes.c_int32, *made.PICK[1:]), (None, *made.PICK[1:]), made.PICK[:-1],
                                   (*made.PICK[:1], ctypes.c_float, *made.PICK[2:]),
                                   (*made.PICK[:2], ctypes.c_uint64, *made.PICK[3:]),
                                   (*made.PICK[:3], ctypes.c_void_p, *made.PICK[4:])])
def test_ctypes_functions_of_other_types(types):
    with pytest.raises(TypeError, match="expected") as error:
        run(ctypes.CFUNCTYPE(*types)(lambda *a: 0))
    assert "int64_t" in str(error.value)


def test_ctypes_functions_must_declare_their_types():
    with pytest.raises(TypeError, match="declared"):
        run(ctypes.CDLL(None).abs)


def test_a_form_that_the_signature_contradicts():
    with pytest.raises(TypeError, match="score"):
        ds.schedulers.Native(first, form="score")


@pytest.mark.parametrize(("options", "error", "word"), [
    ({"kind": "sometimes"}, ValueError, "kind"), ({"kind": "own"}, ValueError, "score form"),
    ({"form": "choose"}, ValueError, "form"), ({"needs": ("dedline",)}, ValueError, "deadline"),
    ({"params": range(33)}, ValueError, "at most 32"), ({"params": ("x",)}, ValueError, "x"),
    ({"user": "x"}, TypeError, "user"), ({"user": -1}, TypeError, "user"), ({"user": True}, TypeError, "user")])
def test_bad_options(options, error, word):
    with pytest.raises(error, match=word):
        ds.schedulers.Native(first, **options)


def test_what_is_no_native_callable():
    for thing in (len, lambda v: 0, 3, "fcfs", object(), type(first)):
        with pytest.raises(TypeError, match="expected a numba CFunc"):
            ds.schedulers.Native(thing)


def test_a_null_pointer():
    fn = ctypes.CFUNCTYPE(*made.PICK)(0)
    with pytest.raises(ValueError, match="NULL"):
        run(fn)


# --- ds.features ----------------------------------------------------------------------------------------------------


def test_features_are_the_engines():
    assert tuple(f.name.lower() for f in features.Feature) == _sim.features == ds.sim.FEATURES
    assert [f.value for f in features.Feature] == list(range(features.N_FEATURE))
    assert all(getattr(features, f.name) == f.value for f in features.Feature)
    assert all(type(getattr(features, f.name)) is int for f in features.Feature)
    assert (features.DEADLINE, features.USER0, features.PARAM_USER, features.N_PARAM) == (1, 13, 16, 48)
    assert (features.PICK_IDLE, features.PICK_ERROR, features.ABI) == (-1, -2**63, 1)
    assert (features.PARAM_ABI, features.PARAM_FLUSH) == (0, 6)
    assert set(features.__all__) <= set(dir(features))


def test_features_agree_with_the_header():
    """Each name of the C enums has the value that the package exports, and the generated header says the same."""
    header = Path(__file__).resolve().parent.parent / "csrc" / "include" / "dns" / "sched.h"
    if not header.exists():
        pytest.skip("no C sources beside the tests")
    text = header.read_text(encoding="utf-8")
    names = {**{f"DNS_F_{f.name}": f.value for f in features.Feature}, "DNS_N_FEATURE": features.N_FEATURE,
             "DNS_PARAM_USER": features.PARAM_USER, "DNS_N_PARAM": features.N_PARAM,
             **{f"DNS_P_{name.upper()}": at for name, at in _sim.params.items()}}
    declared = {name: int(value) for name, value in re.findall(r"(DNS_\w+) = (\d+)", text) if name in names}
    assert len(declared) >= 13 + 1 + 4 + 4 + 5
    assert all(names[name] == value for name, value in declared.items())
    assert set(re.findall(r"DNS_P_\w+", text)) == {n for n in names if n.startswith("DNS_P_")}
    generated = dict(re.findall(r"#define (DNS_\w+) (\d+)", features.c_header()))
    assert {name: int(value) for name, value in generated.items()} == names | {"DNS_POLICY_ABI": features.ABI}


# --- to other processes -----------------------------------------------------------------------------------------------


def make_native(slot=0):
    """Factory of a native scheduler: the last or the first."""
    return ds.schedulers.Native(made.pick_callback(lambda now, n, *rest: n - 1 if slot else 0), params=(1.0,))


def test_addresses_do_not_pickle_but_factories_do():
    with pytest.raises(TypeError, match="from_factory"):
        pickle.dumps(ds.schedulers.Native(first))
    policy = ds.schedulers.from_factory("test_native_abi:make_native", slot=1).with_params(3.0)
    again = pickle.loads(pickle.dumps(policy))
    assert again.params.tolist() == [3.0]
    assert finish(again) == finish(policy) != finish(first)


def antt(seed, scheduler):
    wl = ds.workloads.poisson(ds.traces.load("multi-attnn"), rho=0.9, n=40, rng=seed)
    return ds.simulate(wl, scheduler).metrics["antt"]


def test_in_a_sweep_on_threads_and_processes():
    """Factories travel and have keys; a bare address has none."""
    policies = [ds.schedulers.from_factory("test_native_abi:make_native", slot=s) for s in (0, 1)]
    results = [ds.sweep({"scheduler": policies}, antt, replications=2, executor=e, jobs=2)
               for e in ("serial", "threads", "processes")]
    values = [[r.values("value", scheduler=p).tolist() for p in policies] for r in results]
    assert values[0] == values[1] == values[2]
    assert values[0][0] != values[0][1]
    with pytest.raises(TypeError, match="from_factory"):
        ds.sweep({"scheduler": [ds.schedulers.Native(first)]}, antt)


@pytest.mark.parametrize(("target", "word"), [("nothing", "module:function"), ("no_such_module_at_all:f", "no_such"),
                                              ("test_native_abi:no_such", "no_such")])
def test_bad_factories(target, word):
    with pytest.raises(ValueError, match=word):
        ds.schedulers.from_factory(target)


def test_a_factory_that_makes_something_else():
    with pytest.raises(TypeError, match="dict"):
        ds.schedulers.from_factory("builtins:dict")


def test_results_name_the_scheduler():
    res = run(ds.schedulers.Native(first, name="mine"))
    assert res.config["scheduler"] == "mine"
    assert run(ds.schedulers.Native(first, params=(0.5,))).config["parameters"] == {"params": [0.5]}
    assert getattr(ds.schedulers.Native(first), "is_native", False)
    assert "pick" in repr(ds.schedulers.Native(first))
