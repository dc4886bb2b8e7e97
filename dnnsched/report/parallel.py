"""Independent jobs on threads: the simulator releases the interpreter lock, so threads are enough."""

import os
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
    An exception or Ctrl-C cancels the jobs that have not started and is raised again.
    """
    pool = ThreadPoolExecutor(threads or os.cpu_count() or 1, thread_name_prefix="dnnsched")
    try:
        futures = [pool.submit(job) for job in jobs]
        for future in as_completed(futures):
            future.result()
            progress.update()
        return [row for future in futures for row in future.result()]
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
