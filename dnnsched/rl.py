"""Scheduling as a reinforcement-learning environment (extra ``rl``: Gymnasium).

One step is one decision of the engine: the accelerator is free, requests wait, the agent says which one runs its next
layer. :class:`SchedulingEnv` is a plain ``gymnasium.Env`` on the engine's stop-at-a-decision entry, so an episode takes
the same schedule as :func:`dnnsched.simulate` with a scheduler that picks the same requests; :class:`AgentScheduler`
makes such a scheduler of a trained policy.
"""

import math
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np

try:
    import gymnasium
    from gymnasium import spaces
except ImportError:
    raise ImportError("dnnsched.rl needs Gymnasium: pip install 'dnnsched[rl]'") from None

from ._arrays import check_int, check_number
from .errors import StateError
from .results import Result
from .sim import FEATURES, Simulation, _system

__all__ = ["COLUMNS", "FAR", "REWARDS", "AgentScheduler", "SchedulingEnv", "Step", "observe"]

COLUMNS = ("waited", "slack", "remaining", "next", "isolated", "since_run", "priority", "stage")
"""Columns of an observation's matrix: time since the arrival, time to the deadline, estimates of the remaining work, of
the next layer and of the whole request run alone, time since its last layer (or arrival), priority, layers done."""

FAR = 1e6
"""Bound of every entry of an observation: a request without deadline has this slack."""

_SOURCES = ("arrival", "deadline", "remaining", "next", "isolated", "last_run", "priority", "stage")
_AT = [FEATURES.index(name) for name in _SOURCES]


@dataclass(frozen=True)
class Step:
    """What happened between two decisions; what a reward function gets.

    Attributes
    ----------
    now_s, elapsed_s : float
        Time of the decision reached, and since the one before, seconds.
    request_seconds : float
        Requests in the system, integrated over the interval: the sum of all turnaround times gathered in it.
    finished : ndarray of int64
        Ids of the requests that ended in it.
    late : int
        How many of them ended after their deadline.
    """

    now_s: float
    elapsed_s: float
    request_seconds: float
    finished: np.ndarray
    late: int


REWARDS = {
    "turnaround": lambda step: -step.request_seconds,
    "violations": lambda step: -float(step.late),
}
"""Name -> function of a :class:`Step`. ``"turnaround"`` sums up to minus the sum of all turnaround times (seconds),
``"violations"`` to minus the number of missed deadlines."""


def observe(columns, now, max_queue, unit_s):
    """The observation of one decision.

    Parameters
    ----------
    columns : array_like, [8, waiting]
        arrival, deadline, remaining, next, isolated, last_run (seconds), priority, stage of the waiting requests.
    now : float
        Seconds.
    max_queue : int
        Rows; further requests are not shown.
    unit_s : float
        Times are divided by this.

    Returns
    -------
    dict
        ``queue`` float32 [max_queue, len(COLUMNS)], rows in queue order, the rest 0; ``mask`` int8 [max_queue], 1 where
        there is a request; ``waiting`` float32 [1], requests in the queue, shown or not.
    """
    table = np.array(columns, np.float64)
    waiting = table.shape[1]
    shown = min(waiting, max_queue)
    table = table[:, :shown]
    table[[0, 5]] = now - table[[0, 5]]  # waited, since_run
    table[1] -= now
    table[:6] /= unit_s
    queue = np.zeros((max_queue, len(COLUMNS)), np.float32)
    queue[:shown] = np.clip(table, -FAR, FAR).T
    mask = np.zeros(max_queue, np.int8)
    mask[:shown] = 1
    return {"queue": queue, "mask": mask, "waiting": np.array([waiting], np.float32)}


def _mean_isolated(traces):
    return float(np.mean([tr.isolated_s.mean() for tr in traces.values()]))


