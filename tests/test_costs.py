"""Cost tables: validation, their three makers, the way to a trace and to the engine, files."""

import numpy as np
import pytest

import dnnsched as ds
from dnnsched import accel
from dnnsched.errors import FormatError
from dnnsched.layers import Layer, Network
from dnnsched.sim import Simulation, System

SAMPLES = np.array([[1e-3, 2e-3, 3e-3], [2e-3, 1e-3, 4e-3]])
BATCHES = np.array([[1.0, 1.5, 2.0], [2.0, 3.0, 4.0]])


def by_batch(**more):
    return ds.CostTable(BATCHES, "stage_batch", **more)


def test_table_holds_what_it_was_given():
    table = ds.CostTable(SAMPLES, energy_j=SAMPLES * 5, quality=SAMPLES * 100, stages=("a", "b", "c"),
                         model="m", pattern="nm", origin="measured", meta={"k": 1})
    np.testing.assert_array_equal(table.seconds, SAMPLES)
    assert (table.stages, table.batches, table.n_stages, table.origin) == (("a", "b", "c"), (), 3, "measured")
    for array in (table.seconds, table.energy_j, table.quality):
        assert array.dtype == np.float64
        with pytest.raises(ValueError, match="read-only"):
            array[0, 0] = 1
    assert by_batch().batches == (1, 2, 3)
    assert by_batch().stages == ("0", "1")
    np.testing.assert_array_equal(by_batch(batches=(1, 4, 8)).column(4), [1.5, 3.0])


@pytest.mark.parametrize(("make", "message"), [
    (lambda: ds.CostTable([[1.0, 0.0]]), r"seconds: sample 0, stage 1: expected a finite value > 0 \(seconds\), got 0"),
    (lambda: ds.CostTable([[1.0], [np.nan]]), "seconds: sample 1, stage 0: expected a finite value > 0"),
    (lambda: ds.CostTable([[1.0, np.inf]], "stage_batch"), "seconds: stage 0, column 1: expected a finite"),
    (lambda: ds.CostTable([1.0]), r"seconds: expected 2 dimension\(s\), got 1"),
    (lambda: ds.CostTable(np.ones((0, 3))), "seconds: expected at least one element"),
    (lambda: ds.CostTable([[1.0]], "batch"), "layout: expected one of 'sample_stage', 'stage_batch', got 'batch'"),
    (lambda: ds.CostTable(SAMPLES, energy_j=[[1.0]]), r"energy_j: expected shape \(2, 3\), got \(1, 1\)"),
    (lambda: ds.CostTable(SAMPLES, energy_j=-SAMPLES), "energy_j: row 0, column 0: expected a finite value >= 0"),
    (lambda: ds.CostTable(SAMPLES, quality=SAMPLES * np.nan), "quality: row 0, column 0: expected a finite number"),
    (lambda: by_batch(quality=BATCHES), r"quality: expected 1 dimension\(s\), got 2"),
    (lambda: by_batch(quality=[0.5]), r"quality: expected shape \(2,\), got \(1,\)"),
    (lambda: ds.CostTable(SAMPLES, stages=("a", "b")), "stages: expected 3 names, got 2"),
    (lambda: ds.CostTable(SAMPLES, stages=("a", "b", "a")), "stages: entry 2: expected a name .* unique, got 'a'"),
    (lambda: ds.CostTable(SAMPLES, stages=(1, 2, 3)), "stages: entry 0: expected a name"),
    (lambda: ds.CostTable(SAMPLES, batches=(1, 2, 3)), "batches: expected None in the layout"),
    (lambda: by_batch(batches=(1, 2)), r"batches: expected 3 ascending sizes, one per column of seconds, got \(1, 2\)"),
    (lambda: by_batch(batches=(1, 4, 2)), "batches: expected 3 ascending sizes"),
    (lambda: by_batch(batches=(0, 1, 2)), "batches: expected an integer >= 1, got 0"),
    (lambda: by_batch(draws_s=np.ones((2, 2, 5))), r"draws_s: expected shape \(2, 3, 'draws'\), got \(2, 2, 5\)"),
    (lambda: by_batch(draws_s=np.zeros((2, 3, 5))), "draws_s: stage 0, column 0, draw 0: expected a finite value > 0"),
    (lambda: ds.CostTable(SAMPLES, draws_s=np.ones((2, 3, 1))), "draws_s: expected None in the layout"),
    (lambda: by_batch().column(7), "batch: expected one of 1, 2, 3, got 7"),
    (lambda: by_batch().to_trace(batch=7), "batch: expected one of 1, 2, 3, got 7"),
    (lambda: ds.CostTable(SAMPLES).column(), "batch: expected a table of layout 'stage_batch'"),
    (lambda: ds.CostTable(SAMPLES).to_trace(5), "rng: expected a seed"),
    (lambda: ds.CostTable(SAMPLES).to_trace(0, 1), "n_samples: expected an integer >= 1, got 0"),
    (lambda: accel.get("eyeriss_v2").cost(ds.networks.get("vgg16")[0]).table(), "table: expected the costs of a netw"),
])
def test_bad_input_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("make", [
    lambda: ds.CostTable([["a"]]), lambda: ds.CostTable(SAMPLES, model=3), lambda: ds.CostTable(SAMPLES, meta=[1]),
    lambda: ds.CostTable(SAMPLES, stages="abc"), lambda: by_batch(batches=(1.0, 2.0, 3.0)),
    lambda: ds.CostTable(SAMPLES).to_trace(2.5, 1),
])
def test_wrong_types(make):
    with pytest.raises(TypeError, match="expected"):
        make()


