"""Schedulers compiled outside of the package: what is accepted, how it is wrapped, how it is compiled and moved.

A native scheduler is an address with the flat signature of :mod:`dnnsched.features`. :func:`find` reads address and
signature of numba, ctypes, cffi and SciPy objects without importing any of those packages: an object of theirs can
exist only if its package is loaded already.

numba, ctypes and cffi lose an exception that leaves their callback: they print it and return 0, which would run
request 0. While a native scheduler runs, :func:`watching` therefore listens to ``sys.unraisablehook`` in the running
thread and tells the engine, which counts the answer as failed and raises the exception with time and request.
"""

import contextlib
import difflib
import functools
import importlib
import re
import sys
import threading
from collections import namedtuple

import numpy as np

from . import features
from ._arrays import check_choice
from ._native import _sim

FORMS = ("pick", "score")
KINDS = ("arrival", "own", "time", "pick")
_WIDTHS = {"int8_t": 8, "int16_t": 16, "int32_t": 32, "int64_t": 64, "longlong": 64, "ssize_t": 64, "intptr_t": 64,
           "ptrdiff_t": 64, "Py_ssize_t": 64, "npy_intp": 64, "npy_int64": 64, "short": 16, "int": 32}
_FLOATS = {"double": "f64", "float64": "f64", "float": "f32", "float32": "f32"}


def _int_widths():
    """Width in bits of every spelling of a signed integer on this machine."""
    return {**_WIDTHS, "long": np.dtype(np.long).itemsize * 8, "int8": 8, "int16": 16, "int32": 32, "int64": 64}


def _type(text):
    """One C or numba type name in canonical form ('i64', 'f64*', 'void', or the cleaned text if it is none)."""
    stars = text.count("*")
    words = [w for w in re.findall(r"[A-Za-z_]\w*", text) if w not in ("const", "restrict", "volatile", "signed")]
    ints = _int_widths()
    kinds = {"void", "none", "voidptr", "char", "unsigned", "long", "int", *ints, *_FLOATS}
    base = [w for w in words if w in kinds] or words[:1]
    if words and words[-1] not in kinds and len(words) == 1:
        base = words
    name = "".join(base)
    if name in ("longint", "longlongint", "shortint"):
        name = name.removesuffix("int")
    if name == "voidptr":
        return "void*"
    if name == "none":
        name = "void"
    name = f"i{ints[name]}" if name in ints else _FLOATS.get(name, name)
    return name + "*" * stars


def canonical(signature):
    """(return type, argument types) of a C function type or a declaration, spaces, names and const left out.

    Integers are named by width, so ``long`` and ``int64_t`` agree where they are the same.
    """
    text = " ".join(str(signature).split())
    numba = re.fullmatch(r"\((.*)\) -> (.*)", text)
    if numba:
        args, result = numba.groups()
    else:
        found = re.fullmatch(r"([^()]*)(?:\(\s*\*[^()]*\)\s*)?\((.*)\)\s*;?", text)
        if not found:
            return None
        result, args = found.groups()
        words = result.split()
        known = {*_int_widths(), *_FLOATS, "void", "unsigned", "signed", "const", "char"}
        if len(words) > 1 and words[-1].lstrip("*") not in known:
            result = result[: result.rindex(words[-1])] + "*" * words[-1].count("*")
    return _type(result), tuple(_type(a) for a in args.split(","))


_CANONICAL = {form: canonical(text) for form, text in features.SIGNATURES.items()}


def _form(signature, what, form=None):
    """The form ("pick" or "score") of a signature; TypeError says what was got and what is expected."""
    got = canonical(signature) if signature else None
    for name, wanted in _CANONICAL.items():
        if got == wanted and form in (None, name):
            return name
    wanted = " or ".join(f"'{features.SIGNATURES[f]}' ({f})" for f in ((form,) if form else FORMS))
    got = "no declared argument types" if signature is None else f"the signature '{signature}'"
    raise TypeError(f"native scheduler: {what} has {got}, expected {wanted}")


