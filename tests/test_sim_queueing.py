"""Queueing theory as judge: one-layer requests on one accelerator at 10^6 requests, within three standard errors.

Standard errors come from batch means (50 batches after a warm-up of 10^5 requests, lag-1 correlation of the batch
means checked). Seeds are fixed, so the tests are deterministic.
"""

import math

import numpy as np
import pytest

import dnnsched as ds
from dnnsched import sim

N, WARM, BATCHES = 1_000_000, 100_000, 50


def stream(seed, rho, services, mean=1.0):
    """Poisson arrivals at offered load rho for the given services (drawn by us, mean known)."""
    u = np.random.default_rng([seed, 1]).random(len(services))
    return np.cumsum(-np.log1p(-u) * (mean / rho))


def run(arrival, services, scheduler, *, priority=None, index=None, deadline=np.inf):
    """Waiting times of all requests; `services` are the samples of one trace unless `index` picks them."""
    n = len(arrival)
    traces = ds.TraceSet({"m": ds.Trace(np.ascontiguousarray(services).reshape(-1, 1), model="m")})
    wl = ds.Workload(traces, arrival=arrival, model=np.zeros(n, np.int32),
                     sample=np.arange(n, dtype=np.int32) if index is None else index.astype(np.int32),
                     deadline=np.full(n, deadline), priority=priority)
    res = ds.simulate(wl, scheduler)
    rows = res.requests
    return rows["first_start_s"] - rows["arrival_s"], rows["finish_s"] - rows["arrival_s"], res


