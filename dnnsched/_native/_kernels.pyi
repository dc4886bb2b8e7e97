import numpy as np
from numpy.typing import NDArray

def pack_f32(x: NDArray[np.float32], eps: float, out: NDArray[np.uint64], isa: int, /) -> None: ...
def pack_bool(x: NDArray[np.bool_], out: NDArray[np.uint64], isa: int, /) -> None: ...
def nonzeros_f32(x: NDArray[np.float32], eps: float, out: NDArray[np.uint64], isa: int, /) -> None: ...
def popcount(a: NDArray[np.uint64], b: NDArray[np.uint64] | None, isa: int, /) -> int: ...
def popcounts(bits: NDArray[np.uint64], out: NDArray[np.uint64], isa: int, /) -> None: ...
def row_any(bits: NDArray[np.uint64], out: NDArray[np.bool_], isa: int, /) -> None: ...
def tiles(
    bits: NDArray[np.uint64], width: int, th: int, tw: int, out: NDArray[np.uint64], isa: int, /
) -> None: ...
def check_mask(bits: NDArray[np.uint64], width: int, /) -> None: ...
def weights(w: NDArray[np.float32], eps: float, out: NDArray[np.int32], isa: int, /) -> None: ...
def windows(
    window: NDArray[np.int32], bits: NDArray[np.uint64], out: NDArray[np.uint32], isa: int, /
) -> None: ...
def valid_macs(
    window: NDArray[np.int32],
    weights: NDArray[np.int32],
    bits: NDArray[np.uint64],
    out: NDArray[np.uint64],
    isa: int,
    /,
) -> None: ...
def rect(window: NDArray[np.int32], /) -> int: ...
def columns(
    window: NDArray[np.int32], depth: int, bits: NDArray[np.uint64], out: NDArray[np.uint64], isa: int, /
) -> None: ...
def masked_sum(bits: NDArray[np.uint64], v: NDArray[np.int32], out: NDArray[np.uint64], isa: int, /) -> None: ...
def read_all(x: NDArray[np.float32], isa: int, /) -> int: ...
def multiply_chain(n: int, /) -> int: ...
def _isa() -> int: ...
def _set_isa(level: int, /) -> int: ...

# plans
def plan_info(plan: object, /) -> tuple[str, int, int, int, int, str]: ...
def plan_execute(
    plan: object, rows: bool, x: NDArray[np.float32], out: NDArray[np.float32], threads: int, /
) -> None: ...
def plan_to_dense(plan: object, out: NDArray[np.float32], /) -> None: ...
def plan_work(plan: object, n: int, machine: NDArray[np.float64], out: NDArray[np.float64], /) -> None: ...

# csr
def csr_plan(
    indptr: NDArray[np.int64],
    indices: NDArray[np.int64],
    values: NDArray[np.float32],
    cols: int,
    bias: NDArray[np.float32] | None,
    lo: float,
    hi: float,
    isa: int,
    /,
) -> object: ...
def csr_unpack(
    plan: object, indptr: NDArray[np.int64], indices: NDArray[np.int64], values: NDArray[np.float32], /
) -> None: ...

# quantisers and 8-bit integers
def quantize(
    x: NDArray[np.float32],
    group: int,
    bits: int,
    symmetric: bool,
    q: NDArray[np.int8] | NDArray[np.uint8],
    scale: NDArray[np.float32],
    zero: NDArray[np.int32],
    isa: int,
    /,
) -> None: ...
def int8_plan(
    w: NDArray[np.int8],
    scale: NDArray[np.float32],
    zero: NDArray[np.int32],
    bias: NDArray[np.float32] | None,
    lo: float,
    hi: float,
    isa: int,
    /,
) -> object: ...
def int8_unpack(plan: object, w: NDArray[np.int8], /) -> None: ...
def int8_execute(
    plan: object, rows: bool, x: NDArray[np.int8], out: NDArray[np.int32], threads: int, /
) -> None: ...

# convolutions
def conv_plan(
    w: NDArray[np.float32],
    shape: NDArray[np.int32],
    window: NDArray[np.int32],
    groups: int,
    layout: int,
    format: int,
    bias: NDArray[np.float32] | None,
    lo: float,
    hi: float,
    isa: int,
    /,
) -> object: ...
def conv_out(plan: object, /) -> tuple[int, int, int]: ...
def conv_execute(plan: object, x: NDArray[np.float32], out: NDArray[np.float32], threads: int, /) -> None: ...

