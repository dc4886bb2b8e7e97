"""Progress on standard error: tqdm when it is installed, else a bar of our own."""

import sys
import time


class Bar:
    """One line that redraws itself at most ten times a second, and only on a terminal.

    Parameters
    ----------
    total : int
        Number of steps.
    label : str
    stream : file-like
    """

    def __init__(self, total, label, stream):
        self.total, self.label, self.stream = max(total, 1), label, stream
        self.done, self._drawn = 0, 0.0
        self._start = time.monotonic()

    def update(self, steps=1):
        """Count finished steps."""
        self.done += steps
        now = time.monotonic()
        if now - self._drawn >= 0.1 or self.done >= self.total:
            self._drawn = now
            filled = 30 * self.done // self.total
            self.stream.write(f"\r{self.label} [{'#' * filled}{'.' * (30 - filled)}] {self.done}/{self.total} "
                              f"{now - self._start:.1f} s")
            self.stream.flush()

    def close(self):
        """End the line."""
        self.stream.write("\n")
        self.stream.flush()


class Silent:
    """Takes the same calls and shows nothing."""

    def update(self, steps=1):
        """Ignore."""

    def close(self):
        """Ignore."""


def bar(total, label, quiet=False, stream=None):
    """A progress bar for `total` steps.

    Parameters
    ----------
    total : int
    label : str
    quiet : bool
        Show nothing.
    stream : file-like, optional
        Default ``sys.stderr``; nothing is shown if it is not a terminal.

    Returns
    -------
    object
        With ``update(steps=1)`` and ``close()``.
    """
    stream = sys.stderr if stream is None else stream
    if quiet or not getattr(stream, "isatty", lambda: False)():
        return Silent()
    try:
        from tqdm import tqdm
    except ImportError:
        return Bar(total, label, stream)
    return tqdm(total=total, desc=label, file=stream, leave=True)
