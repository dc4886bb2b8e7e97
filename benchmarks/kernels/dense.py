"""The dense yardstick: the fp32 product of OpenBLAS (ours), torch's (MKL), and, as information, torch's in bf16.

bf16 products (AMX, where there is one) round the operands to 8 bits of fraction: another result at another price.
"""

from dnnsched import kernels

from . import board
from .data import inputs, sparse_weights

SHAPES = ((512, 512, 256), (1024, 1024, 1024), (512, 512, 1), (4096, 4096, 1))


def rows(isa):
    """The scoreboard's rows."""
    torch = board.peer("torch")
    for m, k, n in SHAPES:
        w, x, out = sparse_weights(m, k, 1.0), inputs(k, n), board.aligned((m, n))
        plan = kernels.dense(w, isa=isa)
        common = {"ours": lambda plan=plan, x=x, out=out: plan.matmul(x, out=out), "flops": 2.0 * m * k * n,
                  "plan": plan, "n": n}
        work = f"{m}x{k}x{n}"
        if torch is None:
            yield board.Row(work, peer_name="torch.mm", skipped="torch is not installed", **common)
            continue
        a, b = torch.from_numpy(w), torch.from_numpy(x)
        yield board.Row(work, peer=lambda a=a, b=b: torch.mm(a, b), peer_name="torch.mm", **common)
        a, b = a.to(torch.bfloat16), b.to(torch.bfloat16)
        yield board.Row(work, peer=lambda a=a, b=b: torch.mm(a, b), peer_name="torch.mm bf16", **common)
