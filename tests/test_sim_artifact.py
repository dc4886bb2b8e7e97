"""semantics="artifact" equals the public Python simulator decision by decision, bit for bit.

The judge is tests/oracle_artifact.py, an independent plain-Python program; where the environment variable
DNNSCHED_DYSTA_ARTIFACT names a checkout of the public repository, the public code itself judges as well.
"""

import hashlib
import importlib
import os
import subprocess
import sys

import numpy as np
import oracle_artifact as oracle
import pytest
from sim_cases import random_case, trace_set, workload

import dnnsched as ds

CASES = 240


def assert_same(res, expected, label):
    rows = res.requests
    assert rows["first_start_s"].tolist() == expected.first_start, label
    assert rows["finish_s"].tolist() == expected.finish, label
    assert rows["n_preempt"].tolist() == expected.n_preempt, label
    metrics = res.metrics
    assert metrics["antt"] == expected.antt, label
    assert metrics["violation_rate"] == expected.violation_rate, label
    assert metrics["throughput_rps"] == expected.throughput, label
    assert metrics["rewinds"] == expected.rewinds, label


@pytest.mark.parametrize("policy", oracle.POLICIES)
def test_equals_the_oracle_on_random_tables(policy):
    busiest = 0
    for seed in range(CASES):
        requests, tables = random_case(seed)
        res = ds.simulate(workload(requests, tables), policy, semantics="artifact")
        expected = oracle.simulate(requests, tables, policy)
        assert_same(res, expected, f"seed {seed}")
        busiest = max(busiest, sum(expected.n_preempt))
    if policy != "fcfs":
        assert busiest > 0  # the cases do exercise preemption


@pytest.mark.parametrize("policy", oracle.POLICIES)
def test_layer_by_layer_schedule_equals_the_oracle(policy):
    """The whole schedule, not only its first starts and finishes: who ran each layer, when."""
    for seed in range(80):
        requests, tables = random_case(4000 + seed)
        res = ds.simulate(workload(requests, tables), policy, semantics="artifact", timeline=True)
        expected = oracle.simulate(requests, tables, policy)
        slices = res.timeline.slices
        assert slices["id"].tolist() == expected.schedule, seed
        assert slices["t0_s"].tolist() == expected.starts, seed
        assert res.order.tolist() == expected.completion, seed
        assert_same(res, expected, f"seed {seed}")


@pytest.mark.parametrize("policy", oracle.POLICIES)
def test_equals_the_oracle_under_overload(policy):
    """Long queues: wide scans, screening and its exact re-evaluation, many late requests."""
    for seed in range(3):
        requests, tables = random_case(1000 + seed, max_keys=3, max_layers=5, max_requests=220)
        rng = np.random.default_rng(seed)
        n = 220
        times = np.sort(rng.uniform(0.0, 3.0, n)).round(rng.integers(2, 5)).tolist()
        requests = []
        for t in times:
            key = int(rng.integers(len(tables.latency)))
            requests.append((t, key, int(rng.integers(len(tables.latency[key]))), float(rng.choice([1, 3, 9])),
                             t + float(rng.choice([0.5, 5.0, 50.0, 500.0]))))
        res = ds.simulate(workload(requests, tables), policy, semantics="artifact")
        assert_same(res, oracle.simulate(requests, tables, policy), f"seed {seed}")