# bsr
def bsr_plan(
    indptr: NDArray[np.int64],
    indices: NDArray[np.int64],
    values: NDArray[np.float32],
    rows: int,
    cols: int,
    bias: NDArray[np.float32] | None,
    lo: float,
    hi: float,
    isa: int,
    /,
) -> object: ...
def bsr_blocks(plan: object, /) -> tuple[int, int, int]: ...
def bsr_unpack(
    plan: object, indptr: NDArray[np.int64], indices: NDArray[np.int64], values: NDArray[np.float32], /
) -> None: ...

# n:m
def nm_plan(
    w: NDArray[np.float32],
    n: int,
    m: int,
    bias: NDArray[np.float32] | None,
    lo: float,
    hi: float,
    isa: int,
    /,
) -> object: ...

# dense and BLAS
def dense_plan(
    w: NDArray[np.float32], bias: NDArray[np.float32] | None, lo: float, hi: float, isa: int, /
) -> object: ...
def blas_build() -> tuple[str, str]: ...
def blas_load(path: str, /) -> None: ...
def blas_info() -> tuple[str, str, int] | None: ...

# butterfly
def butterfly_plan(
    twiddle: NDArray[np.float32],
    rows: int,
    cols: int,
    increasing: bool,
    bias: NDArray[np.float32] | None,
    lo: float,
    hi: float,
    isa: int,
    /,
) -> object: ...
def butterfly_unpack(plan: object, twiddle: NDArray[np.float32], /) -> None: ...

# Fourier
def fft_rows(x: NDArray[np.complex64], out: NDArray[np.complex64], threads: int, isa: int, /) -> None: ...
def fft_columns(x: NDArray[np.complex64], out: NDArray[np.complex64], threads: int, isa: int, /) -> None: ...
def fourier_mix(x: NDArray[np.float32], out: NDArray[np.float32], threads: int, isa: int, /) -> None: ...

# Walsh-Hadamard
def fwht_rows(x: NDArray[np.float32], out: NDArray[np.float32], threads: int, isa: int, /) -> None: ...
def fwht_columns(x: NDArray[np.float32], out: NDArray[np.float32], threads: int, isa: int, /) -> None: ...
def ovsf(
    alpha: NDArray[np.float32], index: NDArray[np.int64], length: int, pitch: int, out: NDArray[np.float32], isa: int, /
) -> None: ...

# LSTM cells
def lstm_dense(
    w: NDArray[np.float32], output_tanh: bool, bias: NDArray[np.float32] | None, isa: int, /
) -> object: ...
def lstm_terms(
    s: NDArray[np.float32],
    u: NDArray[np.float32],
    v: NDArray[np.float32],
    columns: NDArray[np.int32] | None,
    inputs: int,
    output_tanh: bool,
    bias: NDArray[np.float32] | None,
    isa: int,
    /,
) -> object: ...
def lstm_wrap(gates: object, output_tanh: bool, /) -> object: ...
def lstm_info(plan: object, /) -> tuple[int, int, int, int, bool]: ...
def lstm_unpack(
    plan: object,
    s: NDArray[np.float32],
    u: NDArray[np.float32],
    v: NDArray[np.float32],
    columns: NDArray[np.int32] | None,
    /,
) -> None: ...
def lstm_step(
    plan: object,
    x: NDArray[np.float32],
    h: NDArray[np.float32],
    c: NDArray[np.float32],
    h_out: NDArray[np.float32],
    c_out: NDArray[np.float32],
    terms: int,
    threads: int,
    /,
) -> None: ...
def lstm_gates(
    plan: object,
    x: NDArray[np.float32],
    h: NDArray[np.float32],
    out: NDArray[np.float32],
    first: int,
    stop: int,
    threads: int,
    /,
) -> None: ...
def lstm_cell(
    plan: object,
    z: NDArray[np.float32],
    c: NDArray[np.float32],
    h_out: NDArray[np.float32],
    c_out: NDArray[np.float32],
    /,
) -> None: ...
def lstm_work(
    plan: object, n: int, terms: int, machine: NDArray[np.float64], out: NDArray[np.float64], /
) -> None: ...
def lowrank_terms(
    w: NDArray[np.float32],
    s: NDArray[np.float32],
    u: NDArray[np.float32],
    v: NDArray[np.float32],
    columns: NDArray[np.int32],
    isa: int,
    /,
) -> None: ...

