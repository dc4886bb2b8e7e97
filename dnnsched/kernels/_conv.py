"""Convolution plans: packed weights that convolve images."""

import numpy as np

from dnnsched import config
from dnnsched._arrays import check_choice, check_int
from dnnsched._native import _kernels
from dnnsched.kernels import _blas, _common
from dnnsched.kernels._machine import Cost, _modelled

FORMATS = ("im2col", "csr", "depthwise", "direct")  # in the order of dns_conv_format
LAYOUTS = ("nchw", "nhwc")
DIRECT_PIXELS = 25  # of a result, from which the direct kernel's vectors of positions are modelled as well filled
SPARSE_SHARE = 0.5  # of non-zero weights, up to which skipping the others is modelled as the faster way


class ConvPlan:
    """Convolution weights packed for one format and one size of image; made by :func:`~dnnsched.kernels.conv2d`.

    Immutable; may be used by any number of Python threads at once; can be pickled (the weights travel, and are packed
    again where they arrive). Results do not depend on `threads`, nor on how many images are convolved together.

    Attributes
    ----------
    in_shape, out_shape : (int, int, int)
        Of one image: (C, H, W) and (O, OH, OW), or (H, W, C) and (OH, OW, O) for layout ``"nhwc"``.
    shape : (int, int)
        Output channels, and weights of each: (O, C / groups * KH * KW).
    nnz : int
        Stored weights.
    nbytes : int
        Memory that the plan holds.
    isa, format, layout : str
    """

    def __init__(self, plan, in_shape, kernel, options):
        self._plan = plan
        self._kernel = kernel
        self._options = options
        self.format, m, k, self.nnz, self.nbytes, self.isa = _kernels.plan_info(plan)
        self.shape = (m, k)
        self.layout = options["layout"]
        self.in_shape = in_shape
        o, h, w = _kernels.conv_out(plan)
        self.out_shape = (o, h, w) if self.layout == "nchw" else (h, w, o)

    def __setattr__(self, name, value):
        """Set an attribute once: plans are immutable."""
        if name in self.__dict__:
            raise AttributeError(f"{name}: a plan is immutable")
        object.__setattr__(self, name, value)

    def __reduce__(self):
        """Pickle by weights and options."""
        return _remake, (self.to_dense().reshape(self._kernel), self.in_shape, self._options)

    def __repr__(self):
        """Format, shapes and size."""
        return (f"<ConvPlan {self.format} {self.in_shape} -> {self.out_shape}, {self.nnz} weights, {self.nbytes} "
                f"bytes, {self.isa}>")

    def __call__(self, x, *, out=None, threads=1):
        """Convolve images.

        Parameters
        ----------
        x : array_like of float, shape (N, *in_shape) or in_shape
            Any number of images; float64, float16 or strided input is copied once.
        out : ndarray of float32, shape (N, *out_shape) or out_shape, C-contiguous, optional
            Written and returned; apart from `x`.
        threads : int
            1 to 256. Short convolutions run on one thread all the same.

        Returns
        -------
        ndarray of float32, shape (N, *out_shape) or out_shape

        Raises
        ------
        TypeError
            `x` is not floating point, or `out` not float32.
        ValueError
            A shape is wrong, or `out` is read-only, strided, or overlaps `x`.
        """
        x = np.ascontiguousarray(_common.floats(x, "x"))
        if x.ndim not in (3, 4) or x.shape[-3:] != self.in_shape:
            raise ValueError(f"x: expected shape (N, {', '.join(map(str, self.in_shape))}) or {self.in_shape}, "
                             f"got {x.shape}")
        out = _common.output(out, (*x.shape[:-3], *self.out_shape))
        if not out.flags.c_contiguous:
            raise ValueError("out: expected a C-contiguous array, got a strided one")
        _kernels.conv_execute(self._plan, x.reshape(-1, *self.in_shape), out.reshape(-1, *self.out_shape), threads)
        return out

    def cost(self, n=1, machine=None):
        """Work of an execution with `n` images.

        Parameters
        ----------
        n : int
        machine : Machine, optional
            Whose caches decide where operands lie; default :func:`~dnnsched.kernels.machine`.

        Returns
        -------
        Cost
            Operations are those of stored weights at all output positions, those in the padding included.
        """
        check_int(n, "n", 0)
        machine = _modelled(config.isa()) if machine is None else machine
        work = np.empty(5)
        _kernels.plan_work(self._plan, n, machine.array(), work)
        return Cost(float(work[0]), tuple(work[1:].tolist()))

    def to_dense(self):
        """Weights as a matrix.

        Returns
        -------
        ndarray of float32, shape (O, C / groups * KH * KW)
            0 where nothing is stored.
        """
        w = np.empty(self.shape, np.float32)
        _kernels.plan_to_dense(self._plan, w)
        return w


def _pair(value, name, low):
    """(height, width) of an integer or a pair of integers."""
    pair = value if isinstance(value, tuple | list) else (value, value)
    if len(pair) != 2:
        raise ValueError(f"{name}: expected an integer or (height, width), got {value!r}")
    for v in pair:
        check_int(v, name, low, 2**31 - 1)
    return pair


