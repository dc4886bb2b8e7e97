"""Real images for the small CNNs: scikit-learn's digits and patches of its two sample photographs.

Needs scikit-learn and Pillow. Images are float32 (n, 3, 32, 32) in [0, 1]; classes 0-9 are digits, 10 is china.jpg,
11 is flower.jpg. Training patches come from the left of a photograph, test patches from its right.
"""

import numpy as np

SOURCES = ("digits", "china", "flower")
TRAIN_DIGITS = 1300
PATCHES = {"train": 400, "test": 100}  # per photograph
COLUMNS = {"train": (0, 400), "test": (400, 640)}


def load(split, seed=0):
    """Images, labels, source index and identity (digit index, or row, column and side of the patch).

    Parameters
    ----------
    split : {"train", "test"}
    seed : int
        Chooses the patches.
    """
    from sklearn.datasets import load_digits, load_sample_images

    digits = load_digits()
    chosen = np.arange(TRAIN_DIGITS) if split == "train" else np.arange(TRAIN_DIGITS, len(digits.target))
    images = [np.repeat(_upsample(digits.images[chosen] / 16.0)[:, None], 3, axis=1)]
    labels, sources = [digits.target[chosen]], [np.zeros(len(chosen), int)]
    identity = [np.stack([chosen, np.full(len(chosen), -1), np.full(len(chosen), 8)], axis=1)]
    rng = np.random.default_rng([seed, len(split)])
    for index, photo in enumerate(load_sample_images().images, 1):
        patches, where = _patches(photo / 255.0, PATCHES[split], COLUMNS[split], rng)
        images.append(patches)
        labels.append(np.full(len(patches), 9 + index))
        sources.append(np.full(len(patches), index))
        identity.append(where)
    return (np.concatenate(images).astype(np.float32), np.concatenate(labels), np.concatenate(sources),
            np.concatenate(identity))


def _upsample(images):
    """Bilinear 8 x 8 -> 32 x 32, sample points at pixel centres."""
    at = np.clip((np.arange(32) + 0.5) / 4 - 0.5, 0, 7)
    low = np.minimum(at.astype(int), 6)
    weight = np.zeros((32, 8))
    weight[np.arange(32), low] = 1 - (at - low)
    weight[np.arange(32), low + 1] += at - low
    return weight @ images @ weight.T


def _patches(photo, count, columns, rng):
    """Square patches of 32, 64 or 96 pixels, averaged down to 32 x 32."""
    out, where = [], []
    for _ in range(count):
        factor = int(rng.integers(1, 4))
        side = 32 * factor
        row = int(rng.integers(0, photo.shape[0] - side + 1))
        column = int(rng.integers(columns[0], columns[1] - side + 1))
        patch = photo[row:row + side, column:column + side]
        out.append(patch.reshape(32, factor, 32, factor, 3).mean(axis=(1, 3)).transpose(2, 0, 1))
        where.append((row, column, side))
    return np.stack(out), np.array(where)


def low_light(images, gain, sigma):
    """Darken by `gain` and blur with a Gaussian of `sigma` pixels, both per image: a dark, unfocused shot.

    Parameters
    ----------
    images : ndarray, shape (n, 3, 32, 32)
    gain, sigma : ndarray, shape (n,)
    """
    offsets = np.arange(-4, 5)
    out = np.empty_like(images)
    for i, image in enumerate(images):
        kernel = np.exp(-0.5 * (offsets / sigma[i]) ** 2)
        kernel /= kernel.sum()
        padded = np.pad(image, ((0, 0), (4, 4), (4, 4)), mode="edge")
        rows = np.lib.stride_tricks.sliding_window_view(padded, 9, axis=1) @ kernel
        out[i] = gain[i] * (np.lib.stride_tricks.sliding_window_view(rows, 9, axis=2) @ kernel)
    return out
