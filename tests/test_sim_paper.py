"""semantics="paper": schedulers against the twin, Algorithm 2 by hand, invariants, optimality, metamorphic laws."""

import itertools
import threading

import numpy as np
import oracle_engine as twin
import oracle_paper as paper
import pytest
from oracle_artifact import Tables, left_sum
from sim_cases import random_case, trace_set, workload

import dnnsched as ds

WORK_CONSERVING = [*paper.SCHEDULERS, "lottery"]


def unit_case(seed, *, n=None, deadlines=False):
    """Integer arrivals, layers of exactly 1 s."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 6, size=int(rng.integers(1, 4))).tolist()
    tables = Tables([[[1.0] * length] for length in lengths], [None] * len(lengths),
                    [f"m{i}" for i in range(len(lengths))])
    n = int(rng.integers(2, 20)) if n is None else n
    arrivals = np.sort(rng.integers(0, max(2, 3 * n // 2), n)).astype(float).tolist()
    requests = []
    for t in arrivals:
        key = int(rng.integers(len(lengths)))
        slack = float(rng.integers(1, 13)) if deadlines else 1e3
        requests.append((t, key, 0, float(rng.choice([1, 3, 9])), t + slack))
    return requests, tables


# --- against the twin ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", paper.SCHEDULERS)
def test_equals_the_twin_on_random_tables(name):
    preempted = 0
    for seed in range(200):
        requests, tables = random_case(5000 + seed)
        res = ds.simulate(workload(requests, tables), name)
        expected = paper.simulate(requests, tables, name)
        assert res.requests["first_start_s"].tolist() == paper.first_starts(expected), seed
        assert res.requests["finish_s"].tolist() == paper.finishes(expected), seed
        preempted += int(res.requests["n_preempt"].sum())
    assert preempted > 0 or name == "fcfs"


@pytest.mark.parametrize("name", paper.SCHEDULERS)
def test_layer_by_layer_schedule_equals_the_twin(name):
    """Every layer once, in the twin's order, one at a time on the accelerator."""
    for seed in range(40):
        requests, tables = random_case(5500 + seed)
        res = ds.simulate(workload(requests, tables), name, timeline=True)
        slices, expected = res.timeline.slices, paper.simulate(requests, tables, name)
        assert slices["id"].tolist() == expected.schedule, seed
        assert slices["t0_s"].tolist() == [t0 for t0, *_ in expected.runs], seed
        assert len(slices) == sum(len(tables.latency[k][0]) for _, k, *_ in requests)
        assert (slices["t0_s"][1:] >= slices["t1_s"][:-1]).all()
        assert res.order.tolist() == expected.completion, seed
        np.testing.assert_array_equal(res.requests["n_preempt"],
                                      [expected.jobs[i].n_preempt for i in range(len(requests))])


@pytest.mark.parametrize("slack", ["signed", "clamped", "deadline"])
@pytest.mark.parametrize("eta", [0.0, 0.01, 0.5, 1.0])
def test_dysta_variants_equal_the_twin(slack, eta):
    for seed in range(60):
        requests, tables = random_case(6000 + seed)
        res = ds.simulate(workload(requests, tables), ds.schedulers.get("dysta", eta=eta, slack=slack))
        expected = paper.simulate(requests, tables, "dysta", eta=eta, slack=slack)
        assert res.requests["finish_s"].tolist() == paper.finishes(expected), seed


@pytest.mark.parametrize("predictor", ["last_one", "average_all", "last_n"])
def test_dysta_predictors_equal_the_twin(predictor):
    for seed in range(60):
        requests, tables = random_case(6500 + seed)
        res = ds.simulate(workload(requests, tables), ds.schedulers.get("dysta", predictor=predictor))
        expected = paper.simulate(requests, tables, "dysta", predictor=predictor)
        assert res.requests["finish_s"].tolist() == paper.finishes(expected), seed


