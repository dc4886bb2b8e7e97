"""Seeded random fields behind the generated trace sets.

Words come from NumPy's PCG64, seeded through ``SeedSequence`` by a name, a draw number and a path; they become
uniforms and normals by the transforms below, never by ``Generator`` distributions, whose streams may change
between NumPy releases.
"""

import zlib

import numpy as np

__all__ = ["ar1", "latent_field", "logistic", "logit", "normal_quantile", "normals", "tukey_gh", "uniforms"]

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


def _ratio(coefficients, x):
    """Quotient of two polynomials in `x`, by Horner's rule."""
    top, bottom = (np.full_like(x, c[0]) for c in coefficients)
    for a, b in zip(coefficients[0][1:], coefficients[1][1:], strict=True):
        top *= x
        top += a
        bottom *= x
        bottom += b
    return top / bottom


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
        r = np.sqrt(-np.log(np.where(side < 0, p[outer], 1.0 - p[outer])))
        size = np.where(r <= 5.0, _ratio(_MIDDLE, r - 1.6), _ratio(_TAIL, r - 5.0))
        out[outer] = np.copysign(size, side)
    return out


def logistic(x):
    """``1 / (1 + exp(-x))``, element by element."""
    return 1.0 / (1.0 + np.exp(-x))


def logit(p):
    """``log(p / (1 - p))``, the inverse of :func:`logistic`."""
    p = np.asarray(p, dtype=np.float64)
    return np.log(p / (1.0 - p))


def tukey_gh(z, g, h):
    """Tukey's g-and-h transform of standard normals: `g` skews, `h` thickens the tails, the median stays 0.

    ``(exp(g z) - 1) / g * exp(h z^2 / 2)``; monotone for ``h >= 0``.
    """
    return np.expm1(g * z) / g * np.exp(0.5 * h * z * z)


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
