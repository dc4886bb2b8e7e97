"""Schedulers written in Python: score(view) or pick(view), duck-typed, zero-copy, strict."""

import gc
import traceback

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sim_cases import random_case, workload

import dnnsched as ds


def run(requests, tables, scheduler, **kw):
    return ds.simulate(workload(requests, tables), scheduler, **kw)


def two(deadlines=(9.0, 9.0)):
    """Two requests of 3 x 1 s at 0 and .5 s."""
    from oracle_artifact import Tables

    tables = Tables([[[1.0] * 3]], [[[0.5] * 3]], ["m"])
    return [(0.0, 0, 0, 1.0, deadlines[0]), (0.5, 0, 0, 3.0, deadlines[1])], tables


# --- the same policies, built in and in Python ----------------------------------------------------------------


class MyFcfs:
    kind = "arrival"

    def score(self, v):
        return v.arrival


class MyEdf:
    kind = "arrival"

    def score(self, v):
        return v.deadline


class MyHpf:
    kind = "arrival"

    def score(self, v):
        return -v.priority


class MySjf:
    kind = "own"

    def score(self, v):
        return v.remaining


class MyLlf:
    kind = "own"

    def score(self, v):
        return v.deadline - v.remaining


class MyRoundRobin:
    kind = "own"

    def score(self, v):
        return v.last_run


class MySrpt:
    kind = "own"
    oracle = True

    def score(self, v):
        return v.remaining


class MyDysta:
    kind = "time"
    eta = 0.01

    def score(self, v):
        e = v.remaining
        pen = ((v.now - v.last_run) * (1.0 / v.isolated)) * (1.0 / len(v.arrival))
        return e + self.eta * (((v.deadline - v.now) - e) + pen)


class MyPickSjf:
    def pick(self, v):
        return int(np.argmin(v.remaining))


ANY = [("fcfs", MyFcfs), ("edf", MyEdf), ("hpf", MyHpf), ("round_robin", MyRoundRobin), ("srpt_oracle", MySrpt),
       ("sjf_sparse", MySjf), ("sjf_sparse", MyPickSjf), ("dysta", MyDysta)]
PLAIN = [("sjf", MySjf), ("sjf", MyPickSjf), ("llf", MyLlf), ("dysta_naive", MyDysta)]


def without_patterns(tables):
    """The same latencies, no sparsity, every key an architecture of its own: nothing to be aware of."""
    from oracle_artifact import Tables

    return Tables([rows[:1] for rows in tables.latency], [None] * len(tables.latency),
                  [f"m{i}" for i in range(len(tables.latency))])


@pytest.mark.parametrize(("name", "mine"), ANY)
def test_same_bytes_as_the_built_in(name, mine):
    """An own scheduler sees what dysta sees: pattern-aware averages scaled by the monitored gamma."""
    for seed in range(60):
        requests, tables = random_case(20_000 + seed)
        a, b = run(requests, tables, name), run(requests, tables, mine())
        np.testing.assert_array_equal(a.requests, b.requests, err_msg=f"seed {seed}")


@pytest.mark.parametrize(("name", "mine"), PLAIN)
def test_same_bytes_as_the_built_in_that_ignores_patterns(name, mine):
    for seed in range(60):
        requests, tables = random_case(20_500 + seed)
        requests = [(t, key, 0, p, d) for t, key, _, p, d in requests]
        plain = without_patterns(tables)
        a, b = run(requests, plain, name), run(requests, plain, mine())
        np.testing.assert_array_equal(a.requests, b.requests, err_msg=f"seed {seed}")


@pytest.mark.parametrize("mine", [MyFcfs, MyEdf, MySjf, MyLlf, MyRoundRobin])
def test_kind_changes_the_queue_not_the_schedule(mine):
    for seed in range(40):
        requests, tables = random_case(21_000 + seed)
        results = []
        for kind in (mine.kind, "own", "time", "pick"):
            scheduler = mine()
            scheduler.kind = kind
            if kind == "pick":
                scheduler = type("Picker", (), {"pick": lambda self, v, s=scheduler: int(np.argmin(s.score(v)))})()
            results.append(run(requests, tables, scheduler).requests)
        for other in results[1:]:
            np.testing.assert_array_equal(results[0], other, err_msg=f"seed {seed}")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from([0.0, -0.0, 1.0, -1.0, 0.5, 1e300, np.inf, -np.inf, 5e-324]), min_size=1, max_size=41))