@pytest.mark.parametrize("policy", oracle.POLICIES)
def test_identical_requests_tie_in_every_score(policy):
    """One model, equal layers, groups of equal arrivals: only the tie rules decide."""
    tables = oracle.Tables([[[0.5] * 4]], [[[0.25] * 4]], ["m"])
    for gap in (0.0, 0.5, 1.0, 2.0):
        for margin in (0.0, 1.0, 2.0, 4.0, 64.0):
            requests = [(gap * (i // 3), 0, 0, 3.0, gap * (i // 3) + margin) for i in range(12)]
            res = ds.simulate(workload(requests, tables), policy, semantics="artifact")
            assert_same(res, oracle.simulate(requests, tables, policy), (gap, margin))


@pytest.mark.parametrize("policy", ["dysta", "dysta_naive", "dysta_oracle"])
def test_nearly_equal_scores_are_told_apart(policy):
    """Latencies one unit in the last place apart: a screen by reciprocals must not decide for the exact score."""
    base = 0.1
    values = [base]
    for _ in range(15):
        values.append(float(np.nextafter(values[-1], 1.0)))
    for seed in range(30):
        rng = np.random.default_rng(seed)
        latency = [[[values[int(rng.integers(16))] for _ in range(3)]] for _ in range(12)]
        tables = oracle.Tables(latency, [None] * 12, [f"m{i}" for i in range(12)])
        requests = [(0.0, i, 0, 1.0, 1.0) for i in range(12)] + [(0.05, i, 0, 1.0, 1.05) for i in range(12)]
        res = ds.simulate(workload(requests, tables), policy, semantics="artifact")
        assert_same(res, oracle.simulate(requests, tables, policy), f"seed {seed}")


@pytest.mark.parametrize("beta", [0.0, 0.01, 0.3, 1.0, 5.0])
def test_beta_of_dysta(beta):
    for seed in range(25):
        requests, tables = random_case(2000 + seed)
        res = ds.simulate(workload(requests, tables), ds.schedulers.get("dysta", beta=beta), semantics="artifact")
        assert_same(res, oracle.simulate(requests, tables, "dysta", beta=beta), f"seed {seed}")


@pytest.mark.parametrize("alpha", [0.0, 0.5, 2.0])
def test_alpha_of_sdrm3(alpha):
    for seed in range(25):
        requests, tables = random_case(3000 + seed)
        res = ds.simulate(workload(requests, tables), ds.schedulers.get("sdrm3", alpha=alpha), semantics="artifact")
        assert_same(res, oracle.simulate(requests, tables, "sdrm3", alpha=alpha), f"seed {seed}")


@pytest.mark.parametrize("policy", oracle.POLICIES)
def test_one_request(policy):
    tables = oracle.Tables([[[0.5, 0.25]]], [[[0.5, 0.5]]], ["m"])
    requests = [(3.0, 0, 0, 9.0, 3.0)]
    res = ds.simulate(workload(requests, tables), policy, semantics="artifact")
    assert_same(res, oracle.simulate(requests, tables, policy), policy)
    assert res.requests["finish_s"][0] == 3.75
    assert res.metrics["violation_rate"] == 1.0


# --- hand cases ---------------------------------------------------------------------------------------------


def test_rewind_by_hand():
    """A(0 s, 2 s), B(1 s, 1 s): the artifact finishes both at 2 (time moves back once), the paper at 2 and 3."""
    tables = oracle.Tables([[[2.0]], [[1.0]]], [None, None], ["a", "b"])
    wl = workload([(0.0, 0, 0, 1.0, 9.0), (1.0, 1, 0, 1.0, 9.0)], tables)
    old = ds.simulate(wl, "fcfs", semantics="artifact")
    assert old.requests["finish_s"].tolist() == [2.0, 2.0]
    assert old.metrics["rewinds"] == 1
    new = ds.simulate(wl, "fcfs")
    assert new.requests["finish_s"].tolist() == [2.0, 3.0]
    assert new.metrics["rewinds"] == 0


def test_throughput_after_a_rewind_counts_to_the_latest_finish():
    tables = oracle.Tables([[[8.0]], [[1.0]]], [None, None], ["a", "b"])
    wl = workload([(0.0, 0, 0, 1.0, 99.0), (1.0, 1, 0, 1.0, 99.0)], tables)
    res = ds.simulate(wl, "fcfs", semantics="artifact")
    assert res.requests["finish_s"].tolist() == [8.0, 2.0]
    assert res.metrics["throughput_rps"] == 0.25


@pytest.mark.parametrize(("policy", "order"), [("planaria", [0, 2, 2, 2, 1, 1, 1, 0, 0]),
                                               ("sdrm3", [0, 2, 1, 0, 2, 1, 0, 2, 1])])
def test_late_requests_by_hand(policy, order):
    """Three tasks of 3 x 1 s at 0, .2, .4, all late: the newest wins among negative scores."""
    tables = oracle.Tables([[[1.0] * 3]], [None], ["m"])
    requests = [(t, 0, 0, 1.0, t + 0.01) for t in (0.0, 0.2, 0.4)]
    assert oracle.simulate(requests, tables, policy).schedule == order
    res = ds.simulate(workload(requests, tables), policy, semantics="artifact")
    first = [float(order.index(i)) for i in range(3)]
    last = [float(len(order) - order[::-1].index(i)) for i in range(3)]
    assert res.requests["first_start_s"].tolist() == first
    assert res.requests["finish_s"].tolist() == last


# --- what artifact semantics is not -------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["edf", "llf", "hpf", "round_robin", "lottery", "srpt_oracle"])
def test_other_schedulers_have_no_artifact_semantics(policy):
    requests, tables = random_case(1)
    with pytest.raises(ValueError, match="artifact") as error:
        ds.simulate(workload(requests, tables), policy, semantics="artifact")
    for name in oracle.POLICIES:
        assert name in str(error.value)


def test_own_schedulers_have_no_artifact_semantics():
    class Mine:
        def pick(self, view):
            return 0

    requests, tables = random_case(1)
    with pytest.raises(ValueError, match="artifact"):
        ds.simulate(workload(requests, tables), Mine(), semantics="artifact")


def test_names_of_the_eleven_are_registered():
    assert set(oracle.POLICIES) <= set(ds.schedulers.names())


# --- same bytes at every instruction-set level ----------------------------------------------------------------

DIGEST = """
import hashlib, sys
sys.path.insert(0, {here!r})
import test_sim_artifact as t
print(t.digest())
"""


def digest():
    """SHA-256 over the results of all policies on some tables, both semantics."""
    h = hashlib.sha256()
    for seed in (5, 6, 7, 1001):
        requests, tables = random_case(seed, max_requests=120)
        wl = workload(requests, tables, trace_set(tables))
        for policy in oracle.POLICIES:
            for semantics in ("artifact", "paper"):
                res = ds.simulate(wl, policy, semantics=semantics)
                h.update(res.requests["finish_s"].tobytes())
                h.update(repr(sorted(res.metrics.items(), key=lambda kv: kv[0])).encode())
    return h.hexdigest()


@pytest.mark.parametrize("level", ["generic", "avx2", "avx512"])
def test_same_bytes_at_every_isa_level(level):
    here = os.path.dirname(os.path.abspath(__file__))
    run = subprocess.run([sys.executable, "-c", DIGEST.format(here=here)], capture_output=True, text=True, timeout=300,
                         env={**os.environ, "DNNSCHED_ISA": level}, check=False)
    if run.returncode and "ISA" in run.stderr and "not supported" in run.stderr:
        pytest.skip(f"this CPU has no {level}")
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == digest()


# --- the public simulator itself ------------------------------------------------------------------------------


def public_scheduler_module():
    """The public repository's `scheduler` module from DNNSCHED_DYSTA_ARTIFACT (its root or dysta_scheduler/)."""
    root = os.environ.get("DNNSCHED_DYSTA_ARTIFACT")
    if not root:
        pytest.skip("DNNSCHED_DYSTA_ARTIFACT is not set: no public Sparse-DySta simulator to compare with")
    folder = os.path.join(root, "dysta_scheduler")
    folder = folder if os.path.isdir(folder) else root
    if folder not in sys.path:
        sys.path.insert(0, folder)
    return importlib.import_module("scheduler")


def run_public(module, requests, tables, policy):
    """Drive the public classes the way their own script does."""
    keys = [f"{name}_{key}" for key, name in enumerate(tables.model)]
    lut = {}
    for key, name in enumerate(keys):
        rows = [[np.float64(x) for x in row] for row in tables.latency[key]]
        zeros = tables.sparsity[key] or [[0.0] * len(rows[0])] * len(rows)
        lut[name] = {"lat_lut": dict(enumerate(rows)), "sparsity_lut": dict(enumerate(zeros))}
    table = []
    for arrival, key, sample, priority, deadline in requests:
        average = tables.avg_sparsity[key] or [0.0] * len(tables.latency[key][0])
        table.append([arrival, np.float64(deadline), keys[key], priority,
                      [np.float64(x) for x in tables.avg_model[key]], sample, average,
                      [np.float64(x) for x in tables.avg_key[key]]])
    family = {"fcfs": "FCFS_Scheduler", "sjf": "SJF_Scheduler", "prema": "PREMA_Scheduler", "planaria": "Planaria",
              "sdrm3": "SDRM3_Scheduler", "dysta": "Dysta_Scheduler"}
    sparse = policy.endswith("_sparse")
    if policy == "dysta_oracle":
        engine = module.Dysta_Oracle_Scheduler(table)
    elif policy.startswith("dysta"):
        engine = module.Dysta_Scheduler(table, is_sparse=policy == "dysta")
    elif sparse or policy in ("sjf", "prema", "sdrm3"):
        engine = getattr(module, family[policy.removesuffix("_sparse")])(table, is_sparse=sparse)
    else:
        engine = getattr(module, family[policy])(table)
    engine.set_lat_lut(lut)
    construct = module.Task.__init__

    def exact_deadline(self, reqst_time, target_lat, *rest):
        construct(self, reqst_time, target_lat, *rest)
        self.target_time = target_lat  # the tables carry absolute deadlines: no rounding of arrival + target

    module.Task.__init__ = exact_deadline
    try:
        aware = policy in oracle.PATTERN_AWARE
        while not engine.is_finished():
            engine.update_reqst(aware)
            engine.exe(is_hw_monitor=policy in oracle.MONITORED)
    finally:
        module.Task.__init__ = construct
    finish = {task_id: task.finish_time for task_id, task in engine.finished_reqst.items()}
    return ([float(finish[f"{r[0]}_{keys[r[1]]}"]) for r in requests], float(engine.calc_ANTT()),
            engine.calc_violation_rate()[0], float(engine.calc_system_thrpt()))


def distinct(requests):
    """The public code names a task by (arrival, model): equal pairs collide there."""
    return len({(r[0], r[1]) for r in requests}) == len(requests)


@pytest.mark.parametrize("policy", oracle.POLICIES)
def test_equals_the_public_simulator(policy):
    module = public_scheduler_module()
    compared = 0
    for seed in range(CASES):
        requests, tables = random_case(seed)
        full = any(avg is not None and 1.0 in avg for avg in tables.avg_sparsity)  # divides by zero there
        if full or not distinct(requests):
            continue
        try:
            with np.errstate(all="ignore"):
                finish, antt, violations, throughput = run_public(module, requests, tables, policy)
        except KeyError:  # a first score of exactly -1 crashes the public search for a maximum
            assert policy in ("planaria", "sdrm3", "sdrm3_sparse")
            continue
        expected = oracle.simulate(requests, tables, policy)
        assert finish == expected.finish, seed
        assert (antt, violations, throughput) == (expected.antt, expected.violation_rate, expected.throughput), seed
        res = ds.simulate(workload(requests, tables), policy, semantics="artifact")
        assert res.requests["finish_s"].tolist() == finish, seed
        compared += 1
    assert compared > 50