def test_trace_and_table_are_each_other():
    trace = ds.Trace(SAMPLES, SAMPLES, model="m", pattern="p", origin="measured", meta={"stages": ["a", "b", "c"]})
    table = trace.table()
    assert (table.stages, table.model, table.pattern, table.origin) == (("a", "b", "c"), "m", "p", "measured")
    back = table.to_trace()
    np.testing.assert_array_equal(back.latency, trace.latency)
    assert back.sparsity is None
    assert back.table() == ds.CostTable(SAMPLES, stages=("a", "b", "c"), model="m", pattern="p", origin="measured",
                                        meta=back.meta)
    assert ds.Trace(SAMPLES, meta={"stages": "wrong"}).table().stages == ("0", "1", "2")


def test_drawn_samples_are_rows_and_repeat_with_their_seed():
    table = ds.CostTable(SAMPLES)
    trace = table.to_trace(200, 3)
    assert {tuple(row) for row in trace.latency} == {tuple(row) for row in SAMPLES}
    assert trace == table.to_trace(200, 3)
    assert trace != table.to_trace(200, 4)
    assert trace.meta["rng"]["entropy"] == 3


def test_measurements_are_drawn_stage_by_stage():
    draws = BATCHES[..., None] * np.array([0.5, 1.0, 2.0])
    table = by_batch(draws_s=draws)
    latency = table.to_trace(4000, 5, batch=2).latency
    assert set(latency[:, 0]) == set(draws[0, 1])
    assert set(latency[:, 1]) == set(draws[1, 1])
    share = np.mean((latency[:, 0] == draws[0, 1, 0]) & (latency[:, 1] == draws[1, 1, 2]))
    assert abs(share - 1 / 9) < 4 * np.sqrt(8 / 81 / 4000)  # independent
    np.testing.assert_array_equal(table.to_trace(3).latency, np.tile(BATCHES[:, 0], (3, 1)))


def test_cost_records_become_a_table():
    net = ds.networks.get("resnet18")
    cost = accel.get("eyeriss_v2").cost(net, density=np.array([[0.3], [0.6]]))
    table = cost.table(net, model=net.name)
    np.testing.assert_array_equal(table.seconds, cost["seconds"])
    assert table.stages == tuple(layer.name for layer in net)
    assert (table.origin, table.energy_j) == ("modelled", None)
    assert cost[0, :2].table().seconds.shape == (1, 2)
    assert type(cost["seconds"]) is np.ndarray
    cost["energy_j"] = 1e-3
    np.testing.assert_array_equal(cost.table().energy_j, np.full(cost.shape, 1e-3))
    cost["energy_j"][1, 3] = np.nan
    with pytest.raises(ValueError, match="energy_j: row 1, column 3: expected a finite value >= 0"):
        cost.table()


def test_sanger_records_become_a_table():
    layer = Layer("a", "attention", heads=1, seq_len=64, hidden=64)
    net = Network("n", (layer,))
    assert accel.get("sanger").cost(net, 0.5).table(net).stages == ("a",)


def test_the_engine_runs_on_both_layouts():
    """One request per sample, and a batch of two, take exactly the table's seconds."""
    table = ds.CostTable(SAMPLES, model="m")
    wl = ds.Workload(ds.TraceSet({"m": table.to_trace()}), [0.0, 1.0], [0, 0], [0, 1], [np.inf, np.inf])
    done = ds.simulate(wl, "fcfs").requests
    np.testing.assert_allclose(done["finish_s"] - done["arrival_s"], SAMPLES.sum(axis=1), rtol=1e-12)

    system = System()
    hold = system.table(by_batch().seconds.T, ("load",))
    system.pool(("batch_fcfs", [3]), max_batch=3)
    system.program([{"pool": 0, "hold": hold, "hold_column": k} for k in range(2)])
    sim = Simulation(system, 2)
    sim.feed(np.zeros(2))
    assert sim.run() == "done"
    np.testing.assert_array_equal(sim.columns["finish_s"], BATCHES[:, 1].sum())


def test_files_keep_every_bit(tmp_path):
    table = by_batch(energy_j=BATCHES, quality=[0.5, 0.9], draws_s=np.ones((2, 3, 2)), batches=(1, 2, 8),
                     stages=("a", "b"), model="m", origin="measured", meta={"machine": {"isa": "avx2"}})
    table.save(tmp_path / "t.npz")
    assert ds.CostTable.load(tmp_path / "t.npz") == table
    assert table != by_batch()
    assert [p.name for p in tmp_path.iterdir()] == ["t.npz"]


def test_bad_files_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"path: expected a name ending in \.npz"):
        by_batch().save(tmp_path / "t.csv")
    with pytest.raises(ValueError, match="meta: expected values that JSON can hold"):
        by_batch(meta={"x": object()}).save(tmp_path / "t.npz")
    with pytest.raises(FileNotFoundError, match=r"none\.npz"):
        ds.CostTable.load(tmp_path / "none.npz")
    ds.TraceSet({"m": ds.Trace(SAMPLES)}).save(tmp_path / "set.npz")
    with pytest.raises(FormatError, match=r"set\.npz: expected a dnnsched-costtable file"):
        ds.CostTable.load(tmp_path / "set.npz")
    by_batch().save(tmp_path / "t.npz")
    with np.load(tmp_path / "t.npz") as data:
        held = dict(data)
    np.savez(tmp_path / "bad.npz", **{**held, "seconds": -held["seconds"]})
    with pytest.raises(FormatError, match=r"bad\.npz: seconds: stage 0, column 0: expected a finite value > 0"):
        ds.CostTable.load(tmp_path / "bad.npz")
    np.savez(tmp_path / "less.npz", header=held["header"])
    with pytest.raises(FormatError, match=r"less\.npz: 'seconds' is missing"):
        ds.CostTable.load(tmp_path / "less.npz")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bad.npz", "less.npz", "set.npz", "t.npz"]