def _ctypes_type(kind):
    """C name of a ctypes type."""
    import ctypes

    if kind is None:
        return "void"
    if kind is ctypes.c_double:
        return "double"
    if kind is ctypes.c_void_p:
        return "void *"
    if isinstance(kind, type) and issubclass(kind, ctypes._Pointer):
        return f"{_ctypes_type(kind._type_)} *"
    code = getattr(kind, "_type_", None)
    if isinstance(code, str) and code in "bhilq":
        return f"int{8 * ctypes.sizeof(kind)}_t"
    return getattr(kind, "__name__", str(kind))


def _from_ctypes(fn):
    import ctypes

    if fn.argtypes is None:
        return None, None, 0
    args = ", ".join(_ctypes_type(t) for t in fn.argtypes)
    return ctypes.cast(fn, ctypes.c_void_p).value or 0, f"{_ctypes_type(fn.restype)} ({args})", 0


def _from_cffi(fn):
    backend = sys.modules["_cffi_backend"]
    name = backend.typeof(fn).cname
    address = int(backend.cast(backend.new_primitive_type("intptr_t"), fn)) if "(*)" in name else None
    return address, name, 0


def find(fn):
    """Address, signature and user-data address of a native callable; None if `fn` is none.

    Parameters
    ----------
    fn : object
        numba ``CFunc`` (or anything with an int ``address`` and a ``_sig`` or ``signature``), PyCapsule whose name is
        the signature, ctypes function pointer, cffi function pointer, ``scipy.LowLevelCallable``.

    Returns
    -------
    tuple of (int or None, str or None, int), or None
    """
    kind = type(fn)
    if kind.__module__ == "_cffi_backend" and "_cffi_backend" in sys.modules:
        return _from_cffi(fn) if "CData" in kind.__name__ else None
    if "ctypes" in sys.modules and isinstance(fn, sys.modules["ctypes"]._CFuncPtr):
        return _from_ctypes(fn)
    if kind.__name__ == "PyCapsule":
        name, address, context = _sim.capsule(fn)
        return address, name, context
    if isinstance(fn, tuple) and kind.__name__ == "LowLevelCallable":
        return find(tuple.__getitem__(fn, 0))
    address = getattr(fn, "address", None)
    if isinstance(address, int) and not isinstance(fn, type):
        return address, getattr(fn, "_sig", None) or getattr(fn, "signature", None), 0
    return None


def _columns(needs):
    """Declared columns as a tuple of names, None kept."""
    if needs is None:
        return None
    if isinstance(needs, str):
        needs = needs.split()
    needs = tuple(n.name.lower() if isinstance(n, features.Feature) else n for n in needs)
    for name in needs:
        if name not in _sim.features:
            close = difflib.get_close_matches(str(name), _sim.features, 1)
            raise ValueError(f"needs: no column {name!r}" + (f"; did you mean {close[0]!r}?" if close else
                                                             f"; columns are {', '.join(_sim.features)}"))
    return needs


def _parameters(params):
    """The scheduler's own parameters, float64."""
    values = np.array(params, dtype=np.float64).reshape(-1)
    room = features.N_PARAM - features.PARAM_USER
    if len(values) > room:
        raise ValueError(f"params: expected at most {room} numbers, got {len(values)}")
    return values


#: Columns of a view unless the scheduler says which it needs.
DEFAULT_COLUMNS = tuple(name for name in _sim.features
                        if not name.startswith(("user", "private")) and name != "inv_isolated")
#: The engine's parameters in a view.
SCALARS = tuple(name for name in _sim.params if name != "abi")


@functools.cache
def view_type(columns):
    """Named tuple of what a native scheduler sees (numba compiles for it, the Python form is called with it)."""
    return namedtuple("View", ("now", "n", *columns, *SCALARS, "param"))


class PythonForm:
    """The Python form of a native scheduler: the same function on the same named tuple of arrays.

    Parameters
    ----------
    fn : callable
        ``fn(view)``; a score function may take ``fn(view, out)``.
    policy : Native
        Whose form, kind, columns and parameters apply.
    fills : bool
        `fn` fills ``out``.
    """

    is_native = False

    def __init__(self, fn, policy, fills=False):
        self._fn, self._fills, self._param = fn, fills, policy.params
        self.kind, self.oracle, self.name = policy.kind, policy.oracle, policy.name
        self.needs = DEFAULT_COLUMNS if policy.needs is None else policy.needs
        self._fields = ("now", "n", *dict.fromkeys(self.needs), *SCALARS)
        self._view = view_type(tuple(dict.fromkeys(self.needs)))
        if policy.form == "pick":
            self.kind, self.pick = "pick", self._call
        else:
            self.score = self._call

    def _call(self, view):
        view = self._view(*[getattr(view, name) for name in self._fields], self._param)
        if not self._fills:
            return self._fn(view)
        out = np.full(view.n, np.nan)
        self._fn(view, out)
        return out


