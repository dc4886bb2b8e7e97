"""Schedulers: the published policies, and how to write your own.

A built-in scheduler is a small frozen object with its parameters; what it may know about remaining time
is computed from the traces before the run (:func:`dnnsched.policies.estimate`), and its decisions are made
in C. ``semantics="paper"`` follows the papers' text; ``semantics="artifact"`` makes the decisions of the
public Sparse-DySta simulator to the bit (its 11 policies only). Parameters left at None take the default
of the semantics; explicit ones win.

Your own scheduler is any object with ``score(view)`` (an array, the smallest runs, ties in queue order) or
``pick(view)`` (a queue position, -1 = stay idle until the next event). Optional attributes:

``kind``
    When scores change: ``"arrival"`` (never after the push), ``"own"`` (only when the request itself ran),
    ``"time"`` (any time), ``"pick"`` (default: ask at every decision). The first two use a heap.
``needs``
    Names of the columns it reads (see :data:`dnnsched.sim.FEATURES`); all but the user and private columns by default.
``oracle``
    True lets ``remaining``, ``next`` and ``isolated`` hold true latencies. Otherwise they are pattern-aware
    averages, the first two scaled by the monitored ``gamma`` (what Dysta knows).
``batch(view)``, ``outcome(control, request, stage)``, ``on_push/start/stage_end/finish/idle/timer/user(control, id)``
    For batches, early exits and timers in a :class:`dnnsched.sim.System`.

The view's attributes are read-only arrays over the engine's own memory, in queue order, valid during the
call only.

Native schedulers decide inside the engine's loop, without the interpreter: :func:`native` compiles a Python function
with numba, :class:`Native` wraps compiled code from elsewhere (numba ``cfunc``, ctypes, cffi, PyCapsule,
``scipy.LowLevelCallable``). Schedulers of other distributions are known by name (:mod:`dnnsched.plugins`).
"""

import difflib
from dataclasses import asdict, dataclass, fields
from typing import ClassVar

from . import plugins
from ._arrays import check_choice, check_number
from ._nativecompile import native
from ._nativepolicy import Native, from_factory, is_own
from .policies import PREDICTORS, estimate

SEMANTICS = ("paper", "artifact")
SLACKS = ("signed", "clamped", "deadline")

__all__ = [
    "ARTIFACT_POLICIES",
    "Dysta",
    "DystaNaive",
    "DystaOracle",
    "Edf",
    "Fcfs",
    "Hpf",
    "Llf",
    "Lottery",
    "Native",
    "Planaria",
    "Prema",
    "PremaSparse",
    "RoundRobin",
    "Scheduler",
    "Sdrm3",
    "Sdrm3Sparse",
    "Sjf",
    "SjfSparse",
    "SrptOracle",
    "from_factory",
    "get",
    "names",
    "native",
    "wait_until",
]


@dataclass(frozen=True)
class Scheduler:
    """Base of the built-in schedulers.

    Attributes
    ----------
    name : str
        As in :func:`names`.
    in_artifact : bool
        One of the public simulator's 11 policies.
    """

    name: ClassVar[str] = ""
    in_artifact: ClassVar[bool] = False
    estimates: ClassVar[tuple] = ()  # estimate tables the native policy reads

    def parameters(self, semantics="paper"):
        """Every parameter in force under the semantics, as a dict."""
        defaults = self._defaults(semantics)
        return {k: defaults.get(k) if v is None else v for k, v in asdict(self).items()}

    def native(self, semantics="paper"):
        """Name and parameters of the C policy that decides."""
        return self.name, ()

    def knows(self, semantics="paper"):
        """Arguments of :func:`dnnsched.policies.estimate` for what the scheduler may know."""
        return {"aware": False}

    def tables(self, ts, semantics="paper"):
        """What the scheduler knows of a trace set: column name -> one float64 [samples or 1, layers] per key."""
        if not self.estimates:
            return {}
        known = estimate(ts, **self.knows(semantics))
        return {column: [getattr(e, column) for e in known] for column in self.estimates}

    def _defaults(self, semantics):
        return {}