@pytest.mark.parametrize("name", ["fcfs", "sjf", "edf", "dysta", "prema", "round_robin"])
def test_switch_cost_equals_the_twin(name):
    for seed in range(40):
        requests, tables = random_case(7000 + seed)
        res = ds.simulate(workload(requests, tables), name, switch_cost_s=0.125)
        expected = paper.simulate(requests, tables, name, switch_cost=0.125)
        assert res.requests["finish_s"].tolist() == paper.finishes(expected), seed


@pytest.mark.parametrize("name", ["fcfs", "sjf", "dysta", "prema", "planaria", "sdrm3"])
def test_overload_equals_the_twin(name):
    rng = np.random.default_rng(11)
    _, tables = random_case(77, max_keys=3, max_layers=5)
    requests = []
    for t in np.sort(rng.uniform(0, 5, 250)).tolist():
        key = int(rng.integers(len(tables.latency)))
        requests.append((t, key, int(rng.integers(len(tables.latency[key]))), float(rng.choice([1, 3, 9])),
                         t + float(rng.choice([0.5, 50.0, 500.0]))))
    res = ds.simulate(workload(requests, tables), name)
    assert res.requests["finish_s"].tolist() == paper.finishes(paper.simulate(requests, tables, name))


# --- Algorithm 2 by hand ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("slack", "scores"), [("signed", [1.2, 1.875]), ("clamped", [1.2, 2.025]),
                                               ("deadline", [1.3, 2.075])])
def test_algorithm_2_scores_by_hand(slack, scores):
    """Remaining 1 and 2 s, D - t 3 and .5 s, waited 0 and 1 s, isolated 2 s, two queued, eta .1."""
    stages = [twin.Stage(0)] * 2
    jobs = []
    for remaining, margin, waited in ((1.0, 3.0, 0.0), (2.0, 0.5, 1.0)):
        program = twin.Program(stages, [[remaining, remaining]], [[1.0, 1.0]], [2.0])
        job = twin.Job(0, twin.Row(0.0, deadline=10.0 + margin), program, last_run=10.0 - waited)
        jobs.append(job)
    view = twin.View(10.0, jobs, 0, 0, -1, 0, False, False)
    assert twin.Dysta(0.1, slack).score(view) == pytest.approx(scores, rel=1e-15)


@pytest.mark.parametrize(("slack", "third"), [("signed", (1.2, 1.875)), ("clamped", (1.2, 2.025)),
                                              ("deadline", (1.3, 2.075))])
def test_algorithm_2_by_hand_decides_in_the_engine(slack, third):
    """The scores of the hand case, read from the engine's decisions.

    At t = 1.5 two requests are queued: a (1 s left, ran until now) and b (2 s, arrived at .5). A deadline of a later
    by x adds .1 x to its score, in all three variants, so the engine must leave a for b once .1 x exceeds the
    difference of the hand scores.
    """
    gap = third[1] - third[0]
    for x, winner in ((gap / 0.1 - 0.01, 0), (gap / 0.1 + 0.01, 1)):
        tables = Tables([[[1.5, 1.0]], [[2.0]]], [None, None], ["a", "b"])
        requests = [(0.0, 0, 0, 1.0, 4.5 + x), (0.5, 1, 0, 1.0, 2.0)]
        engine = ds.simulate(workload(requests, tables), ds.schedulers.get("dysta", eta=0.1, slack=slack))
        expected = paper.simulate(requests, tables, "dysta", eta=0.1, slack=slack)
        assert expected.schedule == ([0, 0, 1] if winner == 0 else [0, 1, 0])
        assert engine.requests["finish_s"].tolist() == ([2.5, 4.5] if winner == 0 else [4.5, 3.5])


def test_static_score_is_algorithm_1():
    score = ds.schedulers.Dysta(beta=0.25).static_score(latency_s=2.0, slo_s=10.0)
    assert score == 2.0 + 0.25 * (10.0 - 2.0)


