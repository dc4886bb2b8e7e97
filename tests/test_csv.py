"""CSV files: exact numbers, the public schemas, and what malformed files get told."""

import itertools
import locale
import math
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dnnsched import FormatError, Trace, TraceSet, Workload, accel, traces, workloads
from dnnsched._csvio import column
from dnnsched._native import _base

EYERISS = """overall-sparsity,sim_lat,batch-indx,layer-indx
0.5,0.001,0,0
0.25,0.002,0,1
0.75,0.003,1,0
0,0.004,1,1
"""
SANGER = """overall-sparsity,50%-skip,batch-indx,layer-indx
0.5,0.8,0,0
0.25,0.5,0,1
0.75,0.9,1,0
1,1,1,1
"""


def floats(text, **kwargs):
    return _base.csv_read(text, (column("x", **kwargs),))[0][0].tolist()


# --- numbers -----------------------------------------------------------------------------------------

@settings(max_examples=500, deadline=None)
@given(st.floats(allow_nan=False, allow_infinity=False))
@example(5e-324)
@example(2.2250738585072014e-308)
@example(1.7976931348623157e308)
@example(9007199254740993.0)
@example(-0.0)
def test_floats_survive_a_round_trip(value):
    text = _base.csv_write(("x",), (np.array([value]),))
    assert text == f"x\n{value!r}\n".encode()
    back = floats(text)[0]
    assert (back, math.copysign(1, back)) == (value, math.copysign(1, value))


@settings(max_examples=500, deadline=None)
@given(st.integers(0, 10**25), st.integers(0, 25), st.integers(-330, 310))
def test_decimals_are_read_to_the_nearest_double(mantissa, point, exponent):
    digits = str(mantissa).rjust(point + 1, "0")
    text = f"{digits[:len(digits) - point]}.{digits[len(digits) - point:]}e{exponent}"
    want = float(text)
    if math.isinf(want):
        with pytest.raises(FormatError, match="expected a finite number"):
            floats(f"x\n{text}\n".encode())
    else:
        assert floats(f"x\n{text}\n".encode()) == [want]


@pytest.mark.parametrize("text", ["1", "+1", "-1.5", "1.", ".5", "1e3", "1E+3", "00012", "1e-400", " 7 ", '"2.5"',
                                  "\t3"])
def test_accepted_numbers(text):
    assert floats(f"x\n{text}\n".encode()) == [float(text.strip().strip('"'))]


@pytest.mark.parametrize("text", ["abc", "1,5", "1.2.3", "1e", "e5", ".", "-", "--1", "0x10", "1_000", "1 2", "1e5.0",
                                  "nan", "inf", "-Infinity", "1f", "1" * 130, "½", "1;2"])
def test_refused_numbers(text):
    with pytest.raises(FormatError, match="line 2"):
        floats(f'x\n"{text}"\n'.encode())


def test_infinity_only_where_allowed():
    assert floats(b"x\ninf\n-Infinity\n", infinity=True) == [math.inf, -math.inf]
    with pytest.raises(FormatError, match="expected a number, got 'nan'"):
        floats(b"x\nnan\n", infinity=True)


def test_locale_does_not_change_the_decimal_point():
    before = locale.setlocale(locale.LC_NUMERIC)
    try:
        for name in ("de_DE.UTF-8", "fr_FR.UTF-8", "de_DE.utf8", "fr_FR.utf8"):
            try:
                locale.setlocale(locale.LC_NUMERIC, name)
                break
            except locale.Error:
                continue
        else:
            pytest.skip("no locale with a decimal comma is installed")
        assert floats(b"x\n0.1234567890123456789\n") == [0.1234567890123456789]
    finally:
        locale.setlocale(locale.LC_NUMERIC, before)


