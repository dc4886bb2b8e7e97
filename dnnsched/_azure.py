"""Synthetic stand-ins for the Azure LLM inference traces of 2023.

Quantiles of gaps and token counts were taken from the two public files (linear interpolation between order
statistics, as ``numpy.quantile``), and are facts about them; the data set is CC-BY 4.0. Gaps come from their table
through a latent first-order autoregression whose two parameters were set so that counts per full minute have the
recorded index of dispersion (16 and 167); token counts come from theirs through a Gaussian copula with the recorded
correlation. Method: Cario and Nelson, "Autoregressive to anything", Operations Research Letters 19(2), 1996.
"""

from dataclasses import dataclass

import numpy as np

from dnnsched._arrays import check_choice, check_int, seed_sequence
from dnnsched._formats import FORMATS
from dnnsched._native import _base
from dnnsched._plan import Plan, replay, stream_bits

_PROBABILITY = (
    0, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9,
    0.93, 0.95, 0.97, 0.98, 0.985, 0.99, 0.993, 0.995, 0.996, 0.997, 0.9975, 0.998, 0.9985, 0.999, 0.9993, 0.9996,
    0.9998, 1)


@dataclass(frozen=True)
class _Kind:
    rate: float  # requests per second
    gap_s: tuple
    context_tokens: tuple
    generated_tokens: tuple
    share: float  # of the slow swing in the latent variance of gaps
    keep: float  # its autocorrelation from one gap to the next
    rho: float  # latent correlation of the two token counts


_KINDS = {
    "conv": _Kind(
        5.53014,
        (2e-06, 0.00054632, 0.0014431, 0.0063204, 0.016144, 0.026417, 0.036519, 0.048272, 0.060723, 0.073459, 0.087254,
         0.10194, 0.11842, 0.13761, 0.15868, 0.18317, 0.21361, 0.24673, 0.28883, 0.34592, 0.42066, 0.49309, 0.56519,
         0.67323, 0.74927, 0.80578, 0.88967, 0.9633, 1.0342, 1.0849, 1.1715, 1.2079, 1.2492, 1.3195, 1.4112, 1.5743,
         1.8421, 2.6891, 4.3146),
        (2, 29, 91, 181, 207, 372, 387, 396, 403, 414, 703, 984, 1020, 1045, 1071, 1097, 1130, 1189, 1315, 1876.25,
         2734.5, 4076, 4083, 4090, 4098, 4110, 4142, 4240.45, 4831, 5021.08, 5277, 5404.45, 5652, 5938.86, 6179.15,
         6393.34, 6949, 7111.62, 14050),
        (7, 16, 24, 41, 54, 67, 77, 85, 91, 96, 103, 113, 129, 151, 177, 217, 384, 395, 400, 411, 424, 433, 451, 509,
         540, 571, 601, 621.445, 643.175, 658, 674.905, 718.763, 916.54, 937.952, 954, 973.113, 1000, 1000, 1000),
        share=0.055, keep=0.9993, rho=-0.145),
    "code": _Kind(
        2.56640,
        (6e-06, 2.217e-05, 4.2e-05, 8.8e-05, 0.000209, 0.000885, 0.001184, 0.0020772, 0.0032922, 0.0053441, 0.015104,
         0.038217, 0.063798, 0.089557, 0.09499, 0.097944, 0.10013, 0.104, 0.16007, 0.19883, 0.27286, 0.31254, 0.40078,
         0.59744, 0.79875, 1.0986, 2.2051, 3.6997, 9.9783, 17.254, 28.086, 38.425, 41.406, 50.407, 79.233, 92.673,
         141.09, 169.62, 217.17),
        (3, 17, 35, 75, 147, 232, 385.6, 578, 770, 938.6, 1075, 1261.1, 1469, 1690, 1909, 2163.7, 2433, 2744.5, 3192.4,
         3920.2, 5187.6, 6193.74, 7303.3, 7435, 7436, 7436, 7436, 7436, 7436, 7436, 7436, 7436, 7436.36, 7437, 7437,
         7437, 7437, 7437, 7437),
        (6, 6, 6, 6, 7, 7, 8, 9, 9, 10, 11, 12, 13, 14, 16, 18, 20, 24, 29, 39, 55, 72, 90, 128, 170.92, 200.73,
         251.46, 295.548, 359.38, 401.368, 511.736, 598.685, 669.64, 780.092, 825.274, 846.792, 910.602, 1019.43, 1899),
        share=0.06, keep=0.995, rho=0.0),
}
KINDS = tuple(_KINDS)


