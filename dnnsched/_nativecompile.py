"""``@schedulers.native``: a scheduler in Python, compiled by numba to the flat ABI on first use.

The function is written for the view of :mod:`dnnsched.schedulers`. numba gets the same attributes as a named tuple:
``now``, ``n``, the declared columns as read-only contiguous arrays of length ``n`` over the engine's memory, the
engine's parameters (``pool resource state n_running more_arrivals flush``) and ``param``. So one source is both the
native and the Python form.
"""

import ast
import importlib
import inspect
import sys
import textwrap
import threading
import types as pytypes

from . import features
from ._native import _sim
from ._nativepolicy import DEFAULT_COLUMNS, SCALARS, Native, PythonForm, view_type


def _numba():
    try:
        import numba
    except ImportError as error:
        raise ImportError("schedulers.native: numba is not installed; pip install 'dnnsched[numba]', or run the "
                          "scheduler's .python form") from error
    return numba


def _source(columns, form, fills, n_param):
    """Python source of the function that numba exports: it makes the view and calls `fn`."""
    fields = ", ".join(f"column(feat, {features.Feature[c.upper()].value} * ld, n)" for c in columns)
    scalars = ", ".join(f"int(param[{_sim.params[s]}])" for s in SCALARS)
    view = f"View(now, n, {fields}{', ' if fields else ''}{scalars}, column(param, {features.PARAM_USER}, {n_param}))"
    if form == "pick":
        return f"def entry(now, n, feat, ld, param, user):\n    return fn({view})\n"
    head = "def entry(now, n, feat, ld, param, out, user):\n    scores = carray(out, (n,))\n"
    if fills:
        return f"{head}    fn({view}, scores)\n"
    return (f"{head}    got = fn({view})\n    if got.size != n:\n"
            "        raise ValueError('score: expected one score per waiting request')\n"
            "    for i in range(n):\n        scores[i] = got[i]\n")


def _column_intrinsic(numba):
    """column(pointer, offset, n): a read-only contiguous float64 array over foreign memory."""
    from numba.core import cgutils
    from numba.extending import intrinsic
    from numba.np.arrayobj import make_array, populate_array

    kind = numba.types.Array(numba.types.float64, 1, "C", readonly=True)

    @intrinsic
    def column(typingctx, pointer, offset, n):
        def build(context, builder, signature, args):
            data, at, length = args
            array = make_array(kind)(context, builder)
            size = context.get_constant(numba.types.intp, 8)
            populate_array(array, data=builder.gep(data, [at]), shape=cgutils.pack_array(builder, [length]),
                           strides=cgutils.pack_array(builder, [size]), itemsize=size, meminfo=None)
            return array._getvalue()

        return kind(pointer, numba.types.int64, numba.types.int64), build

    return column


class _Code:
    """One function and, once somebody runs it, its compiled code; shared by copies with other parameters."""

    def __init__(self, fn, form, columns, n_param, boundscheck):
        self.fn, self.form, self.columns, self.n_param = fn, form, columns, n_param
        self.boundscheck = boundscheck
        arity = sum(p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
                    for p in inspect.signature(fn).parameters.values())
        if arity not in ((1,) if form == "pick" else (1, 2)):
            takes = "pick(view)" if form == "pick" else "score(view) or score(view, out)"
            raise TypeError(f"schedulers.native: expected {takes}, got a function of {arity} arguments")
        self.fills = arity == 2
        self._lock = threading.Lock()
        self._cfunc = None

    def compiled(self):
        """The numba CFunc."""
        with self._lock:
            if self._cfunc is None:
                self._cfunc = self._compile(_numba())
            return self._cfunc

    def _compile(self, numba):
        t = numba.types
        fn = numba.njit(error_model="numpy", boundscheck=self.boundscheck)(self.fn)
        space = {"fn": fn, "View": view_type(self.columns), "column": _column_intrinsic(numba), "carray": numba.carray}
        exec(_source(self.columns, self.form, self.fills, self.n_param), space)
        doubles = t.CPointer(t.float64)
        head = (t.float64, t.int64, doubles, t.int64, doubles)
        signature = t.int64(*head, t.voidptr) if self.form == "pick" else t.void(*head, doubles, t.voidptr)
        try:
            cfunc = numba.cfunc(signature, error_model="numpy")(space["entry"])
        except numba.core.errors.NumbaError as error:
            raise TypeError(f"schedulers.native: numba cannot compile {self.fn.__name__!r}: {error}") from error
        if self.form == "pick":
            for result in {s.return_type for s in fn.nopython_signatures}:
                if not isinstance(result, t.Integer):
                    raise TypeError(f"schedulers.native: pick {self.fn.__name__!r} returns {result}, expected an "
                                    f"integer (a queue position, -1 = stay idle)")
        return cfunc


