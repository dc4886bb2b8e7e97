"""Plain-Python twin of the engine: jobs walk through stages on resources, one event loop.

Written from the engine's contract alone (data model, event order, decision points), with dicts, lists and
`heapq`; clarity over speed. Nothing is imported from dnnsched. What the engine computes in double precision is
computed here in the same order of operations.

Events are ordered by (time, kind, id): run end (resource), move (job), scenario (row), arrival (row), wake
(pool), timer (tick). Decisions follow when no event of the instant is left, pools by index.
"""

import heapq
import math
from dataclasses import dataclass, field

RUN_END, MOVE, SCENARIO, ARRIVAL, CUT, WAKE, TIMER = range(7)
DELAY = -1
PER_JOB = -2    # as a stage's state: every change of request costs
NEXT, EXIT, FAIL, DROP = "next", "exit", "fail", "drop"
AXES = ("sample", "row", "var", "load", "state", "pos")


def home(slot):
    """Stage pool meaning: the pool that the job's owner is bound to in this slot."""
    return ("home", slot)


@dataclass
class Table:
    """Numbers with one address rule: v[off + sum of stride * index], absent axes have stride 0.

    The index of the load axis is load - 1; the position axis saturates at its extent.
    """

    v: list
    by: dict = field(default_factory=dict)
    ext: dict = field(default_factory=dict)
    pos_shift: int = 0

    def at(self, off, **index):
        place = off
        for axis, stride in self.by.items():
            x = index.get(axis, 0)
            if axis == "pos":
                x = min(x >> self.pos_shift, self.ext["pos"] - 1)
            place += stride * x
        return self.v[place]


@dataclass
class Stage:
    """Holds a resource of `pool` for `hold` seconds, then travels `delay` seconds."""

    pool: object
    hold: Table | None = None
    delay: Table | None = None
    load: int = 1
    hold_off: int = 0
    delay_off: int = 0
    state: int = -1
    conf: int = -1
    credit_end: bool = False


@dataclass
class Program:
    """A route, and what a policy may know about it: remaining[row][stage], next_[row][stage], isolated[row],
    gamma[row][stage].
    """

    stages: list
    remaining: list | None = None
    next_: list | None = None
    isolated: list | None = None
    gamma: list | None = None

    def estimate(self, table, sample, k):
        if table is None:
            return 0.0
        row = table[sample if len(table) > 1 else 0]
        return row[k] if isinstance(row, list | tuple) else row


@dataclass
class Row:
    """One request."""

    arrival: float
    program: int = 0
    sample: int = 0
    owner: int = 0
    deadline: float = math.inf
    priority: float = 1.0
    exit_at: int | None = None
    pos0: int = 0
    user: tuple = ()


@dataclass
class Job:
    """A released row. `seq` is its place in the pool's queue; it keeps it while it stays in one pool."""

    index: int
    row: Row
    program: Program
    k: int = 0
    seq: int = -1
    last_run: float = 0.0
    pool: int = -1
    res: int = -1
    running: bool = False
    first_start: float = math.nan
    finish: float = math.nan
    service: float = 0.0
    status: str = "waiting"
    last_stage: int = -1
    variant: int = 0
    n_preempt: int = 0
    fresh: bool = True
    private: dict = field(default_factory=dict)

    @property
    def arrival(self):
        return self.row.arrival

    @property
    def deadline(self):
        return self.row.deadline

    @property
    def priority(self):
        return self.row.priority

    @property
    def owner(self):
        return self.row.owner

    @property
    def remaining(self):
        return self.program.estimate(self.program.remaining, self.row.sample, self.k)

    @property
    def next(self):
        return self.program.estimate(self.program.next_, self.row.sample, self.k)

    @property
    def isolated(self):
        return self.program.estimate(self.program.isolated, self.row.sample, 0)

    @property
    def gamma(self):
        return self.program.estimate(self.program.gamma, self.row.sample, self.k)


@dataclass
class Resource:
    pool: int
    index: int = 0
    state: int = -1
    speed: float = 1.0
    run: object = None
    gen: int = 0
    busy_s: float = 0.0
    switch_s: float = 0.0
    held_job: int = -1


@dataclass
class Run:
    """1..n jobs at one (program, stage) on a resource; works from t0 (after a switch) to t1."""

    jobs: list
    t0: float
    t1: float
    load: int
    variant: int
    work: float


