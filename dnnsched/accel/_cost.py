"""The cost record common to all accelerator models."""

import numpy as np

from dnnsched.layers import Layer, Network

#: Terms that can limit a layer; ``COST["bound"]`` holds one of them.
BOUNDS = ("compute", "ifm", "weights", "ofm", "generation", "launch", "")

#: One cost record: cycles; stalls (cycles in which the array waits); seconds; energy in joules; DRAM bytes per
#: operand; utilization (useful multiply-accumulates per slot of the array in [0, 1]); the limiting term.
COST = np.dtype([
    ("cycles", np.float64), ("stalls", np.float64), ("seconds", np.float64), ("energy_j", np.float64),
    ("dram_bytes", [("ifm", np.float64), ("weights", np.float64), ("ofm", np.float64)]),
    ("utilization", np.float64), ("bound", "U10"),
])


class Costs(np.ndarray):
    """Cost records: a structured array that can become a table. Its fields are plain arrays."""

    def __getitem__(self, index):
        """Records as records, a field as a plain array."""
        found = super().__getitem__(index)
        return found.view(np.ndarray) if isinstance(found, Costs) and found.dtype != COST else found

    def table(self, stages=None, *, model="", pattern="dense", meta=None):
        """Cost table [sample][stage] of the records of a network.

        Parameters
        ----------
        stages : sequence of str, or Network, optional
            Names of the layers; default their numbers.
        model, pattern : str
        meta : dict, optional

        Returns
        -------
        dnnsched.CostTable
            One row per element of the leading axes (one row for a plain network); of origin ``"modelled"``, with
            energies where the model gives all of them.

        Raises
        ------
        ValueError
            The records are of one layer, or a time is not finite and > 0.
        """
        from dnnsched.costs import CostTable

        if self.ndim == 0:
            raise ValueError("table: expected the costs of a network, with a last axis of layers, got those of one "
                             "layer")
        shape = (-1, self.shape[-1]) if self.size else (0, self.shape[-1])
        energy = np.ascontiguousarray(self["energy_j"]).reshape(shape)
        return CostTable(np.ascontiguousarray(self["seconds"]).reshape(shape), stages=stages, model=model,
                         pattern=pattern, origin="modelled", meta=meta,
                         energy_j=None if np.isnan(energy).all() else energy)


_NATIVE = ("cycles", "stalls", "seconds", "energy_j", ("dram_bytes", "ifm"), ("dram_bytes", "weights"),
           ("dram_bytes", "ofm"), "utilization")


def empty_costs(shape):
    """Records in which nothing is known yet: NaN everywhere, no bound."""
    out = np.empty(shape, COST).view(Costs)
    for name in COST.names:
        out[name] = "" if name == "bound" else (np.nan,) * 3 if name == "dram_bytes" else np.nan
    return out


def to_costs(native, shape):
    """Records of shape `shape` from the native float64 table (n, 9)."""
    out = np.empty(shape, COST).view(Costs)
    flat = out.reshape(-1)
    for i, name in enumerate(_NATIVE):
        target = flat[name[0]][name[1]] if isinstance(name, tuple) else flat[name]
        target[...] = native[:, i]
    flat["bound"] = np.array(BOUNDS)[native[:, len(_NATIVE)].astype(np.int64)]
    return out


def layers_of(target):
    """Layers of a layer or network, and whether it was a network."""
    if isinstance(target, Layer):
        return (target,), False
    if isinstance(target, Network):
        return target.layers, True
    raise TypeError(f"layer_or_network: expected a Layer or a Network, got {type(target).__name__}")


def fractions(values, name, n_layers, many):
    """`values` as float64 in [0, 1], broadcast to a last axis of layers when there are many."""
    values = np.asarray(values, np.float64)
    if values.size and not ((values >= 0) & (values <= 1)).all():
        bad = values[~((values >= 0) & (values <= 1))].flat[0]
        raise ValueError(f"{name}: expected numbers in [0, 1], got {bad}")
    if not many:
        return values[..., None]
    if values.ndim and values.shape[-1] not in (1, n_layers):
        raise ValueError(f"{name}: expected a last axis of {n_layers} layers, got shape {values.shape}")
    return np.broadcast_to(values, (*values.shape[:-1], n_layers)) if values.ndim else np.full(n_layers, values)


def check_compat(compat):
    """0 for "artifact", 1 for "corrected"."""
    if compat not in ("artifact", "corrected"):
        raise ValueError(f"compat: expected 'artifact' or 'corrected', got {compat!r}")
    return int(compat == "corrected")


def check_batch(batch, compat):
    """Batch size as int; the public simulators run one input at a time."""
    if int(batch) != batch or batch < 1:
        raise ValueError(f"batch: expected an integer >= 1, got {batch}")
    if batch != 1 and compat == "artifact":
        raise ValueError(f"batch: compat='artifact' runs one input at a time, got {batch}")
    return int(batch)
