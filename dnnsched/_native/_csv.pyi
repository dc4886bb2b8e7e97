from typing import Any

import numpy as np
from numpy.typing import NDArray

_Column = tuple[str, int, bool, float, float, bool, bool, tuple[str, ...] | None]

def read(text: bytes, columns: tuple[_Column, ...], /) -> tuple[tuple[NDArray[Any] | None, ...], NDArray[np.int64]]: ...
def write(
    header: tuple[str, ...],
    columns: tuple[NDArray[Any] | tuple[NDArray[np.int32], tuple[str, ...]], ...],
    /,
) -> bytes: ...
