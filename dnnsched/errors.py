"""Exceptions raised by dnnsched beside the standard ones."""


class FormatError(ValueError):
    """A data file or a packed structure is malformed; the message names file, row and column."""


class StateError(RuntimeError):
    """A call came at the wrong time, or a policy broke its promise."""