def test_integers_and_times():
    def read(text, kind, low=-math.inf):
        return _base.csv_read(text, (column("x", kind, low),))[0][0].tolist()
    assert read(b"x\n3\n3.0\n-7\n9007199254740992\n", "int") == [3, 3, -7, 2**53]
    for bad in (b"3.5", b"", b"1e400", b"9007199254740994", b"nan"):
        with pytest.raises(FormatError, match="line 2, column 'x': expected an integer"):
            read(b"x\n" + (bad or b'""') + b"\n", "int")
    with pytest.raises(FormatError, match="expected an integer >= 0, got '-1'"):
        read(b"x\n-1\n", "int", 0)
    for text, stamp in (("2023-11-16 18:17:03.9799600", "2023-11-16T18:17:03.979960000"),
                        ("1970-01-01T00:00:00", "1970-01-01T00:00:00"), ("2024-02-29 23:59:59Z", "2024-02-29T23:59:59"),
                        ("2024-05-10 00:00:00.009930+00:00", "2024-05-10T00:00:00.009930"),
                        ("2000-03-01 00:00:00.123456789", "2000-03-01T00:00:00.123456789"),
                        ("2261-12-31 00:00:00", "2261-12-31T00:00:00")):
        assert read(f"x\n{text}\n".encode(), "time") == [np.datetime64(stamp, "ns").astype(np.int64)]
    for bad in ("2023-02-29 00:00:00", "2023-13-01 00:00:00", "2023-1-01 00:00:00", "2023-01-01 24:00:00",
                "2023-01-01 00:60:00", "2023-01-01 00:00:60", "2023-01-01 00:00:00.", "2023-01-01 00:00:00+01:00",
                "2023-01-01", "2023/01/01 00:00:00", "2023-01-01 00:00:00.1234567891", "2023-04-31 00:00:00", "1e9"):
        with pytest.raises(FormatError, match="line 2, column 'x': expected a time YYYY-MM-DD"):
            read(f"x\n{bad}\n".encode(), "time")


def test_layout_that_is_tolerated():
    want = [1.0, 2.0]
    for text in (b"x\n1\n2\n", b"x\n1\n2", b"\xef\xbb\xbfx\r\n1\r\n2\r\n", b"x\n\n1\n\n\n2\n\n", b'"x"\n"1"\n2\n',
                 b" x \n1\n2\n", b"a,x,b\nfoo,1,\n,2,bar\n", b'a,x\n"p,q ""r""",1\n,2\n', b"x,x2\n1,9\n2,9\n"):
        assert floats(text) == want
    arrays, lines = _base.csv_read(b"x\n\n1\n\r\n2\n", (column("x"), column("y", optional=True)))
    assert arrays[1] is None
    assert lines.tolist() == [3, 5]


@pytest.mark.parametrize(("text", "message"), [
    (b"", "line 1: expected a header line, got an empty file"),
    (b"\nx\n1\n", "line 1: expected a header line, got a blank line"),
    (b"y\n1\n", "line 1: column 'x' is missing"),
    (b"x,x\n1,2\n", "line 1: column 'x' appears twice"),
    (b"x,y\n1,2\n3\n", "line 3: expected 2 fields as in the header, got 1"),
    (b"x,y\n1,2,3\n", "line 2: expected 2 fields as in the header, got 3"),
    (b"x\n1\r2\n", "line 2: expected text, got a carriage return without a line feed"),
    (b"x\n1\n2\x00\n", "line 3: expected text, got a NUL byte"),
    (b'x,y\n1,"open\n2,3\n', "line 2: expected a closing quote before the end of the line"),
    (b'x,y\n1,"a"b\n', "line 2: expected a comma after a closing quote"),
    (b"x\n1\n\xff\xfe\n", r"line 3, column 'x': expected a finite number, got '\?\?'"),
    (b"x\n" + b"9" * 300 + b"\n", r"got '9{40}\.\.\.'"),
    (b"x\n\x1b[2J\n", r"got '\?\[2J'"),
])
def test_layout_that_is_refused(text, message):
    with pytest.raises(FormatError, match=message):
        floats(text)


def test_random_damage_never_gets_through_unnoticed():
    rng = np.random.default_rng(1)
    for _ in range(3000):
        damaged = bytearray(SANGER.encode())
        for _ in range(rng.integers(1, 4)):
            damaged[rng.integers(len(damaged))] = rng.integers(256)
        columns = column("batch-indx", "int", 0), column("50%-skip", low=0, high=1)
        try:
            arrays, lines = _base.csv_read(bytes(damaged), columns)
        except FormatError as exc:
            assert str(exc).startswith("line ")  # noqa: PT017
        else:
            assert all(len(a) == len(lines) for a in arrays)