def test_the_least_score_runs_and_ties_go_to_the_earlier_place(scores):
    """Every length around the blocks in which the engine searches; -0.0 and 0.0 are equal."""
    from oracle_artifact import Tables

    class Fixed:
        kind = "time"

        def score(self, v):
            return np.array(scores)[v.job.astype(int)]

    tables = Tables([[[1.0]]], [None], ["m"])
    order = run([(0.0, 0, 0, 1.0, 9.0)] * len(scores), tables, Fixed()).requests["finish_s"].argsort(kind="stable")
    assert order.tolist() == sorted(range(len(scores)), key=lambda i: scores[i])


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 8, 9, 17])
def test_a_nan_is_found_at_every_place(n):
    from oracle_artifact import Tables

    for at in range(n):
        class Nan:
            kind = "pick"

            def score(self, v, at=at):
                return np.where(v.job == at, np.nan, -v.job)

        with pytest.raises(ds.StateError, match=f"NaN at t = 0 s .*request {at}\\b"):
            run([(0.0, 0, 0, 1.0, 9.0)] * n, Tables([[[1.0]]], [None], ["m"]), Nan())


def test_true_latencies_need_the_oracle_flag():
    """Without `oracle`, what remains is the average over samples: equal for two samples of one trace."""
    from oracle_artifact import Tables

    tables = Tables([[[1.0], [3.0]]], [None], ["m"])
    seen = {}

    class Spy:
        def pick(self, v):
            if len(v.arrival) == 2:
                seen[self.oracle] = v.remaining.tolist(), v.next.tolist(), v.isolated.tolist()
            return 0

    for oracle in (False, True):
        spy = Spy()
        spy.oracle = oracle
        run([(0.0, 0, 0, 1.0, 9.0), (0.0, 0, 1, 1.0, 9.0)], tables, spy)
    assert seen[False] == ([2.0, 2.0], [2.0, 2.0], [2.0, 2.0])
    assert seen[True] == ([1.0, 3.0], [1.0, 3.0], [1.0, 3.0])


def test_queue_order_and_columns():
    requests, tables = two()
    log = []

    class Spy:
        def pick(self, v):
            log.append((v.now, v.job.tolist(), v.arrival.tolist(), v.priority.tolist(), v.stage.tolist(),
                        v.last_run.tolist()))
            return len(v.job) - 1

    run(requests, tables, Spy())
    assert log[0] == (0.0, [0], [0.0], [1.0], [0], [0.0])
    assert log[1] == (1.0, [0, 1], [0.0, 0.5], [1.0, 3.0], [1, 0], [1.0, 0.5])
    assert log[2] == (2.0, [0, 1], [0.0, 0.5], [1.0, 3.0], [1, 1], [1.0, 2.0])
    assert [entry[0] for entry in log] == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]


# --- idling ---------------------------------------------------------------------------------------------------


def test_minus_one_stays_idle_until_the_next_event():
    class Pairs:
        def pick(self, v):
            return 0 if len(v.job) == 2 or v.stage.max() > 0 or v.now > 0.5 else -1

    requests, tables = two()
    res = run(requests, tables, Pairs())
    assert res.requests["first_start_s"].tolist() == [0.5, 3.5]
    assert res.requests["finish_s"].tolist() == [3.5, 6.5]


def test_idling_forever_is_an_error_not_a_hang():
    class Lazy:
        def pick(self, v):
            return -1

    requests, tables = two()
    with pytest.raises(Exception, match=r"(?i)stall|idle|waiting") as error:
        run(requests, tables, Lazy())
    assert isinstance(error.value, RuntimeError | ValueError)


