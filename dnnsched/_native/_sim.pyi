from collections.abc import Callable
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

N_HIST: int
N_PARAM: int
PARAM_USER: int
PICK_ERROR: int
PICK_IDLE: int
POLICY_ABI: int
features: tuple[str, ...]
params: dict[str, int]
sizes: dict[str, int]

@final
class Sim:
    def __new__(
        cls,
        tables: list[tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64], int]],
        stages: NDArray[np.void],
        programs: NDArray[np.void],
        pools: NDArray[np.void],
        policies: list[tuple[Any, ...]],
        resources: NDArray[np.void],
        switches: list[NDArray[np.float64] | None],
        scenario: NDArray[np.void],
        thresholds: NDArray[np.float64],
        home: NDArray[np.int32],
        sources: NDArray[np.void],
        clock: int,
        step_each_stage: bool,
    ) -> Sim: ...
    def feed(
        self,
        arrival: NDArray[np.float64],
        deadline: NDArray[np.float64] | None,
        priority: NDArray[np.float64] | None,
        program: NDArray[np.int32] | None,
        sample: NDArray[np.int32] | None,
        owner: NDArray[np.int32] | None,
        pos0: NDArray[np.int32] | None,
        exit_at: NDArray[np.int32] | None,
        user: NDArray[np.float64] | None,
        final: bool,
        /,
    ) -> None: ...
    def record(
        self,
        n: int,
        first_start: NDArray[np.float64] | None,
        finish: NDArray[np.float64] | None,
        service: NDArray[np.float64] | None,
        n_preempt: NDArray[np.int32] | None,
        last_stage: NDArray[np.int32] | None,
        variant: NDArray[np.int32] | None,
        status: NDArray[np.uint8] | None,
        order: NDArray[np.int64] | None,
        release: NDArray[np.float64] | None,
        /,
    ) -> None: ...
    def sums(self, sums: NDArray[np.void], hist: NDArray[np.int64], warmup: int, /) -> None: ...
    def slices(self, out: NDArray[np.void], /) -> None: ...
    def run(self, fuel: int = 100000, /) -> int: ...
    def swallowed(self, exception: BaseException, /) -> None: ...
    def queue(self, pool: int, /) -> NDArray[np.float64]: ...
    def choose(self, slot: int, /) -> None: ...
    def stats(self) -> dict[str, Any]: ...

def hist_middles() -> NDArray[np.float64]: ...
def builtin() -> list[str]: ...
def capsule(obj: object, /) -> tuple[str | None, int, int]: ...
def timeline(
    write: Callable[[bytes], object],
    slices: NDArray[Any],
    lost: int,
    orders: tuple[NDArray[np.int64], ...],
    rows: tuple[NDArray[Any], ...],
    names: list[str],
    resources: list[str],
    t0: float,
    t1: float,
    cap: int,
    other: str | None,
    /,
) -> tuple[int, int]: ...
def _isa() -> int: ...
def _set_isa(level: int, /) -> int: ...