def continuous(seed):
    """A random case without exact ties."""
    rng = np.random.default_rng(seed)
    tables = Tables([rng.uniform(0.1, 2.0, (3, 4)).tolist() for _ in range(3)],
                    [rng.uniform(0.05, 0.9, (3, 4)).tolist() for _ in range(3)], ["a", "b", "c"])
    requests, t = [], 0.0
    for _ in range(30):
        t += float(rng.exponential(3.0))
        key = int(rng.integers(3))
        requests.append((t, key, int(rng.integers(3)), float(rng.choice([1, 3, 9])), t + float(rng.uniform(0, 20))))
    return requests, tables


@pytest.mark.parametrize("eta", [0.01, 0.2, 0.7])
def test_signed_equals_deadline_with_reweighted_remaining_time(eta):
    for seed in range(30):
        requests, tables = continuous(seed)
        wl = workload(requests, tables)
        signed = ds.simulate(wl, ds.schedulers.get("dysta", eta=eta, slack="signed"))
        other = ds.simulate(wl, ds.schedulers.get("dysta", eta=eta, slack="deadline", alpha=1.0 - eta))
        np.testing.assert_array_equal(signed.requests["finish_s"], other.requests["finish_s"])


def test_slack_variants_agree_while_nobody_is_late():
    for seed in range(30):
        requests, tables = continuous(100 + seed)
        requests = [(t, k, s, p, t + 1e4) for t, k, s, p, _ in requests]
        wl = workload(requests, tables)
        signed = ds.simulate(wl, ds.schedulers.get("dysta", eta=0.1, slack="signed"))
        clamped = ds.simulate(wl, ds.schedulers.get("dysta", eta=0.1, slack="clamped"))
        np.testing.assert_array_equal(signed.requests["finish_s"], clamped.requests["finish_s"])


def test_eta_zero_makes_dysta_sjf_sparse():
    for seed in range(60):
        requests, tables = random_case(8000 + seed)
        wl = workload(requests, tables)
        a = ds.simulate(wl, ds.schedulers.get("dysta", eta=0.0))
        b = ds.simulate(wl, "sjf_sparse")
        np.testing.assert_array_equal(a.requests["finish_s"], b.requests["finish_s"])


# --- invariants ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", WORK_CONSERVING)
def test_invariants(name):
    for seed in range(40):
        requests, tables = random_case(9000 + seed)
        res = ds.simulate(workload(requests, tables), name)
        reference = ds.simulate(workload(requests, tables), "fcfs")
        rows = res.requests
        isolated = np.array([left_sum(tables.latency[k][s]) for _, k, s, _, _ in requests])
        arrival = np.array([r[0] for r in requests])
        np.testing.assert_array_equal(rows["isolated_s"], isolated)
        np.testing.assert_array_equal(rows["arrival_s"], arrival)
        np.testing.assert_array_equal(rows["request_id"], np.arange(len(requests)))
        np.testing.assert_array_equal(rows["n_layers"], [len(tables.latency[k][s]) for _, k, s, _, _ in requests])
        assert (rows["finish_s"] >= (arrival + isolated) * (1 - 1e-12)).all()
        assert (rows["first_start_s"] >= arrival).all()
        np.testing.assert_allclose(rows["service_s"], isolated, rtol=1e-12)
        np.testing.assert_array_equal(rows["slo_met"], rows["finish_s"] <= rows["deadline_s"])
        assert rows["finish_s"].max() == pytest.approx(reference.requests["finish_s"].max(), rel=1e-12)
        assert res.metrics["throughput_rps"] == pytest.approx(reference.metrics["throughput_rps"], rel=1e-12)
        assert res.metrics["utilization"] == pytest.approx(reference.metrics["utilization"], rel=1e-12)