class Fcfs(Scheduler):
    """First come, first served."""

    name = "fcfs"
    in_artifact = True


class Edf(Scheduler):
    """Earliest deadline first, preemptive at layer boundaries."""

    name = "edf"


class Hpf(Scheduler):
    """Highest priority first (larger is more urgent), preemptive at layer boundaries."""

    name = "hpf"


class RoundRobin(Scheduler):
    """Round robin with a quantum of one layer: the request that ran longest ago runs."""

    name = "round_robin"


class Sjf(Scheduler):
    """Shortest job first: the least average remaining time of the request's model."""

    name = "sjf"
    in_artifact = True
    estimates = ("remaining",)

    def native(self, semantics="paper"):
        return "shortest_remaining", ()


class Llf(Scheduler):
    """Least laxity first (alias lst): the least deadline minus average remaining time."""

    name = "llf"
    estimates = ("remaining",)

    def native(self, semantics="paper"):
        return "least_laxity", ()


class SrptOracle(Scheduler):
    """Shortest true remaining time first: minimises mean turnaround, not realisable."""

    name = "srpt_oracle"
    estimates = ("remaining",)

    def native(self, semantics="paper"):
        return "shortest_remaining", ()

    def knows(self, semantics="paper"):
        return {"source": "true"}


@dataclass(frozen=True)
class Lottery(Scheduler):
    """Lottery scheduling with tickets = priority (Waldspurger and Weihl, OSDI 1994).

    Parameters
    ----------
    seed : int
        Of the draws, 0 <= seed < 2**53.
    """

    seed: int = 0
    name: ClassVar[str] = "lottery"

    def __post_init__(self):
        check_number(self.seed, "seed", 0, 2.0**53)

    def native(self, semantics="paper"):
        return "lottery", (float(self.seed),)


@dataclass(frozen=True)
class _Sparse(Scheduler):
    """Shared by the schedulers that monitor sparsity.

    Parameters
    ----------
    alpha : float
        How much of the sparsity the accelerator turns into speed, > 0 (paper semantics).
    predictor : {"last_one", "average_all", "last_n"}, optional
        How gamma follows the monitored sparsities; default ``"last_one"`` (the paper's choice), ``"average_all"``
        under artifact semantics (what the public code runs).
    n_last : int
        Window of ``"last_n"``.
    gamma : {"density", "literal"}
        Ratio of densities, or of zero fractions as the paper's text reads.
    """

    alpha: float = 1.0
    predictor: str | None = None
    n_last: int = 3
    gamma: str = "density"

    def __post_init__(self):
        check_number(self.alpha, "alpha", 0, open_low=True)
        if self.predictor is not None:
            check_choice(self.predictor, "predictor", PREDICTORS)
        check_choice(self.gamma, "gamma", ("density", "literal"))

    def _defaults(self, semantics):
        return {"predictor": "average_all" if semantics == "artifact" else "last_one"}

    def knows(self, semantics="paper"):
        p = self.parameters(semantics)
        return {"aware": True, "predictor": p["predictor"], "n_last": p["n_last"], "ratio": p["gamma"],
                "artifact": semantics == "artifact", "alpha": p["alpha"]}


@dataclass(frozen=True)
class SjfSparse(_Sparse):
    """Shortest job first with pattern-aware averages scaled by the monitored gamma."""

    name: ClassVar[str] = "sjf_sparse"
    in_artifact: ClassVar[bool] = True
    estimates: ClassVar[tuple] = ("remaining",)

    def native(self, semantics="paper"):
        return "shortest_remaining", ()