class Compiled(Native):
    """A decorated function: native when a simulation runs it, Python when called.

    Attributes
    ----------
    python : object
        The Python form, a scheduler like any other.
    """

    sweep_key = None  # a sweep takes the source as the key

    def __init__(self, fn, form, kind, needs, params, oracle, name, boundscheck):
        self._declare(form, kind, needs, params, oracle, name or fn.__name__)
        columns = DEFAULT_COLUMNS if self.needs is None else tuple(dict.fromkeys(self.needs))
        self._code = _Code(fn, form, columns, len(self.params), bool(boundscheck))
        self._declared = {"form": form, "kind": kind, "needs": self.needs, "oracle": self.oracle, "name": self.name,
                          "boundscheck": bool(boundscheck)}
        self._factory = None
        self.__doc__, self.__module__ = fn.__doc__, fn.__module__
        self.__name__, self.__qualname__, self.__wrapped__ = fn.__name__, fn.__qualname__, fn

    def __call__(self, *args):
        """Call the Python function itself, for example from a test."""
        return self._code.fn(*args)

    @property
    def python(self):
        """The scheduler in Python as an object with ``pick(view)`` or ``score(view)``."""
        return PythonForm(self._code.fn, self, self._code.fills)

    def with_params(self, *params):
        """The same compiled code with as many other parameters."""
        if len(params) != self._code.n_param:
            raise ValueError(f"params: expected {self._code.n_param} numbers as declared, got {len(params)}")
        return super().with_params(*params)

    def compile(self):
        """Compile now (otherwise the first simulation does); the numba ``CFunc``."""
        return self._code.compiled()

    def bind(self):
        """(address, address of the user data, what must stay alive) of the compiled code."""
        cfunc = self._code.compiled()
        return cfunc.address, 0, cfunc

    def __reduce__(self):
        if self._factory is not None:
            return super().__reduce__()
        params = tuple(self.params)
        target = f"{self.__module__}:{self.__qualname__}"
        if self.__module__ != "__main__" and getattr(_named(target), "_code", None) is self._code:
            return _by_name, (target, params)
        return _by_source, (_capture(self._code.fn), self._declared, params)