class SchedulingEnv(gymnasium.Env):
    """One preemptible accelerator whose scheduler is the agent.

    Parameters
    ----------
    workload : Workload or callable
        The requests of every episode, or ``workload(seed)`` (an int) that makes them; its seeds come from the
        environment's ``np_random``.
    max_queue : int
        Requests shown, in queue order.
    idle : bool
        Adds the action `max_queue`: stay idle until the next event.
    reward : str or callable
        Key of :data:`REWARDS` or a function of a :class:`Step`.
    invalid_reward : float
        Added when an action names an empty place; the first request runs then, and ``info["invalid"]`` is True.
    oracle : bool
        Show true latencies instead of what the default Dysta estimates.
    unit_s : float, optional
        Times in observations are divided by this; default the mean isolated time of the first workload's traces.
    switch_cost_s : float
        Seconds added when the accelerator changes request.

    Notes
    -----
    Action space: ``Discrete(max_queue)``, one more with `idle`. Observations: :func:`observe`; ``info["action_mask"]``
    marks the actions that can be taken, as ``action_space.sample(mask=...)`` wants it. An episode is `terminated` when
    the last request has ended; it is `truncated` (``info["stalled"]``) when the agent idles and nothing will happen any
    more. Rewards are in seconds, requests, or what the function gives.

    Raises
    ------
    ValueError
        A workload without requests, or with closed loops.
    """

    metadata = {"render_modes": []}  # noqa: RUF012 - Gymnasium's own name and kind

    def __init__(self, workload, *, max_queue=32, idle=False, reward="turnaround", invalid_reward=0.0, oracle=False,
                 unit_s=None, switch_cost_s=0.0):
        self.max_queue = check_int(max_queue, "max_queue", 1)
        if not callable(reward) and reward not in REWARDS:
            raise ValueError(f"reward: expected one of {', '.join(REWARDS)} or a function, got {reward!r}")
        self._make = workload if callable(workload) else lambda seed: workload
        self._reward = reward if callable(reward) else REWARDS[reward]
        self._invalid_reward = check_number(invalid_reward, "invalid_reward")
        self._idle, self._oracle = bool(idle), bool(oracle)
        self.unit_s = None if unit_s is None else check_number(unit_s, "unit_s", 0, open_low=True)
        self._switch_cost_s = check_number(switch_cost_s, "switch_cost_s", 0)
        self.action_space = spaces.Discrete(self.max_queue + self._idle)
        self.observation_space = spaces.Dict({
            "queue": spaces.Box(-FAR, FAR, (self.max_queue, len(COLUMNS)), np.float32),
            "mask": spaces.MultiBinary(self.max_queue),
            "waiting": spaces.Box(0.0, math.inf, (1,), np.float32)})
        self._sim = self._workload = None
        self._state = "done"

    def reset(self, *, seed=None, options=None):
        """Start an episode; ``options={"workload": wl}`` runs that workload.

        Returns
        -------
        (dict, dict)
            Observation and info.
        """
        super().reset(seed=seed)
        drawn = int(self.np_random.integers(2**63 - 1))
        wl = (options or {}).get("workload")
        self._workload = wl = self._make(drawn) if wl is None else wl
        if not wl.n:
            raise ValueError("workload: expected at least one request")
        if getattr(wl, "sources", ()):
            raise ValueError("workload: closed loops cannot be run step by step")
        if self.unit_s is None:
            self.unit_s = _mean_isolated(wl.traces)
        system = _system(wl.traces, SimpleNamespace(oracle=self._oracle), "paper", "monotonic", self._switch_cost_s,
                         external=True)
        self._sim = Simulation(system, wl.n)
        self._sim.feed(wl.arrival, deadline=wl.deadline, priority=wl.priority, program=wl.model, sample=wl.sample)
        self._area, self._finished, self._now = 0.0, 0, float(wl.arrival[0])
        self._state = self._sim.run()
        self._account()
        return self._observe(), self._info(False)

    def step(self, action):
        """Answer the decision and go on to the next one.

        Returns
        -------
        (dict, float, bool, bool, dict)
            Observation, reward, terminated, truncated, info (``action_mask``, ``now_s``, ``invalid``; in the last
            step of an episode also ``stalled`` and ``metrics``).

        Raises
        ------
        StateError
            After the end of an episode, or before the first reset.
        """
        if self._state != "decision":
            raise StateError("step: the episode has ended or not begun; call reset() first")
        action = int(action)
        if not self.action_space.contains(action):
            raise ValueError(f"action: expected 0 to {self.action_space.n - 1}, got {action}")
        idles = self._idle and action == self.max_queue
        invalid = not idles and action >= self._waiting
        self._sim.choose(-1 if idles else 0 if invalid else action)
        self._state = self._sim.run()
        reward = float(self._reward(self._account())) + (self._invalid_reward if invalid else 0.0)
        terminated, truncated = self._state == "done", self._state == "stalled"
        observation, info = self._observe(), self._info(invalid)
        if terminated or truncated:
            info |= {"stalled": truncated, "metrics": {} if truncated else self.result().metrics}
        return observation, reward, terminated, truncated, info

    def result(self):
        """The finished episode as :func:`dnnsched.simulate` would have returned it.

        Raises
        ------
        StateError
            While requests have not ended.
        """
        if self._sim is None or self._state != "done":
            raise StateError("result: the episode has not come to its end")
        config = {"scheduler": "agent", "semantics": "paper", "clock": "monotonic",
                  "switch_cost_s": self._switch_cost_s, "warmup": 0, "record": "requests", "parameters": {}}
        return Result(self._workload, self._sim, config)

    def _account(self):
        """Integrate what is in the system up to now, and collect what ended since the last call."""
        stats, c = self._sim.stats, self._sim.columns
        now, done = stats["now_s"], stats["finished"]
        ended = c["order"][self._finished:done].copy()
        # the engine integrates at arrivals and ends; the rest of the interval, since the last of them, is added here
        last = float(self._workload.arrival[stats["released"] - 1])
        if done:
            last = max(last, float(c["finish_s"][c["order"][done - 1]]))
        area = stats["queue_area"] + stats["live"] * (now - last)
        late = int(np.count_nonzero(c["finish_s"][ended] > self._workload.deadline[ended]))
        step = Step(now, now - self._now, area - self._area, ended, late)
        self._area, self._finished, self._now = area, done, now
        return step

    def _observe(self):
        queue = self._sim.queue(0) if self._state == "decision" else np.zeros((len(FEATURES), 0))
        self._waiting = queue.shape[1]
        return observe(queue[_AT], self._now, self.max_queue, self.unit_s)

    def _info(self, invalid):
        mask = (np.arange(self.action_space.n) < self._waiting).astype(np.int8)
        if self._idle:
            mask[self.max_queue] = 1
        return {"action_mask": mask, "now_s": self._now, "invalid": invalid}


class AgentScheduler:
    """A policy trained on :class:`SchedulingEnv`, as a scheduler for :func:`dnnsched.simulate`.

    Parameters
    ----------
    act : callable
        ``act(observation) -> action`` (for example ``lambda obs: model.predict(obs, deterministic=True)[0]``).
    env : SchedulingEnv
        Its sizes, unit and knowledge are used; it must have been reset once, or have been given `unit_s`.
    """

    kind = "pick"

    def __init__(self, act, env):
        if env.unit_s is None:
            raise ValueError("env: expected one that was reset once, or given unit_s")
        self._act, self.oracle = act, env._oracle
        self._size, self._unit_s, self._idle = env.max_queue, env.unit_s, env._idle

    def pick(self, view):
        """Queue position; -1 = stay idle."""
        columns = [getattr(view, name) for name in _SOURCES]
        action = int(self._act(observe(columns, view.now, self._size, self._unit_s)))
        if self._idle and action == self._size:
            return -1
        return action if action < view.n else 0
