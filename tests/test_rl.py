"""Scheduling as a Gymnasium environment: the interface, the rewards, and the same schedules as simulate()."""

import numpy as np
import pytest
import sim_cases

import dnnsched as ds

gymnasium = pytest.importorskip("gymnasium")


@pytest.fixture(scope="module")
def traces():
    bits = np.random.default_rng(8)
    return ds.TraceSet({
        "a": ds.Trace(bits.uniform(0.5, 1.5, (5, 4)) * 1e-3, bits.uniform(0, 0.9, (5, 4)), model="a"),
        "b": ds.Trace(bits.uniform(0.5, 1.5, (5, 2)) * 4e-3, bits.uniform(0, 0.9, (5, 2)), model="b")})


@pytest.fixture
def make(traces):
    return lambda seed: ds.workloads.poisson(traces, rho=0.9, n=40, slo_multiplier=3.0, rng=seed)


def play(env, act, **reset):
    """(total reward, steps, last info) of one episode."""
    observation, info = env.reset(**reset)
    total, steps, over = 0.0, 0, False
    while not over:
        assert env.observation_space.contains(observation)
        assert (observation["mask"] == info["action_mask"][:env.max_queue]).all()
        observation, reward, terminated, truncated, info = env.step(act(observation))
        total, steps, over = total + reward, steps + 1, terminated or truncated
    return total, steps, info


@pytest.mark.parametrize("idle", [False, True])
def test_gymnasium_checks_the_environment(make, idle):
    from gymnasium.utils.env_checker import check_env

    check_env(ds.rl.SchedulingEnv(make, max_queue=6, idle=idle, unit_s=1e-3), skip_render_check=True)


def shortest(observation):
    """Smallest estimate of the remaining work; ties in queue order."""
    remaining = observation["queue"][:, ds.rl.COLUMNS.index("remaining")]
    return int(np.argmin(np.where(observation["mask"] == 1, remaining, np.inf)))


class Turns:
    """An arbitrary but deterministic policy with memory, over positions."""

    def __init__(self):
        self.count = 0

    def __call__(self, observation):
        self.count += 1
        return (7 * self.count) % max(int(observation["mask"].sum()), 1)


@pytest.mark.parametrize("switch_cost_s", [0.0, 0.01])
@pytest.mark.parametrize("oracle", [False, True])
def test_an_episode_takes_the_schedule_of_simulate(oracle, switch_cost_s):
    """Random workloads with ties, one-layer networks and bursts; by a policy on estimates and by one with memory."""
    for seed in range(20):
        wl = sim_cases.workload(*sim_cases.random_case(seed))
        env = ds.rl.SchedulingEnv(wl, max_queue=64, oracle=oracle, switch_cost_s=switch_cost_s)
        for act in (lambda: shortest, Turns):
            _, steps, info = play(env, act())
            result = ds.simulate(wl, ds.rl.AgentScheduler(act(), env), switch_cost_s=switch_cost_s)
            assert env.result().requests.tobytes() == result.requests.tobytes()
            np.testing.assert_equal(info["metrics"], result.metrics)
            assert steps == result.metrics["decisions"]


def test_the_built_in_policy_gives_the_same_schedule(make):
    """Shortest remaining of true times is the oracle of SRPT: the environment against a C policy."""
    wl = make(5)
    env = ds.rl.SchedulingEnv(wl, max_queue=64, oracle=True, unit_s=1.0)
    play(env, shortest)
    result = ds.simulate(wl, "srpt_oracle")
    np.testing.assert_array_equal(env.result().requests["finish_s"], result.requests["finish_s"])


def test_rewards_add_up(make):
    wl = make(3)
    for act in (shortest, Turns()):
        env = ds.rl.SchedulingEnv(wl, max_queue=64)
        total, _, _ = play(env, act)
        r = env.result().requests
        assert -total == pytest.approx((r["finish_s"] - r["arrival_s"]).sum(), rel=1e-12)
    env = ds.rl.SchedulingEnv(wl, max_queue=64, reward="violations")
    total, _, _ = play(env, Turns())
    assert -total == np.count_nonzero(~env.result().requests["slo_met"]) > 0