class Prema(Scheduler):
    """PREMA's tokens (HPCA 2020) with the >= threshold of Sparse-DySta, section 6.1."""

    name = "prema"
    in_artifact = True
    estimates = ("remaining", "isolated")

    def native(self, semantics="paper"):
        return ("prema_artifact" if semantics == "artifact" else "prema"), ()


@dataclass(frozen=True)
class PremaSparse(_Sparse):
    """PREMA with pattern-aware averages scaled by the monitored gamma."""

    name: ClassVar[str] = "prema_sparse"
    in_artifact: ClassVar[bool] = True
    estimates: ClassVar[tuple] = ("remaining", "isolated", "gamma")

    def native(self, semantics="paper"):
        return ("prema_sparse_artifact" if semantics == "artifact" else "prema_sparse"), ()

    def tables(self, ts, semantics="paper"):
        """As the base; under artifact semantics candidates are compared by averages times one stale gamma."""
        out = super().tables(ts, semantics)
        if semantics == "artifact":
            out["remaining"] = [e.remaining for e in estimate(ts, aware=True)]
        return out


class Planaria(Scheduler):
    """Planaria's score (MICRO 2020) on a time-shared accelerator; late requests run last (not in the artifact)."""

    name = "planaria"
    in_artifact = True
    estimates = ("remaining",)

    def native(self, semantics="paper"):
        return ("planaria_artifact" if semantics == "artifact" else "planaria"), ()


@dataclass(frozen=True)
class Sdrm3(Scheduler):
    """SDRM3's MapScore (arXiv 2212.03414): urgency + alpha * fairness.

    Parameters
    ----------
    alpha : float
        Weight of fairness, >= 0; 1 in the public simulator, not printed in the paper.
    """

    alpha: float = 1.0
    name: ClassVar[str] = "sdrm3"
    in_artifact: ClassVar[bool] = True
    estimates: ClassVar[tuple] = ("remaining", "next")

    def __post_init__(self):
        check_number(self.alpha, "alpha", 0)

    def native(self, semantics="paper"):
        return ("sdrm3_artifact" if semantics == "artifact" else "sdrm3"), (self.alpha,)


@dataclass(frozen=True)
class Sdrm3Sparse(_Sparse):
    """SDRM3 with pattern-aware averages scaled by the monitored gamma.

    Parameters
    ----------
    fairness : float
        Weight of fairness, >= 0 (SDRM3's alpha).
    """

    fairness: float = 1.0
    name: ClassVar[str] = "sdrm3_sparse"
    in_artifact: ClassVar[bool] = True
    estimates: ClassVar[tuple] = ("remaining", "next")

    def __post_init__(self):
        super().__post_init__()
        check_number(self.fairness, "fairness", 0)

    def native(self, semantics="paper"):
        return ("sdrm3_artifact" if semantics == "artifact" else "sdrm3"), (self.fairness,)


@dataclass(frozen=True)
class Dysta(_Sparse):
    """Sparse-DySta (MICRO 2023): score = That + eta * (slack + penalty), the smallest runs.

    Parameters
    ----------
    beta : float
        Weight of the static score (Algorithm 1), >= 0; not printed in the paper, 0.01 in the public code.
    eta : float, optional
        Weight of the dynamic score (Algorithm 2), >= 0; default `beta`, as in the public code.
    slack : {"signed", "clamped", "deadline"}, optional
        Algorithm 2 as printed (default), the public simulator's (default of artifact semantics), or
        Fig. 11b's (the hardware).
    alpha, predictor, n_last, gamma
        Estimates; see :class:`SjfSparse`.
    """

    beta: float = 0.01
    eta: float | None = None
    slack: str | None = None
    name: ClassVar[str] = "dysta"
    in_artifact: ClassVar[bool] = True
    estimates: ClassVar[tuple] = ("remaining", "isolated")

    def __post_init__(self):
        super().__post_init__()
        check_number(self.beta, "beta", 0)
        if self.eta is not None:
            check_number(self.eta, "eta", 0)
        if self.slack is not None:
            check_choice(self.slack, "slack", SLACKS)

    def _defaults(self, semantics):
        slack = "clamped" if semantics == "artifact" else "signed"
        return {**super()._defaults(semantics), "eta": self.beta, "slack": slack}

    def native(self, semantics="paper"):
        p = self.parameters(semantics)
        form = "artifact" if semantics == "artifact" and p["slack"] == "clamped" else p["slack"]
        return f"dysta_{form}", (float(p["eta"]),)

    def static_score(self, latency_s, slo_s):
        """Algorithm 1 at arrival: latency + beta * (slo - latency), both relative, seconds."""
        return latency_s + self.beta * (slo_s - latency_s)


