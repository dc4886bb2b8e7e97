"""Timelines of a run."""


class Timeline:
    """Layer slices of a run.

    Attributes
    ----------
    slices : ndarray
        Structured: t0_s, t1_s, id (request), resource, stage (layer), program (trace key), n (run length).
    lost : int
        Slices beyond the cap that were not kept.
    """

    def __init__(self, result, slices, lost):
        self._result, self.slices, self.lost = result, slices, lost
