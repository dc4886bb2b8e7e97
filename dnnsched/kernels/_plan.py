"""Matrix plans: packed weights that multiply."""

import numpy as np

from dnnsched import config
from dnnsched._arrays import check_int
from dnnsched._native import _kernels
from dnnsched.kernels import _common
from dnnsched.kernels._machine import Cost, _modelled


class MatPlan:
    """A weight matrix packed for one format: ``Y = act(W X + b)``.

    Made by :func:`~dnnsched.kernels.csr`, :func:`~dnnsched.kernels.dense` and their like; immutable; may be used by any
    number of Python threads at once; can be pickled (the weights travel, and are packed again where they arrive).
    Results do not depend on `threads`.

    Attributes
    ----------
    shape : (int, int)
        M, K.
    nnz : int
        Stored weights, stored zeros included.
    nbytes : int
        Memory that the plan holds.
    isa : str
        Instruction-set level of the code that runs.
    format : str
    """

    _factory = None  # a family's public function; set by its subclass

    def __init__(self, plan, options):
        self._plan = plan
        self._options = options
        self.format, m, k, self.nnz, self.nbytes, self.isa = _kernels.plan_info(plan)
        self.shape = (m, k)

    def __setattr__(self, name, value):
        """Set an attribute once: plans are immutable."""
        if name in self.__dict__:
            raise AttributeError(f"{name}: a plan is immutable")
        object.__setattr__(self, name, value)

    def _source(self):
        """Weights as `_factory` takes them; families whose zeros or layout matter override it."""
        return self.to_dense()

    def __reduce__(self):
        """Pickle by source weights and options."""
        return _remake, (type(self)._factory, self._source(), self._options)

    def __repr__(self):
        """Format, shape and size."""
        return (f"<MatPlan {self.format} {self.shape[0]}x{self.shape[1]}, {self.nnz} weights, {self.nbytes} bytes, "
                f"{self.isa}>")

    def matmul(self, X, *, out=None, threads=1):
        """Multiply columns.

        Parameters
        ----------
        X : array_like of float, shape (K, N) or (K,)
            float64, float16 or strided input is copied once.
        out : ndarray of float32, shape (M, N) or (M,), optional
            Written and returned; a contiguous last axis, apart from `X`.
        threads : int
            1 to 256. Short products run on one thread all the same.

        Returns
        -------
        ndarray of float32, shape (M, N) or (M,)

        Raises
        ------
        TypeError
            `X` is not floating point, or `out` not float32.
        ValueError
            A shape is wrong, or `out` is read-only, strided, or overlaps `X`.
        """
        return _common.multiply_columns(self._execute(threads), self.shape, _common.floats(X, "X"), "X", out)

    def _execute(self, threads):
        return lambda rows, x, y: _kernels.plan_execute(self._plan, rows, x, y, threads)

    def __matmul__(self, X):
        """``plan @ X``: :meth:`matmul`."""
        return self.matmul(X)

    def linear(self, x, *, out=None, threads=1):
        """Apply a linear layer to rows: ``act(x W^T + b)``, PyTorch's habit.

        Parameters
        ----------
        x : array_like of float, shape (..., K)
        out : ndarray of float32, shape (..., M), C-contiguous, optional
            Written and returned.
        threads : int

        Returns
        -------
        ndarray of float32, shape (..., M)

        Raises
        ------
        TypeError, ValueError
            As :meth:`matmul` does.
        """
        return _common.multiply_rows(self._execute(threads), self.shape, _common.floats(x, "x"), "x", out)

    def cost(self, n, machine=None):
        """Work of an execution with `n` vectors.

        Parameters
        ----------
        n : int
        machine : Machine, optional
            Whose caches decide where operands lie; default :func:`~dnnsched.kernels.machine`.

        Returns
        -------
        Cost
        """
        check_int(n, "n", 0)
        machine = _modelled(config.isa()) if machine is None else machine
        work = np.empty(5)
        _kernels.plan_work(self._plan, n, machine.array(), work)
        return Cost(float(work[0]), tuple(work[1:].tolist()))

    def to_dense(self):
        """Weights as an array.

        Returns
        -------
        ndarray of float32, shape (M, K)
            0 where nothing is stored.
        """
        w = np.empty(self.shape, np.float32)
        _kernels.plan_to_dense(self._plan, w)
        return w


def _remake(factory, source, options):
    return factory(source, **options)