@dataclass
class Pool:
    policy: object
    resources: int = 1
    cap: int | None = None
    timer: float = 0.0
    speeds: tuple = ()
    states: tuple = ()
    queue: list = field(default_factory=list)
    res: list = field(default_factory=list)
    dropped: int = 0


@dataclass
class View:
    """What a decision sees. `jobs` is the queue in order of arrival at the pool."""

    now: float
    jobs: list
    pool: int
    res: int
    state: int
    n_running: int
    more_arrivals: bool
    flush: bool


class Stalled(RuntimeError):
    """Jobs wait, nothing can start and nothing is left to happen."""


class Engine:
    """rows, programs, pools as in the contract.

    bind[owner][slot] = home pool; conf[sample][column]; thr[owner][column]; scenario rows (t, op, target, value)
    with op "speed" (target = resource) or "user" (target = pool); switch(res, frm, to) -> seconds for stages that
    need a state (the first load is free); switch_job(res, previous job or -1, job) -> seconds when the resource
    changes request; a pool with `timer` > 0 has its policy's on_timer called at n * timer.
    """

    def __init__(self, rows, programs, pools, *, bind=None, conf=None, thr=None, scenario=(), switch=None,
                 switch_job=None, clock="monotonic"):
        self.rows, self.programs, self.pools = rows, programs, pools
        self.bind, self.conf, self.thr = bind, conf, thr
        self.scenario = sorted(scenario, key=lambda r: r[0])
        self.switch, self.switch_job, self.clock = switch, switch_job, clock
        self.resources = []
        for p, pool in enumerate(pools):
            pool.queue = []
            pool.res = []
            for i in range(pool.resources):
                r = Resource(pool=p, index=len(self.resources), speed=pool.speeds[i] if pool.speeds else 1.0,
                             state=pool.states[i] if pool.states else -1)
                self.resources.append(r)
                pool.res.append(r)
        if clock == "artifact" and (len(pools) != 1 or pools[0].resources != 1):
            raise ValueError("clock='artifact' needs one pool with one resource")
        self.heap, self.jobs = [], {}
        self.now, self.next_row, self.next_scenario, self.live, self.seq = 0.0, 0, 0, 0, 0
        self.dirty, self.rewinds, self.runs, self.schedule, self.idle_ticks = set(), 0, [], [], 0
        self.completion = []

    # --- events ---------------------------------------------------------------------------------------------

    def push(self, t, kind, ident, payload=None):
        heapq.heappush(self.heap, (t, kind, ident, payload if payload is not None else 0))

    def peek(self):
        """The earliest event of heap, scenario cursor and arrival cursor."""
        found = [("heap", *self.heap[0][:3])] if self.heap else []
        if self.next_scenario < len(self.scenario):
            found.append(("scenario", self.scenario[self.next_scenario][0], SCENARIO, self.next_scenario))
        if self.clock != "artifact" and self.next_row < len(self.rows):
            found.append(("arrival", self.rows[self.next_row].arrival, ARRIVAL, self.next_row))
        return min(found, key=lambda e: e[1:], default=None)

    def more_rows(self):
        return self.next_row < len(self.rows)

    def only_timers(self):
        return all(e[1] == TIMER for e in self.heap) and self.next_scenario >= len(self.scenario) and (
            self.clock == "artifact" or not self.more_rows())

    def run(self):
        for number, pool in enumerate(self.pools):
            if pool.timer > 0:
                self.push(1 * pool.timer, TIMER, number, 1)
        if self.clock == "artifact":
            self.dirty.add(0)
        for pool in self.pools:
            start = getattr(pool.policy, "bind", None)
            if start:
                start(self)
        while True:
            e = self.peek()
            if e is None or e[1] > self.now:
                if self.dirty:
                    for p in sorted(self.dirty):
                        self.dirty.discard(p)
                        self.decide(p, flush=False)
                    continue
                if self.live == 0 and not self.more_rows():
                    break
                if e is None or self.only_timers():
                    started = [self.decide(p, flush=True) for p in range(len(self.pools))]
                    if any(started):
                        self.idle_ticks = 0
                        continue
                    self.idle_ticks += 1
                    if e is None or self.idle_ticks > 10_000:
                        raise Stalled(f"{self.live} jobs wait at t = {self.now}")
                self.now = e[1]
            self.handle(e[0])
        return self

    def handle(self, source):
        if source == "scenario":
            _, op, target, value = self.scenario[self.next_scenario]
            self.next_scenario += 1
            self.apply(op, target, value)
            return
        if source == "arrival":
            index = self.next_row
            self.next_row += 1
            self.release(index)
            return
        t, kind, ident, payload = heapq.heappop(self.heap)
        if kind == RUN_END:
            r = self.resources[ident]
            if payload != r.gen or r.run is None:
                return
            run, r.run = r.run, None
            r.busy_s += run.work
            self.dirty.add(r.pool)
            for job in run.jobs:
                job.running = False
                job.last_run = t
                job.service += run.work
                self.stage_end(job)
        elif kind == MOVE:
            self.leave(self.jobs[ident])
        elif kind == WAKE:
            self.dirty.add(ident)
        elif kind == TIMER:
            pool = self.pools[ident]
            self.dirty.add(ident)
            pool.policy.on_timer(self)
            self.push((payload + 1) * pool.timer, TIMER, ident, payload + 1)

    def apply(self, op, target, value):
        if op == "speed":
            r = self.resources[target]
            old, r.speed = r.speed, value
            if r.run is not None:
                since = max(self.now, r.run.t0)
                t1 = since + (r.run.t1 - since) * ((1.0 / value) / (1.0 / old))
                r.run.work += t1 - r.run.t1
                r.run.t1 = t1
                r.gen += 1
                self.push(r.run.t1, RUN_END, target, r.gen)
        elif op == "user":
            self.dirty.add(target)
            self.pools[target].policy.on_user(self, value)
        else:
            raise ValueError(op)

    # --- the life of a job ----------------------------------------------------------------------------------

    def release(self, index):
        self.begin(index, self.rows[index])

    def begin(self, index, row):
        job = Job(index, row, self.programs[row.program], last_run=row.arrival)
        self.jobs[index] = job
        self.live += 1
        self.enter(job)

    def enter(self, job):
        stage = job.program.stages[job.k]
        p = stage.pool
        if isinstance(p, tuple):
            p = self.bind[job.row.owner][p[1]]
        if p == DELAY:
            self.travel(job, stage)
            return
        pool = self.pools[p]
        if pool.cap is not None and sum(not j.running for j in pool.queue) >= pool.cap:
            pool.dropped += 1
            self.finish(job, DROP)
            return
        job.pool = p
        job.seq = self.seq
        self.seq += 1
        job.status, job.fresh = "queued", True
        pool.queue.append(job)
        hook = getattr(pool.policy, "on_push", None)
        if hook:
            hook(self, job)
        self.dirty.add(p)

    def travel(self, job, stage):
        delay = stage.delay.at(stage.delay_off, **self.address(job)) if stage.delay is not None else 0.0
        job.status = "moving"
        self.push(self.now + delay, MOVE, job.index)

    @staticmethod
    def address(job, load=1, state=0):
        return {"sample": job.row.sample, "row": job.index, "var": job.variant, "load": load - 1,
                "state": max(state, 0), "pos": job.row.pos0}

    def stage_end(self, job):
        pool = self.pools[job.pool]
        stage = job.program.stages[job.k]
        job.last_stage = job.k
        answer = self.outcome(job, stage, pool)
        if answer in (EXIT, FAIL, DROP):
            pool.queue.remove(job)
            self.finish(job, answer)
            return
        if stage.delay is not None:
            delay = stage.delay.at(stage.delay_off, **self.address(job))
            if delay > 0:
                pool.queue.remove(job)
                job.status = "moving"
                self.push(self.now + delay, MOVE, job.index)
                return
        following = job.k + 1
        if following < len(job.program.stages) and job.program.stages[following].pool == stage.pool:
            job.k = following
            job.status = "queued"
            self.dirty.add(job.pool)
            return
        pool.queue.remove(job)
        self.leave(job)

    def outcome(self, job, stage, pool):
        hook = getattr(pool.policy, "outcome", None)
        if hook:
            answer = hook(self, job, job.k)
            if answer is not None:
                return answer
        if job.k == job.row.exit_at:
            return EXIT
        if stage.conf >= 0 and self.conf[job.row.sample][stage.conf] >= self.thr[job.row.owner][stage.conf]:
            return EXIT
        return NEXT

    def leave(self, job):
        job.last_stage = job.k
        job.k += 1
        if job.k >= len(job.program.stages):
            self.finish(job, "answer")
        else:
            self.enter(job)

    def finish(self, job, status):
        job.status = status
        job.finish = self.now
        self.live -= 1
        self.completion.append(job.index)

    # --- decisions ------------------------------------------------------------------------------------------

    def waiting(self, pool):
        """Candidates in queue order."""
        return sorted((j for j in pool.queue if not j.running), key=lambda j: j.seq)

    def read_arrivals(self, pool):
        """Artifact clock: an empty queue takes the next row and its time, else all rows strictly before now."""
        if self.next_row >= len(self.rows):
            return
        if not pool.queue:
            row = self.rows[self.next_row]
            if row.arrival < self.now:
                self.rewinds += 1
            self.now = row.arrival
            self.next_row += 1
            self.release(self.next_row - 1)
        else:
            while self.next_row < len(self.rows) and self.rows[self.next_row].arrival < self.now:
                self.next_row += 1
                self.release(self.next_row - 1)
        self.dirty.discard(0)

    def decide(self, p, flush):
        pool = self.pools[p]
        started = False
        while True:
            free = [r for r in pool.res if r.run is None]
            if self.clock == "artifact" and free:
                self.read_arrivals(pool)
            jobs = self.waiting(pool)
            if not jobs or not free:
                return started
            view = View(self.now, jobs, p, free[0].index, free[0].state, sum(r.run is not None for r in pool.res),
                        self.more_rows(), flush)
            chosen = pool.policy.decide(view)
            if isinstance(chosen, WaitUntil):
                if not flush and math.isfinite(chosen.t):
                    self.push(chosen.t, WAKE, p)
                return started
            if not chosen.slots:
                return started
            self.start(pool, free, [jobs[s] for s in chosen.slots], chosen)
            started = True

    def start(self, pool, free, members, chosen):
        first = members[0]
        stage = first.program.stages[first.k]
        if any(m.program is not first.program or m.k != first.k for m in members):
            raise ValueError("a run's members stand at one (program, stage)")
        last = next((r for r in free if r.index == first.res), None)
        r = last if last is not None else free[0]
        if chosen.res is not None:
            r = next(x for x in free if x.index == chosen.res)
        load = chosen.load
        if load is None:
            load = sum(m.program.stages[m.k].load for m in members)
        for m in members:
            m.variant = chosen.variant if chosen.variant is not None else m.variant
        switch = 0.0
        if stage.state >= 0:
            if r.state not in (-1, stage.state):
                switch = self.switch(r.index, r.state, stage.state)
            r.state = stage.state
        elif stage.state == PER_JOB:    # stages that need no state leave it alone
            switch = self.switch_job(r.index, r.held_job, first.index)
            r.held_job = first.index
        hold = 0.0
        if stage.hold is not None:
            hold = max(stage.hold.at(stage.hold_off, **self.address(m, load, r.state)) for m in members)
        work = hold * (1.0 / r.speed)
        t0 = self.now + switch
        t1 = t0 + work
        r.gen += 1
        r.run = Run(members, t0, t1, load, first.variant, work)
        r.switch_s += switch
        for m in members:
            if math.isnan(m.first_start):
                m.first_start = self.now
            elif not m.fresh and self.now != m.last_run:
                m.n_preempt += 1     # resumes in its pool later than its last stage ended
            m.fresh = False
            m.running, m.res, m.status = True, r.index, "running"
        self.runs.append((t0, r.run, r.index, [m.index for m in members], first.k))
        self.schedule.append(first.index)
        self.push(t1, RUN_END, r.index, r.gen)
        hook = getattr(pool.policy, "on_start", None)
        if hook:
            hook(self, members)