def check(values, expected, sigmas=3.0):
    """Batch means of the values after warm-up against the expected mean."""
    steady = values[WARM:]
    means = steady[: len(steady) // BATCHES * BATCHES].reshape(BATCHES, -1).mean(axis=1)
    centred = means - means.mean()
    lag1 = (centred[1:] * centred[:-1]).sum() / (centred**2).sum()
    assert abs(lag1) < 0.45, f"batches too short: lag-1 correlation {lag1:.2f}"
    error = means.std(ddof=1) / np.sqrt(BATCHES)
    assert abs(means.mean() - expected) <= sigmas * error, (means.mean(), expected, error)
    assert error < 0.05 * expected  # the check has teeth


def exponential(seed, n=N):
    return -np.log1p(-np.random.default_rng([seed, 2]).random(n))


@pytest.mark.parametrize("rho", [0.5, 0.8])
def test_item_03_m_d_1(rho):
    wait, _, _ = run(stream(1, rho, np.ones(N)), np.ones(1), "fcfs", index=np.zeros(N))
    check(wait, rho / (2 * (1 - rho)))


@pytest.mark.parametrize("rho", [0.5, 0.8])
def test_item_03_m_m_1(rho):
    services = exponential(3)
    wait, total, res = run(stream(3, rho, services), services, "fcfs")
    check(wait, rho / (1 - rho))
    check(total, 1 / (1 - rho))
    # the sojourn time is exponential with rate 1 - rho: tail probabilities, not only the mean
    for t in (0.5, 1.0, 2.0, 3.0):
        check((total > t / (1 - rho)).astype(float), np.exp(-t), sigmas=3.5)
    assert res.metrics["utilization"] == pytest.approx(rho, rel=0.01)


@pytest.mark.parametrize("name", ["fcfs", "edf", "lottery"])
def test_item_03_m_g_1_pollaczek_khinchine(name):
    """Two service times, .5 (90 %) and 5.5 (10 %): E[S] = 1, E[S^2] = 3.25. Mean wait is the same for every
    non-preemptive discipline that ignores service times."""
    index = (np.random.default_rng(4).random(N) < 0.1).astype(np.int32)
    rho = 0.7
    wait, _, _ = run(stream(4, rho, index), np.array([0.5, 5.5]), name, index=index)
    check(wait, rho * 3.25 / (2 * (1 - rho)))


@pytest.mark.parametrize("servers", [2, 5])
def test_item_03_m_m_c(servers):
    """Several resources behind one queue: Erlang's C formula."""
    rho = 0.85
    services = exponential(20 + servers)
    arrival = stream(20 + servers, rho * servers, services)
    system = sim.System()
    system.pool("fcfs", n=servers)
    hold = system.table(services.reshape(-1, 1), ("row",))
    system.program([{"pool": 0, "hold": hold}])
    simulation = sim.Simulation(system, N)
    simulation.feed(arrival)
    assert simulation.run() == "done"
    offered = rho * servers
    top = offered**servers / math.factorial(servers) / (1 - rho)
    waits = top / (sum(offered**k / math.factorial(k) for k in range(servers)) + top)
    wait = simulation.columns["first_start_s"] - arrival
    check(wait, waits / (servers * (1 - rho)))
    check((wait > 0).astype(float), waits)


def test_cobham_two_classes_without_preemption():
    """hpf on one-layer requests is head-of-line priority: W_k = W0 / ((1 - s_{k-1}) (1 - s_k))."""
    rng = np.random.default_rng(5)
    urgent = rng.random(N) < 0.4
    services = exponential(5) * np.where(urgent, 0.6, 1.2)
    mean, second = 0.4 * 0.6 + 0.6 * 1.2, 2 * (0.4 * 0.36 + 0.6 * 1.44)
    rho = 0.8
    arrival = stream(5, rho, services, mean)
    wait, _, _ = run(arrival, services, "hpf", priority=np.where(urgent, 3.0, 1.0))
    rate = rho / mean
    residual = rate * second / 2
    rho_1 = rate * 0.4 * 0.6

    def per_class(mask, expected):
        values = np.where(mask, wait, 0.0)
        # ratio estimator over common batches: mean wait of the class
        steady, hits = values[WARM:].reshape(BATCHES, -1).sum(1), mask[WARM:].reshape(BATCHES, -1).sum(1)
        ratio = steady.sum() / hits.sum()
        error = np.sqrt(((steady - ratio * hits) ** 2).sum() / (BATCHES - 1) / BATCHES) / hits.mean()
        assert abs(ratio - expected) <= 3 * error, (ratio, expected, error)
        assert error < 0.05 * expected

    per_class(urgent, residual / (1 - rho_1))
    per_class(~urgent, residual / ((1 - rho_1) * (1 - rho)))


def test_shortest_first_is_cobham_with_sizes_as_classes():
    """srpt_oracle on one-layer requests: three sizes, shortest first, no preemption."""
    sizes, share = np.array([0.25, 1.0, 4.0]), np.array([0.5, 0.35, 0.15])
    index = np.searchsorted(np.cumsum(share), np.random.default_rng(6).random(N)).clip(0, 2).astype(np.int32)
    mean, second = (sizes * share).sum(), (sizes**2 * share).sum()
    rho = 0.85
    wait, _, _ = run(stream(6, rho, index, mean), sizes, "srpt_oracle", index=index)
    rate = rho / mean
    level = np.concatenate([[0.0], np.cumsum(rate * sizes * share)])
    expected = (share * (rate * second / 2) / ((1 - level[:-1]) * (1 - level[1:]))).sum()
    check(wait, expected)


def test_kleinrock_conservation_law():
    """Sum of rho_i W_i is the same for all non-preemptive disciplines: on one sample path, unit services, exactly so
    for the sum of waits."""
    n = 200_000
    arrival = stream(7, 0.9, np.ones(n))
    priority = np.random.default_rng(7).choice([1.0, 2.0, 5.0], n)
    totals = {name: run(arrival, np.ones(1), name, index=np.zeros(n), priority=priority, deadline=1e7)[0].sum()
              for name in ("fcfs", "hpf", "lottery", "round_robin", "prema", "edf", "dysta")}
    for name, total in totals.items():
        assert total == pytest.approx(totals["fcfs"], rel=1e-9), name


def test_fcfs_is_lindleys_recursion_bit_for_bit():
    n = 100_000
    services = exponential(8, n)
    arrival = stream(8, 0.95, services)
    _, _, res = run(arrival, services, "fcfs")
    free, expected = 0.0, []
    for a, s in zip(arrival.tolist(), services.tolist(), strict=True):
        free = max(free, a) + s
        expected.append(free)
    assert res.requests["finish_s"].tolist() == expected


def test_overload_is_flagged():
    n = 5_000
    services = np.ones(n)
    _, _, over = run(stream(9, 1.3, services), services, "fcfs")
    _, _, under = run(stream(9, 0.5, services), services, "fcfs")
    assert over.metrics["saturated"]
    assert not under.metrics["saturated"]
    assert over.metrics["offered_load"] == pytest.approx(1.3, rel=0.1)
    assert under.metrics["offered_load"] == pytest.approx(0.5, rel=0.1)


def test_more_load_never_lowers_the_mean_wait():
    n = 50_000
    services = exponential(10, n)
    base = stream(10, 1.0, services)
    waits = [run(base / rho, services, "fcfs")[0].mean() for rho in (0.3, 0.6, 0.9, 1.2)]
    assert waits == sorted(waits)