# --- errors ---------------------------------------------------------------------------------------------------


def everything(error):
    """Message, notes and causes of an exception."""
    return "".join(traceback.format_exception(error))


@pytest.mark.parametrize("method", ["pick", "score"])
def test_exceptions_carry_time_and_request(method):
    class Broken:
        def act(self, v):
            if v.now >= 1.0:
                raise ZeroDivisionError("my own words")
            return 0 if method == "pick" else v.arrival

    broken = Broken()
    setattr(Broken, method, Broken.act)
    broken.kind = "time" if method == "score" else "pick"
    requests, tables = two()
    with pytest.raises(ZeroDivisionError, match="my own words") as error:
        run(requests, tables, broken)
    text = everything(error.value)
    assert "request" in text
    assert "1.0" in text or "t = 1" in text


def wild(slot):
    """The error of a scheduler that picks `slot` at t = 1 with two requests waiting."""
    class Wild:
        def pick(self, v):
            return slot if v.now >= 1.0 else 0

    requests, tables = two()
    with pytest.raises((RuntimeError, OverflowError)) as error:
        run(requests, tables, Wild())
    return everything(error.value)


@pytest.mark.parametrize("slot", [2, 7, -2, -100, 2**31, 2**40, 2**63 - 1, -(2**63), 2**70])
def test_pick_out_of_range_aborts(slot):
    text = wild(slot)
    assert "t = 1 s" in text
    assert "request 0" in text


@pytest.mark.parametrize("slot", [7, -100])
def test_pick_out_of_range_names_the_slot(slot):
    assert str(slot) in wild(slot)


@pytest.mark.parametrize("answer", [None, "0", 0.5, [0]])
def test_pick_must_return_an_integer(answer):
    class Wrong:
        def pick(self, v):
            return answer

    requests, tables = two()
    with pytest.raises(TypeError, match="integer") as error:
        run(requests, tables, Wrong())
    assert "t = 0 s" in everything(error.value)
    assert "request 0" in everything(error.value)


def test_numpy_integers_and_bools_are_fine():
    for kind in (np.int64, np.int32, np.intp):
        class Typed:
            def pick(self, v, kind=kind):
                return kind(0)

        requests, tables = two()
        assert run(requests, tables, Typed()).requests["finish_s"].tolist() == [3.0, 6.0]


@pytest.mark.parametrize("answer", [lambda v: np.full(len(v.arrival), np.nan),
                                    lambda v: np.where(v.job == 1, np.nan, 0.0)])
def test_nan_scores_abort_with_time_and_request(answer):
    class Nan:
        kind = "time"

        def score(self, v):
            return answer(v) if v.now >= 1.0 else v.arrival

    requests, tables = two()
    with pytest.raises(Exception, match=r"(?i)nan") as error:
        run(requests, tables, Nan())
    assert isinstance(error.value, RuntimeError | ValueError)
    assert "request" in everything(error.value)


@pytest.mark.parametrize("answer", [lambda v: 1.0, lambda v: v.arrival[:1], lambda v: np.zeros((2, 2)),
                                    lambda v: ["a"] * len(v.arrival), lambda v: None])
def test_scores_of_the_wrong_shape_or_type_are_errors(answer):
    class Wrong:
        kind = "time"

        def score(self, v):
            return answer(v) if len(v.arrival) == 2 else v.arrival

    requests, tables = two()
    with pytest.raises((TypeError, ValueError)) as error:
        run(requests, tables, Wrong())
    assert "t = 1 s" in everything(error.value)
    assert "request" in everything(error.value)


def test_scores_of_other_real_types_are_converted():
    for convert in (list, lambda x: x.astype(np.float32), lambda x: np.asarray(x, dtype=">f8"), lambda x: x[::1]):
        class Typed:
            kind = "time"

            def score(self, v, convert=convert):
                return convert(v.arrival)

        requests, tables = two()
        assert run(requests, tables, Typed()).requests["finish_s"].tolist() == [3.0, 6.0]


