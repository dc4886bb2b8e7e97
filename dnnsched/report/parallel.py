"""Independent jobs on threads: the simulator releases the interpreter lock, so threads are enough."""

import os
import sys
from concurrent.futures import ThreadPoolExecutor, as_completed


def execute(jobs, threads, progress):
    """Run all jobs and return their rows in the order of the jobs.

    Parameters
    ----------
    jobs : list of callable
    threads : int or None
        None = one per core.
    progress : object
        With ``update()``.

    Returns
    -------
    list

    Notes
    -----
    The interpreter's switch interval is shortened while jobs run: simulations leave the lock for about a
    millisecond at a time, less than the default interval for which they would then wait for it.

    An exception or Ctrl-C cancels the jobs that have not started and is raised again.
    """
    interval = sys.getswitchinterval()
    sys.setswitchinterval(5e-5)
    pool = ThreadPoolExecutor(threads or os.cpu_count() or 1, thread_name_prefix="dnnsched")
    try:
        futures = [pool.submit(job) for job in jobs]
        for future in as_completed(futures):
            future.result()
            progress.update()
        return [row for future in futures for row in future.result()]
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        sys.setswitchinterval(interval)
