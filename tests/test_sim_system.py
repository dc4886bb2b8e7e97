"""The engine without Dysta: devices that forward what they are unsure of to a server that runs batches."""

import numpy as np
import pytest

from dnnsched.sim import DELAY, Simulation, System, home


class Server:
    """Runs whatever waits, up to 4; every second it raises the devices' threshold by 0.2."""

    needs = ("job", "program", "stage")

    def __init__(self):
        self.ticks = []

    def batch(self, view):
        return np.arange(min(view.n, 4)), {"variant": 0}

    def on_timer(self, control, pool):
        self.ticks.append((control.now, pool, control.queue_length(pool)))
        for owner in range(2):
            control.set_threshold(owner, 0, control.threshold(owner, 0) + 0.2)


def cascade(server, *, timer_s=1.0, delay_s=0.25, **kw):
    """Two devices (0.5 s a sample), a link of `delay_s` each way, one server: 0.4 s + 0.2 s per member."""
    s = System(owners=2, **kw)
    local = s.table(np.full((4, 1), 0.5), ("sample",))
    link = s.table([delay_s], ())
    remote = s.table(0.4 + 0.2 * np.arange(1, 5)[:, None], ("load",))
    conf = s.table(np.array([[0.9], [0.6], [0.3], [0.75]]), ("sample",))
    devices = [s.pool("fcfs") for _ in range(2)]
    hub = s.pool(server, max_batch=4, timer_s=timer_s)
    s.home = np.array([[d] for d in devices], np.int32)
    s.thresholds = np.full((2, 1), 0.5)
    s.program([{"pool": home(0), "hold": local, "conf": 0, "delay": link},
               {"pool": hub, "hold": remote},
               {"pool": DELAY, "delay": link}], confidence=conf)
    return s


# sample 0 (conf .9) and 1 (.6) pass the first threshold 0.5, sample 2 (.3) never does, 3 is .75
ARRIVAL = np.array([0.0, 0.0, 0.1, 0.2, 0.9])
SAMPLE = np.array([2, 2, 1, 0, 3], np.int32)
OWNER = np.array([0, 1, 0, 1, 0], np.int32)


def run(system, **kw):
    sim = Simulation(system, len(ARRIVAL), **kw)
    sim.feed(ARRIVAL, sample=SAMPLE, owner=OWNER)
    assert sim.run() == "done"
    return sim


def test_hand_schedule():
    """Device 0: rows 0 (0-.5, unsure), 2 (.5-1, conf .6), 4 (1-1.5). Device 1: rows 1 (0-.5, unsure), 3 (.5-1).

    Rows 0 and 1 reach the server at .75, run as one batch of 2 for .8 s, and are answered at 1.55 + .25. Row 2 ends
    at t = 1 exactly: run ends come before timers, so it still meets threshold .5 and exits. The timer at 1 makes the
    threshold .7; row 4 (.75) exits at 1.5.
    """
    server = Server()
    sim = run(cascade(server))
    c = sim.columns
    np.testing.assert_allclose(c["finish_s"], [1.8, 1.8, 1.0, 1.0, 1.5], rtol=0, atol=1e-15)
    np.testing.assert_array_equal(c["last_stage"], [2, 2, 0, 0, 0])
    assert server.ticks == [(1.0, 2, 0)]  # nothing is left at 2 s: timers keep nothing alive
    np.testing.assert_allclose(sim.stats["thresholds"], 0.7)
    np.testing.assert_allclose(sim.stats["busy_s"], [1.5, 1.0, 0.8])


def test_threshold_moves_before_the_stage_end():
    """Ticks at 0.4, 0.8, 1.2 s: .7 at .5 s; .9 at 1 s turns away row 2 (.6); at 1.5 s row 4 (.75) fails 1.1."""
    sim = run(cascade(Server(), timer_s=0.4))
    assert sim.columns["last_stage"].tolist() == [2, 2, 2, 0, 2]
    # row 2 reaches the busy server at 1.25 and waits for 1.55; row 4 comes at 1.75 and waits for 2.15
    np.testing.assert_allclose(sim.columns["finish_s"], [1.8, 1.8, 2.4, 1.0, 3.0], atol=1e-12)