def _times(kind, bits, n):
    """float64[n]: from 0, with exactly the recorded mean rate."""
    table = _KINDS[kind]
    times, _, _ = _base.draw_arta(bits, np.array(_PROBABILITY, dtype=np.float64), np.array(table.gap_s), table.share,
                                  table.keep, None, 0.0, n)
    times -= times[0]
    return times * ((n - 1) / table.rate / times[-1])


def azure_like_table(kind, n=10_000, *, rng=None):
    """Synthetic requests with the statistics of the Azure LLM inference traces of 2023.

    Parameters
    ----------
    kind : {"conv", "code"}
        Conversation (5.53 requests/s, nearly Poisson: coefficient of variation of the gaps 1.1) or code completion
        (2.57 requests/s in bursts: 13).
    n : int
        Requests, >= 2.
    rng : int, SeedSequence, Generator or None
        Seed of the draws, as for :func:`poisson`.

    Returns
    -------
    structured array
        ``time_s`` float64 from 0, ``context_tokens`` and ``generated_tokens`` int64: the columns of
        :func:`read_azure_llm_table`.

    Notes
    -----
    Origin: synthetic. The mean rate is that of the trace exactly; gaps, token counts and their correlation follow
    the trace's quantiles; the load swings slowly. Daily or weekly patterns are not in these one-hour traces.
    """
    check_choice(kind, "kind", KINDS)
    n = check_int(n, "n", 2)
    seed, _ = seed_sequence(rng)
    table = _KINDS[kind]
    out = np.empty(n, dtype=[("time_s", "f8"), ("context_tokens", "i8"), ("generated_tokens", "i8")])
    out["time_s"] = _times(kind, stream_bits(seed, 0), n)
    context, generated = _base.draw_pairs(
        stream_bits(seed, 4), np.array(_PROBABILITY, dtype=np.float64), np.array(table.context_tokens, np.float64),
        np.array(table.generated_tokens, np.float64), table.rho, n)
    out["context_tokens"], out["generated_tokens"] = np.floor(context + 0.5), np.floor(generated + 0.5)
    return out


def azure_like(kind, traces, n=10_000, *, rate=None, rho=None, time_scale=None, mix=None, slo_multiplier=10.0,
               slo_base=None, rng=None, priorities=None, n_samples=None, semantics="paper"):
    """Requests that arrive like those of the Azure LLM inference traces of 2023 (synthetic).

    Parameters
    ----------
    kind : {"conv", "code"}
        As for :func:`azure_like_table`, whose times these are for the same `rng` and `n`.
    traces : TraceSet
    n : int
        Requests, >= 2.
    rate, rho, time_scale : float, optional
        At most one: stretch the times to this mean rate (requests per second) or offered load, or multiply them;
        default: the rate of the recorded trace.
    mix, slo_multiplier, slo_base, rng, priorities, n_samples, semantics
        As for :func:`poisson`.

    Returns
    -------
    Workload
        ``meta["arrivals"]["origin"]`` is ``"synthetic"``; ``meta["data_citations"]`` names the source of the
        statistics.
    """
    check_choice(kind, "kind", KINDS)
    n = check_int(n, "n", 2)
    plan = Plan(traces, mix=mix, slo_multiplier=slo_multiplier, slo_base=slo_base, rng=rng, priorities=priorities,
                n_samples=n_samples, semantics=semantics)
    record = {"process": "azure_like", "kind": kind, "origin": "synthetic"}
    source = [f"synthetic, calibrated to the {text}" for text in FORMATS["azure_llm"].citations]
    return replay(plan, _times(kind, plan.bits(0), n), rate, rho, time_scale, record, data_citations=source)
