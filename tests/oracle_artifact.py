"""Plain-Python twin of the public Sparse-DySta simulator's semantics, on lists.

Independent of the package: no import from dnnsched, no sharing of code with the C engine. One function,
`simulate`, steps layer by layer and asks one of eleven policies who runs next. Operation order is part of
the contract (the engine must give the same bits), so every expression below is written out in the order in
which it is evaluated. NumPy is used for two things only: `np.float64` division (x/0 is inf, not an error)
and `np.mean` for the ANTT.

Vocabulary: S = estimated remaining time, I = estimated (oracle: true) isolated time, w = clock - end of the
request's last layer (its arrival before the first), Q = number of requests in the system, the one that just
ran included.
"""

import itertools
import math
from dataclasses import dataclass, field

import numpy as np

POLICIES = ("fcfs", "sjf", "sjf_sparse", "prema", "prema_sparse", "planaria", "sdrm3", "sdrm3_sparse", "dysta",
            "dysta_naive", "dysta_oracle")
PATTERN_AWARE = {"sjf_sparse", "prema_sparse", "sdrm3_sparse", "dysta", "dysta_oracle"}
MONITORED = {"sjf_sparse", "prema_sparse", "sdrm3_sparse", "dysta"}


@dataclass
class Tables:
    """What the artifact reads from its files: one entry per key (a file), rows are samples, columns layers."""

    latency: list          # latency[key][sample][layer], seconds
    sparsity: list         # sparsity[key][sample][layer], fraction of zeros; an entry may be None
    model: list            # architecture name of each key; keys with one name are patterns of one architecture

    avg_key: list = field(init=False)
    avg_model: list = field(init=False)
    avg_sparsity: list = field(init=False)

    def __post_init__(self):
        self.avg_key = [column_means(rows) for rows in self.latency]
        self.avg_sparsity = [None if rows is None else column_means(rows) for rows in self.sparsity]
        by_model = {}
        for key, name in enumerate(self.model):
            by_model.setdefault(name, []).append(key)
        weighted = {name: self._weighted(keys) for name, keys in by_model.items()}
        self.avg_model = [weighted[name] for name in self.model]

    def _weighted(self, keys):
        """Per-layer mean over the patterns of one architecture, weighted by their numbers of samples."""
        out = []
        for layer in range(len(self.latency[keys[0]][0])):
            total, count = 0.0, 0
            for key in keys:
                n = len(self.latency[key])
                total = total + n * self.avg_key[key][layer]
                count += n
            out.append(total / count)
        return out


def column_means(rows):
    """Mean of every column: rows are added in file order, then one division."""
    out = []
    for layer in range(len(rows[0])):
        total = 0.0
        for row in rows:
            total = total + row[layer]
        out.append(total / len(rows))
    return out


def left_sum(values):
    """Plain left-to-right sum from 0 (never compensated, unlike `sum` of floats in CPython >= 3.12)."""
    total = 0.0
    for v in values:
        total = total + v
    return total


@dataclass
class Task:
    """One request inside the simulator."""

    index: int
    arrival: float
    key: int
    sample: int
    priority: float
    deadline: float
    real: list
    avg: list
    k: int = 0
    last_exe: float = 0.0
    gamma: float = 1.0
    ratios: list = field(default_factory=list)
    token: float | None = None
    first_start: float | None = None
    finish: float | None = None
    isolated: float = 0.0

    def remaining(self):
        return left_sum(self.avg[self.k:])

    def estimated_isolated(self):
        return left_sum(self.avg)

    def true_remaining(self):
        return left_sum(self.real[self.k:])


@dataclass
class Outcome:
    """Everything the tests compare."""

    schedule: list                 # request index of every executed layer, in time order
    starts: list                   # start time of every executed layer
    first_start: list              # by request
    finish: list                   # by request
    completion: list               # request indices in completion order
    antt: float
    violation_rate: float
    throughput: float
    rewinds: int
    n_preempt: list                # by request: how often another request's layer followed an unfinished one


def simulate(requests, tables, policy, *, beta=0.01, alpha=1.0):
    """Run the artifact's loop.

    requests: rows (arrival, key, sample, priority, deadline) in arrival order; the clock starts at 0.
    """
    if policy not in POLICIES:
        raise ValueError(policy)
    source = tables.avg_key if policy in PATTERN_AWARE else tables.avg_model
    tasks = []
    for index, (arrival, key, sample, priority, deadline) in enumerate(requests):
        real = tables.latency[key][sample]
        task = Task(index, arrival, key, sample, priority, deadline, real, source[key], last_exe=arrival)
        task.isolated = left_sum(real)
        tasks.append(task)

    choose = CHOOSERS[policy]
    clock, coming, running, done = 0.0, 0, [], []
    schedule, starts, rewinds = [], [], 0
    while len(done) < len(tasks):
        if coming < len(tasks):
            if not running:
                task = tasks[coming]
                coming += 1
                running.append(task)
                if task.arrival < clock:
                    rewinds += 1
                clock = task.arrival
            else:
                while coming < len(tasks) and tasks[coming].arrival < clock:
                    running.append(tasks[coming])
                    coming += 1
        task = choose(running, clock, policy, beta, alpha)
        schedule.append(task.index)
        starts.append(clock)
        if task.first_start is None:
            task.first_start = clock
        latency = task.real[task.k]
        task.k += 1
        clock = clock + latency
        task.last_exe = clock
        if policy in MONITORED:
            observe(task, tables)
        if task.k == len(task.real):
            task.finish = clock
            running.remove(task)
            done.append(task)
    return summarise(tasks, done, schedule, starts, rewinds)


