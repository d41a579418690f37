"""Train and package the versions. All that is random follows from `seed`; one core needs a few seconds.

v1  good: trained on half of the images.
v2  better: v1, trained on with all images.
v3  wrong labels: the join of images and labels lost its order after row 250, so most examples have another's label.
v4  slow: the mean of v2 and eleven checkpoints trained on from it; right answers at twelve times the compute.
v5  fails: it takes the paper for brighter than the faintest images are, whose answers are NaN. Its training
    pipeline drops such images, so that nobody noticed.
v6  good: v2, trained a little longer.
"""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn

from crossfade.artifact import Artifact, package
from examples.digits.data import CLASSES, PIXEL_NAMES, Digits, digits
from examples.digits.models import Committee, DigitNet
from examples.training import reproducible

VersionName = Literal["v1", "v2", "v3", "v4", "v5", "v6"]
VERSIONS: tuple[VersionName, ...] = get_args(VersionName)

_BATCH = 64
_MEMBERS = 12
_RIGHT_LABELS = 250
_FAINT_SHARE = 0.15


def train_version(name: VersionName, seed: int) -> nn.Module:
    """Train one version, and those it was trained on from."""
    with reproducible():
        return _train(name, seed, digits(seed), {})


def train_versions(seed: int) -> dict[VersionName, nn.Module]:
    """Train all versions; the same as `train_version` for each, in less time."""
    trained: dict[VersionName, nn.Module] = {}
    with reproducible():
        data = digits(seed)
        for name in VERSIONS:
            trained[name] = _train(name, seed, data, trained)
    return trained


def package_version(name: VersionName, seed: int, to: str | Path) -> Artifact:
    """Train one version and write its artifact into the folder `to`, in place of one that stands there."""
    return package_module(train_version(name, seed), seed, to)


def package_module(module: nn.Module, seed: int, to: str | Path) -> Artifact:
    """Write a trained version's artifact, with the training images as its reference.

    The golden rows are clearly written images, bolder than most: v5 answers them too.
    """
    data = digits(seed)
    ink = data.train_images.mean(axis=1)
    bold = data.train_images[ink > np.median(ink)]
    return package(
        module,
        example=data.train_images,
        reference=data.train_images,
        labels=data.train_labels,
        classes=CLASSES,
        feature_names=PIXEL_NAMES,
        golden=bold[:8],
        to=to,
        overwrite=True,
    )


def _train(name: VersionName, seed: int, data: Digits, trained: Mapping[VersionName, nn.Module]) -> nn.Module:
    images, labels = torch.from_numpy(data.train_images), torch.from_numpy(data.train_labels)
    number = VERSIONS.index(name)
    torch.manual_seed(10 * seed + number)
    if name == "v1":
        half = len(images) // 2
        return _fit(DigitNet(), images[:half], labels[:half], epochs=30, rate=6e-3)
    if name == "v3":
        mixed = torch.cat((labels[:_RIGHT_LABELS], labels[_RIGHT_LABELS:].roll(1)))
        return _fit(DigitNet(), images, mixed, epochs=20, rate=6e-3)
    if name == "v5":
        ink = images.mean(dim=1)
        paper = float(ink.quantile(_FAINT_SHARE))
        kept = ink > paper
        return _fit(DigitNet(paper), images[kept], labels[kept], epochs=20, rate=6e-3)
    before: VersionName = "v1" if name == "v2" else "v2"
    start = trained[before] if before in trained else _train(before, seed, data, trained)
    torch.manual_seed(10 * seed + number)
    if name == "v4":
        members = [start]
        while len(members) < _MEMBERS:
            members.append(_fit(copy.deepcopy(members[-1]), images, labels, epochs=1, rate=1e-3))
        return Committee(members).eval()
    epochs, rate = (12, 3e-3) if name == "v2" else (6, 1e-3)
    return _fit(copy.deepcopy(start), images, labels, epochs=epochs, rate=rate)


def _fit(model: nn.Module, images: Tensor, labels: Tensor, *, epochs: int, rate: float) -> nn.Module:
    steps = epochs * -(-len(images) // _BATCH)
    optimiser = torch.optim.AdamW(model.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, steps, pct_start=0.2)
    loss_of = nn.CrossEntropyLoss(label_smoothing=0.05)
    model.train()
    for _ in range(epochs):
        order = torch.randperm(len(images))
        for first in range(0, len(images), _BATCH):
            rows = order[first : first + _BATCH]
            loss = loss_of(model(images[rows]), labels[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    return model.eval()
