"""Exceptions raised by dnnsched beside the standard ones."""


class FormatError(ValueError):
    """A data file or a packed structure is malformed; the message names file, row and column."""


class StateError(RuntimeError):
    """A call came at the wrong time, or a policy broke its promise."""


class PointError(RuntimeError):
    """A point of a sweep failed; the message names it, and ``__cause__`` is what its function raised.

    Attributes
    ----------
    point : dict
    replication : int
        From 0.
    """

    def __init__(self, message, point=None, replication=None):
        super().__init__(message)
        self.point, self.replication = point, replication