def test_native_batches_give_the_same_schedule():
    class Same:
        needs = ("program", "stage")

        def batch(self, view):
            return np.arange(min(view.n, 4))

    a = run(cascade(Same(), timer_s=0.0)).columns
    b = run(cascade(("batch_fcfs", [4]), timer_s=0.0)).columns
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


@pytest.mark.parametrize("step", [False, True])
def test_batch_bound_and_waiting(step):
    sim = run(cascade(("batch_fcfs", [1]), timer_s=0.0, step_each_stage=step))
    np.testing.assert_allclose(sim.columns["finish_s"], [1.6, 2.2, 1.0, 1.0, 1.5], atol=1e-12)
    np.testing.assert_allclose(sim.columns["service_s"][:2], 0.5 + 0.6)


def test_zero_delay_is_no_delay():
    a = run(cascade(("batch_fcfs", [4]), timer_s=0.0, delay_s=0.0)).columns["finish_s"]
    np.testing.assert_allclose(a, [1.3, 1.3, 1.0, 1.0, 1.5], atol=1e-12)


def test_wait_until_holds_a_batch_back():
    class Patient(Server):
        def batch(self, view):
            return 1.25 if view.now < 1.25 else np.arange(view.n)

    sim = run(cascade(Patient(), timer_s=0.0))
    np.testing.assert_allclose(sim.columns["finish_s"][:2], 1.25 + 0.8 + 0.25)


def test_speed_scenario_retimes_the_running_batch():
    s = cascade(("batch_fcfs", [4]), timer_s=0.0)
    s.at(1.0, "speed", 2, 2.0)  # the server doubles its speed with .55 s of the batch left
    sim = run(s)
    np.testing.assert_allclose(sim.columns["finish_s"][:2], 1.0 + 0.275 + 0.25)
    np.testing.assert_allclose(sim.stats["busy_s"][2], 0.25 + 0.275)


def test_full_queue_drops():
    s = System()
    t = s.table([1.0], ())
    s.pool("fcfs", cap=1)
    s.program([{"pool": 0, "hold": t}])
    sim = Simulation(s, 4)
    sim.feed(np.array([0.0, 0.1, 0.2, 1.5]))
    assert sim.run() == "done"
    assert sim.columns["status"].tolist() == [0, 0, 2, 0]
    assert sim.stats["dropped"] == 1


def test_step_wise_decisions():
    """A pool with outside decisions: last come, first served at every layer."""
    s = System()
    t = s.table([[1.0, 1.0]], ("sample",))
    s.pool(external=True)
    s.program([{"pool": 0, "hold": t, "hold_column": k} for k in range(2)])
    sim = Simulation(s, 3)
    sim.feed(np.array([0.0, 0.5, 1.5]))
    asked = []
    while (state := sim.run()) == "decision":
        queue = sim.queue(0)
        asked.append(queue.shape[1])
        sim.choose(queue.shape[1] - 1)
    assert state == "done"
    assert asked == [1, 2, 3, 3, 2, 1]
    np.testing.assert_array_equal(sim.columns["finish_s"], [6.0, 5.0, 4.0])


def test_stalled_is_said():
    class Never:
        def pick(self, view):
            return -1

    s = System()
    s.pool(Never())
    s.program([{"pool": 0, "hold": s.table([1.0], ())}])
    sim = Simulation(s, 1)
    sim.feed(np.zeros(1))
    assert sim.run() == "stalled"


def test_switch_matrix_and_several_resources():
    s = System()
    t = s.table([1.0], ())
    s.pool("fcfs", n=2, switch_s=[[0, 5.0], [0.25, 0]], state=1)
    a = s.program([{"pool": 0, "hold": t, "state": 0}])
    b = s.program([{"pool": 0, "hold": t, "state": 1}])
    sim = Simulation(s, 3)
    sim.feed(np.zeros(3), program=np.array([a, b, b], np.int32))
    assert sim.run() == "done"
    np.testing.assert_array_equal(sim.columns["finish_s"], [1.25, 1.0, 2.0])
    np.testing.assert_array_equal(sim.stats["switch_s"], [0.25, 0.0])
