"""Masked softmax beside torch, which fills with -inf and takes its softmax."""

import numpy as np

from dnnsched import kernels

from . import board


def rows(isa):
    """The scoreboard's rows."""
    torch = board.peer("torch")
    level = None if isa == kernels.machine().isa else isa
    rng = np.random.default_rng(0)
    x = rng.standard_normal((8, 256, 256)).astype(np.float32)
    out, seen = np.empty_like(x), rng.random((256, 256)) < 0.5
    causal = np.tri(256, dtype=bool)
    bits = kernels.pack_mask(seen)
    for name, mask, dense in (("none", None, None), ("causal", "causal", causal), ("bits", bits, seen)):
        peer = None
        if torch is not None:
            t, hide = torch.from_numpy(x), None if dense is None else torch.from_numpy(~dense)

            def peer(t=t, hide=hide):
                return torch.softmax(t if hide is None else t.masked_fill(hide, -torch.inf), -1)

        yield board.Row(f"softmax 8x256x256 {name}", lambda m=mask: kernels.softmax(x, m, out, isa=level), peer,
                        "torch masked softmax", skipped=None if torch else "torch is not installed")
