"""Traces and trace sets: validation, order, files."""

import contextlib
import json
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dnnsched as ds
from dnnsched import FormatError, Trace, TraceSet, traces


def small_set(seed=0):
    rng = np.random.default_rng(seed)
    return TraceSet({
        "cnn/random": Trace(rng.random((4, 3)) + 0.01, rng.random((4, 3)), "cnn", "random", "modelled", {"seed": 1}),
        "bert/dense": Trace(rng.random((2, 5)) + 0.01, None, "bert", "dense", "measured"),
        "cnn/channel": Trace(rng.random((3, 3)) + 0.01, rng.random((3, 3)), "cnn", "channel", "modelled"),
    }, meta={"note": "é", "numbers": [1, 2.5]})


def test_trace_keeps_an_own_read_only_copy():
    data = np.arange(1.0, 7.0).reshape(2, 3)
    trace = Trace(data, np.zeros((2, 3)), "m")
    data[0, 0] = 99
    assert trace.latency[0, 0] == 1
    assert (trace.n_samples, trace.n_layers) == (2, 3)
    assert trace.latency.flags.c_contiguous
    for array in (trace.latency, trace.sparsity, trace.isolated_s):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
    assert Trace(np.asfortranarray(data).astype(np.float32)).latency.flags.c_contiguous


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40))
def test_isolated_time_is_the_left_to_right_sum(seed, layers):
    latency = np.random.default_rng(seed).lognormal(-5, 3, (3, layers))
    for row, got in zip(latency.tolist(), Trace(latency).isolated_s, strict=True):
        total = 0.0
        for x in row:
            total = total + x
        assert got == total


@pytest.mark.parametrize(("latency", "sparsity", "error", "message"), [
    ([[1, 2], [3, float("nan")]], None, ValueError, r"latency: row 1, column 1: expected a finite value > 0 .*got nan"),
    ([[1, 0]], None, ValueError, "latency: row 0, column 1: .*got 0.0"),
    ([[1], [-2]], None, ValueError, "latency: row 1, column 0: .*got -2.0"),
    ([[1, float("inf")]], None, ValueError, "latency: row 0, column 1: .*got inf"),
    ([1, 2], None, ValueError, r"latency: expected 2 dimension\(s\), got 1"),
    (np.ones((0, 3)), None, ValueError, r"at least one sample and one layer, got shape \(0, 3\)"),
    (np.ones((3, 0)), None, ValueError, r"at least one sample and one layer, got shape \(3, 0\)"),
    ([[1, 2], [3]], None, ValueError, "latency: expected a rectangular array"),
    ([["1", "2"]], None, TypeError, "latency: expected numbers convertible to float64, got dtype <U1"),
    ([[1j]], None, TypeError, "latency: expected numbers"),
    ([[True]], None, TypeError, "latency: expected numbers"),
    ([[1, 2]], [[0, 0, 0]], ValueError, r"sparsity: expected the shape of latency \(1, 2\), got \(1, 3\)"),
    ([[1, 2]], [[0, 1.01]], ValueError, r"sparsity: row 0, column 1: expected a fraction of zeros in \[0, 1\]"),
    ([[1, 2]], [[float("nan"), 0]], ValueError, "sparsity: row 0, column 0: .*got nan"),
])
def test_bad_traces_are_named(latency, sparsity, error, message):
    with pytest.raises(error, match=message):
        Trace(latency, sparsity)


def test_bad_labels_are_named():
    for name in ("model", "pattern", "origin"):
        with pytest.raises(TypeError, match=f"{name}: expected a string, got int"):
            Trace([[1.0]], **{name: 3})
    with pytest.raises(TypeError, match="meta: expected a dict"):
        Trace([[1.0]], meta=[1])


