"""LSTM cells as plans: dense, pruned, 8-bit, low-rank, and progressive, which may stop after any term."""

import numpy as np

from dnnsched import config
from dnnsched._arrays import check_choice, check_elements, check_int
from dnnsched._native import _kernels
from dnnsched.kernels import _common
from dnnsched.kernels._csr import csr
from dnnsched.kernels._int8 import int8
from dnnsched.kernels._machine import Cost, _modelled
from dnnsched.kernels._prune import prune
from dnnsched.kernels._quantize import quantize

FORMS = ("dense", "csr", "int8", "lowrank", "progressive")
GATES = 4
_OF_FORM = {"density": ("csr",), "rank": ("lowrank",), "factors": ("lowrank",), "terms": ("progressive",),
            "nz": ("progressive",)}  # arguments and the forms that take them


class LSTMPlan:
    """The weights of an LSTM cell packed for one form; made by :func:`~dnnsched.kernels.lstm`.

    Immutable; may be used by any number of Python threads at once; can be pickled. Results depend neither on `threads`
    nor on which vectors are computed together.

    Attributes
    ----------
    inputs, hidden : int
        D and H.
    shape : (int, int)
        Of the gates' matrix: (4H, D + H), inputs before states.
    terms : int
        Rank-one terms of each gate; 0 for forms without.
    nz : int
        Elements kept of each term's right factor; 0 for forms without terms.
    nnz : int
        Stored weights.
    nbytes : int
        Memory that the plan holds.
    output_tanh : bool
    isa, format : str
    """

    def __init__(self, plan, source, options):
        self._plan = plan
        self._source = source
        self._options = options
        self.format, m, k, self.nnz, self.nbytes, self.isa = _kernels.plan_info(plan)
        self.shape = (m, k)
        self.inputs, self.hidden, self.terms, self.nz, self.output_tanh = _kernels.lstm_info(plan)

    def __setattr__(self, name, value):
        """Set an attribute once: plans are immutable."""
        if name in self.__dict__:
            raise AttributeError(f"{name}: a plan is immutable")
        object.__setattr__(self, name, value)

    def __reduce__(self):
        """Pickle by packed weights, so that the copy gives the same bytes."""
        source = self._source
        if source is None:
            source = self.to_dense() if self.format == "dense" else self._unpack()
        return _remake, (self.format, source, self._options)

    def __repr__(self):
        """Form, extents and size."""
        terms = f", {self.terms} terms" if self.terms else ""
        return (f"<LSTMPlan {self.format} {self.inputs} -> {self.hidden}{terms}, {self.nnz} weights, {self.nbytes} "
                f"bytes, {self.isa}>")

    def _stop(self, terms):
        """Number of terms to add; 0 for forms without."""
        if terms is None:
            return self.terms
        if not self.nz:
            raise ValueError(f"terms: a plan of form {self.format!r} has no terms")
        return check_int(terms, "terms", 0, self.terms)

    def _rows(self, a, name, extent, lead=None):
        """`a` as rows (n, extent), and its leading shape, which must be `lead` if that is given."""
        a = _common.floats(a, name)
        if a.ndim not in (1, 2) or a.shape[-1] != extent or (lead is not None and a.shape[:-1] != lead):
            want = f"(N, {extent}) or ({extent},)" if lead is None else f"{(*lead, extent)}"
            raise ValueError(f"{name}: expected shape {want}, got {a.shape}")
        return (a if a.ndim == 2 else a[None]), a.shape[:-1]

    def _states(self, out, lead):
        """Two result arrays of shape (*lead, H), new or the caller's."""
        if out is None:
            out = (None, None)
        elif not isinstance(out, tuple | list) or len(out) != 2:
            raise TypeError(f"out: expected a pair of arrays (h, c), got {type(out).__name__}")
        return tuple(_common.output(o, (*lead, self.hidden)) for o in out)

    def step(self, x, h, c, *, out=None, terms=None, threads=1):
        """Advance the cell by one time step.

        Parameters
        ----------
        x : array_like of float, shape (N, D) or (D,)
            Inputs of a batch, or of one sequence; float64, float16 or strided input is copied once.
        h, c : array_like of float, shape (N, H) or (H,)
            States before the step.
        out : (ndarray, ndarray) of float32, shape (N, H) or (H,), optional
            New h and c, written and returned; contiguous last axes. They may be `h` and `c` themselves, and share no
            other memory.
        terms : int, optional
            Low-rank and progressive forms: how many terms to add, 0 to the plan's, which is the default.
        threads : int
            1 to 256. Short steps run on one thread all the same.

        Returns
        -------
        h, c : ndarray of float32, shape (N, H) or (H,)

        Raises
        ------
        TypeError
            An array is not floating point, or `out` not a pair of float32 arrays.
        ValueError
            A shape is wrong, `terms` is out of range, or an output is read-only, strided or overlaps.
        """
        x, lead = self._rows(x, "x", self.inputs)
        h, _ = self._rows(h, "h", self.hidden, lead)
        c, _ = self._rows(c, "c", self.hidden, lead)
        h_out, c_out = self._states(out, lead)
        _kernels.lstm_step(self._plan, x, h, c, _two(h_out), _two(c_out), self._stop(terms), threads)
        return h_out, c_out

    def gates(self, x, h, *, terms=None, first=0, out=None, threads=1):
        """Sums of the gates before their activations: ``W [x; h] + b``.

        Parameters
        ----------
        x : array_like of float, shape (N, D) or (D,)
        h : array_like of float, shape (N, H) or (H,)
        terms : int, optional
            Low-rank and progressive forms: how many terms the sums hold in the end.
        first : int
            How many terms `out` holds already, 0 for none: the others are added. ``gates(..., terms=a)`` continued
            with ``first=a, terms=b`` gives the bytes of ``gates(..., terms=b)``.
        out : ndarray of float32, shape (N, 4H) or (4H,), optional
            Written and returned; needed where `first` is not 0.
        threads : int

        Returns
        -------
        ndarray of float32, shape (N, 4H) or (4H,)
            In the order i, f, g, o.

        Raises
        ------
        TypeError, ValueError
            As :meth:`step` does.
        """
        x, lead = self._rows(x, "x", self.inputs)
        h, _ = self._rows(h, "h", self.hidden, lead)
        stop = self._stop(terms)
        check_int(first, "first", 0, stop)
        if first > 0 and out is None:
            raise ValueError("out: expected the sums of the first terms, got None")
        z = _common.output(out, (*lead, GATES * self.hidden))
        _kernels.lstm_gates(self._plan, x, h, _two(z), first, stop, threads)
        return z

    def cell(self, z, c, *, out=None):
        """New states from the sums of the gates.

        Parameters
        ----------
        z : array_like of float, shape (N, 4H) or (4H,)
            From :meth:`gates`.
        c : array_like of float, shape (N, H) or (H,)
        out : (ndarray, ndarray) of float32, shape (N, H) or (H,), optional
            New h and c, written and returned; the latter may be `c`.

        Returns
        -------
        h, c : ndarray of float32, shape (N, H) or (H,)

        Raises
        ------
        TypeError, ValueError
            As :meth:`step` does.
        """
        z, lead = self._rows(z, "z", GATES * self.hidden)
        c, _ = self._rows(c, "c", self.hidden, lead)
        h_out, c_out = self._states(out, lead)
        _kernels.lstm_cell(self._plan, z, c, _two(h_out), _two(c_out))
        return h_out, c_out

    def cost(self, n=1, machine=None, *, terms=None):
        """Work of a step.

        Parameters
        ----------
        n : int
            Vectors of the batch.
        machine : Machine, optional
            Whose caches decide where operands lie; default :func:`~dnnsched.kernels.machine`.
        terms : int, optional
            As for :meth:`step`.

        Returns
        -------
        Cost
            Of the products; the activations are left out.
        """
        check_int(n, "n", 0)
        machine = _modelled(config.isa()) if machine is None else machine
        work = np.empty(5)
        _kernels.lstm_work(self._plan, n, self._stop(terms), machine.array(), work)
        return Cost(float(work[0]), tuple(work[1:].tolist()))

    def to_dense(self):
        """Weights that a step multiplies, all terms added.

        Returns
        -------
        ndarray of float32, shape (4H, D + H)
        """
        w = np.empty(self.shape, np.float32)
        _kernels.plan_to_dense(self._plan, w)
        return w

    def _unpack(self):
        """(s, u, v, columns) in the layout of the native functions."""
        n, nz = self.terms, self.nz
        s, u = np.empty((GATES, n), np.float32), np.empty((GATES, n, self.hidden), np.float32)
        v = np.empty((GATES, n, nz), np.float32)
        columns = np.empty((GATES, n, nz), np.int32) if self.format == "progressive" else None
        _kernels.lstm_unpack(self._plan, s, u, v, columns)
        return s, u, v, columns

    def factors(self):
        """Rank-one terms of a low-rank or progressive plan: ``W_g = sum over t of s[g, t] outer(u[g, t], v[g, t])``.

        Returns
        -------
        s : ndarray of float32, shape (4, terms)
        u : ndarray of float32, shape (4, terms, H)
        v : ndarray of float32, shape (4, terms, D + H)
            Zero where a term was pruned.

        Raises
        ------
        ValueError
            The form has no terms.
        """
        if not self.nz:
            raise ValueError(f"factors: a plan of form {self.format!r} has none")
        s, u, v, columns = self._unpack()
        if columns is None:
            return s, u, v
        whole = np.zeros((GATES, self.terms, self.shape[1]), np.float32)
        np.put_along_axis(whole, columns.astype(np.int64), v, axis=-1)
        return s, u, whole