def test_every_step_is_accounted_at_once(make):
    """An own reward sees each interval whole: the integral of requests in the system, recomputed from the result."""
    seen = []
    env = ds.rl.SchedulingEnv(make(4), max_queue=64, reward=lambda step: seen.append(step) or 0.0)
    play(env, Turns())
    r = env.result().requests
    assert sorted(np.concatenate([s.finished for s in seen]).tolist()) == list(range(len(r)))
    for s in seen:
        t0, t1 = s.now_s - s.elapsed_s, s.now_s
        inside = np.clip(r["finish_s"], t0, t1) - np.clip(r["arrival_s"], t0, t1)
        assert s.request_seconds == pytest.approx(inside.sum(), abs=1e-12)
        assert s.late == np.count_nonzero(~r["slo_met"][s.finished])


def test_seeds_make_episodes(make):
    seeds = []
    env = ds.rl.SchedulingEnv(lambda seed: seeds.append(seed) or make(seed), max_queue=8)
    first = [env.reset(seed=1)[0]["queue"], env.reset()[0]["queue"]]
    again = [env.reset(seed=1)[0]["queue"], env.reset()[0]["queue"]]
    np.testing.assert_array_equal(first, again)
    assert seeds[:2] == seeds[2:]
    assert seeds[0] != seeds[1]
    env.reset(options={"workload": make(9)})
    assert env._workload.arrival.tolist() == make(9).arrival.tolist()


def test_idling(make):
    """A lone newcomer waits for company; the last two arrive together, so nobody waits for ever."""
    drawn, wait = make(2), 64
    arrival = drawn.arrival.copy()
    arrival[-1] = arrival[-2]
    wl = ds.Workload(drawn.traces, arrival, drawn.model, drawn.sample, drawn.deadline)
    env = ds.rl.SchedulingEnv(wl, max_queue=64, idle=True)
    asked = []

    def patient(observation):
        waited = observation["queue"][0, ds.rl.COLUMNS.index("waited")]
        asked.append(observation["waiting"][0] == 1 and waited == 0.0)
        return wait if asked[-1] else 0

    play(env, patient)
    assert sum(asked) > 3
    result = ds.simulate(wl, ds.rl.AgentScheduler(patient, env))
    assert env.result().requests.tobytes() == result.requests.tobytes()
    _, _, info = play(env, lambda observation: wait, seed=2)
    assert info["stalled"]
    assert info["metrics"] == {}
    with pytest.raises(ds.StateError, match="result"):
        env.result()


def test_a_short_view_and_empty_places(make):
    env = ds.rl.SchedulingEnv(make, max_queue=2, invalid_reward=-5.0, reward=lambda step: 0.0)
    total, _, _ = play(env, lambda observation: 1, seed=4)
    assert total < 0
    assert total % 5 == 0
    observation, info = env.reset(seed=4)
    _, reward, _, _, info = env.step(1)  # one request waits at the first decision
    assert observation["mask"].tolist() == [1, 0]
    assert info["invalid"]
    assert reward == -5.0
    fcfs = ds.simulate(env._workload, ds.rl.AgentScheduler(lambda observation: 0, env))
    play(env, lambda observation: 0, options={"workload": env._workload})
    assert env.result().requests.tobytes() == fcfs.requests.tobytes()


def test_requests_without_deadlines_are_far(traces):
    wl = ds.Workload(traces, np.zeros(2), np.zeros(2, int), np.zeros(2, int), np.full(2, np.inf))
    observation, _ = ds.rl.SchedulingEnv(wl).reset()
    assert observation["queue"][:2, ds.rl.COLUMNS.index("slack")].tolist() == [ds.rl.FAR] * 2
    assert observation["waiting"].tolist() == [2]


def test_wrong_use(make, traces):
    env = ds.rl.SchedulingEnv(make, max_queue=4)
    with pytest.raises(ds.StateError, match="reset"):
        env.step(0)
    with pytest.raises(ValueError, match="unit_s"):
        ds.rl.AgentScheduler(shortest, env)
    env.reset(seed=1)
    with pytest.raises(ValueError, match="action: expected 0 to 3, got 4"):
        env.step(4)
    with pytest.raises(ds.StateError, match="result"):
        env.result()
    for kwargs, error, word in (({"max_queue": 0}, ValueError, "max_queue"), ({"reward": "x"}, ValueError, "reward"),
                                ({"unit_s": 0.0}, ValueError, "unit_s"), ({"max_queue": 1.5}, TypeError, "max_queue")):
        with pytest.raises(error, match=word):
            ds.rl.SchedulingEnv(make, **kwargs)
    with pytest.raises(ValueError, match="closed loops"):
        ds.rl.SchedulingEnv(ds.workloads.closed_loop(traces, users=2, n=4, rng=1)).reset()
