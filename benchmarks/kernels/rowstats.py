"""Row statistics beside torch: its softmax alone, and the recipe that gives the same four results.

The attainable time counts the instructions of csrc/kernels/rowstats_isa.c: per vector of logits 15 arithmetic ones in
the second pass and 3 (long rows) or 5 (with the argmax per lane) in the first, two a cycle, at the clock measured in
the run; transposing short rows takes 4 more per vector of the tile.
"""

import numpy as np

from dnnsched import kernels

from . import board
from .count import clock_hz

LANES = {"generic": 4, "avx2": 8}
# (rows, classes, ratio to the recipe, ratio to softmax alone); the goal is the prototype's rate
SHAPES = ((4096, 10, 20.0, 1.5), (1024, 100, 8.0, 1.5), (256, 1000, 8.0, 1.5), (8, 32000, 8.0, 1.5),
          (1, 10, None, 1.0), (1, 1000, None, 1.0))


def recipe(torch, t):
    """Softmax, maximum, entropy, top-2 as written with torch."""
    p = torch.softmax(t, -1)
    top, index = p.max(-1)
    two = torch.topk(p, 2, -1).values
    return top, index, two[..., 0] - two[..., 1], torch.special.entr(p).sum(-1)


def attainable(n, classes, isa):
    """Seconds by counted instructions."""
    lanes = LANES.get(isa, 16)
    small = classes <= 128
    vectors = -(-n // lanes) * classes if small else n * -(-classes // lanes)
    return vectors * (24 if small else 18) / 2 / clock_hz()


def rows(isa):
    """The scoreboard's rows."""
    torch = board.peer("torch")
    level = None if isa == kernels.machine().isa else isa
    rng = np.random.default_rng(0)
    for n, classes, recipe_gate, softmax_gate in SHAPES:
        x = (4 * rng.standard_normal((n, classes))).astype(np.float32)
        t = None if torch is None else torch.from_numpy(x)
        common = {"work": f"rowstats {n}x{classes}", "ours": lambda x=x: kernels.rowstats(x, isa=level),
                  "attainable_s": attainable(n, classes, isa), "skipped": None if torch else "torch is not installed"}
        yield board.Row(peer=torch and (lambda t=t: torch.softmax(t, -1)), peer_name="torch.softmax",
                        gate=softmax_gate, **common)
        yield board.Row(peer=torch and (lambda t=t: recipe(torch, t)), peer_name="torch recipe", gate=recipe_gate,
                        **common)
    x = (4 * rng.standard_normal((4, 21, 128, 128))).astype(np.float32)
    t = None if torch is None else torch.from_numpy(x)
    yield board.Row("rowstats map 4x21x128x128", lambda: kernels.rowstats(x, axis=1, isa=level),
                    torch and (lambda: torch.softmax(t, 1)), "torch.softmax", gate=1.5,
                    attainable_s=x.size / LANES.get(isa, 16) * 20 / 2 / clock_hz(),
                    skipped=None if torch else "torch is not installed")