def _two(a):
    return a if a.ndim == 2 else a[None]


def _matrix(w_ih, w_hh):
    """(4H, D + H) of PyTorch's two matrices."""
    w_ih, w_hh = _common.weights(w_ih, "w_ih"), _common.weights(w_hh, "w_hh")
    hidden = w_hh.shape[1]
    if hidden < 1 or w_hh.shape[0] != GATES * hidden:
        raise ValueError(f"w_hh: expected shape (4H, H) with H >= 1, got {w_hh.shape}")
    if w_ih.shape[0] != GATES * hidden:
        raise ValueError(f"w_ih: expected shape ({GATES * hidden}, D), got {w_ih.shape}")
    return np.concatenate([w_ih, w_hh], axis=1)


def _bias(b_ih, b_hh, rows):
    """Sum of the two biases in float32, or None."""
    given = []
    for b, name in ((b_ih, "b_ih"), (b_hh, "b_hh")):
        if b is not None:
            b = np.array(_common.floats(b, name))
            if b.shape != (rows,):
                raise ValueError(f"{name}: expected shape ({rows},), got {b.shape}")
            given.append(b)
    return None if not given else sum(given[1:], given[0])


def _given_factors(factors, w_ih, w_hh):
    """(s, u, v, None) of the caller's (u, v), ``W_g = u[g] @ v[g]``."""
    if w_ih is not None or w_hh is not None:
        raise ValueError("factors: expected w_ih and w_hh to be None, they follow from factors")
    if not isinstance(factors, tuple | list) or len(factors) != 2:
        raise TypeError(f"factors: expected a pair (u, v), got {type(factors).__name__}")
    u, v = (_common.floats(f, f"factors[{i}]") for i, f in enumerate(factors))
    if (u.ndim, v.ndim) != (3, 3) or u.shape[0] != GATES or v.shape[:2] != (GATES, u.shape[2]):
        raise ValueError(f"factors: expected shapes (4, H, r) and (4, r, D + H), got {u.shape} and {v.shape}")
    if not 1 <= u.shape[1] <= v.shape[2]:
        raise ValueError(f"factors: expected 1 <= H <= D + H, got H = {u.shape[1]}, D + H = {v.shape[2]}")
    s = np.ones((GATES, u.shape[2]), np.float32)
    return s, np.ascontiguousarray(u.swapaxes(1, 2)), np.ascontiguousarray(v), None


