"""scikit-learn's bundled handwritten digits: 1,797 images of 8 x 8 pixels, each pixel 0 to 16."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

CLASSES = tuple(str(digit) for digit in range(10))
PIXEL_NAMES = tuple(f"row{row}_column{column}" for row in range(8) for column in range(8))
BRIGHTEST = 16.0

_HELD_OUT = 597

Images = NDArray[np.float32]
Labels = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Digits:
    """Images [n, 64] and their digits [n], for training and held out from it."""

    train_images: Images
    train_labels: Labels
    held_out_images: Images
    held_out_labels: Labels


def digits(seed: int) -> Digits:
    """All images, dealt by `seed` into 1,200 for training and 597 that are held out."""
    images, labels = load_digits(return_X_y=True)
    images, labels = images.astype(np.float32), labels.astype(np.int64)
    order = np.random.default_rng(seed).permutation(len(images))
    held, train = order[:_HELD_OUT], order[_HELD_OUT:]
    return Digits(images[train], labels[train], images[held], labels[held])


def held_out(seed: int) -> tuple[Images, Labels]:
    """The images that no version was trained on with this seed, and their digits."""
    split = digits(seed)
    return split.held_out_images, split.held_out_labels


def drift(images: Images, kind: Literal["shift", "noise"], rng: np.random.Generator) -> Images:
    """Images [n, 64] as a camera that was knocked (`shift`: 1 or 2 pixels to the side) or dirty sends them."""
    pictures = images.reshape(-1, 8, 8)
    if kind == "noise":
        noisy = pictures + rng.normal(0, 4, pictures.shape)
        return np.clip(noisy, 0, BRIGHTEST).astype(np.float32).reshape(images.shape)
    columns = rng.integers(1, 3, len(pictures))
    source = np.arange(8) - columns[:, None]
    moved = np.take_along_axis(pictures, np.clip(source, 0, 7)[:, None, :], axis=2)
    return np.where(source[:, None, :] >= 0, moved, np.float32(0)).reshape(images.shape)
