"""Bad input to simulate(), to Workload and to the schedulers: clear errors that name what and where."""

import numpy as np
import pytest
from sim_cases import random_case, trace_set, workload

import dnnsched as ds

GOOD = {"arrival": [0.0, 1.0, 1.0], "model": [0, 0, 0], "sample": [0, 1, 0], "deadline": [9.0, 9.0, 9.0]}


def traces():
    return ds.TraceSet({"k": ds.Trace(np.array([[0.5, 0.5], [0.25, 0.25]]), model="m")})


def make(**changes):
    columns = {name: np.array(values, dtype=np.int32 if name in ("model", "sample") else np.float64)
               for name, values in GOOD.items()}
    columns.update(changes)
    return ds.Workload(traces(), **columns)


def test_the_good_table_runs():
    assert ds.simulate(make(), "fcfs").requests["finish_s"].tolist() == [1.0, 1.5, 2.5]


@pytest.mark.parametrize(("column", "values", "words"), [
    ("arrival", [0.0, np.nan, 1.0], ["arrival", "1", "nan"]),
    ("arrival", [0.0, np.inf, np.inf], ["arrival", "1"]),
    ("arrival", [-1.0, 0.0, 1.0], ["arrival", "0", "-1"]),
    ("arrival", [0.0, 2.0, 1.0], ["arrival", "2"]),
    ("deadline", [9.0, np.nan, 9.0], ["deadline", "1"]),
    ("deadline", [9.0, 9.0, -np.inf], ["deadline", "2"]),
    ("priority", [1.0, np.nan, 1.0], ["priority", "1"]),
    ("priority", [1.0, np.inf, 1.0], ["priority", "1"]),
])
def test_bad_values_name_the_column_and_the_row(column, values, words):
    with pytest.raises(ValueError, match=column) as error:
        make(**{column: np.array(values)})
    for word in words:
        assert word in str(error.value).lower()


@pytest.mark.parametrize(("column", "values"), [("model", [0, 1, 0]), ("model", [0, -1, 0]), ("sample", [0, 2, 0]),
                                                ("sample", [0, -1, 0])])
def test_indices_out_of_range(column, values):
    with pytest.raises((ValueError, IndexError), match=column):
        make(**{column: np.array(values, dtype=np.int32)})


@pytest.mark.parametrize("column", list(GOOD))
def test_lengths_must_agree(column):
    with pytest.raises(ValueError, match=column):
        make(**{column: np.zeros(2, dtype=np.int32 if column in ("model", "sample") else np.float64)})


@pytest.mark.parametrize("column", list(GOOD))
def test_columns_are_one_dimensional(column):
    with pytest.raises(ValueError, match=column):
        make(**{column: np.zeros((3, 1), dtype=np.int32 if column in ("model", "sample") else np.float64)})


def test_text_is_no_number():
    with pytest.raises((ValueError, TypeError), match="arrival"):
        make(arrival=np.array(["a", "b", "c"]))
    with pytest.raises((ValueError, TypeError), match="deadline"):
        make(deadline=np.array([1j, 2j, 3j]))
    with pytest.raises((ValueError, TypeError), match="sample"):
        make(sample=np.array([0.5, 0.0, 0.0]))


def test_strided_and_foreign_dtypes_are_converted():
    wide = np.zeros(6)
    wide[::2] = GOOD["arrival"]
    for arrival in (wide[::2], np.array(GOOD["arrival"], dtype=">f8"), np.array(GOOD["arrival"], dtype=np.float32),
                    GOOD["arrival"]):
        assert ds.simulate(make(arrival=arrival), "fcfs").requests["finish_s"].tolist() == [1.0, 1.5, 2.5]


def test_empty_workload():
    empty = {name: np.array([], dtype=np.int32 if name in ("model", "sample") else np.float64) for name in GOOD}
    with pytest.raises(ValueError, match=r"empty|request"):
        ds.simulate(ds.Workload(traces(), **empty), "fcfs")


@pytest.mark.parametrize(("latency", "word"), [([[1.0, 0.0]], "latency"), ([[1.0, -1.0]], "latency"),
                                               ([[np.nan, 1.0]], "latency"), ([[np.inf, 1.0]], "latency")])
def test_latencies_are_positive(latency, word):
    with pytest.raises(ValueError, match=word):
        ds.Trace(np.array(latency))


@pytest.mark.parametrize(("name", "hint"), [("dista", "dysta"), ("fcsf", "fcfs"), ("prema_sprase", "prema_sparse")])
def test_unknown_scheduler_suggests_a_name(name, hint):
    with pytest.raises(ValueError, match=name) as error:
        ds.simulate(make(), name)
    assert "did you mean" in str(error.value).lower()
    assert hint in str(error.value)