def _svd_factors(w, rank):
    """(s, u, v, None) of the leading singular triplets of each gate."""
    check_elements(w, "W", ~np.isfinite(w), "finite weights")
    gates = w.reshape(GATES, -1, w.shape[1])
    rank = check_int(rank, "rank", 1, min(gates.shape[1:]))
    u, s, v = np.linalg.svd(gates, full_matrices=False)
    return (np.ascontiguousarray(s[:, :rank]), np.ascontiguousarray(u[:, :, :rank].swapaxes(1, 2)),
            np.ascontiguousarray(v[:, :rank]), None)


def _pruned_factors(w, terms, nz, level):
    """(s, u, v, columns) of the progressive decomposition of each gate."""
    hidden, columns = w.shape[0] // GATES, w.shape[1]
    terms = check_int(terms, "terms", 1, 65535)
    nz = columns if nz is None else check_int(nz, "nz", 1, columns)
    if columns > 65536:
        raise ValueError(f"w_ih, w_hh: expected at most 65536 inputs and units together, got {columns}")
    parts = (np.empty((GATES, terms), np.float32), np.empty((GATES, terms, hidden), np.float32),
             np.empty((GATES, terms, nz), np.float32), np.empty((GATES, terms, nz), np.int32))
    for gate in range(GATES):  # a call each, so that Ctrl-C is heard in between
        _kernels.lowrank_terms(w[gate * hidden:(gate + 1) * hidden], *(p[gate] for p in parts), level)
    return parts


