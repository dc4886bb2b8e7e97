"""Schedulers in C for the tests of native policies, compiled once with the machine's compiler."""

import ctypes
import shlex
import subprocess
import sysconfig

SOURCE = """
#include "dns_sched.h"
#define COLUMN(f) (feat + DNS_F_##f * ld)

int64_t shortest(double now, int64_t n, const double *feat, int64_t ld, const double *param, void *user)
{
    int64_t at = 0;
    for (int64_t i = 1; i < n; i++) {
        at = COLUMN(REMAINING)[i] < COLUMN(REMAINING)[at] ? i : at;
    }
    return at;
}

void edf(double now, int64_t n, const double *feat, int64_t ld, const double *param, double *out, void *user)
{
    for (int64_t i = 0; i < n; i++) {
        out[i] = COLUMN(DEADLINE)[i];
    }
}

void dysta(double now, int64_t n, const double *feat, int64_t ld, const double *param, double *out, void *user)
{
    const double eta = param[DNS_PARAM_USER];
    for (int64_t i = 0; i < n; i++) {
        const double e = COLUMN(REMAINING)[i];
        const double pen = ((now - COLUMN(LAST_RUN)[i]) * (1.0 / COLUMN(ISOLATED)[i])) * (1.0 / (double)n);
        out[i] = e + eta * (((COLUMN(DEADLINE)[i] - now) - e) + pen);
    }
}

/* The constant at *user. */
int64_t constant(double now, int64_t n, const double *feat, int64_t ld, const double *param, void *user)
{
    return now >= 1.0 ? *(int64_t *)user : 0;
}

/* NaN for request 1 from t = 1 on; leaves out the last score if the parameter says so. */
void odd(double now, int64_t n, const double *feat, int64_t ld, const double *param, double *out, void *user)
{
    const int64_t some = param[DNS_PARAM_USER] > 0.0 ? n - 1 : n;
    for (int64_t i = 0; i < some; i++) {
        out[i] = now >= 1.0 && COLUMN(JOB)[i] == 1.0 && some == n ? 0.0 / 0.0 : COLUMN(ARRIVAL)[i];
    }
}

/* Counts in user[0] how often it was called with the interpreter's lock held, in user[1] without. */
extern int PyGILState_Check(void);
int64_t lock(double now, int64_t n, const double *feat, int64_t ld, const double *param, void *user)
{
    ((int64_t *)user)[PyGILState_Check() ? 0 : 1]++;
    return 0;
}

/* Copies the parameters that it sees to user. */
int64_t spy(double now, int64_t n, const double *feat, int64_t ld, const double *param, void *user)
{
    for (int i = 0; i < DNS_N_PARAM; i++) {
        ((double *)user)[i] = param[i];
    }
    return 0;
}
"""
DOUBLES = ctypes.POINTER(ctypes.c_double)
PICK = (ctypes.c_int64, ctypes.c_double, ctypes.c_int64, DOUBLES, ctypes.c_int64, DOUBLES, ctypes.c_void_p)
SCORE = (None, *PICK[1:-1], DOUBLES, ctypes.c_void_p)
SCORES = ("edf", "dysta", "odd")


def compile_library(folder, optimise="-O2"):
    """Path of the shared library of `SOURCE`."""
    from dnnsched import features

    (folder / "dns_sched.h").write_text(features.c_header(), encoding="utf-8")
    (folder / "policies.c").write_text(SOURCE, encoding="utf-8")
    library = folder / "policies.so"
    compiler = shlex.split(sysconfig.get_config_var("CC") or "cc")
    subprocess.run([*compiler, "-std=c11", optimise, "-Wall", "-Werror", "-ffp-contract=off", "-fPIC", "-shared", "-I",
                    folder, folder / "policies.c", "-o", library], check=True)
    return library


def by_ctypes(library):
    """Name -> ctypes function with its types set."""
    lib = ctypes.CDLL(str(library))
    out = {}
    for name in ("shortest", "edf", "dysta", "constant", "odd", "lock", "spy"):
        out[name] = getattr(lib, name)
        out[name].restype, *out[name].argtypes = SCORE if name in SCORES else PICK
    return out


def by_cffi(library):
    """Name -> cffi function pointer (ABI mode); the library object is returned too."""
    import cffi

    ffi = cffi.FFI()
    for name in ("shortest", "edf", "dysta"):
        out = "double *out, " if name in SCORES else ""
        kind = "void" if name in SCORES else "int64_t"
        ffi.cdef(f"{kind} {name}(double now, int64_t n, const double *feat, int64_t ld, const double *param, {out}"
                 f"void *user);")
    lib = ffi.dlopen(str(library))
    return {name: ffi.addressof(lib, name) for name in ("shortest", "edf", "dysta")}


def pick_callback(fn):
    """A Python function behind a ctypes callback of the pick form."""
    return ctypes.CFUNCTYPE(*PICK)(fn)


def score_callback(fn):
    """A Python function behind a ctypes callback of the score form."""
    return ctypes.CFUNCTYPE(*SCORE)(fn)