def test_unknown_scheduler_without_a_neighbour_lists_the_names():
    with pytest.raises(ValueError, match="fcfs") as error:
        ds.simulate(make(), "qqqqqqqq")
    assert "dysta" in str(error.value)


@pytest.mark.parametrize(("keyword", "value"), [
    ("semantics", "papers"), ("semantics", 3), ("clock", "sundial"), ("record", "everything"),
    ("switch_cost_s", -1.0), ("switch_cost_s", np.nan), ("switch_cost_s", np.inf), ("switch_cost_s", "1"),
    ("warmup", -1), ("warmup", 10**9), ("warmup", np.nan)])
def test_bad_keywords_are_named(keyword, value):
    with pytest.raises((ValueError, TypeError), match=keyword):
        ds.simulate(make(), "fcfs", **{keyword: value})


def test_unknown_keyword():
    with pytest.raises(TypeError):
        ds.simulate(make(), "fcfs", speed=2)


@pytest.mark.parametrize(("name", "params"), [
    ("dysta", {"beta": -0.1}), ("dysta", {"beta": np.nan}), ("dysta", {"eta": np.inf}), ("dysta", {"slack": "loose"}),
    ("dysta", {"predictor": "regression"}), ("dysta", {"alpha": 0.0}), ("dysta", {"gamma": "best"}),
    ("sdrm3", {"alpha": -1.0}), ("sdrm3", {"alpha": np.nan})])
def test_bad_scheduler_parameters_are_named(name, params):
    with pytest.raises((ValueError, TypeError), match=next(iter(params))):
        ds.simulate(make(), ds.schedulers.get(name, **params))


def test_unknown_scheduler_parameter():
    with pytest.raises((TypeError, ValueError), match="betta"):
        ds.schedulers.get("dysta", betta=1.0)


@pytest.mark.parametrize("thing", [None, 3, object(), [], {"pick": 1}])
def test_what_is_no_scheduler(thing):
    with pytest.raises((TypeError, ValueError), match=r"scheduler|score|pick"):
        ds.simulate(make(), thing)


@pytest.mark.parametrize("thing", [None, 3, "table.csv", {"arrival": [1.0]}])
def test_what_is_no_workload(thing):
    with pytest.raises((TypeError, ValueError), match="wl"):
        ds.simulate(thing, "fcfs")


@pytest.mark.parametrize("record", ["requests", "none"])
def test_what_is_no_workload_is_said_so(record):
    with pytest.raises(TypeError, match="NoneType"):
        ds.simulate(None, "fcfs", record=record)


def test_no_timeline_unless_asked_for():
    requests, tables = random_case(3)
    assert ds.simulate(workload(requests, tables), "fcfs").timeline is None


def test_slack_schedulers_need_finite_deadlines():
    wl = make(deadline=np.array([9.0, np.inf, 9.0]))
    for name in ("dysta", "dysta_naive", "dysta_oracle"):
        with pytest.raises(ValueError, match="deadline: row 1"):
            ds.simulate(wl, name)
    for name in set(ds.schedulers.names()) - {"dysta", "dysta_naive", "dysta_oracle"}:
        assert ds.simulate(wl, name).metrics["n"] == 3


def test_metrics_by_an_unknown_column():
    requests, tables = random_case(3)
    res = ds.simulate(workload(requests, tables), "fcfs")
    with pytest.raises(ValueError, match="colour"):
        res.metrics_by("colour")


def test_results_are_not_aliases_of_the_input():
    requests, tables = random_case(3)
    wl = workload(requests, tables, trace_set(tables))
    before = wl.arrival.copy()
    res = ds.simulate(wl, "fcfs")
    assert not np.shares_memory(res.requests["arrival_s"], wl.arrival)
    np.testing.assert_array_equal(wl.arrival, before)


def test_priorities_are_positive_when_simulated():
    with pytest.raises(ValueError, match="priority: row 0"):
        make(priority=np.full(3, -1.0))
    with pytest.raises(ValueError, match="priority: row 1"):
        ds.simulate(make(priority=np.array([1.0, 0.0, 1.0])), "hpf")


@pytest.mark.parametrize("semantics", ["paper", "artifact"])
def test_priorities_below_one_are_served(semantics):
    """The artifact's least token threshold is 1: below it PREMA has no candidate and takes the queue's head."""
    for name in ds.schedulers.names() if semantics == "paper" else ds.schedulers.ARTIFACT_POLICIES:
        res = ds.simulate(make(priority=np.full(3, 0.25)), name, semantics=semantics)
        assert np.isfinite(res.requests["finish_s"]).all(), name
