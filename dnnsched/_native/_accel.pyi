import numpy as np
from numpy.typing import NDArray

def eyeriss2_map(compat: int, glb_bytes: int, layer: NDArray[np.int64], out: NDArray[np.int64], /) -> None: ...
def eyeriss2_row_visits(map: NDArray[np.int64], any: NDArray[np.bool_], out: NDArray[np.uint64], /) -> None: ...
def eyeriss2_cycles(
    map: NDArray[np.int64], macs: NDArray[np.uint64], z: NDArray[np.uint64], out: NDArray[np.uint64], /
) -> None: ...
def expected_any(
    density: NDArray[np.float64], n: NDArray[np.int64], times: NDArray[np.int64], out: NDArray[np.float64], /
) -> None: ...
def eyeriss2_cost(
    map: NDArray[np.int64],
    macs: NDArray[np.float64],
    z: NDArray[np.float64],
    bytes: NDArray[np.float64] | None,
    out: NDArray[np.float64],
    /,
) -> None: ...
def sanger_latency(
    compat: int,
    version: int,
    width: int,
    pes: int,
    density: NDArray[np.float64],
    lb: NDArray[np.float64],
    seq: NDArray[np.int64],
    out: NDArray[np.float64],
    /,
) -> float: ...
def sanger_counts(
    mask: NDArray[np.uint64],
    key_mask: NDArray[np.bool_] | None,
    pes: int,
    attended_only: int,
    groups: int,
    out: NDArray[np.int64],
    /,
) -> None: ...
def sanger_predict(
    q: NDArray[np.float32],
    k: NDArray[np.float32],
    key_mask: NDArray[np.bool_] | None,
    bits: int,
    normalize: int,
    causal: int,
    threshold: float,
    q_max: float,
    k_max: float,
    out: NDArray[np.uint64],
    /,
) -> None: ...
def _isa() -> int: ...
def _set_isa(level: int, /) -> int: ...
