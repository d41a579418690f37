"""`python -m examples.digits --seed 0 --to DIR`: train all six versions and write their artifacts."""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from crossfade.manifest import MANIFEST_FILE
from examples.digits.data import Images, Labels, held_out
from examples.digits.train import VERSIONS, package_module, train_versions
from examples.training import one_thread

_TIMED_RUNS = 300


def main(argv: Sequence[str] | None = None) -> None:
    """Write DIR/v1 to DIR/v6 and print what each version is worth on held-out images."""
    parser = argparse.ArgumentParser(prog="python -m examples.digits", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="of the split and the training (default 0)")
    parser.add_argument("--to", type=Path, required=True, help="folder for the artifacts")
    arguments = parser.parse_args(argv)
    for folder in (arguments.to / name for name in VERSIONS):
        if folder.exists() and not (folder / MANIFEST_FILE).is_file():
            parser.exit(1, f"error: {folder} is no artifact and is not overwritten: choose another --to\n")
    started = time.perf_counter()
    images, labels = held_out(arguments.seed)
    print(f"{'version':8} {'right':>8} {'NaN':>8} {'1 image':>10}  artifact")
    for name, module in train_versions(arguments.seed).items():
        right, missing = _scores(module, images, labels)
        artifact = package_module(module, arguments.seed, arguments.to / name)
        micros = 1e6 * _seconds_per_image(module, images)
        print(f"{name:8} {right:8.1%} {missing:8.1%} {micros:7.0f} µs  {artifact.path} {artifact.digest[:19]}")
    print(f"{time.perf_counter() - started:.1f} s, seed {arguments.seed}")


def _scores(module: nn.Module, images: Images, labels: Labels) -> tuple[float, float]:
    """Share of right answers among those that are numbers, and share of answers that are not."""
    with torch.no_grad():
        logits = module(torch.from_numpy(images)).numpy()
    answered = np.isfinite(logits).all(axis=1)
    right = logits[answered].argmax(axis=1) == labels[answered]
    return float(right.mean()), float(1 - answered.mean())


def _seconds_per_image(module: nn.Module, images: Images) -> float:
    """Median time of a batch of one, with one thread."""
    with one_thread(), torch.inference_mode():
        times = []
        for row in range(_TIMED_RUNS):
            image = torch.from_numpy(images[row : row + 1])
            begun = time.perf_counter()
            module(image)
            times.append(time.perf_counter() - begun)
    return float(np.median(times))


if __name__ == "__main__":
    main()
