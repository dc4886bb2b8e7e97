import numpy as np
from numpy.typing import NDArray

def variates(bits: np.random.BitGenerator, kind: int, parameter: float, n: int, /) -> NDArray[np.float64]: ...
def below(bits: np.random.BitGenerator, high: int, n: int, /) -> NDArray[np.int32]: ...
def arrivals(
    bits: np.random.BitGenerator, rate: float, cv: float | None, clock: float, n: int, /
) -> tuple[NDArray[np.float64], float]: ...
def mmpp(
    bits: np.random.BitGenerator,
    rate: NDArray[np.float64],
    sojourn_s: NDArray[np.float64],
    state: int,
    left_s: float,
    clock: float,
    n: int,
    /,
) -> tuple[NDArray[np.float64], int, float, float]: ...
def requests(
    model_bits: np.random.BitGenerator,
    weight: NDArray[np.float64],
    sample_bits: np.random.BitGenerator,
    n_samples: NDArray[np.int32],
    priority_bits: np.random.BitGenerator,
    priority_weight: NDArray[np.float64],
    priority: NDArray[np.float64],
    n: int,
    /,
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float64]]: ...
def python_requests(
    state: NDArray[np.uint32],
    rate: float,
    n_samples: NDArray[np.int32],
    priorities: NDArray[np.float64],
    n: int,
    /,
) -> tuple[NDArray[np.float64], NDArray[np.int32], NDArray[np.int32], NDArray[np.float64], NDArray[np.uint32]]: ...
