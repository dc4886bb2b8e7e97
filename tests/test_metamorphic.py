"""Laws that every schedule obeys whatever its numbers: units, names, idle models and load (acceptance item 9)."""

import itertools

import numpy as np
import pytest
from sim_cases import random_case, trace_set, workload

import dnnsched as ds

FAMILY = tuple(name for name in ds.schedulers.names() if name.startswith("dysta"))
"""Its score adds a penalty without unit to times in seconds, so a change of unit changes its schedule."""

DRAWN = ("lottery",)
"""Draws by a hash of the time of the decision: the law holds in distribution only."""

WITHOUT_UNIT = ("antt", "violation_rate", "stp", "utilization")


def case(seed):
    """(traces, workload) of a random table."""
    requests, tables = random_case(9000 + seed)
    made = trace_set(tables)
    return made, workload(requests, tables, made)


def scaled(made, wl, k):
    """The same requests with every time multiplied by k."""
    other = ds.TraceSet({key: ds.Trace(t.latency * k, t.sparsity, model=t.model, pattern=t.pattern)
                         for key, t in made.items()})
    return ds.Workload(other, wl.arrival * k, wl.model, wl.sample, wl.deadline * k, wl.priority)


@pytest.mark.parametrize("name", [n for n in ds.schedulers.names() if n not in FAMILY + DRAWN])
def test_item_09_scaling_all_times_scales_latencies(name):
    """Powers of two change exponents only, so that the equality is exact."""
    for seed in range(40):
        made, wl = case(seed)
        one = ds.simulate(wl, name, switch_cost_s=0.0625)
        for k in (2.0**-7, 1024.0):
            other = ds.simulate(scaled(made, wl, k), name, switch_cost_s=0.0625 * k)
            assert other.order.tolist() == one.order.tolist(), (seed, k)
            for column in ("first_start_s", "finish_s", "service_s"):
                np.testing.assert_array_equal(other.requests[column], one.requests[column] * k)
            for metric in (m for m in WITHOUT_UNIT if m in one.metrics):
                assert other.metrics[metric] == one.metrics[metric], (seed, k, metric)


def test_item_09_the_unit_matters_to_the_dysta_family():
    """The exception is real: in milliseconds, at least one schedule of each is another one."""
    for name in FAMILY:
        orders = [(ds.simulate(wl, name).order, ds.simulate(scaled(made, wl, 1024.0), name).order)
                  for made, wl in map(case, range(60))]
        assert any(a.tolist() != b.tolist() for a, b in orders), name


@pytest.mark.parametrize("name", ds.schedulers.names())
def test_item_09_relabelled_models_permute_the_rows(name):
    for seed in range(25):
        made, wl = case(seed)
        keys = list(made)
        order = np.random.default_rng(seed).permutation(len(keys))
        renamed = {keys[i]: f"new{place}" for place, i in enumerate(order)}
        names = {t.model: f"net {t.model[::-1]}" for t in made.values()}
        other = ds.TraceSet({renamed[keys[i]]: ds.Trace(made[keys[i]].latency, made[keys[i]].sparsity,
                                                        model=names[made[keys[i]].model], pattern=f"q{i}")
                             for i in order})
        place = np.argsort(order).astype(np.int32)
        one = ds.simulate(wl, name)
        two = ds.simulate(ds.Workload(other, wl.arrival, place[wl.model], wl.sample, wl.deadline, wl.priority), name)
        for column in ("first_start_s", "finish_s", "n_preempt"):
            np.testing.assert_array_equal(one.requests[column], two.requests[column], err_msg=f"{seed} {column}")
        before, after = one.metrics_by("model"), two.metrics_by("model")
        assert {names[model] for model in before} == set(after)
        for model, metrics in before.items():
            assert after[names[model]]["antt"] == metrics["antt"]


@pytest.mark.parametrize("name", ds.schedulers.names())
def test_item_09_an_idle_model_changes_nothing(name):
    for seed in range(25):
        made, wl = case(seed)
        idle = ds.Trace(np.full((2, 9), 123.0), model="idle")
        for more in ({**made, "zz": idle}, {"aa": idle, **made}):
            shift = next(iter(more)) == "aa"
            same = ds.Workload(ds.TraceSet(more), wl.arrival, wl.model + np.int32(shift), wl.sample, wl.deadline,
                               wl.priority)
            one, two = ds.simulate(wl, name), ds.simulate(same, name)
            assert one.order.tolist() == two.order.tolist(), seed
            np.testing.assert_array_equal(one.requests["finish_s"], two.requests["finish_s"])
            assert one.metrics["antt"] == two.metrics["antt"]


@pytest.mark.parametrize("seed", range(8))
def test_item_09_a_higher_rate_never_lowers_the_mean_wait(seed):
    """First come first served on common random numbers: every single wait grows (Lindley's recursion)."""
    made = trace_set(random_case(40 + seed)[1])
    waits = []
    for rho in (0.2, 0.5, 0.8, 0.95, 1.1, 2.0):
        rows = ds.simulate(ds.workloads.poisson(made, rho=rho, n=400, rng=seed), "fcfs").requests
        waits.append(rows["first_start_s"] - rows["arrival_s"])
    for low, high in itertools.pairwise(waits):
        assert (high >= low - 1e-9 * rows["finish_s"][-1]).all()
        assert high.mean() >= low.mean()
    assert waits[-1].mean() > waits[0].mean()
