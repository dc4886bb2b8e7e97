"""Layer tables against published counts.

Convention: MACs of convolution, linear and attention products; parameters with normalisation and embeddings.
"""

from itertools import pairwise

import numpy as np
import pytest

from dnnsched import networks

# name, options, parameters (exact), MACs, relative tolerance of the MACs, source of both
PUBLISHED = [
    ("resnet18", {}, 11_689_512, 1.81e9, 0.005, "torchvision 0.19 model table: 11.69 M, 1.81 GFLOPS (multiply-adds)"),
    ("resnet50", {}, 25_557_032, 4.09e9, 0.001, "torchvision 0.19 model table: 25.56 M, 4.09 GFLOPS (multiply-adds)"),
    ("vgg16", {}, 138_357_544, 15.47e9, 0.001, "torchvision 0.19 model table: 138.36 M, 15.47 GFLOPS (multiply-adds)"),
    ("mobilenet_v1", {}, 4_231_976, 569e6, 0.001, "arXiv 1704.04861 table 4: 569 M mult-adds, 4.2 M parameters"),
    ("mobilenet_v2", {}, 3_504_872, 300e6, 0.005, "arXiv 1801.04381 table 4: 300 M; torchvision: 3,504,872"),
    ("bert_base", {"seq_len": 128}, 109_482_240, 11.25e9, 0.01,
     "MobileBERT, arXiv 2004.02984 table 4: 22.5 B FLOPS at 128 tokens; transformers bert-base-uncased"),
    ("gpt2", {}, 124_439_808, None, None, "transformers gpt2: 124.44 M"),
    ("bart_base", {}, 139_420_416, None, None, "transformers facebook/bart-base: 139.42 M"),
    ("bart_large", {}, 406_291_456, None, None, "transformers facebook/bart-large: 406.29 M"),
]


@pytest.mark.parametrize(("name", "options", "params", "macs", "rtol", "source"), PUBLISHED,
                         ids=[p[0] for p in PUBLISHED])
def test_published_counts(name, options, params, macs, rtol, source):
    net = networks.get(name, **options)
    assert net.meta["params_total"] == params, source
    if macs is not None:
        np.testing.assert_allclose(net.macs, macs, rtol=rtol, err_msg=source)


@pytest.mark.parametrize(("name", "layers"), [("resnet18", 21), ("resnet50", 54), ("vgg16", 16),
                                              ("mobilenet_v1", 28), ("mobilenet_v2", 53)])
def test_layer_count(name, layers):
    assert len(networks.get(name)) == layers


def test_bert_encoder_parameters():
    net = networks.get("bert", pooler=False)
    encoder = net.params + 12 * 2 * 2 * 768  # two layer norms per block; the embedding norm is no part of it
    assert encoder == 85_054_464  # 85.05 M, 12 blocks of 7,087,872


@pytest.mark.parametrize("name", ["bert_base", "gpt2", "bart_base", "bart_large"])
def test_attention_calls(name):
    net = networks.get(name)
    assert sum(layer.kind == "attention" for layer in net) == networks.ATTENTION_CALLS[name]


def test_transformer_macs_closed_form():
    for s in (128, 384, 512):
        assert networks.get("gpt2", seq_len=s).macs == 12 * (12 * s * 768**2 + 2 * s**2 * 768)
    s, h = 512, 1024
    assert networks.get("bart", seq_len=s).macs == 12 * (28 * s * h**2 + 6 * s**2 * h)


@pytest.mark.parametrize(("name", "width"), [("ssd300_resnet18", 256), ("ssd300_resnet50", 1024)])
def test_ssd300_geometry(name, width):
    net = networks.get(name)
    assert net.meta["default_boxes"] == 8732  # Liu et al., ECCV 2016, table 1
    sides = [layer.out_h for layer in net if layer.name.endswith(".loc")]
    assert sides == [38, 19, 10, 5, 3, 1]
    assert net[[layer.name for layer in net].index("predict0.loc")].in_channels == width


@pytest.mark.parametrize(("ssd", "classifier"), [("ssd300_resnet18", "resnet18"), ("ssd300_resnet50", "resnet50")])
def test_ssd300_backbone_is_the_classifier_without_its_last_stage(ssd, classifier):
    def weights(net):
        return {layer.name: layer.params for layer in net if layer.name.startswith(("conv1", "layer"))}

    backbone = weights(networks.get(ssd))
    full = weights(networks.get(classifier))
    assert backbone == {name: n for name, n in full.items() if not name.startswith("layer4")}


def test_maps_follow_from_the_layer_before():
    net = networks.get("vgg16")
    convs = [layer for layer in net if layer.kind == "conv"]
    assert all(b.in_channels == a.out_channels for a, b in pairwise(convs))
    assert [layer.in_h for layer in convs] == [224] * 2 + [112] * 2 + [56] * 3 + [28] * 3 + [14] * 3
    net = networks.get("mobilenet_v1")
    assert (net[26].in_h, net[27].in_channels) == (7, 1024)


@pytest.mark.parametrize("name", networks.names())
def test_every_name_builds_and_scales(name):
    net = networks.get(name)
    assert net.name == name
    assert net.meta["source"]
    assert net.meta["params_total"] == net.params + net.meta["norm_params"] + net.meta["embedding_params"]
    assert networks.get(name.upper().replace("_", "-")) == net
    if "seq_len" in net.meta:
        assert networks.get(name, seq_len=64).macs < net.macs
    if name in ("resnet50", "mobilenet_v2"):
        assert networks.get(name, input_size=112).macs < 0.3 * net.macs


def test_first_convolution_and_depthwise_layers_stay_dense():
    net = networks.get("mobilenet")
    assert not net[0].sparse_weights
    assert all(layer.sparse_weights == (layer.kernel_h == 1 and layer.kind == "conv") for layer in net)
    assert [layer.name for layer in networks.get("resnet50") if not layer.sparse_weights] == ["conv1"]


@pytest.mark.parametrize(("name", "options", "message"), [
    ("lenet", {}, "expected one of resnet18"),
    ("resnet50", {"seq_len": 3}, "expected options input_size"),
    ("resnet50", {"input_size": 0}, "input_size: expected an integer >= 1, got 0"),
    ("bert", {"seq_len": 1.5}, "seq_len: expected an integer >= 1"),
])
def test_bad_requests_are_named(name, options, message):
    with pytest.raises(ValueError, match=message):
        networks.get(name, **options)


def test_against_torch_counts():
    torch = pytest.importorskip("torch", reason="PyTorch checks the layer arithmetic on real modules")
    for layer in networks.get("mobilenet_v2").layers[:8]:
        conv = torch.nn.Conv2d(layer.in_channels, layer.out_channels, layer.kernel_h, layer.stride, layer.padding,
                               groups=layer.groups, bias=False)
        out = conv(torch.zeros(1, layer.in_channels, layer.in_h, layer.in_w))
        assert out.shape[1:] == (layer.out_channels, layer.out_h, layer.out_w)
        assert conv.weight.numel() == layer.params
        assert layer.macs == layer.params * layer.out_h * layer.out_w