def test_writer_quotes_names_and_checks_its_arguments():
    text = _base.csv_write(("a b", "n"), ((np.array([1, 0], np.int32), ("x,y", 'p"q')), np.array([3, -4])))
    assert text == b'"a b",n\n"p""q",3\n"x,y",-4\n'
    arrays, _ = _base.csv_read(text, (column("a b", "choice", choices=("x,y", 'p"q')), column("n", "int")))
    assert [a.tolist() for a in arrays] == [[1, 0], [3, -4]]
    for header, columns, error in ((("a",), (), ValueError), ((), (), ValueError),
                                   (("a",), (np.ones(2, "f4"),), TypeError),
                                   (("a", "b"), (np.ones(2), np.ones(3)), ValueError),
                                   (("a",), ((np.array([2], np.int32), ("x",)),), IndexError),
                                   (("a\n",), (np.ones(1),), ValueError)):
        with pytest.raises(error):
            _base.csv_write(header, columns)


# --- the public schemas ------------------------------------------------------------------------------

def write(path, text):
    path.write_text(text, newline="")
    return path


def test_eyeriss_files(tmp_path):
    trace = traces.read_dysta_csv(write(tmp_path / "resnet50_random_x.csv", EYERISS))
    assert trace.latency.tolist() == [[0.001, 0.002], [0.003, 0.004]]
    assert trace.sparsity.tolist() == [[0.5, 0.25], [0.75, 0]]
    assert (trace.model, trace.pattern, trace.origin) == ("resnet50", "random_x", "modelled")
    assert trace.meta == {"file": "resnet50_random_x.csv", "accelerator": "eyeriss_v2"}
    named = traces.read_dysta_csv(tmp_path / "resnet50_random_x.csv", "eyeriss_v2", model="a", pattern="b")
    assert (named.model, named.pattern) == ("a", "b")


def test_sanger_files_hold_densities(tmp_path):
    path = write(tmp_path / "bert_squad.csv", SANGER)
    trace = traces.read_dysta_csv(path)
    assert trace.sparsity.tolist() == [[0.5, 0.75], [0.25, 0.0]]
    assert (trace.model, trace.pattern, trace.meta["seq_len"]) == ("bert_squad", "attention", 512)
    for s in (512, 384, 128):
        trace = traces.read_dysta_csv(path, seq_len=s)
        for (d, lb), t in zip(((0.5, 0.8), (0.25, 0.5), (0.75, 0.9), (1, 1)), trace.latency.ravel(), strict=True):
            r = d / lb
            closed = (6 * s * 768**2 / 2048 + 2 * s * 768**2 / 2048 * r + s * s / 1024 * r * (896 + 4 * s * r)) * 1e-9
            assert t == pytest.approx(closed, rel=1e-14)


def sanger_seconds(density, balance, seq_len):
    return accel.Sanger(compat="artifact").latency(density, balance, seq_len)


def test_sanger_formula_matches_the_table():
    table = {128: (.2301, .2437, .2673, .2918, .3174), 384: (.7008, .7649, .8940, 1.0506, 1.2349),
             512: (.9424, 1.0486, 1.2780, 1.5729, 1.9333)}
    r = np.array([.1, .25, .5, .75, 1])
    for s, want in table.items():
        assert np.abs(sanger_seconds(r, np.ones(5), s) * 1e3 - want).max() < 5.1e-5
    empty = sanger_seconds(np.array([0.0, 0.0]), np.array([0.0, 1.0]), 512)
    assert empty.tolist() == [6 * 512 * 768**2 / 2048e9] * 2


def public_sanger(density, balance, s):
    """The public function's arithmetic on scalars, operation by operation."""
    sub_rows = density / balance / 0.25 * s
    project_gops = 2048 / density * balance
    linear = s * 768 * 768 * 2 * 3 / 1e9 / 2048
    project = s * 768 * 768 * 2 / 1e9 / project_gops
    row = ((768 + 64) + (sub_rows + 64)) * (s / 64)
    return linear + sub_rows / 64 * (row * 1.0) / 1e9 + project


def test_sanger_formula_is_the_public_one_bit_for_bit():
    rng = np.random.default_rng(1)
    balance = rng.uniform(0.3, 1, 2000)
    density = balance * rng.uniform(0.01, 1, 2000)
    for s in (128, 384, 512):
        want = [public_sanger(d, b, s) for d, b in zip(density.tolist(), balance.tolist(), strict=True)]
        assert sanger_seconds(density, balance, s).tolist() == want


