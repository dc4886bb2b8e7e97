"""Names of the flat policy ABI: what a native scheduler reads, by number.

A native scheduler (numba ``cfunc``, C through ctypes or cffi) gets the ready queue as one block of float64,
feature by feature: column ``f`` of queue position ``i`` is ``feat[f * ld + i]``. The names below are those columns
(``features.DEADLINE``), the engine's parameters (``param[features.PARAM_N_RUNNING]``; the scheduler's own begin at
``param[features.PARAM_USER]``) and the reserved answers. All are plain ints, which numba takes as constants; their
values are those of ``csrc/include/dns/sched.h``, read from the compiled engine.

Two forms::

    int64_t pick (double now, int64_t n, const double *feat, int64_t ld, const double *param, void *user);
    void    score(double now, int64_t n, const double *feat, int64_t ld, const double *param, double *out, void *user);

``pick`` returns a queue position, ``PICK_IDLE`` to stay idle until the next event, or ``PICK_ERROR`` to stop the run;
``score`` fills ``out[0..n)``, the smallest runs. Columns that the scheduler does not declare hold zeros.
"""

from enum import IntEnum

from ._native import _sim

#: Columns by name; times are absolute seconds, see :doc:`/concepts/schedulers`.
Feature = IntEnum("Feature", {name.upper(): at for at, name in enumerate(_sim.features)})

#: Columns of the ready queue.
N_FEATURE = len(_sim.features)
#: Length of ``param``; at most ``N_PARAM - PARAM_USER`` are the scheduler's own.
N_PARAM = _sim.N_PARAM
#: First of the scheduler's own parameters.
PARAM_USER = _sim.PARAM_USER
#: Version of the ABI, also in ``param[PARAM_ABI]``.
ABI = _sim.POLICY_ABI
PICK_IDLE = _sim.PICK_IDLE
PICK_ERROR = _sim.PICK_ERROR

#: C declarations of the two forms, as type names.
SIGNATURES = {
    "pick": "int64_t (double, int64_t, const double *, int64_t, const double *, void *)",
    "score": "void (double, int64_t, const double *, int64_t, const double *, double *, void *)",
}

_COLUMNS = {name.upper(): at for at, name in enumerate(_sim.features)}
_PARAMS = {f"PARAM_{name.upper()}": at for name, at in _sim.params.items()}
globals().update(_COLUMNS)
globals().update(_PARAMS)

__all__ = sorted([*_COLUMNS, *_PARAMS, "ABI", "Feature", "N_FEATURE", "N_PARAM", "PARAM_USER", "PICK_ERROR",
                  "PICK_IDLE", "SIGNATURES", "c_header"])


def c_header():
    """C source that declares the names of this module, to compile a scheduler without the package's headers.

    Returns
    -------
    str
        ``#define DNS_F_DEADLINE 1`` and so on, and the types ``dns_pick_fn`` and ``dns_score_fn``; the names are those
        of ``dns/sched.h``.
    """
    names = {f"DNS_F_{name}": at for name, at in _COLUMNS.items()} | {"DNS_N_FEATURE": N_FEATURE}
    names |= {f"DNS_P_{name.removeprefix('PARAM_')}": at for name, at in _PARAMS.items()}
    names |= {"DNS_PARAM_USER": PARAM_USER, "DNS_N_PARAM": N_PARAM, "DNS_POLICY_ABI": ABI}
    defines = "".join(f"#define {name} {value}\n" for name, value in names.items())
    types = "".join(f"typedef {text.replace('(', f'(*dns_{form}_fn)(', 1)};\n" for form, text in SIGNATURES.items())
    return ("#ifndef DNS_SCHED_H\n#define DNS_SCHED_H\n#include <stdint.h>\n"
            f"{defines}#define DNS_PICK_IDLE INT64_C({PICK_IDLE})\n#define DNS_PICK_ERROR INT64_MIN\n{types}#endif\n")