def test_unknown_kind():
    class Odd:
        kind = "sometimes"

        def score(self, v):
            return v.arrival

    requests, tables = two()
    with pytest.raises(ValueError, match="sometimes"):
        run(requests, tables, Odd())


def test_a_broken_promise_is_found_by_check():
    class Liar:
        """Says its scores never change after arrival; they do."""

        kind = "arrival"
        check = True

        def score(self, v):
            return v.remaining * (1.0 + v.now)

    found = 0
    for seed in range(30):
        requests, tables = random_case(22_000 + seed)
        try:
            run(requests, tables, Liar())
        except RuntimeError as error:  # StateError
            found += "promise" in str(error)
    assert found > 10


def test_check_accepts_honest_schedulers():
    for mine in (MyFcfs, MyEdf, MySjf, MyLlf, MyDysta):
        for seed in range(20):
            requests, tables = random_case(23_000 + seed)
            honest = mine()
            honest.check = True
            np.testing.assert_array_equal(run(requests, tables, honest).requests,
                                          run(requests, tables, mine()).requests)


# --- views ----------------------------------------------------------------------------------------------------

FLOATS = ["arrival", "deadline", "priority", "remaining", "next", "isolated", "last_run"]
COLUMNS = [*FLOATS, "stage", "program", "owner", "job", "step", "variant"]


def test_views_are_read_only_and_alias_the_engine():
    kept = {}

    class Spy:
        def pick(self, v):
            for name in COLUMNS:
                column = getattr(v, name)
                assert isinstance(column, np.ndarray)
                assert len(column) == len(v.job)
                assert not column.flags.writeable
                with pytest.raises(ValueError, match="read-only"):
                    column[0] = 0
                with pytest.raises(ValueError, match="WRITEABLE"):
                    column.flags.writeable = True
                again = getattr(v, name)
                assert np.shares_memory(column, again)
            kept.setdefault("shared", []).append(
                "last" in kept and np.shares_memory(kept["last"], v.arrival))
            kept["last"] = v.arrival
            return 0

    requests, tables = two()
    run(requests, tables, Spy())
    assert any(kept["shared"])  # the same memory from decision to decision: nothing is copied


def test_the_same_view_object_is_reused():
    seen = set()

    class Spy:
        def pick(self, v):
            seen.add(id(v))
            return 0

    requests, tables = random_case(7, max_requests=24)
    run(requests, tables, Spy())
    assert len(seen) == 1


def test_an_expired_view_raises():
    kept = []

    class Keeper:
        def pick(self, v):
            kept.append(v)
            kept.append(v.arrival)
            return 0

    requests, tables = two()
    run(requests, tables, Keeper())
    for name in [*COLUMNS, "now"]:
        with pytest.raises(RuntimeError, match="after the callback returned"):
            getattr(kept[0], name)
    gc.collect()
    assert kept[1].sum() is not None  # arrays that were kept may be stale, but their memory is still there


def test_a_view_expires_when_the_policy_raises():
    kept = []

    class Broken:
        def pick(self, v):
            kept.append(v)
            raise KeyError("x")

    requests, tables = two()
    with pytest.raises(KeyError):
        run(requests, tables, Broken())
    with pytest.raises(RuntimeError):
        _ = kept[0].arrival


def test_a_scheduler_may_run_another_simulation():
    requests, tables = two()
    inner = []

    class Nested:
        def pick(self, v):
            if not inner:
                inner.append(ds.simulate(workload(requests, tables), MyFcfs()).requests["finish_s"].tolist())
            return 0

    assert run(requests, tables, Nested()).requests["finish_s"].tolist() == [3.0, 6.0]
    assert inner == [[3.0, 6.0]]


def test_neither_score_nor_pick():
    class Nothing:
        pass

    requests, tables = two()
    with pytest.raises((TypeError, ValueError), match=r"score|pick"):
        run(requests, tables, Nothing())


def test_instances_are_not_consumed():
    scheduler = ds.schedulers.get("prema")
    requests, tables = random_case(9)
    a, b = (run(requests, tables, scheduler).requests for _ in range(2))
    np.testing.assert_array_equal(a, b)
