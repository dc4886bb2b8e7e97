from typing import Any

import numpy as np
from numpy.typing import NDArray

_Column = tuple[str, int, bool, float, float, bool, bool, tuple[str, ...] | None]
_Written = NDArray[Any] | tuple[NDArray[np.int32], tuple[str, ...]] | tuple[NDArray[Any], None]

def isa_detected() -> str: ...
def isa_allowed() -> str: ...
def status_name(code: int, /) -> str: ...
def build_info() -> dict[str, str]: ...
def _isa() -> int: ...
def _set_isa(level: int, /) -> int: ...
def arrow_schema(
    names: tuple[str, ...], columns: tuple[Any, ...], nullable: tuple[bool, ...], metadata: bytes, /
) -> Any: ...
def arrow_stream(
    names: tuple[str, ...],
    columns: tuple[Any, ...],
    nullable: tuple[bool, ...],
    metadata: bytes,
    requested_schema: Any,
    /,
) -> Any: ...
def csv_read(
    text: bytes, columns: tuple[_Column, ...], /
) -> tuple[tuple[NDArray[Any] | None, ...], NDArray[np.int64]]: ...
def csv_write(header: tuple[str, ...], columns: tuple[_Written, ...], /) -> bytes: ...
def jsonl_write(before: tuple[str, ...], columns: tuple[_Written, ...], /) -> bytes: ...
def draw_variates(bits: np.random.BitGenerator, kind: int, parameter: float, n: int, /) -> NDArray[np.float64]: ...
def draw_below(bits: np.random.BitGenerator, high: int, n: int, /) -> NDArray[np.int32]: ...
def draw_arrivals(
    bits: np.random.BitGenerator, rate: float, cv: float | None, clock: float, n: int, /
) -> tuple[NDArray[np.float64], float]: ...
def draw_mmpp(
    bits: np.random.BitGenerator,
    rate: NDArray[np.float64],
    sojourn_s: NDArray[np.float64],
    state: int,
    left_s: float,
    clock: float,
    n: int,
    /,
) -> tuple[NDArray[np.float64], int, float, float]: ...
def draw_requests(
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
def draw_samples(
    sample_bits: np.random.BitGenerator, n_samples: NDArray[np.int32], model: NDArray[np.int32], /
) -> NDArray[np.int32]: ...
def draw_arta(
    bits: np.random.BitGenerator,
    probability: NDArray[np.float64],
    quantile: NDArray[np.float64],
    share: float,
    keep: float,
    level: float | None,
    clock: float,
    n: int,
    /,
) -> tuple[NDArray[np.float64], float, float]: ...
def draw_pairs(
    bits: np.random.BitGenerator,
    probability: NDArray[np.float64],
    quantile_a: NDArray[np.float64],
    quantile_b: NDArray[np.float64],
    rho: float,
    n: int,
    /,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]: ...
def draw_python_requests(
    state: NDArray[np.uint32],
    rate: float,
    n_samples: NDArray[np.int32],
    priorities: NDArray[np.float64],
    n: int,
    /,
) -> tuple[NDArray[np.float64], NDArray[np.int32], NDArray[np.int32], NDArray[np.float64], NDArray[np.uint32]]: ...
def betainc(a: float, b: float, x: float, /) -> float: ...
def student_t_quantile(p: float, df: float, /) -> float: ...
def binomial_cdf(k: int, n: int, p: float, /) -> float: ...
def quantile_ranks(n: int, p: float, level: float, /) -> tuple[int, int]: ...
def early_stop_min(t: int, p: float, c: float, /) -> int: ...
def early_stop_allowed(n: int, p: float, c: float, /) -> int: ...
def autocorrelation(x: NDArray[np.float64], lags: int, /) -> NDArray[np.float64]: ...
def batch_means(x: NDArray[np.float64], batches: int, /) -> NDArray[np.float64]: ...