class Native:
    """A scheduler that is compiled code with the flat signature of :mod:`dnnsched.features`.

    ``scheduler=`` takes a native callable as it is, with the defaults below; wrap it to say more.

    Parameters
    ----------
    fn : object
        numba ``CFunc``, PyCapsule named by its signature, ctypes or cffi function pointer, or
        ``scipy.LowLevelCallable``. It is kept alive as long as a simulation uses it.
    form : {"pick", "score"}, optional
        Default: what the signature says.
    kind : {"arrival", "own", "time", "pick"}
        When the scores change (see :mod:`dnnsched.schedulers`). A pick may be ``"pick"`` or, if a lone request needs no
        decision, ``"time"``.
    needs : sequence of str, optional
        Columns it reads; only these are filled. Default: all but
        the user and private columns.
    params : sequence of float
        Its own parameters, in ``param[features.PARAM_USER]`` and following; at most 32.
    oracle : bool
        The estimates hold true latencies.
    name : str, optional
        For results and messages.
    python : callable or object, optional
        The same scheduler in Python, ``python(view)`` or an object with ``pick`` / ``score``, for ``check=N``.
    user : int or numpy.ndarray, optional
        The ``void *user`` argument: an address, or an array whose memory is passed (and kept alive). Default: the
        context of a capsule, else NULL.

    Raises
    ------
    TypeError
        Not a native callable, or its signature is another.
    ValueError
        Unknown form, kind or column, or too many parameters.
    """

    is_native = True

    def __init__(self, fn, form=None, *, kind="pick", needs=None, params=(), oracle=False, name=None, python=None,
                 user=None):
        found = find(fn)
        if found is None:
            raise TypeError(f"native scheduler: expected a numba CFunc, a PyCapsule, a ctypes or cffi function pointer "
                            f"or a scipy.LowLevelCallable, got {type(fn).__name__}")
        if form is not None:
            check_choice(form, "form", FORMS)
        self._address, signature, context = found
        label = getattr(fn, "__name__", None)
        label = name or (label if isinstance(label, str) and label.isidentifier() else type(fn).__name__)
        self._declare(_form(signature, label, form), kind, needs, params, oracle, label)
        self._alive = (fn, user)
        self._user = context if user is None else _address(user)
        self._python = python
        self._factory = None

    def _declare(self, form, kind, needs, params, oracle, name):
        self.form = check_choice(form, "form", FORMS)
        self.kind = check_choice(kind, "kind", KINDS)
        if form == "pick" and kind in ("arrival", "own"):
            raise ValueError(f"kind: a pick is 'pick' or 'time', got {kind!r}; fixed keys need the score form")
        self.needs = _columns(needs)
        self.params = _parameters(params)
        self.params.flags.writeable = False
        self.oracle = bool(oracle)
        self.name = name

    @property
    def python(self):
        """The scheduler in Python as an object with ``pick(view)`` or ``score(view)``; None if there is none."""
        if self._python is None or hasattr(self._python, self.form):
            return self._python
        return PythonForm(self._python, self)

    def with_params(self, *params):
        """The same compiled code with other parameters."""
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        other.params = _parameters(params)
        other.params.flags.writeable = False
        return other

    def bind(self):
        """(address, address of the user data, what must stay alive) of the compiled code."""
        return self._address, self._user, self._alive

    def entry(self, check=0):
        """What the engine's binding takes for a pool."""
        if check and self.form == "pick" and self.python is None:
            raise ValueError(f"check: the native pick {self.name!r} can only be compared with a Python form; give "
                             f"Native(..., python=...)")
        address, user, alive = self.bind()
        python = self.python if check else None
        return "native", _Declared(self), check, self.params, self.form, address, user, python, alive

    def sweep_key(self):
        """What makes two of them the same point of a sweep: factory, arguments, parameters."""
        if self._factory is None:
            raise TypeError(f"native scheduler {self.name!r}: an address is no key of a sweep; make it with "
                            f"schedulers.from_factory('module:function', ...)")
        target, arguments = self._factory
        return {"factory": target, "arguments": arguments, "params": self.params.tolist()}

    def __reduce__(self):
        if self._factory is None:
            raise TypeError(f"native scheduler {self.name!r}: an address cannot move to another process; make it there "
                            f"with schedulers.from_factory('module:function', ...) or write it with @schedulers.native")
        target, arguments = self._factory
        return _remake, (target, arguments, tuple(self.params))

    def __repr__(self):
        return f"<{type(self).__name__} {self.name!r} form={self.form} kind={self.kind} params={self.params.tolist()}>"