@pytest.mark.parametrize("name", ["fcfs", "sjf", "dysta", "prema", "round_robin"])
def test_metrics_follow_their_definitions(name):
    for seed in range(30):
        requests, tables = random_case(9500 + seed)
        res = ds.simulate(workload(requests, tables), name)
        rows, m = res.requests, res.metrics
        turnaround = rows["finish_s"] - rows["arrival_s"]
        ntt = turnaround / rows["isolated_s"]
        assert m["n"] == len(requests)
        assert m["antt"] == pytest.approx(ntt.mean(), rel=1e-12)
        assert m["violation_rate"] == np.mean(rows["finish_s"] > rows["deadline_s"])
        span = rows["finish_s"].max() - rows["arrival_s"][0]
        assert m["throughput_rps"] == pytest.approx(len(rows) / span, rel=1e-12)
        assert m["latency_mean_s"] == pytest.approx(turnaround.mean(), rel=1e-12)
        assert m["stp_norm"] == pytest.approx((1 / ntt).sum(), rel=1e-12)
        progress = (1 / ntt) / (rows["priority"] / rows["priority"].sum())
        assert m["fairness"] == pytest.approx(progress.min() / progress.max(), rel=1e-12)
        ordered = np.sort(turnaround)
        for q, key in ((0.5, "latency_p50_s"), (0.9, "latency_p90_s"), (0.99, "latency_p99_s")):
            assert ordered[0] <= m[key] <= ordered[-1]
            below = int(np.floor(len(ordered) * q))
            lo, hi = ordered[max(0, below - 1)], ordered[min(below + 1, len(ordered) - 1)]
            assert lo <= m[key] <= hi


def test_metrics_by_group_add_up():
    requests, tables = random_case(4, max_requests=60)
    res = ds.simulate(workload(requests, tables), "dysta")
    for by in ("model", "pattern", "priority", "key"):
        groups = res.metrics_by(by)
        assert sum(g["n"] for g in groups.values()) == len(requests)
        late = sum(g["violation_rate"] * g["n"] for g in groups.values())
        assert late == pytest.approx(res.metrics["violation_rate"] * len(requests), abs=1e-9)
        antt = sum(g["antt"] * g["n"] for g in groups.values()) / len(requests)
        assert antt == pytest.approx(res.metrics["antt"], rel=1e-12)


@pytest.mark.parametrize("name", WORK_CONSERVING)
def test_one_request_at_a_time_makes_all_policies_agree(name):
    rng = np.random.default_rng(3)
    tables = Tables([rng.uniform(0.1, 1.0, (2, 3)).tolist()], [rng.uniform(0.1, 0.9, (2, 3)).tolist()], ["m"])
    requests = [(10.0 * i, 0, i % 2, 1.0, 10.0 * i + 1.0) for i in range(20)]
    res = ds.simulate(workload(requests, tables), name)
    expected = []
    for t, _, s, _, _ in requests:
        for x in tables.latency[0][s]:
            t = t + x
        expected.append(t)
    assert res.requests["finish_s"].tolist() == expected
    assert res.requests["n_preempt"].sum() == 0


# --- optimality ---------------------------------------------------------------------------------------------


def test_srpt_oracle_has_the_least_mean_turnaround():
    for seed in range(60):
        requests, tables = unit_case(seed)
        wl = workload(requests, tables)
        best = ds.simulate(wl, "srpt_oracle").requests["finish_s"].sum()
        for name in WORK_CONSERVING:
            assert ds.simulate(wl, name).requests["finish_s"].sum() >= best, (seed, name)


def feasible(requests, tables):
    """Does any schedule of unit layers meet all deadlines? Exhaustive search."""
    jobs = [(int(t), len(tables.latency[k][0]), d) for t, k, _, _, d in requests]
    seen = set()

    def search(t, left):
        if not any(left):
            return True
        if (t, left) in seen:
            return False
        seen.add((t, left))
        if any(n and t + n > d for n, (_, _, d) in zip(left, jobs, strict=True)):
            return False
        ready = [i for i, n in enumerate(left) if n and jobs[i][0] <= t]
        if not ready:
            return search(t + 1, left)
        return any(search(t + 1, (*left[:i], left[i] - 1, *left[i + 1:])) for i in ready)

    return search(0, tuple(n for _, n, _ in jobs))


