"""Tasks give the same values on every executor; failures, interruption and what cannot be sent are told clearly."""

import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import pytest

from dnnsched import _executors, schedulers
from dnnsched._executors import execute

TASKS = list(range(50))


def square(x):
    return x * x


def fails_at_seven(x):
    if x == 7:
        raise ValueError(f"rate: expected more than 0, got {x}")
    return x


class Awkward(Exception):
    """Cannot be rebuilt from its pickle."""

    def __init__(self, a, b):
        super().__init__(f"{a} and {b}")


def awkward(x):
    raise Awkward(x, 2)


def where(_):
    return os.getpid(), os.environ.get("OMP_NUM_THREADS")


class LongestWait:
    kind = "time"

    def score(self, view):
        return view.last_run - view.now


@pytest.mark.parametrize("chunk", [None, 1, 7, 64])
@pytest.mark.parametrize("executor", ["serial", "threads", None])
def test_values_come_in_the_order_of_the_tasks(executor, chunk):
    for jobs in (1, 2, 7):
        assert execute(square, TASKS, executor=executor, jobs=jobs, chunk=chunk) == [x * x for x in TASKS]


@pytest.mark.parametrize("executor", ["serial", "threads"])
def test_done_sees_every_task_once(executor):
    seen = {}

    def done(indices, values):
        assert threading.current_thread() is threading.main_thread()
        for index, value in zip(indices, values, strict=True):
            assert index not in seen
            seen[index] = value

    execute(square, TASKS, executor=executor, jobs=3, chunk=4, done=done)
    assert seen == {i: i * i for i in TASKS}


def test_no_tasks():
    assert execute(square, []) == []


def test_chunks_grow_to_the_target_and_shrink_at_the_end():
    feed = _executors._Feed(range(10000), None, 2)
    assert len(next(feed)[0]) == 1
    feed.measured(0.001, 1)
    assert len(next(feed)[0]) == 100
    sizes = [len(indices) for indices, _ in feed]
    assert max(sizes) == 100
    assert sizes[-1] == 1
    assert sum(sizes) == 10000 - 101


@pytest.mark.parametrize("executor", ["serial", "threads"])
@pytest.mark.parametrize("chunk", [None, 1, 20])
def test_a_failing_task_raises_its_own_error_after_handing_out_the_finished_ones(executor, chunk):
    seen = []
    with pytest.raises(ValueError, match="got 7"):
        execute(fails_at_seven, TASKS, executor=executor, jobs=1, chunk=chunk, done=lambda i, v: seen.extend(v))
    assert seen[:7] == list(range(7))
    assert 7 not in seen


def test_a_failing_task_cancels_the_rest():
    done = []

    def task(x):
        if x == 0:
            raise ValueError("no")
        done.append(time.sleep(0.005))

    with pytest.raises(ValueError, match="no"):
        execute(task, range(2000), executor="threads", jobs=1)
    assert len(done) < 2000


def test_failed_chooses_the_error():
    with pytest.raises(RuntimeError, match="task 7: rate") as caught:
        execute(fails_at_seven, TASKS, executor="serial", failed=lambda i, e: RuntimeError(f"task {i}: {e}"))
    assert isinstance(caught.value.__cause__, ValueError)


def test_an_executor_of_the_callers_stays_open():
    with ThreadPoolExecutor(2) as pool:
        for _ in range(2):
            assert execute(square, TASKS, executor=pool, chunk=3) == [x * x for x in TASKS]


def test_the_default_follows_the_policies():
    assert _executors.resolve(None, 2, [0.5, "dysta", schedulers.Dysta()]).name == "threads"
    assert _executors.resolve(None, 2, [0.5, LongestWait()]).name == "processes"
    native = LongestWait()
    native.is_native = True
    assert _executors.resolve(None, 2, [native]).name == "threads"