class _Declared:
    """Kind and columns as the binding reads them (absent `needs` = the default)."""

    def __init__(self, policy):
        self.kind = policy.kind
        if policy.needs is not None:
            self.needs = policy.needs


def _address(user):
    if isinstance(user, np.ndarray):
        return user.ctypes.data
    if isinstance(user, bool) or not isinstance(user, int) or not 0 <= user < 2**64:
        raise TypeError(f"user: expected an address (int) or a NumPy array, got {type(user).__name__}")
    return user


def adopt(obj):
    """A bare native callable as a :class:`Native`; None if `obj` is none."""
    if isinstance(obj, Native):
        return obj
    return None if find(obj) is None else Native(obj)


def is_own(scheduler):
    """Whether an object can schedule: it has score(view), pick(view) or batch(view), or it is native."""
    return any(hasattr(scheduler, method) for method in ("score", "pick", "batch")) or (
        isinstance(scheduler, Native) or find(scheduler) is not None)


def own(scheduler):
    """A native callable as :class:`Native`, a scheduler in Python as it is; TypeError for anything else."""
    if not is_own(scheduler):
        raise TypeError(f"scheduler: expected a name, a Scheduler, an object with score(view) or pick(view), or a "
                        f"native callable, got {type(scheduler).__name__}")
    return adopt(scheduler) or scheduler


def from_factory(target, **arguments):
    """A native scheduler made by a function that other processes can call too.

    Compiled code cannot be pickled; what travels to a worker is `target` with its arguments, and the worker calls it.

    Parameters
    ----------
    target : str
        ``"module:function"``; the function returns a :class:`Native`, a native callable or a decorated function.
    **arguments
        For the function; picklable.

    Returns
    -------
    Native
    """
    made = _call_factory(target, arguments)
    policy = adopt(made)
    if policy is None:
        raise TypeError(f"factory {target!r}: expected a native scheduler, got {type(made).__name__}")
    if policy is made:
        policy = policy.with_params(*policy.params)  # a copy: the original may be shared
    policy._factory = target, arguments
    return policy


def _call_factory(target, arguments):
    module, colon, name = str(target).partition(":")
    if not colon or not name:
        raise ValueError(f"factory: expected 'module:function', got {target!r}")
    try:
        function = importlib.import_module(module)
        for part in name.split("."):
            function = getattr(function, part)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"factory {target!r}: {error}") from error
    return function(**arguments)


def _remake(target, arguments, params):
    return from_factory(target, **arguments).with_params(*params)


# --- exceptions that callbacks lose --------------------------------------------------------------------------------

_lock = threading.Lock()
_running = {}  # thread -> simulations under way in it, innermost last
_before = []  # the hook that was there before the first of them


def _hook(unraisable):
    stack = _running.get(threading.get_ident())
    if not stack or getattr(unraisable.object, "__name__", None) == "__del__":  # no callback of ours
        (_before[0] if _before else sys.__unraisablehook__)(unraisable)
        return
    value = unraisable.exc_value
    stack[-1].swallowed(unraisable.exc_type() if value is None else value)


@contextlib.contextmanager
def watching(sim):
    """Hand exceptions that a callback loses in this thread to the running simulation `sim`."""
    thread = threading.get_ident()
    with _lock:
        if not _running:
            _before[:] = [sys.unraisablehook]
            sys.unraisablehook = _hook
        _running.setdefault(thread, []).append(sim)
    try:
        yield
    finally:
        with _lock:
            _running[thread].pop()
            if not _running[thread]:
                del _running[thread]
            if not _running:
                if sys.unraisablehook is _hook:
                    sys.unraisablehook = _before[0]
                _before.clear()