def test_edf_meets_all_deadlines_whenever_any_schedule_does():
    met = 0
    for seed in range(300):
        requests, tables = unit_case(seed, n=2 + seed % 5, deadlines=True)
        if feasible(requests, tables):
            met += 1
            assert ds.simulate(workload(requests, tables), "edf").metrics["violation_rate"] == 0.0, seed
    assert met > 40


# --- metamorphic laws ---------------------------------------------------------------------------------------


def scaled(requests, tables, factor):
    bigger = Tables([[[x * factor for x in row] for row in rows] for rows in tables.latency], tables.sparsity,
                    tables.model)
    return [(t * factor, k, s, p, d * factor) for t, k, s, p, d in requests], bigger


@pytest.mark.parametrize("name", ["fcfs", "sjf", "sjf_sparse", "planaria", "prema", "prema_sparse", "sdrm3",
                                  "sdrm3_sparse", "edf", "llf", "hpf", "round_robin", "srpt_oracle"])
@pytest.mark.parametrize("factor", [2.0**-7, 2.0**9])
def test_scaling_all_times_scales_all_times(name, factor):
    for seed in range(40):
        requests, tables = random_case(10_000 + seed)
        a = ds.simulate(workload(requests, tables), name)
        b = ds.simulate(workload(*scaled(requests, tables, factor)), name)
        np.testing.assert_array_equal(b.requests["finish_s"], a.requests["finish_s"] * factor)
        assert b.metrics["antt"] == a.metrics["antt"]


def test_dysta_is_not_scale_free():
    """Its penalty is a pure number added to seconds: some schedule changes with the unit."""
    changed = 0
    for seed in range(40):
        requests, tables = continuous(200 + seed)
        a = ds.simulate(workload(requests, tables), ds.schedulers.get("dysta", eta=0.5))
        b = ds.simulate(workload(*scaled(requests, tables, 2.0**-10)), ds.schedulers.get("dysta", eta=0.5))
        changed += not np.array_equal(b.requests["finish_s"], a.requests["finish_s"] * 2.0**-10)
    assert changed > 0


@pytest.mark.parametrize("name", paper.SCHEDULERS)
def test_renaming_and_reordering_keys_changes_nothing(name):
    """Keys in another order, other names, one more model that nobody asks for (aware schedulers only see more keys).

    Architectures of a single key each: a pattern-unaware mean adds its keys in order, which may move the last bit.
    """
    for seed in range(30):
        requests, tables = continuous(300 + seed)
        order = [2, 0, 1]
        moved = Tables([tables.latency[k] for k in order] + [[[5.0] * 4]], [tables.sparsity[k] for k in order] + [None],
                       ["x", "y", "z", "idle"])
        renumbered = [(t, order.index(k), s, p, d) for t, k, s, p, d in requests]
        a = ds.simulate(workload(requests, tables), name)
        b = ds.simulate(workload(renumbered, moved), name)
        np.testing.assert_array_equal(a.requests["finish_s"], b.requests["finish_s"])


@pytest.mark.parametrize("name", paper.SCHEDULERS)
def test_later_requests_change_no_earlier_finish(name):
    """No policy looks ahead: cutting the table at row m leaves everything finished before row m's arrival as is."""
    for seed in range(30):
        requests, tables = random_case(11_000 + seed)
        full = ds.simulate(workload(requests, tables), name).requests["finish_s"]
        for m in range(1, len(requests), 5):
            part = ds.simulate(workload(requests[:m], tables), name).requests["finish_s"]
            before = full[:m] < requests[m][0]
            np.testing.assert_array_equal(part[before], full[:m][before])