def test_density_above_load_balance_is_suspicious(tmp_path):
    path = write(tmp_path / "bert.csv", SANGER.replace("0.75,0.9", "0.75,0.7"))
    with pytest.warns(UserWarning, match="line 4: density 0.75 exceeds load balance 0.7"):
        traces.read_dysta_csv(path)


def test_columns_in_any_order_load_equally(tmp_path):
    for text, name in ((EYERISS, "e"), (SANGER, "s")):
        rows = [line.split(",") for line in text.splitlines()]
        want = traces.read_dysta_csv(write(tmp_path / f"{name}.csv", text))
        for order in itertools.permutations(range(4)):
            lines = [",".join(["junk", *(row[i] for i in order), "more"]) for row in rows]
            got = traces.read_dysta_csv(write(tmp_path / f"{name}.csv", "\r\n".join(["﻿" + lines[0], *lines[1:], ""])))
            assert got == want


def test_rows_in_any_order_load_equally(tmp_path):
    lines = EYERISS.splitlines()
    want = traces.read_dysta_csv(write(tmp_path / "a.csv", EYERISS))
    got = traces.read_dysta_csv(write(tmp_path / "a.csv", "\n".join([lines[0], *reversed(lines[1:])])))
    assert got == want
    far = traces.read_dysta_csv(write(tmp_path / "a.csv", EYERISS.replace(",1,", ",17,")))
    assert far.latency.tolist() == want.latency.tolist()
    assert far.meta["batches"] == [0, 17]


SHARED_FAULTS = {
    "empty file": (lambda t: "", "line 1: expected a column"),
    "header only": (lambda t: t.splitlines()[0] + "\n", "expected at least one row after the header"),
    "no batch column": (lambda t: t.replace("batch-indx", "batch"), "line 1: column 'batch-indx' is missing"),
    "no layer column": (lambda t: t.replace("layer-indx", "layer"), "line 1: column 'layer-indx' is missing"),
    "no sparsity column": (lambda t: t.replace("overall-", ""), "line 1: column 'overall-sparsity' is missing"),
    "repeated column": (lambda t: t.replace("layer-indx", "batch-indx"), "line 1: column 'batch-indx' appears twice"),
    "sparsity above 1": (lambda t: t.replace("0.25,", "1.25,"),
                         r"line 3, column 'overall-sparsity': expected a finite number in \[0, 1\], got '1.25'"),
    "negative sparsity": (lambda t: t.replace("0.25,", "-0.25,"), "line 3, column 'overall-sparsity': .*got '-0.25'"),
    "nan sparsity": (lambda t: t.replace("0.25,", "nan,"), "line 3, column 'overall-sparsity': .*got 'nan'"),
    "empty field": (lambda t: t.replace("0.25,", ","), "line 3, column 'overall-sparsity': .*got ''"),
    "text field": (lambda t: t.replace("0.25,", "low,"), "line 3, column 'overall-sparsity': .*got 'low'"),
    "decimal comma": (lambda t: t.replace("0.25,", "0,25,"), "line 3: expected 4 fields|line 3, column"),
    "short row": (lambda t: t.replace(",1,0\n", ",1\n"), "line 4: expected 4 fields as in the header, got 3"),
    "long row": (lambda t: t.replace(",1,0\n", ",1,0,7\n"), "line 4: expected 4 fields as in the header, got 5"),
    "duplicate row": (lambda t: t + t.splitlines()[2] + "\n",
                      r"line 6: duplicate row for batch 0, layer 1 \(first on line 3\)"),
    "missing row": (lambda t: "\n".join(t.splitlines()[:4]),
                    "batch 1 has no row for layer 1: expected 2 layers for every batch, got 1"),
    "gap in layers": (lambda t: t.replace(",0\n", ",5\n"), "batch 0 has no row for layer 0"),
    "huge layer": (lambda t: t.replace(",1,1\n", ",1,9007199254740992\n"), "batch 0 has no row for layer 0|layer 2"),
    "negative batch": (lambda t: t.replace(",1,0\n", ",-1,0\n"), "line 4, column 'batch-indx': .* >= 0, got '-1'"),
    "fractional layer": (lambda t: t.replace(",1,0\n", ",1,0.5\n"), "line 4, column 'layer-indx': expected an integer"),
    "open quote": (lambda t: t.replace("0.25,", '"0.25,'), "line 3: expected a closing quote"),
    "NUL byte": (lambda t: t.replace("0.25,", "0.25\0,"), "line 3: expected text, got a NUL byte"),
    "old line ends": (lambda t: t.replace("\n", "\r"), "line 1: expected"),
    "utf-16": (lambda t: t.encode("utf-16").decode("latin-1"), "line 1: expected"),
    "semicolons": (lambda t: t.replace(",", ";"), "line 1: expected a column"),
}
EYERISS_FAULTS = {
    "zero latency": (lambda t: t.replace("0.002", "0"), "line 3, column 'sim_lat': .* number > 0, got '0'"),
    "negative latency": (lambda t: t.replace("0.002", "-1e-3"), "line 3, column 'sim_lat': .*got '-1e-3'"),
    "infinite latency": (lambda t: t.replace("0.002", "inf"), "line 3, column 'sim_lat': .*got 'inf'"),
    "no latency column": (lambda t: t.replace("sim_lat", "lat"), "'sim_lat' .Eyeriss-V2., got neither"),
    "both schemas": (lambda t: t.replace("batch-indx", "50%-skip"), "got both; say accelerator="),
}
SANGER_FAULTS = {
    "balance above 1": (lambda t: t.replace("0.8", "1.8"), "line 2, column '50%-skip': .* number in .*'1.8'"),
    "zero balance": (lambda t: t.replace("0.8", "0"),
                     "line 2, column '50%-skip': expected a load balance > 0 where 'overall-sparsity' is 0.5, got 0"),
    "no balance column": (lambda t: t.replace("50%-skip", "25%-skip"), "line 1: expected a column '50%-skip'"),
}


