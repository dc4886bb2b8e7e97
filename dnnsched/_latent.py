"""Seeded random fields behind the generated trace sets.

Words come from NumPy's PCG64, seeded through ``SeedSequence`` by a name, a draw number and a path; they become
uniforms and normals by the transforms below, never by ``Generator`` distributions, whose streams may change
between NumPy releases. The transforms use only operations that IEEE 754 rounds correctly (+ - * / sqrt, powers of
two), in a fixed order: NumPy's own ``exp`` and ``log`` differ in the last bit from one CPU to another, and a trace set
must not.
"""

import zlib

import numpy as np

__all__ = ["ar1", "exp", "int_power", "latent_field", "log", "logistic", "logit", "normal_quantile", "normals",
           "tukey_gh", "uniforms"]

# ln 2 in two parts (the first has 21 trailing zero bits), and the coefficients of the argument-reduced series.
_LN2_HI, _LN2_LO = 6.93147180369123816490e-01, 1.90821492927058770002e-10
_EXP = (4.13813679705723846039e-08, -1.65339022054652515390e-06, 6.61375632143793436117e-05,
        -2.77777777770155933842e-03, 1.66666666666666019037e-01)
_LOG = (1.479819860511658591e-01, 1.531383769920937332e-01, 1.818357216161805012e-01, 2.222219843214978396e-01,
        2.857142874366239149e-01, 3.999999999940941908e-01, 6.666666666666735130e-01)

# Wichura, "Algorithm AS 241: the percentage points of the normal distribution", Applied Statistics 37(3), 1988,
# PPND16 (relative error about 1e-16). Numerator and denominator, highest power first.
_CENTRE = ((2509.0809287301226727, 33430.575583588128105, 67265.770927008700853, 45921.953931549871457,
            13731.693765509461125, 1971.5909503065514427, 133.14166789178437745, 3.387132872796366608),
           (5226.495278852545925, 28729.085735721942674, 39307.89580009271061, 21213.794301586595867,
            5394.1960214247511077, 687.1870074920579083, 42.313330701600911252, 1.0))
_MIDDLE = ((7.7454501427834140764e-4, 0.0227238449892691845833, 0.24178072517745061177, 1.27045825245236838258,
            3.64784832476320460504, 5.7694972214606914055, 4.6303378461565452959, 1.42343711074968357734),
           (1.05075007164441684324e-9, 5.475938084995344946e-4, 0.0151986665636164571966, 0.14810397642748007459,
            0.68976733498510000455, 1.6763848301838038494, 2.05319162663775882187, 1.0))
_TAIL = ((2.01033439929228813265e-7, 2.71155556874348757815e-5, 0.0012426609473880784386, 0.026532189526576123093,
          0.29656057182850489123, 1.7848265399172913358, 5.4637849111641143699, 6.6579046435011037772),
         (2.04426310338993978564e-15, 1.4215117583164458887e-7, 1.8463183175100546818e-5, 7.868691311456132591e-4,
          0.0148753612908506148525, 0.13692988092273580531, 0.59983220655588793769, 1.0))


def _horner(coefficients, x):
    """Polynomial, highest power first."""
    out = np.full_like(x, coefficients[0])
    for c in coefficients[1:]:
        out *= x
        out += c
    return out


def exp(x):
    """``e**x`` to about one unit in the last place, the same bits on every machine.

    Argument reduction by ln 2 and the rational form of the Sun math library (fdlibm): with r = x - k ln 2 and
    ``c = r - r^2 P(r^2)``, ``e^r = 1 + r + r c / (2 - c)``. Arguments are clipped to +-700.
    """
    x = np.clip(np.asarray(x, dtype=np.float64), -700.0, 700.0)
    k = np.rint(x * 1.44269504088896338700)
    high = x - k * _LN2_HI
    low = k * _LN2_LO
    r = high - low
    square = r * r
    c = r - square * _horner(_EXP, square)
    value = 1.0 - ((low - (r * c) / (2.0 - c)) - high)
    return value * ((k.astype(np.int64) + 1023) << 52).view(np.float64)


def log(x):
    """Natural logarithm of positive normal numbers to about one unit in the last place, the same bits everywhere.

    ``x = 2^k (1 + f)`` with ``1 + f`` in [sqrt(1/2), sqrt 2), ``s = f / (2 + f)``, fdlibm's polynomial in s^2.
    """
    mantissa, k = np.frexp(np.asarray(x, dtype=np.float64))
    small = mantissa < 0.70710678118654752440
    f = np.where(small, 2.0 * mantissa, mantissa) - 1.0
    k = (k - small).astype(np.float64)
    s = f / (2.0 + f)
    square = s * s
    half = 0.5 * f * f
    series = square * _horner(_LOG, square)
    return k * _LN2_HI - ((half - (s * (half + series) + k * _LN2_LO)) - f)