def test_set_order_is_the_index():
    ts = small_set()
    assert ts.keys_list == ("cnn/random", "bert/dense", "cnn/channel")
    assert list(ts) == list(ts.keys_list)
    assert [ts.index(k) for k in ts] == [0, 1, 2]
    assert ts.models == ("cnn", "bert")
    assert ts.model_index.tolist() == [0, 1, 0]
    assert ts.model_index.dtype == np.int32
    assert ts.origin == "modelled + measured"
    assert ts.n_samples.tolist() == [4, 2, 3]
    assert ts.n_layers.tolist() == [3, 5, 3]
    assert ts.subset(["cnn/channel", "bert/dense"]).keys_list == ("cnn/channel", "bert/dense")
    with pytest.raises(ValueError, match="key: expected one of cnn/random, bert/dense, cnn/channel, got 'x'"):
        ts.index("x")
    with pytest.raises(KeyError, match="unknown trace"):
        ts["x"]
    assert ("x" in ts, "bert/dense" in ts, len(ts)) == (False, True, 3)


def test_model_defaults_to_the_key_before_the_slash():
    ts = TraceSet({"bert/a": Trace([[1.0]]), "bert/b": Trace([[2.0]]), "gpt2": Trace([[3.0, 1.0]])})
    assert ts.models == ("bert", "gpt2")


def test_model_mean_is_weighted_by_samples_in_key_order():
    ts = small_set()
    a, b, c = (np.mean(t.isolated_s) for t in ts.values())
    assert ts.mean_isolated_s.tolist() == [a, b, c]
    assert ts.model_mean_isolated_s.tolist() == [(0.0 + 4 * a + 3 * c) / 7, (0.0 + 2 * b) / 2]


@pytest.mark.parametrize(("build", "error", "message"), [
    (lambda: TraceSet({}), ValueError, "at least one trace"),
    (lambda: TraceSet({"": Trace([[1.0]])}), ValueError, "non-empty strings"),
    (lambda: TraceSet({"a": [[1.0]]}), TypeError, r"traces\['a'\]: expected a Trace, got list"),
    (lambda: TraceSet([("a", Trace([[1.0]])), ("a", Trace([[1.0]]))]), ValueError, "duplicate key 'a'"),
    (lambda: TraceSet({"m/a": Trace([[1.0]]), "m/b": Trace([[1.0, 2.0]])}), ValueError,
     r"traces\['m/b'\]: expected 1 layers as 'm/a' has \(same model 'm'\), got 2"),
])
def test_bad_sets_are_named(build, error, message):
    with pytest.raises(error, match=message):
        build()