def native(fn=None, *, form="pick", kind="pick", needs=None, params=(), oracle=False, name=None, boundscheck=False):
    """Compile a scheduler written in Python with numba, to run inside the engine's C loop.

    Use it as a decorator. The function takes the view that a Python scheduler takes, so the same source is the native
    and the Python form (``.python``)::

        @ds.schedulers.native(form="score", kind="time", needs=("deadline", "remaining"), params=(0.5,))
        def impatient(view, out):
            for i in range(view.n):
                out[i] = (view.deadline[i] - view.now) / view.remaining[i] ** view.param[0]

        ds.simulate(wl, scheduler=impatient, check=100)

    Compilation happens at the first run, once per process; without numba it is an ImportError then. Pickled, the
    object travels as ``"module:name"``, or as its source text (with the globals and closure values that it uses)
    when it was defined in a notebook or inside a function.

    Parameters
    ----------
    fn : function
        ``pick(view)`` returns a queue position (-1 = stay idle); ``score(view)`` returns an array and
        ``score(view, out)`` fills one (no allocation, faster).
    form : {"pick", "score"}
    kind : {"arrival", "own", "time", "pick"}
        When scores change; see :mod:`dnnsched.schedulers`.
    needs : sequence of str, optional
        The view's columns; only these exist in it. Default: ``arrival deadline priority remaining next isolated
        last_run stage program owner job step variant gamma``. Fewer are faster.
    params : sequence of float
        ``view.param``; :meth:`Native.with_params` gives the same code other values without compiling again.
    oracle : bool
        The estimates hold true latencies.
    name : str, optional
    boundscheck : bool
        Check every index (slower). Without it an index out of range is undefined behaviour, as in C.

    Returns
    -------
    Compiled
        A :class:`Native`.

    Raises
    ------
    TypeError
        The function takes other arguments; at the first run, numba cannot compile it or a pick returns no integer.
    ValueError
        Unknown form, kind or column.

    Notes
    -----
    Division by zero gives inf or NaN as in NumPy (``error_model="numpy"``). An exception raised in compiled code stops
    the run with time and request, as in Python.
    """
    def decorate(function):
        if not isinstance(function, pytypes.FunctionType):
            raise TypeError(f"schedulers.native: expected a function, got {type(function).__name__}")
        return Compiled(function, form, kind, needs, params, oracle, name, boundscheck)

    return decorate if fn is None else decorate(fn)


# --- to another process ----------------------------------------------------------------------------------------------

def _named(target):
    """Object of "module:qualname" if the module is loaded and has it, else None."""
    module, _, name = target.partition(":")
    at = sys.modules.get(module)
    for part in name.split("."):
        at = getattr(at, part, None)
    return at


def _by_name(target, params):
    importlib.import_module(target.partition(":")[0])
    found = _named(target)
    if not isinstance(found, Compiled):
        raise TypeError(f"{target}: expected a function decorated with schedulers.native, got {type(found).__name__}")
    return found.with_params(*params)


def _used_names(code):
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, pytypes.CodeType):
            names |= _used_names(constant)
    return names


def _capture(fn):
    """Name, source text and the globals and closure variables that a function uses."""
    if hasattr(fn, "__captured__"):
        return fn.__captured__
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(fn)))
    except (OSError, TypeError, SyntaxError) as error:
        raise TypeError(f"native scheduler {fn.__name__!r}: its source text is not available, so it cannot move to "
                        f"another process: {error}") from error
    node = tree.body[0]
    if not isinstance(node, ast.FunctionDef):
        raise TypeError(f"native scheduler {fn.__name__!r}: only a function made by def can move to another process")
    node.decorator_list = []
    values = {name: fn.__globals__[name] for name in sorted(_used_names(fn.__code__)) if name in fn.__globals__}
    for name, cell in zip(fn.__code__.co_freevars, fn.__closure__ or (), strict=True):
        values[name] = cell.cell_contents
    return fn.__name__, ast.unparse(node), {name: _packed(value) for name, value in values.items()}


def _packed(value):
    """A global in a form that pickles: modules by name, functions of the notebook by source."""
    if isinstance(value, pytypes.ModuleType):
        return "module", value.__name__
    inner = getattr(value, "py_func", value)  # a numba dispatcher holds its function
    if isinstance(inner, pytypes.FunctionType) and (inner.__module__ == "__main__" or "<locals>" in inner.__qualname__):
        return "jit" if inner is not value else "function", _capture(inner)
    return "value", value


def _unpacked(how, what):
    if how == "module":
        return importlib.import_module(what)
    if how == "value":
        return what
    function = _rebuild(*what)
    return _numba().njit(error_model="numpy")(function) if how == "jit" else function


def _rebuild(name, source, values):
    space = {"__name__": "__main__", **{key: _unpacked(*value) for key, value in values.items()}}
    exec(compile(source, f"<native scheduler {name}>", "exec"), space)
    space[name].__captured__ = name, source, values
    return space[name]


def _by_source(captured, declared, params):
    return Compiled(_rebuild(*captured), params=params, **declared)