@dataclass
class Choice:
    """Slots of the view that form the run."""

    slots: list
    load: int | None = None
    variant: int | None = None
    res: int | None = None


@dataclass
class WaitUntil:
    """Start nothing before t."""

    t: float


# --- policies -----------------------------------------------------------------------------------------------


class Scored:
    """Smallest score runs, the first in queue order on ties."""

    def score(self, view):
        raise NotImplementedError

    def decide(self, view):
        scores = self.score(view)
        best = 0
        for i, s in enumerate(scores):
            if s < scores[best]:
                best = i
        return Choice([best])


class Fcfs(Scored):
    def decide(self, view):
        return Choice([0])


class Edf(Scored):
    def score(self, view):
        return [j.deadline for j in view.jobs]


class Sjf(Scored):
    """Smallest estimated remaining time (with true estimates: shortest remaining processing time)."""

    def score(self, view):
        return [j.remaining for j in view.jobs]


class Llf(Scored):
    """Least laxity; `now` is common to all, so the key is deadline - remaining."""

    def score(self, view):
        return [j.deadline - j.remaining for j in view.jobs]


class Hpf(Scored):
    def score(self, view):
        return [-j.priority for j in view.jobs]


class RoundRobin(Scored):
    """Quantum of one layer: the one that has waited longest since its last layer."""

    def score(self, view):
        return [j.last_run for j in view.jobs]