@dataclass(frozen=True)
class DystaNaive(Dysta):
    """Dysta without sparsity ("Dysta-w/o-sparse" of Fig. 13): averages per model, no monitoring."""

    name: ClassVar[str] = "dysta_naive"

    def knows(self, semantics="paper"):
        return {"aware": False}


@dataclass(frozen=True)
class DystaOracle(Dysta):
    """Dysta with the true remaining and isolated times."""

    name: ClassVar[str] = "dysta_oracle"

    def knows(self, semantics="paper"):
        return {"source": "true"}


_CLASSES = {c.name: c for c in (Fcfs, Sjf, SjfSparse, Edf, Llf, Hpf, RoundRobin, Lottery, SrptOracle, Prema,
                                PremaSparse, Planaria, Sdrm3, Sdrm3Sparse, Dysta, DystaNaive, DystaOracle)}
_ALIASES = {"lst": "llf", "oracle": "dysta_oracle"}

#: The policies of the public Sparse-DySta simulator, the only ones with artifact semantics.
ARTIFACT_POLICIES = tuple(name for name, c in _CLASSES.items() if c.in_artifact)


def names():
    """Names of the built-in schedulers (``lst`` and ``oracle`` are aliases of llf and dysta_oracle)."""
    return tuple(_CLASSES)


def get(name, **parameters):
    """Scheduler by name: built in, or brought by a plug-in (:mod:`dnnsched.plugins`).

    Parameters
    ----------
    name : str
        One of :func:`names`, an alias, or the name of a plug-in.
    **parameters
        Of its class.

    Raises
    ------
    ValueError
        Unknown name or parameter; the message suggests the nearest.
    ImportError, TypeError
        The plug-in cannot be loaded, or is no scheduler.
    """
    cls = _CLASSES.get(_ALIASES.get(name, name))
    if cls is None:
        found = plugins.load("schedulers", name)
        if found is not None:
            return _from_plugin(name, found, parameters)
        known = [*_CLASSES, *_ALIASES, *(p.name for p in plugins.find("schedulers"))]
        near = difflib.get_close_matches(str(name), known, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"scheduler: unknown name {name!r}{hint} Known: {', '.join(known)}")
    known = {f.name for f in fields(cls)}
    bad = set(parameters) - known
    if bad:
        raise ValueError(f"scheduler {cls.name!r}: unknown parameter {sorted(bad)[0]!r}; it takes "
                         f"{', '.join(sorted(known)) or 'none'}")
    return cls(**parameters)


def _from_plugin(name, found, parameters):
    """The scheduler of a plug-in: made with the parameters, or as it is when there are none to give."""
    makes = isinstance(found, type) or not is_own(found)
    if not makes and parameters:
        raise ValueError(f"scheduler {name!r}: the plug-in is a ready scheduler, it takes no parameters")
    made = found(**parameters) if makes and callable(found) else found
    if isinstance(made, Scheduler) or is_own(made):
        return made
    raise TypeError(f"scheduler {name!r}: the plug-in gives {type(made).__name__}, expected a scheduler")


def wait_until(t_s):
    """Answer of ``batch(view)``: start nothing now, decide again at simulated time `t_s` (seconds)."""
    return float(t_s)
