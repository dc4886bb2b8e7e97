"""Independent tasks on any executor: threads, processes, joblib, Dask, Ray, MPI, or an object with ``submit``.

One mechanism for the package: :func:`execute` cuts the tasks into chunks of about 100 ms, keeps every worker busy with
two chunks, hands finished chunks to the caller's thread as they come and returns the values in the order of the tasks,
so that nothing of a result depends on the executor, on the chunks or on who was faster.

Costs of one task of its own (measured on two cores, ``benchmarks/bench_sweep.py``): tens of microseconds for threads,
some hundred for processes and more for a cluster; hence the chunks.

Linear-algebra libraries are held to one thread while tasks run: N workers times M threads are slower than N, and a
product's last digits may depend on M. In this process threadpoolctl does it, when it is installed; new processes get
the environment variables before they import anything. Processes are spawned, never forked: a fork copies the locks
of library threads that do not exist in the child.
"""

import contextlib
import functools
import importlib
import os
import pickle
import queue
import signal
import sys
import threading
import time
import traceback
from concurrent.futures import CancelledError, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool

CHUNK_S = 0.1
"""Target duration of a chunk, seconds."""

NAMES = ("serial", "threads", "processes", "joblib", "dask", "ray", "mpi")
"""Executors known by name."""

_ENVIRONMENT = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS",
                "VECLIB_MAXIMUM_THREADS", "NUMEXPR_NUM_THREADS")
_PACKAGES = {"joblib": ("joblib", "sweep"), "dask": ("distributed", "dask"), "ray": ("ray", "ray"),
             "mpi": ("mpi4py.futures", "mpi")}  # executor -> module, extra


def is_python_policy(value):
    """Whether a value is a scheduler or policy that decides in Python, so that threads would wait for each other."""
    if isinstance(value, type) or getattr(value, "is_native", False):
        return False
    decides = callable(getattr(value, "score", None)) or callable(getattr(value, "pick", None))
    if not decides:
        return False
    from dnnsched.schedulers import Scheduler

    return not isinstance(value, Scheduler)


def resolve(executor=None, jobs=None, values=()):
    """The engine that runs tasks; a context manager with ``run(function, tasks, ...)``.

    Parameters
    ----------
    executor : None, str or object
        One of `NAMES`, or anything with ``submit(function, *args) -> future``: a ``concurrent.futures`` executor,
        ``client.get_executor()`` of Dask, ``mpi4py.futures.MPIPoolExecutor``. None = threads, or processes when
        one of `values` is a policy written in Python.
    jobs : int, optional
        Workers, at least 1. Default: one per core, or what the executor has.
    values : iterable
        What the tasks work on; looked at only for `executor` None.

    Returns
    -------
    Engine

    Raises
    ------
    ValueError
        Unknown name.
    TypeError
        Neither a name nor an executor; `jobs` is not a whole number.
    ImportError
        The package is missing; the message names the extra.
    """
    if jobs is not None:
        if isinstance(jobs, bool) or not isinstance(jobs, int):
            raise TypeError(f"jobs: expected a whole number of workers, got {type(jobs).__name__}")
        if jobs < 1:
            raise ValueError(f"jobs: expected a whole number of workers, at least 1, got {jobs}")
    if executor is None:
        executor = "processes" if any(is_python_policy(v) for v in values) else "threads"
    if isinstance(executor, str):
        if executor not in NAMES:
            raise ValueError(f"executor: expected one of {', '.join(NAMES)} or an object with submit(), "
                             f"got {executor!r}")
        return _KINDS[executor](jobs)
    if not callable(getattr(executor, "submit", None)):
        raise TypeError(f"executor: expected one of {', '.join(NAMES)} or an object with submit(), "
                        f"got {type(executor).__name__}")
    return _Given(executor, jobs)


def execute(function, tasks, *, executor=None, jobs=None, values=(), chunk=None, done=None, failed=None):
    """Call ``function(task)`` for every task.

    Parameters
    ----------
    function : callable
    tasks : sequence
    executor, jobs, values
        See :func:`resolve`.
    chunk : int, optional
        Tasks per chunk; default as many as take about 100 ms, measured while running.
    done : callable, optional
        ``done(indices, values)`` in the calling thread for every finished chunk, in the order of finishing.
    failed : callable, optional
        ``failed(index, error) -> exception`` to raise in place of a task's error.

    Returns
    -------
    list
        One value per task, in the order of the tasks.

    Raises
    ------
    Exception
        What the first failing task raised; tasks that have not started are cancelled.
    KeyboardInterrupt
        At once: nothing is waited for, running tasks are stopped or their values dropped.
    """
    with resolve(executor, jobs, values) as engine:
        return engine.run(function, tasks, chunk=chunk, done=done, failed=failed)


