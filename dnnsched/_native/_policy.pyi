import numpy as np
from numpy.typing import NDArray

def column_means(x: NDArray[np.float64], /) -> NDArray[np.float64]: ...
def suffix_sums(x: NDArray[np.float64], /) -> NDArray[np.float64]: ...
def predict_gamma(
    sparsity: NDArray[np.float64],
    avg_sparsity: NDArray[np.float64],
    kind: int,
    n_last: int,
    literal: bool,
    artifact: bool,
    low: float,
    high: float,
    /,
) -> tuple[NDArray[np.float64], int]: ...
def prediction_errors(
    gamma: NDArray[np.float64],
    remaining: NDArray[np.float64],
    truth: NDArray[np.float64],
    alpha: float,
    /,
) -> tuple[int, float, float, float]: ...
def _isa() -> int: ...
def _set_isa(level: int, /) -> int: ...
