"""Accelerator cost models.

Each model turns layer shapes and sparsity into time. ``get(name)`` makes one by name; all have
``cost(layer_or_network, density=..., batch=1)``, which returns :data:`COST` records, and methods of
their own for exact masks; ``cost(...).table()`` is a :class:`~dnnsched.CostTable`. Quantities that a model does not
give are NaN.
"""

from dnnsched import plugins
from dnnsched.accel._cost import BOUNDS, COST, Costs
from dnnsched.accel.eyeriss2 import EyerissV2
from dnnsched.accel.sanger import Sanger, sanger_mask, sanger_mask_stats

__all__ = ["BOUNDS", "COST", "Costs", "EyerissV2", "Sanger", "get", "names", "sanger_mask", "sanger_mask_stats"]

_MODELS = {"eyeriss_v2": EyerissV2, "sanger": Sanger}


def names():
    """Names that :func:`get` knows.

    Returns
    -------
    list of str
    """
    return list(_MODELS)


def get(name, **params):
    """Make an accelerator model by name.

    Parameters
    ----------
    name : str
        One of :func:`names`, or of a plug-in (:mod:`dnnsched.plugins`).
    **params
        Parameters of the model's class.

    Returns
    -------
    EyerissV2, Sanger or what the plug-in makes

    Raises
    ------
    ValueError
        The name is unknown, or a parameter is out of range.
    ImportError
        The plug-in cannot be loaded.

    Examples
    --------
    >>> get("sanger", compat="artifact").latency(0.25, 0.5, 512)
    0.00127795...
    """
    model = _MODELS.get(name) or plugins.load("cost_models", name)
    if model is None:
        known = [*_MODELS, *(p.name for p in plugins.find("cost_models"))]
        raise ValueError(f"name: expected one of {', '.join(known)}, got {name!r}")
    return model(**params)