def _check_arguments(form, given):
    """ValueError for an argument that the form does not take, or needs and lacks."""
    check_choice(form, "form", FORMS)
    for name, value in given.items():
        if value is not None and form not in _OF_FORM[name]:
            raise ValueError(f"{name}: expected form {' or '.join(map(repr, _OF_FORM[name]))}, got {form!r}")
    if form == "lowrank" and (given["rank"] is None) == (given["factors"] is None):
        raise ValueError("rank, factors: form 'lowrank' expects one of them")
    if form == "progressive" and given["terms"] is None:
        raise ValueError("terms: form 'progressive' expects a number of terms")


def lstm(w_ih, w_hh, b_ih=None, b_hh=None, form="dense", *, density=None, rank=None, factors=None, terms=None, nz=None,
         output_tanh=True, isa=None):
    """Pack the weights of an LSTM cell.

    Parameters
    ----------
    w_ih : array_like of float, shape (4H, D)
        PyTorch's ``weight_ih``, gates in the order i, f, g, o.
    w_hh : array_like of float, shape (4H, H)
    b_ih, b_hh : array_like of float, shape (4H,), optional
        Added to each other in float32.
    form : {"dense", "csr", "int8", "lowrank", "progressive"}
        ``"dense"``: all weights, one stream. ``"csr"``: non-zeros only. ``"int8"``: weights rounded to 8 bits with a
        scale per row, ``[x; h]`` quantised at every step. ``"lowrank"``: each gate's matrix as a product of factors.
        ``"progressive"``: each gate's matrix as a sum of rank-one terms with pruned right factors, in the order of what
        they contribute; a step may stop after any term.
    density : float, optional
        csr: share of the weights kept, those of largest magnitude in both matrices together; default all non-zeros.
    rank : int, optional
        lowrank: of each gate, factors from the singular value decomposition.
    factors : (u, v), optional
        lowrank: float arrays of shape (4, H, r) and (4, r, D + H), gate g being ``u[g] @ v[g]``; `w_ih` and `w_hh` are
        then None.
    terms : int, optional
        progressive: number of terms of each gate, 1 to 65535.
    nz : int, optional
        progressive: elements kept of each right factor; default all D + H.
    output_tanh : bool
        False: ``h = o c`` instead of ``h = o tanh(c)``, the cell of the ARC 2018 paper.
    isa : str, optional
        Instruction-set level; default the one in use.

    Returns
    -------
    LSTMPlan
        ``plan.step(x, h, c)`` gives the new h and c.

    Raises
    ------
    TypeError
        Weights are not floating point.
    ValueError
        Shapes do not agree, an argument is out of range or not for this form, a weight is not finite (int8, lowrank,
        progressive, and csr with `density`), or D + H is above 65536 (progressive, int8).

    Notes
    -----
    With ``z = W [x; h] + b``: ``c = sigmoid(z_f) c + sigmoid(z_i) tanh(z_g)``, ``h = sigmoid(z_o) tanh(c)``. In
    ``u = 2^-24``, k the weights of a row (of a term's right factor) and N the terms (else 0),
    ``|z - exact| <= 2 (k + N + 4) u (|b| + sum |terms|)``, the exact z being that of the plan's own weights; int8 as
    :func:`int8` states. sigmoid is within 2 units in the last place and tanh within 3, so given z,
    ``|c - exact| <= 14 u (|f c| + |i g|)`` and ``|h - exact|`` at most ``12 u |h|`` more. Dense and csr sums begin
    with the bias and take ascending columns with one accumulator: without zeros they are the same bytes.

    Progressive terms follow Rizakis et al., *Approximate FPGA-based LSTMs under Computation Time Constraints* (ARC
    2018, arXiv 1801.02190): each is the leading singular triplet of what the terms before it left over, its right
    factor cut to the `nz` largest magnitudes.

    Examples
    --------
    >>> import numpy as np
    >>> plan = lstm(np.zeros((4, 2), np.float32), np.zeros((4, 1), np.float32))
    >>> h, c = plan.step(np.ones(2, np.float32), np.zeros(1, np.float32), np.ones(1, np.float32))
    >>> c
    array([0.5], dtype=float32)
    """
    _check_arguments(form, {"density": density, "rank": rank, "factors": factors, "terms": terms, "nz": nz})
    level = _common.level(isa)
    if factors is not None:
        source = _given_factors(factors, w_ih, w_hh)
        rows = GATES * source[1].shape[2]
    else:
        w = _matrix(w_ih, w_hh)
        rows = len(w)
    options = {"bias": _bias(b_ih, b_hh, rows), "output_tanh": bool(output_tanh), "isa": isa, "inputs": None}
    if factors is not None:
        options["inputs"] = source[2].shape[2] - source[1].shape[2]
        return _remake(form, source, options)
    options["inputs"] = w.shape[1] - rows // GATES
    if form == "dense":
        source = w
    elif form == "csr":
        if density is not None:
            check_elements(w, "W", ~np.isfinite(w), "finite weights")
            w[~prune(w, density)] = 0
        source = csr(w, bias=options["bias"], isa=isa)
    elif form == "int8":
        check_elements(w, "W", ~np.isfinite(w), "finite weights")
        whole = quantize(w, axis=0)
        source = int8(whole.q, whole.scale, bias=options["bias"], isa=isa)
    elif form == "lowrank":
        source = _svd_factors(w, rank)
    else:
        source = _pruned_factors(w, terms, nz, level)
    return _remake(form, source, options)


def _remake(form, source, options):
    """A plan of a form's packed weights."""
    tanh, bias, level = options["output_tanh"], options["bias"], _common.level(options["isa"])
    if form == "dense":
        return LSTMPlan(_kernels.lstm_dense(source, tanh, bias, level), None, options)
    if form in ("csr", "int8"):
        return LSTMPlan(_kernels.lstm_wrap(source._plan, tanh), source, options)
    return LSTMPlan(_kernels.lstm_terms(*source, options["inputs"], tanh, bias, level), None, options)