# machine
def roofline(work: NDArray[np.float64], machine: NDArray[np.float64], /) -> float: ...
def probe_fma(n: int, isa: int, /) -> int: ...
def probe_read(x: NDArray[np.float32], times: int, isa: int, /) -> float: ...

# rows
def rowstats(
    logits: object, axis: int, temperature: float, threads: int, isa: int, /
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]] | None: ...

# trees
def tree_build(
    parent: NDArray[np.int64], /
) -> tuple[NDArray[np.uint64], NDArray[np.int32], NDArray[np.int32]]: ...
def tree_mask(
    bits: NDArray[np.uint64], prefix: int, additive: bool, isa: int, /
) -> NDArray[np.bool_] | NDArray[np.float32]: ...
def tree_verify(
    parent: NDArray[np.int64], depth: NDArray[np.int32], accepted: NDArray[np.bool_], longest: int, /
) -> NDArray[np.int32]: ...
# nested bit planes
def nested_quantize(
    w: NDArray[np.float32],
    codes: NDArray[np.uint8],
    bits: int,
    group: int,
    scale: NDArray[np.float32] | None,
    zero: NDArray[np.float32] | None,
    lut: NDArray[np.float32] | None,
    /,
) -> None: ...
def nested_plan(
    codes: NDArray[np.uint8],
    bits: int,
    group: int,
    scale: NDArray[np.float32] | None,
    zero: NDArray[np.float32] | None,
    lut: NDArray[np.float32] | None,
    isa: int,
    /,
) -> object: ...
def nested_unpack(
    plan: object,
    codes: NDArray[np.uint8],
    bits: int,
    group: int,
    scale: NDArray[np.float32] | None,
    zero: NDArray[np.float32] | None,
    lut: NDArray[np.float32] | None,
    /,
) -> None: ...
def nested_execute(
    plan: object, bits: int, rows: bool, x: NDArray[np.float32], out: NDArray[np.float32], threads: int, /
) -> None: ...
def nested_to_dense(plan: object, bits: int, out: NDArray[np.float32], /) -> None: ...
def nested_bytes(plan: object, bits: int, /) -> int: ...

# product quantisation
def pq_new(codebooks: NDArray[np.float32], isa: int, /) -> object: ...
def pq_info(pq: object, /) -> tuple[int, str]: ...
def pq_encode(pq: object, x: NDArray[np.float32], out: NDArray[np.uint8], threads: int, /) -> None: ...
def pq_decode(pq: object, codes: NDArray[np.uint8], out: NDArray[np.float32], threads: int, /) -> None: ...
def pq_train(
    x: NDArray[np.float32],
    order: NDArray[np.int64],
    out: NDArray[np.float32],
    batch: int,
    steps: int,
    threads: int,
    isa: int,
    /,
) -> None: ...

# softmax
def softmax_rows(
    x: NDArray[np.float32],
    out: NDArray[np.float32],
    queries: int,
    lengths: NDArray[np.int32] | None,
    bits: NDArray[np.uint64] | None,
    mask: NDArray[np.float32] | None,
    threads: int,
    isa: int,
    /,
) -> int: ...
def softmax_segments(
    x: NDArray[np.float32], out: NDArray[np.float32], offsets: NDArray[np.int64], threads: int, isa: int, /
) -> int: ...

# patterns and sampled products
def pattern_new(indptr: NDArray[np.int64], indices: NDArray[np.int64], heads: int, cols: int, /) -> object: ...
def pattern_info(pattern: object, /) -> tuple[int, int, int, int, int]: ...
def pattern_unpack(pattern: object, indptr: NDArray[np.int64], indices: NDArray[np.int64], /) -> None: ...
def sddmm(
    q: NDArray[np.float32],
    k: NDArray[np.float32],
    pattern: object,
    scale: float,
    out: NDArray[np.float32],
    threads: int,
    isa: int,
    /,
) -> None: ...

# attention
def attention(
    q: NDArray[np.float32],
    k: NDArray[np.float32],
    v: NDArray[np.float32],
    out: NDArray[np.float32],
    scale: float,
    queries: int,
    lengths: NDArray[np.int32] | None,
    bits: NDArray[np.uint64] | None,
    mask: NDArray[np.float32] | None,
    pattern: object | None,
    threads: int,
    isa: int,
    /,
) -> int: ...