@pytest.mark.parametrize("fault", [*SHARED_FAULTS, *EYERISS_FAULTS])
def test_malformed_eyeriss_files(tmp_path, fault):
    change, message = {**SHARED_FAULTS, **EYERISS_FAULTS}[fault]
    path = write(tmp_path / "net_random.csv", change(EYERISS))
    with pytest.raises(FormatError, match=message) as info:
        traces.read_dysta_csv(path)
    assert str(path) in str(info.value)


@pytest.mark.parametrize("fault", [*SHARED_FAULTS, *SANGER_FAULTS])
def test_malformed_sanger_files(tmp_path, fault):
    change, message = {**SHARED_FAULTS, **SANGER_FAULTS}[fault]
    path = write(tmp_path / "bert.csv", change(SANGER))
    with pytest.raises(FormatError, match=message) as info:
        traces.read_dysta_csv(path)
    assert str(path) in str(info.value)


def test_other_wrong_calls(tmp_path):
    path = write(tmp_path / "bert.csv", SANGER)
    with pytest.raises(FormatError, match="line 1: column 'sim_lat' is missing"):
        traces.read_dysta_csv(path, "eyeriss_v2")
    with pytest.raises(ValueError, match="accelerator: expected one of 'sanger', 'eyeriss_v2', got 'tpu'"):
        traces.read_dysta_csv(path, "tpu")
    with pytest.raises(ValueError, match="seq_len: expected an integer >= 1"):
        traces.read_dysta_csv(path, seq_len=0)
    with pytest.raises(FileNotFoundError, match="no such file"):
        traces.read_dysta_csv(tmp_path / "none.csv")
    with pytest.raises(FormatError, match="expected a file, got a folder"):
        traces.read_dysta_csv(tmp_path)
    assert traces.read_dysta_csv(write(tmp_path / "größe_x.csv", EYERISS)).model == "größe"


def random_trace(seed, samples=5, layers=4):
    rng = np.random.default_rng(seed)
    return Trace(rng.lognormal(-6, 1, (samples, layers)), rng.random((samples, layers)), "net", "random", "modelled",
                 {"file": "net_random.csv", "accelerator": "eyeriss_v2"})


@pytest.mark.parametrize("seed", range(5))
def test_eyeriss_round_trip_is_exact(tmp_path, seed):
    trace = random_trace(seed)
    traces.write_dysta_csv(tmp_path / "net_random.csv", trace)
    assert traces.read_dysta_csv(tmp_path / "net_random.csv") == trace


