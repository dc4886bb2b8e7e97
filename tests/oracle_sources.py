"""The engine's Python twin with closed loops: rows released by the credits of sources.

Written from the contract: a source has `window` credits; a row holds one from the moment it is chosen until it ends,
or ends a stage with `credit_end` and goes on;
whenever `burst` credits are back the next `burst` rows are chosen and released together, after the think time of the
first of them and not before the arrival of the last; their deadlines count from the release; the source ends with
its rows, or when `n_min` rows are chosen and one of them is due at `until` or later.
"""

import heapq
import math
from dataclasses import dataclass, replace

from oracle_engine import DROP, EXIT, FAIL, MOVE, Engine, Table


@dataclass
class Source:
    row0: int
    n: int
    window: int = 1
    burst: int = 1
    think: Table | None = None
    think_off: int = 0
    until: float = math.inf
    n_min: int = 0


class ClosedEngine(Engine):
    """`sources` own ranges of rows; all other rows arrive by the clock. `released[row]` is the release time."""

    def __init__(self, rows, programs, pools, *, sources=(), **options):
        super().__init__(rows, programs, pools, **options)
        self.sources = list(sources)
        self.owned = {row: s for s in self.sources for row in range(s.row0, s.row0 + s.n)}
        self.open_rows = [row for row in range(len(rows)) if row not in self.owned]
        self.left = {id(s): list(range(s.row0, s.row0 + s.n)) for s in self.sources}
        self.credits = {id(s): s.window for s in self.sources}
        self.due = {id(s): -math.inf for s in self.sources}
        self.pending, self.released, self.credited = 0, {}, set()
        self.all_rows = rows
        self.rows = [rows[row] for row in self.open_rows]

    def run(self):
        for s in self.sources:
            self.choose(s, first=True)
        return super().run()

    def more_rows(self):
        return super().more_rows() or self.pending > 0

    def choose(self, s, first=False):
        left = self.left[id(s)]
        while left and self.credits[id(s)] >= s.burst:
            if self.due[id(s)] >= s.until and s.n - len(left) >= s.n_min:
                return
            burst = left[: s.burst]
            del left[: s.burst]
            self.credits[id(s)] -= len(burst)
            row = self.all_rows[burst[0]]
            think = 0.0
            if s.think is not None and not first:
                think = s.think.at(s.think_off, sample=row.sample, row=burst[0], pos=row.pos0)
            t = max(self.now + think, self.all_rows[burst[-1]].arrival)
            if math.isinf(t):
                continue
            self.due[id(s)] = max(self.due[id(s)], t)
            self.pending += 1
            self.push(t, MOVE, burst[0], ("burst", burst))

    def handle(self, source):
        if source == "heap" and isinstance(self.heap[0][3], tuple):
            _, burst = heapq.heappop(self.heap)[3]
            self.pending -= 1
            for row in burst:
                r = self.all_rows[row]
                self.begin(row, replace(r, arrival=self.now, deadline=self.now + r.deadline))
            return
        super().handle(source)

    def release(self, index):
        self.begin(self.open_rows[index], self.rows[index])

    def begin(self, index, row):
        self.released[index] = row.arrival
        super().begin(index, row)

    def outcome(self, job, stage, pool):
        answer = super().outcome(job, stage, pool)
        if stage.credit_end and answer not in (EXIT, FAIL, DROP):
            self.credit(job)
        return answer

    def finish(self, job, status):
        super().finish(job, status)
        self.credit(job)

    def credit(self, job):
        s = self.owned.get(job.index)
        if s is not None and job.index not in self.credited:
            self.credited.add(job.index)
            self.credits[id(s)] += 1
            self.choose(s)