class Dysta(Scored):
    """Algorithm 2 with stored reciprocals, as the hardware does: pen = (w * (1/I)) * (1/Q)."""

    def __init__(self, eta=0.01, slack="signed", reciprocal=True):
        self.eta, self.slack, self.reciprocal = eta, slack, reciprocal

    def score(self, view):
        q = len(view.jobs)
        out = []
        for j in view.jobs:
            e = j.remaining
            w = view.now - j.last_run
            if self.reciprocal:
                penalty = (w * (1.0 / j.isolated)) * (1.0 / q)
            else:
                penalty = (w / j.isolated) / q
            slack = j.deadline - view.now
            if self.slack != "deadline":
                slack = slack - e
            if self.slack == "clamped" and slack < 0.0:
                slack = 0.0
            out.append(e + self.eta * (slack + penalty))
        return out


class Planaria(Scored):
    """Largest prio/slack; late requests rank below all others by -prio/remaining."""

    def score(self, view):
        out = []
        for j in view.jobs:
            slack = j.deadline - view.now
            out.append(-(j.priority / slack) if slack > 0 else -(-j.priority / j.remaining))
        return out


class Sdrm3(Scored):
    def __init__(self, alpha=1.0, eps=1e-12):
        self.alpha, self.eps = alpha, eps

    def score(self, view):
        out = []
        for j in view.jobs:
            slack = j.deadline - view.now
            urgency = 1.0 if slack <= 0 else min(max(j.remaining / max(slack, self.eps), 0.0), 1.0)
            fairness = (view.now - j.last_run) / j.next
            out.append(-(urgency + self.alpha * fairness))
        return out