@pytest.mark.parametrize("seq_len", [512, 128])
def test_sanger_round_trip(tmp_path, seq_len):
    rng = np.random.default_rng(seq_len)
    balance = rng.uniform(0.4, 1, (6, 12))
    density = balance * rng.uniform(0.05, 0.95, (6, 12))
    zeros = 1 - density
    trace = Trace(sanger_seconds(1 - zeros, balance, seq_len), zeros, "bert", "attention")
    path = tmp_path / "bert.csv"
    traces.write_dysta_csv(path, trace, "sanger", load_balance=balance, seq_len=seq_len)
    back = traces.read_dysta_csv(path, seq_len=seq_len)
    assert np.array_equal(back.latency, trace.latency)
    assert np.array_equal(back.sparsity, trace.sparsity)
    traces.write_dysta_csv(path, trace, "sanger", seq_len=seq_len)
    back = traces.read_dysta_csv(path, seq_len=seq_len)
    np.testing.assert_allclose(back.latency, trace.latency, rtol=1e-14)
    assert np.array_equal(back.sparsity, trace.sparsity)


def test_sanger_writer_refuses_what_the_schema_cannot_hold(tmp_path):
    path = tmp_path / "x.csv"
    with pytest.raises(ValueError, match="trace: expected one with sparsity"):
        traces.write_dysta_csv(path, Trace([[1.0]]))
    with pytest.raises(ValueError, match="latency: sample 0, layer 0: expected what Sanger's formula gives"):
        traces.write_dysta_csv(path, Trace([[1e-6]], [[0.5]]), "sanger")
    with pytest.raises(ValueError, match=r"load_balance: expected the shape of latency \(1, 1\), got \(1, 2\)"):
        traces.write_dysta_csv(path, Trace([[1e-3]], [[0.5]]), "sanger", load_balance=[[1, 1]])
    with pytest.raises(ValueError, match="load_balance: sample 0, layer 0: expected a value in"):
        traces.write_dysta_csv(path, Trace([[1e-3]], [[0.5]]), "sanger", load_balance=[[1.5]])
    with pytest.raises(ValueError, match="load_balance: expected None for eyeriss_v2"):
        traces.write_dysta_csv(path, random_trace(1), load_balance=np.ones((5, 4)))
    assert list(tmp_path.iterdir()) == []


def test_folder_of_public_files(tmp_path):
    for name, samples in (("vgg_random", 3), ("mobilenet_channel", 2), ("vgg_channel", 4)):
        traces.write_dysta_csv(tmp_path / f"{name}.csv", random_trace(samples, samples))
    ts = traces.read_dysta_folder(tmp_path)
    assert ts.keys_list == ("mobilenet_channel", "vgg_channel", "vgg_random")
    assert ts.models == ("mobilenet", "vgg")
    assert TraceSet.load(tmp_path) == ts
    assert traces.load(tmp_path) == ts
    chosen = traces.read_dysta_folder(tmp_path, ["vgg_random.csv", "mobilenet_channel"])
    assert chosen.keys_list == ("vgg_random", "mobilenet_channel")
    with pytest.raises(ValueError, match=r"order: expected names among .*, got 'resnet'"):
        traces.read_dysta_folder(tmp_path, ["resnet"])
    traces.write_dysta_csv(tmp_path / "vgg_random.csv", random_trace(1, 3, 5))
    with pytest.raises(ValueError, match="expected 4 layers as 'vgg_channel' has"):
        traces.read_dysta_folder(tmp_path)
    (tmp_path / "none").mkdir()
    with pytest.raises(FormatError, match=r"expected files NAME\.csv, got none"):
        traces.read_dysta_folder(tmp_path / "none")
    with pytest.raises(FileNotFoundError, match="no such folder"):
        traces.read_dysta_folder(tmp_path / "nowhere")


# --- own folders and request files -------------------------------------------------------------------

def two_traces():
    return TraceSet({"net/random x": random_trace(3), "größe": Trace([[0.1, 0.2, 1 / 3]])}, meta={"seed": 3})


