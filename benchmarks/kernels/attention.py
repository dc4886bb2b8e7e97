"""Attention beside torch's scaled_dot_product_attention, which computes all scores whatever the mask.

Sparse patterns go against torch with a bool mask and without one (its fastest path): with none, the break-even density
is what counts.
"""

import numpy as np

from dnnsched import kernels

from . import board


def rows(isa):
    """The scoreboard's rows."""
    torch = board.peer("torch")
    level = None if isa == kernels.machine().isa else isa
    rng = np.random.default_rng(0)
    for heads, length, depth in ((8, 512, 64), (1, 2048, 64)):
        q, k, v = (rng.standard_normal((1, heads, length, depth)).astype(np.float32) for _ in range(3))
        tensors = None if torch is None else [torch.from_numpy(a) for a in (q, k, v)]
        out = np.empty_like(q)
        masks = [("none", None, {}), ("causal", "causal", {"is_causal": True})]
        for density in (0.25, 0.1, 0.05):
            seen = rng.random((length, length)) < density
            names = kernels.pattern(seen)
            if torch is not None:
                masks.append((f"pattern {density}", names, {"attn_mask": torch.from_numpy(seen)}))
            masks.append((f"pattern {density}", names, {}))
        for name, mask, options in masks:
            pairs = length * length
            if name == "causal":
                pairs = length * (length + 1) // 2
            elif mask is not None:
                pairs = mask.nnz
            common = {"work": f"attention {heads}x{length} {name}", "flops": 4.0 * heads * pairs * depth,
                      "ours": lambda a=(q, k, v), m=mask, out=out: kernels.attention(*a, m, out=out, isa=level)}
            if torch is None:
                yield board.Row(skipped="torch is not installed", **common)
                continue

            def peer(t=tensors, o=options):
                return torch.nn.functional.scaled_dot_product_attention(*t, **o)

            how = "masked" if "attn_mask" in options else "causal" if options else "dense"
            gate = 1.0 if isinstance(mask, kernels.Pattern) else None
            yield board.Row(peer=peer, peer_name=f"torch sdpa {how}", gate=gate, **common)