class Prema:
    """Tokens start at the priority and grow by priority * (waiting since the last update) / I; the shortest of the rich
    runs. `sparse` scales I by the request's gamma. Waiting is multiplied by the stored 1/I.
    """

    def __init__(self, sparse=False):
        self.sparse = sparse

    def on_push(self, engine, job):
        job.private["token"], job.private["updated"] = None, 0.0

    def decide(self, view):
        highest = 0.0
        for j in view.jobs:
            token = j.private["token"]
            slowdown = (view.now - max(j.private["updated"], j.last_run)) * (1.0 / j.isolated)
            if self.sparse:
                slowdown = slowdown / j.gamma
            j.private["token"] = (j.priority if token is None else token) + j.priority * slowdown
            j.private["updated"] = view.now
            highest = max(highest, j.private["token"])
        threshold = next((level for level in (9.0, 3.0, 1.0) if highest >= level), 0.0)
        best = None
        for i, j in enumerate(view.jobs):
            if j.private["token"] >= threshold and (best is None or j.remaining < view.jobs[best].remaining):
                best = i
        return Choice([best])


class Batch:
    """First come first served in batches: up to `limit` jobs that stand where the first one stands.

    With `wait` > 0 the batch waits for companions until its first job has been in the queue that long.
    """

    def __init__(self, limit, wait=0.0):
        self.limit, self.wait = limit, wait

    def on_push(self, engine, job):
        job.private["entered"] = engine.now

    def decide(self, view):
        first = view.jobs[0]
        slots = [i for i, j in enumerate(view.jobs) if j.program is first.program and j.k == first.k][: self.limit]
        if len(slots) < self.limit and self.wait > 0 and not view.flush:
            ready = first.private["entered"] + self.wait
            if view.now < ready:
                return WaitUntil(ready)
        return Choice(slots)