def test_own_folder_round_trip(tmp_path):
    ts = two_traces()
    ts.save(tmp_path / "set")
    names = sorted(p.name for p in (tmp_path / "set").iterdir())
    assert names == ["000-net-random-x.csv", "001-gr-e.csv", "index.json"]
    assert TraceSet.load(tmp_path / "set") == ts
    ts.save(tmp_path / "again")
    for name in ("000-net-random-x.csv", "index.json"):
        assert (tmp_path / "set" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
    with pytest.raises(FileExistsError, match="already exists"):
        ts.save(tmp_path / "set")
    ts["größe"].save(tmp_path / "one")
    assert Trace.load(tmp_path / "one") == ts["größe"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["again", "one", "set"]


def test_failed_folder_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("dnnsched._trace_csv.write_columns", lambda *a: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        two_traces().save(tmp_path / "set")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("change", "message"), [
    (lambda d: (d / "index.json").write_text("{"), "header is not JSON"),
    (lambda d: (d / "index.json").write_text("[]"), "expected a dnnsched-traceset file, got 'list'"),
    (lambda d: (d / "001-gr-e.csv").write_text("sample,layer,latency_s\n0,0,-1\n"), "line 2, column 'latency_s'"),
    (lambda d: (d / "001-gr-e.csv").write_text("sample,layer,latency_s\n1,0,1\n"), "column 'sample': expected 0 to 0"),
    (lambda d: (d / "001-gr-e.csv").write_text("sample,layer\n0,0\n"), "column 'latency_s' is missing"),
    (lambda d: (d / "index.json").write_text((d / "index.json").read_text().replace("001-gr-e", "../x")), "plain file"),
])
def test_changed_folders_are_refused(tmp_path, change, message):
    two_traces().save(tmp_path / "set")
    change(tmp_path / "set")
    with pytest.raises(FormatError, match=message):
        TraceSet.load(tmp_path / "set")


def test_request_files(tmp_path):
    ts = two_traces()
    wl = workloads.poisson(ts, 5, 40, rng=1, priorities=(1, 3)).with_slo({"net/random x": 2, "größe": math.inf})
    wl.save(tmp_path / "w.csv")
    back = Workload.load(tmp_path / "w.csv", ts)
    for name in ("arrival", "model", "sample", "deadline", "priority"):
        assert np.array_equal(getattr(back, name), getattr(wl, name))
    assert back.meta["arrivals"] == {"process": "file", "file": "w.csv"}
    lines = (tmp_path / "w.csv").read_text().splitlines()
    assert lines[0] == "request_id,key,sample,arrival_s,deadline_s,priority"
    short = write(tmp_path / "s.csv", "sample,key,deadline_s,arrival_s\n0,größe,inf,0.5\n1,net/random x,3,0.5\n")
    assert Workload.load(short, ts).priority.tolist() == [1, 1]
    with pytest.raises(TypeError, match="traces: expected a TraceSet"):
        Workload.load(short)
    with pytest.raises(ValueError, match="path: expected a name ending in"):
        wl.save(tmp_path / "w.txt")


@pytest.mark.parametrize(("row", "message"), [
    ("0,vgg,inf,1", "line 3, column 'key': expected a known name, got 'vgg'"),
    ("3,größe,inf,1", "line 3, column 'sample': expected an index below 1"),
    ("0,größe,inf,0.1", "line 3, column 'arrival_s': expected a time not before that of the row above"),
    ("0,größe,nan,1", "line 3, column 'deadline_s': expected a number"),
    ("0,größe,-inf,1", "line 3, column 'deadline_s'"),
    ("0,größe,1,-1", "line 3, column 'arrival_s': expected a finite number >= 0"),
    ("0,größe,1", "line 3: expected 4 fields as in the header, got 3"),
])
def test_malformed_request_files(tmp_path, row, message):
    path = write(tmp_path / "w.csv", f"sample,key,deadline_s,arrival_s\n0,größe,inf,0.5\n{row}\n")
    with pytest.raises(FormatError, match=message) as info:
        Workload.load(path, two_traces())
    assert str(path) in str(info.value)


# --- Azure LLM traces --------------------------------------------------------------------------------

AZURE = ("TIMESTAMP,ContextTokens,GeneratedTokens\r\n2023-11-16 18:17:03.9799600,4808,10\r\n"
         "2023-11-16 18:17:04.0319600,3180,8\r\n2023-11-16 18:17:04.0319600,110,27\r\n2023-11-16 18:17:05.9799601,1,0")


def test_azure_rows(tmp_path):
    path = write(tmp_path / "azure.csv", AZURE)
    table = workloads.read_azure_llm_table(path)
    assert table["time_s"].tolist() == [0, 0.052, 0.052, 2.0000001]
    assert table["context_tokens"].tolist() == [4808, 3180, 110, 1]
    assert table["generated_tokens"].tolist() == [10, 8, 27, 0]
    ts = two_traces()
    wl = workloads.read_azure_llm(path, ts, rng=1)
    assert wl.arrival.tolist() == table["time_s"].tolist()
    assert "CC-BY" in wl.meta["data_citations"][0]
    assert wl.meta["rate"] == pytest.approx(3 / 2.0000001)
    double = workloads.read_azure_llm(path, ts, time_scale=2.0, model="größe", n=3, rng=1)
    assert double.arrival.tolist() == [0, 0.104, 0.104]
    assert (double.model == 1).all()
    fast = workloads.read_azure_llm(path, ts, rate=30.0, rng=1)
    assert 3 / (fast.arrival[-1] - fast.arrival[0]) == pytest.approx(30, rel=1e-12)
    assert workloads.read_azure_llm(path, ts, rho=0.5, rng=1).meta["offered_load"] == pytest.approx(0.5)
    with pytest.raises(ValueError, match="model, mix: expected at most one"):
        workloads.read_azure_llm(path, ts, model="größe", mix={"größe": 1})
    with pytest.raises(ValueError, match="n: expected an integer >= 1 and <= 4, got 5"):
        workloads.read_azure_llm(path, ts, n=5)


@pytest.mark.parametrize(("change", "message"), [
    (lambda t: t.replace("TIMESTAMP", "time"), "line 1: column 'TIMESTAMP' is missing"),
    (lambda t: t.replace("18:17:05", "18:16:05"), "line 5, column 'TIMESTAMP': expected a time not before"),
    (lambda t: t.replace("2023-11-16 18:17:05", "2023-11-31 18:17:05"), "line 5, column 'TIMESTAMP': expected a time"),
    (lambda t: t.replace("3180", "-3"), "line 3, column 'ContextTokens': expected an integer >= 0, got '-3'"),
    (lambda t: t.replace(",27", ",x"), "line 4, column 'GeneratedTokens'"),
    (lambda t: t.splitlines()[0], "expected at least one row"),
])
def test_malformed_azure_files(tmp_path, change, message):
    path = write(tmp_path / "azure.csv", change(AZURE))
    with pytest.raises(FormatError, match=message) as info:
        workloads.read_azure_llm(path, two_traces())
    assert str(path) in str(info.value)


def azure_file(name):
    root = Path(__file__).resolve().parents[1]
    for folder in (os.environ.get("DNNSCHED_DATA"), root.parent / "shared" / "data"):
        path = Path(folder or ".") / "azure_llm_2023" / f"AzureLLMInferenceTrace_{name}.csv"
        if folder and path.exists():
            return path
    return pytest.skip(f"AzureLLMInferenceTrace_{name}.csv not found: put it below $DNNSCHED_DATA/azure_llm_2023")


@pytest.mark.parametrize(("name", "rows", "seconds", "rate", "cv", "context", "generated"), [
    ("conv", 19366, 3501.7, 5.53, 1.09, 1155, 211), ("code", 8819, 3435.9, 2.57, 13.2, 2048, 28)])
def test_real_azure_files(name, rows, seconds, rate, cv, context, generated):
    path = azure_file(name)
    table = workloads.read_azure_llm_table(path)
    gaps = np.diff(table["time_s"])
    assert len(table) == rows
    assert table["time_s"][-1] == pytest.approx(seconds, abs=0.1)
    assert 1 / gaps.mean() == pytest.approx(rate, abs=0.005)
    assert gaps.std() / gaps.mean() == pytest.approx(cv, abs=0.06)
    assert table["context_tokens"].mean() == pytest.approx(context, abs=0.5)
    assert table["generated_tokens"].mean() == pytest.approx(generated, abs=0.5)
    ts = two_traces()
    wl = workloads.read_azure_llm(path, ts, rate=20, rng=1)
    assert wl.n == rows
    copy = workloads.bursty(ts, table["time_s"], 20, 2 * rows, block=256, rng=1)
    spread = np.diff(copy.arrival)
    assert spread.std() / spread.mean() == pytest.approx(cv, rel=0.35)