def _image(x_shape, layout):
    """Shape of one image in the layout's own order, from that of one or several."""
    shape = tuple(x_shape)
    if len(shape) not in (3, 4):
        raise ValueError(f"x_shape: expected 3 or 4 extents in the order of {layout!r}, got {shape}")
    for v in shape[-3:]:
        check_int(v, "x_shape", 1, 2**31 - 1)
    return tuple(int(v) for v in shape[-3:])


def _choose(w, channels, groups):
    """Format of a deterministic cost model: one channel per group, or few enough weights, or dense."""
    if groups == channels and groups > 1:
        return "depthwise"
    share = np.count_nonzero(w) / w.size if w.size else 1.0
    return "csr" if share <= SPARSE_SHARE else "dense"


def _dense(w, chw, window, layout):
    """The dense format of a deterministic cost model: im2col where nothing is unfolded, or results are few."""
    stride, padding, dilation = window.reshape(3, 2).astype(np.int64)
    out = (np.array(chw[1:]) + 2 * padding - dilation * (np.array(w.shape[2:]) - 1) - 1) // stride + 1
    plain = w.shape[2:] == (1, 1) and (stride == 1).all() and not padding.any()
    return "im2col" if layout == "nhwc" or plain or np.prod(out, dtype=float) < DIRECT_PIXELS else "direct"


def conv2d(w, x_shape, *, stride=1, padding=0, dilation=1, groups=1, format="auto", layout="nchw", bias=None, act=None,
           isa=None):
    """Pack the weights of a convolution (PyTorch's conv2d: a cross-correlation) for images of one size.

    Parameters
    ----------
    w : array_like of float, shape (O, C / groups, KH, KW)
        The same order in both layouts.
    x_shape : tuple of int
        (C, H, W) or (N, C, H, W); channels last for layout ``"nhwc"``. N is free at every call.
    stride, padding, dilation : int or (int, int)
        Along height and width; `padding` zeros on each side.
    groups : int
        Divides C and O.
    format : {"auto", "dense", "csr", "depthwise", "direct", "im2col"}
        ``"direct"``: all weights, directly on the padded image. ``"im2col"``: all weights, an unfolded image and
        OpenBLAS. ``"csr"``: non-zero weights only, directly on the padded image, or on the image itself as the
        product of :func:`csr` for 1 x 1 kernels without stride, padding or groups. ``"depthwise"``: one channel per
        group. ``"dense"``: im2col for channels last, 1 x 1 kernels without stride or padding and results of less than
        25 pixels, else direct. ``"auto"``: depthwise where ``groups == C > 1``, else csr when at most half of the
        weights are non-zero, else dense. Weights and shape decide, no clock.
    layout : {"nchw", "nhwc"}
        Order of images and results.
    bias : array_like of float, shape (O,), optional
    act : None, "relu" or (lo, hi)
        Clamp applied to the result; NaN stays NaN.
    isa : str, optional
        Instruction-set level; default the one in use.

    Returns
    -------
    ConvPlan
        ``plan(x)`` convolves.

    Raises
    ------
    TypeError
        Weights are not floating point, or an extent is not an integer.
    ValueError
        Shapes do not agree, the kernel does not fit the padded image, or an image, a result or the weights have 2^31
        elements or more (a padded image, which all but im2col have: 2^30).
    ImportError
        The BLAS of this build, which im2col plans use, cannot be opened.

    Notes
    -----
    ``|y - exact| <= 2 (k + 2) u (|b| + sum |w x|)``, ``u = 2^-24``, k the stored weights of the output channel.
    Sums begin with the bias and take stored weights in ascending (c, i, j) with one accumulator, so csr with all
    weights stored and direct give the same bytes; im2col's order is the BLAS's. Absent weights are not multiplied, so
    csr and the dense formats may differ on Inf and NaN.
    im2col: Chellapilla, Puri and Simard, IWFHR 2006; direct sparse convolution: Park et al., ICLR 2017.
    """
    check_choice(layout, "layout", LAYOUTS)
    check_choice(format, "format", ("auto", "dense", *FORMATS))
    w = np.ascontiguousarray(_common.floats(w, "w"))
    if w.ndim != 4:
        raise ValueError(f"w: expected 4 dimensions (O, C / groups, KH, KW), got shape {w.shape}")
    image = _image(x_shape, layout)
    chw = image if layout == "nchw" else (image[2], image[0], image[1])
    check_int(groups, "groups", 1, 2**31 - 1)
    window = np.array([*_pair(stride, "stride", 1), *_pair(padding, "padding", 0), *_pair(dilation, "dilation", 1)],
                      np.int32)
    chosen = _choose(w, chw[0], groups) if format == "auto" else format
    chosen = _dense(w, chw, window, layout) if chosen == "dense" else chosen
    bias = _common.bias_of(bias, w.shape[0])
    lo, hi = _common.act_range(act)
    if chosen == "im2col":
        _blas.load()
    plan = _kernels.conv_plan(w, np.array(chw, np.int32), window, groups, LAYOUTS.index(layout), FORMATS.index(chosen),
                              bias, lo, hi, _common.level(isa))
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups, "format": chosen,
               "layout": layout, "bias": bias, "act": act, "isa": isa}
    return ConvPlan(plan, image, w.shape, options)


def _remake(w, x_shape, options):
    return conv2d(w, x_shape, **options)
