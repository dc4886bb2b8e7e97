"""Layer shapes: output extents, counts and rejected fields."""

import pytest

from dnnsched.layers import Layer, Network


def test_conv_extents_and_counts():
    layer = Layer("c", in_channels=3, out_channels=64, in_h=224, in_w=224, kernel_h=7, kernel_w=7, stride=2, padding=3)
    assert (layer.out_h, layer.out_w) == (112, 112)
    assert layer.macs == 118_013_952
    assert layer.params == 9408


@pytest.mark.parametrize(("size", "kernel", "stride", "low"),
                         [(5, 2, 1, 0), (5, 3, 1, 1), (6, 3, 2, 0), (7, 4, 1, 1), (1, 5, 1, 2)])
def test_same_padding(size, kernel, stride, low):
    layer = Layer("c", in_channels=1, out_channels=1, in_h=size, in_w=size, kernel_h=kernel, kernel_w=kernel,
                  stride=stride, padding="same")
    assert layer.out_h == -(-size // stride)
    assert layer.padding_hw == (low, low)


def test_attention_counts():
    layer = Layer("a", "attention", heads=12, seq_len=512, hidden=768)
    assert layer.macs == 4 * 512 * 768**2 + 2 * 512**2 * 768
    assert layer.params == 4 * 768**2


@pytest.mark.parametrize(("bad", "field"), [
    ({"kind": "pool"}, "kind"), ({"groups": 3}, "in_channels"), ({"stride": 0}, "stride"),
    ({"padding": "valid"}, "padding"), ({"padding": -1}, "padding"), ({"kernel_h": 9}, "kernel"),
    ({"in_h": 0}, "in_h"), ({"dilation": (1, 0)}, "dilation"),
])
def test_bad_field_is_named(bad, field):
    good = {"in_channels": 4, "out_channels": 4, "in_h": 4, "in_w": 4, "kernel_h": 3, "kernel_w": 3}
    with pytest.raises(ValueError, match=rf"layer 'x': {field}: expected .*, got"):
        Layer("x", **{**good, **bad})


def test_network_sums_and_unique_names():
    a, b = (Layer(n, "linear", in_channels=8, out_channels=4, bias=True) for n in "ab")
    net = Network("n", [a, b])
    assert net.macs == 64
    assert net.params == 72
    assert list(net) == [a, b]
    assert hash(net) == hash(Network("n", (a, b), {"k": 1}))
    with pytest.raises(ValueError, match="'a' twice"):
        Network("n", [a, a])
    with pytest.raises(ValueError, match="at least one layer"):
        Network("n", [])