@pytest.mark.parametrize(("arguments", "error", "message"), [
    ({"executor": "thread"}, ValueError, "expected one of serial, threads"),
    ({"executor": 3}, TypeError, "object with submit"),
    ({"jobs": 0}, ValueError, "jobs: expected a whole number of workers, at least 1, got 0"),
    ({"jobs": 1.5}, TypeError, "jobs: expected a whole number"),
    ({"chunk": 0}, ValueError, "chunk: expected a whole number of tasks"),
])
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        execute(square, TASKS, **arguments)


@pytest.mark.parametrize(("name", "module", "extra"), [("joblib", "joblib", "sweep"), ("dask", "distributed", "dask"),
                                                       ("ray", "ray", "ray"), ("mpi", "mpi4py.futures", "mpi")])
def test_a_missing_package_names_the_extra(name, module, extra, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=rf"executor='{name}' needs .*dnnsched\[{extra}\]"):
        execute(square, TASKS, executor=name)


def test_libraries_use_one_thread_while_tasks_run():
    threadpoolctl = pytest.importorskip("threadpoolctl")

    def threads(_):
        return [pool["num_threads"] for pool in threadpoolctl.threadpool_info()]

    before = threads(0)
    for executor in ("serial", "threads"):
        assert all(set(found) <= {1} for found in execute(threads, range(3), executor=executor))
    assert threads(0) == before


@pytest.mark.toolchain
class TestProcesses:
    def test_values_and_environment(self, monkeypatch):
        monkeypatch.setenv("OMP_NUM_THREADS", "3")
        found = execute(where, range(6), executor="processes", jobs=2, chunk=1)
        assert os.getpid() not in {pid for pid, _ in found}
        assert {threads for _, threads in found} == {"1"}
        assert os.environ["OMP_NUM_THREADS"] == "3"

    def test_errors_keep_their_type_and_carry_the_traceback(self):
        with pytest.raises(ValueError, match="got 7") as caught:
            execute(fails_at_seven, TASKS, executor="processes", jobs=1, chunk=5)
        assert "fails_at_seven" in caught.value.__notes__[0]
        with pytest.raises(RuntimeError, match="Awkward: 0 and 2"):
            execute(awkward, TASKS, executor="processes", jobs=1)

    def test_what_cannot_be_sent_is_said(self):
        for function in (lambda x: x, threading.Lock().acquire):
            with pytest.raises(TypeError, match=r"top level of a module.*joblib"):
                execute(function, TASKS, executor="processes", jobs=1)
        with pytest.raises(TypeError, match="a task cannot be sent"):
            execute(square, [threading.Lock()], executor="processes", jobs=1)
        with ProcessPoolExecutor(1) as pool, pytest.raises(TypeError, match="top level of a module"):
            execute(lambda x: x, TASKS, executor=pool)

    def test_a_script_without_a_guard_is_told_so(self, tmp_path):
        script = tmp_path / "script.py"
        script.write_text("from dnnsched import _executors\n"
                          "_executors.execute(abs, [1, 2], executor='processes', jobs=1)\n", encoding="utf-8")
        run = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=60)
        assert "if __name__ == '__main__':" in run.stderr.splitlines()[-1]

    def test_workers_end_when_their_parent_is_killed(self, tmp_path):
        script = tmp_path / "script.py"
        script.write_text("import os, signal, time\nfrom dnnsched import _executors\n"
                          "def task(x):\n    time.sleep(0.02)\n    return os.getpid()\n"
                          "def done(indices, values):\n"
                          "    print(values[0], flush=True)\n    os.kill(os.getpid(), signal.SIGKILL)\n"
                          "if __name__ == '__main__':\n"
                          "    _executors.execute(task, range(10**6), executor='processes', jobs=1, done=done)\n",
                          encoding="utf-8")
        run = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=60)
        worker = int(run.stdout.split()[0])
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                os.kill(worker, 0)
            except ProcessLookupError:
                return
            time.sleep(0.05)
        pytest.fail(f"worker {worker} lives on")