def test_unused_future_layers_are_hidden():
    """Changing what a sample does from layer 2 on changes no decision before layer 2 is over (non-oracle policies)."""
    rng = np.random.default_rng(0)
    for name in set(paper.SCHEDULERS) - paper.TRUE:
        base = rng.uniform(0.2, 1.0, (4, 3))
        sparsity = rng.uniform(0.1, 0.9, (4, 3))
        other, other_sparsity = base.copy(), sparsity.copy()
        other[:2, 2] = other[1::-1, 2]          # samples 0 and 1 swap their last layer: averages stay
        other_sparsity[:2, 2] = other_sparsity[1::-1, 2]
        requests = [(0.0, 0, 0, 1.0, 5.0), (0.0, 0, 1, 1.0, 5.0), (0.1, 0, 2, 1.0, 5.0)]
        a = ds.simulate(workload(requests, Tables([base.tolist()], [sparsity.tolist()], ["m"])), name, timeline=True)
        b = ds.simulate(workload(requests, Tables([other.tolist()], [other_sparsity.tolist()], ["m"])), name,
                        timeline=True)
        assert a.requests["first_start_s"][0] == b.requests["first_start_s"][0]


# --- presets and parameters ---------------------------------------------------------------------------------


def test_presets_are_recorded_and_explicit_parameters_win():
    requests, tables = random_case(21)
    wl = workload(requests, tables)
    a = ds.simulate(wl, "dysta", semantics="artifact")
    assert a.config["semantics"] == "artifact"
    assert a.config["clock"] == "artifact"
    b = ds.simulate(wl, "dysta", semantics="artifact", clock="monotonic")
    assert b.config["clock"] == "monotonic"
    assert b.metrics["rewinds"] == 0
    expected = paper.simulate(requests, tables, "dysta_naive", slack="clamped", reciprocal=False)
    naive = ds.simulate(wl, "dysta_naive", semantics="artifact", clock="monotonic")
    assert naive.requests["finish_s"].tolist() == paper.finishes(expected)


def test_mismatch_between_workload_and_run_is_noted():
    requests, tables = random_case(21)
    wl = workload(requests, tables)
    marked = ds.Workload(wl.traces, arrival=wl.arrival, model=wl.model, sample=wl.sample, deadline=wl.deadline,
                         priority=wl.priority, meta={"semantics": "artifact"})
    assert any("semantics" in note for note in ds.simulate(marked, "dysta").notes)
    assert not any("semantics" in note for note in ds.simulate(marked, "dysta", semantics="artifact").notes)


def test_aliases():
    requests, tables = random_case(22)
    wl = workload(requests, tables)
    for alias, name in (("oracle", "dysta_oracle"), ("lst", "llf")):
        np.testing.assert_array_equal(ds.simulate(wl, alias).requests, ds.simulate(wl, name).requests)


def test_every_registered_scheduler_runs():
    requests, tables = random_case(23)
    wl = workload(requests, tables)
    for name in ds.schedulers.names():
        res = ds.simulate(wl, name)
        assert np.isfinite(res.requests["finish_s"]).all(), name


# --- lottery, round robin -----------------------------------------------------------------------------------


def test_lottery_is_seeded_and_follows_the_tickets():
    layers = 4000
    tables = Tables([[[1.0] * layers]], [None], ["m"])
    requests = [(0.0, 0, 0, 1.0, 1e9), (0.0, 0, 0, 3.0, 1e9)]
    wl = workload(requests, tables)
    runs = [ds.simulate(wl, ds.schedulers.get("lottery", seed=seed)) for seed in (1, 1, 2)]
    np.testing.assert_array_equal(runs[0].requests, runs[1].requests)
    assert not np.array_equal(runs[0].requests["finish_s"], runs[2].requests["finish_s"])
    # the rich one needs `layers` wins at p = 3/4: layers / .75 draws, sd sqrt(layers * .25) / .75
    for res in runs:
        assert abs(res.requests["finish_s"][1] - layers / 0.75) < 5 * np.sqrt(layers * 0.25) / 0.75
        assert res.requests["finish_s"][0] == 2 * layers