def test_npz_round_trip_is_exact_and_repeatable(tmp_path):
    ts = small_set()
    ts.save(tmp_path / "a.npz")
    ts.save(tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    assert TraceSet.load(tmp_path / "a.npz") == ts
    assert traces.load(tmp_path / "a.npz") == ts
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.npz", "b.npz"]
    ts["bert/dense"].save(tmp_path / "t.npz")
    assert Trace.load(tmp_path / "t.npz") == ts["bert/dense"]
    with pytest.raises(ValueError, match="expected one trace, got 3"):
        Trace.load(tmp_path / "a.npz")


def test_meta_must_be_json(tmp_path):
    ts = TraceSet({"m": Trace([[1.0]], meta={"x": object()})})
    with pytest.raises(ValueError, match="meta: expected values that JSON can hold"):
        ts.save(tmp_path / "a.npz")
    assert list(tmp_path.iterdir()) == []


def broken_npz(tmp_path, change):
    """A valid file with its arrays changed by `change(dict)`."""
    small_set().save(tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz") as data:
        arrays = dict(data)
    header = json.loads(bytes(arrays["header"]))
    change(arrays, header)
    if "header" in arrays:
        arrays["header"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    np.savez(tmp_path / "a.npz", **arrays)
    return tmp_path / "a.npz"


@pytest.mark.parametrize(("change", "message"), [
    (lambda a, h: a.pop("header"), "without its header"),
    (lambda a, h: a.pop("latency_1"), "'latency_1' is missing"),
    (lambda a, h: h.update(format="x"), "expected a dnnsched-traceset file, got 'x'"),
    (lambda a, h: h.update(version=7), "expected version 1 of dnnsched-traceset, got 7"),
    (lambda a, h: h["traces"][0].pop("model"), "'model' is missing"),
    (lambda a, h: h.update(traces=3), "not iterable"),
    (lambda a, h: a.update(latency_0=-a["latency_0"]), "latency: row 0, column 0: expected a finite value > 0"),
    (lambda a, h: a.update(sparsity_0=a["sparsity_0"] + 2), "sparsity: row 0, column 0"),
    (lambda a, h: a.update(latency_0=a["latency_0"][:, :2], sparsity_0=a["sparsity_0"][:, :2]), "same model 'cnn'"),
])
def test_changed_npz_files_are_refused(tmp_path, change, message):
    path = broken_npz(tmp_path, change)
    with pytest.raises(FormatError, match=message) as info:
        TraceSet.load(path)
    assert str(path) in str(info.value)


def test_damaged_npz_files_are_refused(tmp_path):
    small_set().save(tmp_path / "a.npz")
    whole = (tmp_path / "a.npz").read_bytes()
    rng = np.random.default_rng(0)
    path = tmp_path / "b.npz"
    for cut in rng.integers(0, len(whole), 40):
        path.write_bytes(whole[:cut])
        with pytest.raises(FormatError):
            TraceSet.load(path)
    for _ in range(200):
        damaged = bytearray(whole)
        damaged[rng.integers(len(whole))] ^= 1 << rng.integers(8)
        path.write_bytes(damaged)
        with contextlib.suppress(FormatError):
            TraceSet.load(path)
    np.save(tmp_path / "c.npz", np.ones(3))
    (tmp_path / "c.npz.npy").rename(tmp_path / "c.npz")
    with pytest.raises(FormatError, match="not a readable"):
        TraceSet.load(tmp_path / "c.npz")
    with zipfile.ZipFile(tmp_path / "d.npz", "w") as z:
        z.writestr("header.npy", "junk")
    with pytest.raises(FormatError):
        TraceSet.load(tmp_path / "d.npz")
    with pytest.raises(FileNotFoundError, match="no such file"):
        TraceSet.load(tmp_path / "none.npz")


def test_registry(monkeypatch):
    monkeypatch.setattr(traces, "_REGISTRY", {})
    seen = []
    traces.register("tiny-set", lambda **kw: seen.append(kw) or small_set(), "three traces", "synthetic")
    assert ds.traces.load("tiny-set", seed=3) == small_set()
    assert seen == [{"seed": 3}]
    assert traces.list()["tiny-set"] == traces.SetInfo("tiny-set", "three traces", "synthetic")
    with pytest.raises(ValueError, match="already registered"):
        traces.register("tiny-set", small_set, "", "")
    with pytest.raises(TypeError, match="loader: expected a callable"):
        traces.register("x", 3, "", "")
    with pytest.raises(ValueError, match="did you mean 'tiny-set'"):
        traces.load("tiny-sett")


def test_recorded_files_are_listed_and_loaded(monkeypatch, tmp_path):
    (tmp_path / "traces").mkdir()
    small_set().save(tmp_path / "traces" / "rec-a.npz")
    small_set(1).save(tmp_path / "traces" / "rec-b.npz")
    (tmp_path / "traces" / "rec-a.toml").write_text('description = "first"\norigin = "measured"\n')
    (tmp_path / "traces" / "rec-b.json").write_text('{"description": "second", "origin": "measured"}')
    monkeypatch.setattr("dnnsched.paths.data_dir", lambda: tmp_path)
    listed = traces.list()
    assert listed["rec-a"].description == "first"
    assert listed["rec-b"] == traces.SetInfo("rec-b", "second", "measured")
    assert traces.load("rec-b") == small_set(1)
    with pytest.raises(TypeError, match="takes no options, got seed"):
        traces.load("rec-a", seed=1)