class _Feed:
    """Cuts tasks into chunks whose size follows the measured time per task."""

    def __init__(self, tasks, chunk, workers):
        self._tasks, self._fixed, self._workers = tasks, chunk, workers
        self._at, self._seconds, self._finished = 0, 0.0, 0
        self._lock = threading.Lock()  # joblib takes chunks from threads of its own

    def __iter__(self):
        return self

    def __next__(self):
        with self._lock:
            left = len(self._tasks) - self._at
            if left == 0:
                raise StopIteration
            size = min(self._fixed or self._adapted(left), left)
            start, self._at = self._at, self._at + size
        return range(start, start + size), list(self._tasks[start:start + size])

    def _adapted(self, left):
        if self._finished == 0:
            return 1
        wanted = CHUNK_S / max(self._seconds / self._finished, 1e-6)
        return max(1, int(min(wanted, -(-left // (2 * self._workers)))))

    def measured(self, seconds, count):
        """Learn from a finished chunk."""
        with self._lock:
            self._seconds, self._finished = self._seconds + seconds, self._finished + count


def _chunk(function, indices, payloads, stop=None):
    """Run the tasks of a chunk: (indices, seconds, values, error of the task after the last value or None)."""
    begin = time.perf_counter()
    values = []
    for payload in payloads:
        if stop is not None and stop.is_set():
            break
        try:
            values.append(function(payload))
        except Exception as error:
            return indices, time.perf_counter() - begin, values, error
    return indices, time.perf_counter() - begin, values, None


def _remote_chunk(function, indices, payloads, home=None):
    """A chunk in a process other than `home`: libraries held to one thread, errors made fit for the way back."""
    if os.getpid() == home:
        return _chunk(function, indices, payloads)
    _limit_this_process()
    indices, seconds, values, error = _chunk(function, indices, payloads)
    return indices, seconds, values, None if error is None else _portable(error)


def _packed_chunk(function, indices, payloads):
    """As above for arguments pickled by the sender; the function is unpickled once per worker."""
    return _remote_chunk(_unpacked(function), indices, pickle.loads(payloads))


@functools.lru_cache(maxsize=4)
def _unpacked(function):
    return pickle.loads(function)


def _portable(error):
    """The error itself if it survives pickling, else a RuntimeError with its text; the traceback as a note."""
    note = "in a worker:\n" + "".join(traceback.format_exception(error)).rstrip()
    try:
        again = pickle.loads(pickle.dumps(error))
        portable = error if str(again) == str(error) else None
    except Exception:  # a user's __reduce__ or __init__ may raise anything; the text and the traceback still travel
        portable = None
    if portable is None:
        portable = RuntimeError(f"{type(error).__name__}: {error}")
    portable.add_note(note)
    return portable


@functools.cache
def _limit_this_process():
    with contextlib.suppress(ImportError):
        import threadpoolctl

        threadpoolctl.threadpool_limits(limits=1)


def _limits():
    """Context in which the linear-algebra libraries of this process use one thread (threadpoolctl, if installed)."""
    try:
        import threadpoolctl
    except ImportError:
        return contextlib.nullcontext()
    return threadpoolctl.threadpool_limits(limits=1)


def _import(name):
    module, extra = _PACKAGES[name]
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(f"executor={name!r} needs {module.partition('.')[0]}: pip install 'dnnsched[{extra}]' "
                          f"({error})") from None


def _cores():
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Engine:
    """Base: runs tasks in the calling thread.

    Attributes
    ----------
    name : str
    workers : int
    """

    name = "serial"

    def __init__(self, jobs=None):
        self.workers = 1

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        self._close(kind)

    def run(self, function, tasks, *, chunk=None, done=None, failed=None):
        """See :func:`execute`."""
        if chunk is not None and (isinstance(chunk, bool) or not isinstance(chunk, int) or chunk < 1):
            raise ValueError(f"chunk: expected a whole number of tasks, at least 1, got {chunk!r}")
        values = [None] * len(tasks)
        if not len(tasks):
            return values
        feed = _Feed(tasks, chunk, self.workers)
        with contextlib.closing(self._outcomes(function, feed)) as outcomes:
            for indices, seconds, found, error in outcomes:
                feed.measured(seconds, max(len(found), 1))
                for index, value in zip(indices, found, strict=False):
                    values[index] = value
                if done is not None and found:
                    done(indices[:len(found)], found)
                if error is not None:
                    if failed is None:
                        raise error
                    raise failed(indices[len(found)], error) from error
        return values

    def _outcomes(self, function, feed):
        with _limits():
            for indices, payloads in feed:
                yield _chunk(function, indices, payloads)

    def _close(self, kind):
        pass


class _Submitting(Engine):
    """Shared by executors with ``submit``: two chunks per worker in flight, outcomes as they finish."""

    def _outcomes(self, function, feed):
        finished, flying = queue.SimpleQueue(), set()

        def launch():
            part = next(feed, None)
            if part is not None:
                future = self._submit(function, *part)
                flying.add(future)
                future.add_done_callback(finished.put)

        try:
            for _ in range(2 * self.workers):
                launch()
            while flying:
                future = finished.get()
                flying.discard(future)
                outcome = self._result(future)
                launch()
                yield outcome
        finally:
            for future in flying:
                future.cancel()

    def _submit(self, function, indices, payloads):
        return self._pool.submit(_remote_chunk, function, indices, payloads, os.getpid())

    def _result(self, future):
        try:
            return future.result()
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            if "pickle" in str(error):
                raise _unpicklable(self.name, error) from error
            raise
        except CancelledError:
            raise RuntimeError(f"executor {self.name}: a chunk of tasks was cancelled from outside") from None


class _Threads(_Submitting):
    """A pool of threads; simulations release the interpreter lock."""

    name = "threads"

    def __init__(self, jobs=None):
        self.workers = jobs or _cores()

    def __enter__(self):
        self._limits = _limits()
        self._limits.__enter__()
        self._stop = threading.Event()
        self._interval = sys.getswitchinterval()
        # Simulations leave the lock for about a millisecond, less than the default interval they would wait for it.
        sys.setswitchinterval(5e-5)
        self._pool = ThreadPoolExecutor(self.workers, thread_name_prefix="dnnsched")
        return self

    def _submit(self, function, indices, payloads):
        return self._pool.submit(_chunk, function, indices, payloads, self._stop)

    def _result(self, future):
        return future.result()

    def _close(self, kind):
        self._stop.set()
        try:
            self._pool.shutdown(wait=kind is None or issubclass(kind, Exception), cancel_futures=True)
        finally:
            sys.setswitchinterval(self._interval)
            self._limits.__exit__(None, None, None)


def _begin_worker():
    """Workers leave Ctrl-C to the process that started them, and end when it is gone."""
    import multiprocessing.connection

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def follow():
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


class _Processes(_Submitting):
    """A pool of spawned processes."""

    name = "processes"

    def __init__(self, jobs=None):
        self.workers = jobs or _cores()
        self._packed = None, None

    def __enter__(self):
        import multiprocessing

        # Read by the libraries when a worker imports them, before any code of ours runs there.
        self._before = {name: os.environ.get(name) for name in _ENVIRONMENT}
        os.environ.update(dict.fromkeys(_ENVIRONMENT, "1"))
        self._pool = ProcessPoolExecutor(self.workers, mp_context=multiprocessing.get_context("spawn"),
                                         initializer=_begin_worker)
        return self

    def _submit(self, function, indices, payloads):
        if self._packed[0] is not function:
            self._packed = function, _pack(function, "the function")
        try:
            return self._pool.submit(_packed_chunk, self._packed[1], indices, _pack(payloads, "a task"))
        except BrokenProcessPool as error:
            raise self._broken() from error

    def _result(self, future):
        try:
            return future.result()
        except BrokenProcessPool as error:
            raise self._broken() from error

    @staticmethod
    def _broken():
        return RuntimeError("executor='processes': a worker process ended before its task did. Workers import the "
                            "running script: it must be a file and start its work under  if __name__ == '__main__':  "
                            "(if it does, the process was killed: memory?)")

    def _close(self, kind):
        try:
            if kind is not None and not issubclass(kind, Exception):
                for process in list((self._pool._processes or {}).values()):
                    process.terminate()
            self._pool.shutdown(wait=True, cancel_futures=True)
        finally:
            for name, value in self._before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value


def _pack(value, what):
    try:
        data = pickle.dumps(value)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise _unpicklable("'processes'", error, what) from error
    main = sys.modules.get("__main__")
    if b"__main__" in data and getattr(main, "__spec__", None) is None and not os.path.isfile(
            getattr(main, "__file__", None) or ""):
        raise _unpicklable("'processes'", "it is defined in an interactive session, which workers cannot import", what)
    return data


def _unpicklable(name, reason, what="a function or task"):
    return TypeError(f"executor={name}: {what} cannot be sent to another process: {reason}. Define functions, classes "
                     "and policies at the top level of a module (no lambda, no function inside a function), or use "
                     "executor='joblib' (sends functions by value) or executor='threads'")


class _Joblib(Engine):
    """joblib.Parallel under whatever ``joblib.parallel_config`` is in force (loky, dask, ray, ...)."""

    name = "joblib"

    def __init__(self, jobs=None):
        self._joblib = _import("joblib")
        configured = self._joblib.parallel.get_active_backend()[1]
        self._jobs = jobs if jobs is not None else (None if configured != 1 else -1)
        self.workers = jobs or self._joblib.effective_n_jobs(configured if self._jobs is None else -1)

    def _outcomes(self, function, feed):
        parallel = self._joblib.Parallel(n_jobs=self._jobs, batch_size=1, pre_dispatch="2*n_jobs",
                                         return_as="generator_unordered")
        call = self._joblib.delayed(_remote_chunk)
        try:
            yield from parallel(call(function, *part) for part in feed)
        except pickle.PicklingError as error:
            raise _unpicklable("'joblib'", error) from error


class _Dask(_Submitting):
    """The current Dask client, or a cluster of local processes for this run."""

    name = "dask"

    def __init__(self, jobs=None):
        self._distributed, self._jobs = _import("dask"), jobs
        self._own = []

    def __enter__(self):
        try:
            client = self._distributed.get_client()
        except ValueError:
            cluster = self._distributed.LocalCluster(n_workers=self._jobs or _cores(), threads_per_worker=1,
                                                     dashboard_address=None)
            client = self._distributed.Client(cluster)
            self._own = [client, cluster]
        self.workers = self._jobs or max(sum(client.nthreads().values()), 1)
        self._pool = client.get_executor(pure=False)
        return self

    def _close(self, kind):
        for part in self._own:
            part.close()


class _Ray(_Submitting):
    """Ray tasks; the running instance, or one for this run."""

    name = "ray"

    def __init__(self, jobs=None):
        self._ray, self._jobs = _import("ray"), jobs

    def __enter__(self):
        self._own = not self._ray.is_initialized()
        if self._own:
            self._ray.init(num_cpus=self._jobs, include_dashboard=False, log_to_driver=False, configure_logging=False)
        self.workers = self._jobs or max(int(self._ray.cluster_resources().get("CPU", 1)), 1)
        self._call = self._ray.remote(_remote_chunk)
        self._function = None, None
        return self

    def _submit(self, function, indices, payloads):
        if self._function[0] is not function:
            self._function = function, self._ray.put(function)
        return self._call.remote(self._function[1], indices, payloads).future()

    def _close(self, kind):
        if self._own:
            self._ray.shutdown()


class _Mpi(_Submitting):
    """``mpi4py.futures``: run the script with  mpiexec -n N python -m mpi4py.futures script.py."""

    name = "mpi"

    def __init__(self, jobs=None):
        self._futures, self._jobs = _import("mpi"), jobs

    def __enter__(self):
        self._pool = self._futures.MPIPoolExecutor(self._jobs)
        self.workers = self._jobs or max(self._pool.num_workers, 1)
        return self

    def _close(self, kind):
        self._pool.shutdown(wait=kind is None or issubclass(kind, Exception), cancel_futures=True)


class _Given(_Submitting):
    """An executor of the caller's; it stays open."""

    def __init__(self, pool, jobs=None):
        self._pool, self.name = pool, type(pool).__name__
        known = (jobs, getattr(pool, "_max_workers", None), getattr(pool, "num_workers", None))
        self.workers = next((n for n in known if isinstance(n, int) and n > 0), None) or _cores()

    def __enter__(self):
        self._limits = _limits()  # its workers may be threads of this process
        self._limits.__enter__()
        return self

    def _close(self, kind):
        self._limits.__exit__(None, None, None)


_KINDS = {"serial": Engine, "threads": _Threads, "processes": _Processes, "joblib": _Joblib, "dask": _Dask,
          "ray": _Ray, "mpi": _Mpi}