def observe(task, tables):
    """Average-all predictor as shipped: the mean of per-layer density ratios over the executed layers."""
    rows = tables.sparsity[task.key]
    if rows is None:
        return
    layer = task.k - 1
    average = tables.avg_sparsity[task.key][layer]
    ratio = 1.0 if average == 1.0 else (1.0 - rows[task.sample][layer]) / (1.0 - average)
    task.ratios.append(ratio)
    task.gamma = left_sum(task.ratios) / len(task.ratios)


def summarise(tasks, done, schedule, starts, rewinds):
    """Metrics in completion order."""
    turnaround = [(t.finish - t.arrival) / t.isolated for t in done]
    late = sum(1 for t in done if t.finish > t.deadline)
    span = max(t.finish for t in done) - tasks[0].arrival   # a rewind may let an earlier finish come last
    n_preempt = [0] * len(tasks)
    executed = [0] * len(tasks)
    for this, following in itertools.pairwise(schedule):
        executed[this] += 1
        if following != this and executed[this] < len(tasks[this].real):
            n_preempt[this] += 1
    return Outcome(schedule, starts, [t.first_start for t in tasks], [t.finish for t in tasks],
                   [t.index for t in done], float(np.mean(np.array(turnaround))), late / len(tasks),
                   float(np.float64(len(tasks)) / np.float64(span)) if span else math.inf, rewinds, n_preempt)


# --- the eleven policies ----------------------------------------------------------------------------------


def first_min(running, score):
    """Smallest score, the first one on ties."""
    best, best_score = None, None
    for task in running:
        value = score(task)
        if best is None or value < best_score:
            best, best_score = task, value
    return best


def last_max(running, score):
    """The artifact's search for a maximum: it starts at -1, and any negative best is overwritten."""
    best, current = -1.0, running[0]
    for task in running:
        value = score(task)
        if best < 0 or best <= value:
            if best == value and current.arrival < task.arrival:
                continue
            best, current = value, task
    return current


def divide(a, b):
    """NumPy division: a zero divisor gives an infinity."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.float64(a) / np.float64(b))


def fcfs(running, clock, policy, beta, alpha):
    return first_min(running, lambda t: t.arrival)


def sjf(running, clock, policy, beta, alpha):
    if policy == "sjf_sparse":
        return first_min(running, lambda t: t.gamma * t.remaining())
    return first_min(running, lambda t: t.remaining())


def prema(running, clock, policy, beta, alpha):
    sparse = policy == "prema_sparse"
    highest, gamma = 0.0, 1.0
    for task in running:
        gamma = task.gamma
        if task.token is None:
            task.token = task.priority
            continue
        wait = clock - task.last_exe
        isolated = gamma * task.estimated_isolated() if sparse else task.estimated_isolated()
        task.token = task.token + task.priority * (wait / isolated)
        if task.token > highest:
            highest = task.token
    threshold = 9 if highest >= 9 else 3 if highest >= 3 else 1
    candidates = [t for t in running if t.token >= threshold]
    if sparse:
        return first_min(candidates, lambda t: gamma * t.remaining())
    return first_min(candidates, lambda t: t.remaining())


def planaria(running, clock, policy, beta, alpha):
    return last_max(running, lambda t: divide(t.priority, t.deadline - clock))


def sdrm3(running, clock, policy, beta, alpha):
    sparse = policy == "sdrm3_sparse"

    def score(t):
        to_run = t.gamma * t.remaining() if sparse else t.remaining()
        following = t.gamma * t.avg[t.k] if sparse else t.avg[t.k]
        urgency = divide(to_run, t.deadline - clock)
        if not urgency < 1.0:
            urgency = 1.0
        fairness = (clock - t.last_exe) / following
        return urgency + alpha * fairness

    return last_max(running, score)


def dysta(running, clock, policy, beta, alpha):
    queued = len(running)

    def score(t):
        if policy == "dysta_oracle":
            to_run, isolated = t.true_remaining(), t.isolated
        elif policy == "dysta_naive":
            to_run, isolated = t.remaining(), t.estimated_isolated()
        else:
            to_run, isolated = t.gamma * t.remaining(), t.estimated_isolated()
        slack = (t.deadline - clock) - to_run
        if slack < 0.0:
            slack = 0.0
        penalty = ((clock - t.last_exe) / isolated) / queued
        return to_run + beta * (slack + penalty)

    return first_min(running, score)


CHOOSERS = {"fcfs": fcfs, "sjf": sjf, "sjf_sparse": sjf, "prema": prema, "prema_sparse": prema,
            "planaria": planaria, "sdrm3": sdrm3, "sdrm3_sparse": sdrm3, "dysta": dysta, "dysta_naive": dysta,
            "dysta_oracle": dysta}