def int_power(base, n):
    """``base**n`` for an integer n >= 0 by repeated squaring."""
    base = np.array(base, dtype=np.float64)
    out = np.ones_like(base)
    while n:
        if n & 1:
            out *= base
        n >>= 1
        if n:
            base *= base
    return out


def _ratio(coefficients, x):
    """Quotient of two polynomials in `x`, by Horner's rule."""
    return _horner(coefficients[0], x) / _horner(coefficients[1], x)


def uniforms(name, draw, path, shape):
    """Uniform numbers in (0, 1): odd multiples of 2^-53, so that neither end occurs.

    Parameters
    ----------
    name : str
        Name of the trace set.
    draw : int
        Which realisation of it, >= 0.
    path : tuple of (str or int)
        What the numbers are for; other paths give independent streams.
    shape : int or tuple of int
        Filled in C order from the start of the stream.

    Returns
    -------
    ndarray of float64
    """
    key = tuple(part if isinstance(part, int) else zlib.crc32(part.encode()) for part in path)
    seed = np.random.SeedSequence(int.from_bytes(name.encode(), "little"), spawn_key=(draw, *key))
    words = np.random.PCG64(seed).random_raw(int(np.prod(shape, dtype=np.int64)))
    return ((words >> np.uint64(12)).astype(np.float64) + 0.5).reshape(shape) * 2.0**-52


def normals(name, draw, path, shape):
    """Standard normal numbers: the inverse distribution function (AS 241) of :func:`uniforms`."""
    return normal_quantile(uniforms(name, draw, path, shape))


def normal_quantile(p):
    """Inverse of the standard normal distribution function (AS 241, PPND16).

    Parameters
    ----------
    p : ndarray of float64
        Probabilities in (0, 1).

    Returns
    -------
    ndarray of float64
        Same shape.
    """
    p = np.asarray(p, dtype=np.float64)
    q = p - 0.5
    out = q * _ratio(_CENTRE, 0.180625 - q * q)
    outer = np.abs(q) > 0.425
    if outer.any():
        side = q[outer]
        r = np.sqrt(-log(np.where(side < 0, p[outer], 1.0 - p[outer])))
        size = np.where(r <= 5.0, _ratio(_MIDDLE, r - 1.6), _ratio(_TAIL, r - 5.0))
        out[outer] = np.copysign(size, side)
    return out


def logistic(x):
    """``1 / (1 + exp(-x))``, element by element."""
    return 1.0 / (1.0 + exp(-np.asarray(x, dtype=np.float64)))


def logit(p):
    """``log(p / (1 - p))``, the inverse of :func:`logistic`."""
    p = np.asarray(p, dtype=np.float64)
    return log(p / (1.0 - p))


def tukey_gh(z, g, h):
    """Tukey's g-and-h transform of standard normals: `g` skews, `h` thickens the tails, the median stays 0.

    ``(exp(g z) - 1) / g * exp(h z^2 / 2)``; monotone for ``h >= 0``.
    """
    return (exp(g * z) - 1.0) / g * exp(0.5 * h * z * z)


def ar1(noise, phi):
    """Stationary first-order autoregression along the last axis, unit variance, from standard normals.

    ``e_0 = n_0``, ``e_l = phi e_{l-1} + sqrt(1 - phi^2) n_l``.
    """
    out = np.array(noise, dtype=np.float64)
    scale = np.sqrt(1.0 - phi * phi)
    for layer in range(1, out.shape[-1]):
        out[..., layer] = phi * out[..., layer - 1] + scale * out[..., layer]
    return out


def latent_field(common, noise, shared, phi):
    """Latent difficulty of every sample and layer, ``z_{b,l} = sqrt(c_l) g_b + sqrt(1 - c_l) e_{b,l}``.

    Parameters
    ----------
    common : ndarray, shape (samples,)
        g: what makes one input dense everywhere; unit variance.
    noise : ndarray, shape (samples, layers)
        Independent standard normals; they become the autoregression e.
    shared : float or ndarray, shape (layers,)
        c: share of the common part, so that ``corr(z_k, z_l) = sqrt(c_k c_l) + sqrt((1-c_k)(1-c_l)) phi^|k-l|``.
    phi : float
        Correlation of neighbouring e, in [0, 1).

    Returns
    -------
    ndarray, shape (samples, layers)
        Unit variance.
    """
    shared = np.broadcast_to(np.asarray(shared, dtype=np.float64), noise.shape[-1:])
    return np.sqrt(shared) * common[:, None] + np.sqrt(1.0 - shared) * ar1(noise, phi)