def test_round_robin_alternates():
    tables = Tables([[[1.0] * 3]], [None], ["m"])
    res = ds.simulate(workload([(0.0, 0, 0, 1.0, 99.0), (0.0, 0, 0, 1.0, 99.0)], tables), "round_robin")
    assert res.requests["finish_s"].tolist() == [5.0, 6.0]


# --- gamma --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("predictor", ["last_one", "average_all", "last_n"])
def test_constant_density_gives_gamma_one(predictor):
    """Exactly 1 where the average of equal densities is exact (averages are accumulated in file order and divided
    once, as published: three times .1 over three is not .1), to the last bits elsewhere."""
    exact = [([0.7, 0.1, 0.9], 1), ([0.7, 0.1, 0.9], 4), ([0.75, 0.125, 0.5], 3), ([0.5, 0.25, 1.0], 7)]
    for row, samples in exact:
        tables = Tables([[[0.3, 0.4, 0.5]] * samples], [[row] * samples], ["m"])
        np.testing.assert_array_equal(ds.policies.estimate(trace_set(tables), predictor=predictor)[0].gamma, 1.0)
    tables = Tables([[[0.3, 0.4, 0.5]] * 3], [[[0.7, 0.1, 0.9]] * 3], ["m"])
    np.testing.assert_allclose(ds.policies.estimate(trace_set(tables), predictor=predictor)[0].gamma, 1.0, rtol=2e-15)


def test_predictors_coincide_after_one_layer():
    _, tables = continuous(1)
    gamma = {p: ds.policies.estimate(trace_set(tables), predictor=p)[0].gamma[:, 1]
             for p in ("last_one", "average_all", "last_n")}
    np.testing.assert_array_equal(gamma["last_one"], gamma["average_all"])
    np.testing.assert_array_equal(gamma["last_one"], gamma["last_n"])


def test_artifact_last_n_divides_by_n_too_early():
    _, tables = continuous(2)
    average = ds.policies.estimate(trace_set(tables), predictor="average_all", artifact=True)[0].gamma
    last = ds.policies.estimate(trace_set(tables), predictor="last_n", artifact=True)[0].gamma
    for k in (1, 2):
        np.testing.assert_allclose(last[:, k], average[:, k] * k / 3, rtol=1e-15)


@pytest.mark.parametrize("predictor", ["last_one", "average_all", "last_n"])
def test_gamma_equals_the_oracle(predictor):
    for seed in range(40):
        _, tables = random_case(12_000 + seed)
        for key, estimate in enumerate(ds.policies.estimate(trace_set(tables), predictor=predictor)):
            layers = len(tables.latency[key][0])
            got = np.broadcast_to(estimate.gamma, (len(tables.latency[key]), layers))
            for sample in range(len(tables.latency[key])):
                np.testing.assert_allclose(got[sample], paper.gammas(tables, key, sample, predictor), rtol=1e-14)


# --- threads ------------------------------------------------------------------------------------------------


def test_concurrent_runs_give_the_same_bytes():
    requests, tables = random_case(31, max_requests=200)
    wl = workload(requests, tables)
    names = ["dysta", "prema", "fcfs", "sdrm3"] * 3
    alone = [ds.simulate(wl, name).requests.tobytes() for name in names]
    together = [None] * len(names)

    def work(i):
        together[i] = ds.simulate(wl, names[i]).requests.tobytes()

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(names))]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert together == alone


def test_two_runs_in_a_row_give_the_same_bytes():
    requests, tables = random_case(32, max_requests=60)
    for name, semantics in itertools.product(("dysta", "prema_sparse"), ("paper", "artifact")):
        wl = workload(requests, tables)
        a, b = (ds.simulate(wl, name, semantics=semantics) for _ in range(2))
        assert a.requests.tobytes() == b.requests.tobytes()
        assert {k: repr(v) for k, v in a.metrics.items()} == {k: repr(v) for k, v in b.metrics.items()}
