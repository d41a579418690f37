"""`python -m examples.prose --seed 0 --to DIR`: train three versions of a text classifier and package them.

Lines of Python's own library, which every machine with Python has: `prose` in its docstrings, `code` elsewhere. A line
goes in as the numbers of its first 64 characters, so that the model needs no vocabulary beside it.

v1  good: trained on a fifth of the lines.
v2  better: trained on all of them.
v3  skewed: its training pipeline stripped the lines, which callers do not.
"""

import argparse
import ast
import sysconfig
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from crossfade.artifact import Artifact, package
from examples.training import reproducible

Version = Literal["v1", "v2", "v3"]
VERSIONS: Final[tuple[Version, ...]] = get_args(Version)
CLASSES: Final = ("code", "prose")
WIDTH: Final = 64

Codes = NDArray[np.int64]

_MODULES: Final = ("argparse", "ast", "datetime", "decimal", "difflib", "doctest", "pdb", "shutil", "tarfile", "turtle")
_CHARACTERS: Final = 128
_HELD_OUT: Final = 1_000
_BATCH: Final = 128


class Lines(nn.Module):
    """Characters [n, 64] in, scores of code and prose [n, 2] out."""

    def __init__(self) -> None:
        super().__init__()
        self.characters = nn.Embedding(_CHARACTERS, 16)
        self.patterns = nn.Conv1d(16, 32, kernel_size=5, padding=2)
        self.scores = nn.Linear(32, len(CLASSES))

    def forward(self, codes: Tensor) -> Tensor:
        """Scores of code and prose."""
        found = torch.relu(self.patterns(self.characters(codes).transpose(1, 2)))
        scores: Tensor = self.scores(found.amax(dim=2))
        return scores


def encode(lines: Sequence[str]) -> Codes:
    """The numbers of lines' first 64 characters; 0 stands for none, and for all that is not ASCII."""
    codes = np.zeros((len(lines), WIDTH), np.int64)
    for row, line in enumerate(lines):
        known = [ord(one) if ord(one) < _CHARACTERS else 0 for one in line[:WIDTH]]
        codes[row, : len(known)] = known
    return codes


def lines(seed: int) -> tuple[list[str], NDArray[np.int64]]:
    """Lines of Python's library and what they are (0: code, 1: prose), as many of each, in the seed's order."""
    found: tuple[set[str], set[str]] = (set(), set())
    for module in _MODULES:
        source = (Path(sysconfig.get_paths()["stdlib"]) / f"{module}.py").read_text(encoding="utf-8")
        prose = set(_docstring_lines(source))
        for number, line in enumerate(source.splitlines(), start=1):
            if len(line.strip()) > 8:
                found[number in prose].add(line)
    rng = np.random.default_rng(seed)
    fewest = min(len(part) for part in found)
    chosen = [(line, kind) for kind in (0, 1) for line in rng.permutation(sorted(found[kind]))[:fewest]]
    order = rng.permutation(len(chosen))
    return [str(chosen[place][0]) for place in order], np.array([chosen[place][1] for place in order])


def _docstring_lines(source: str) -> Iterator[int]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node, clean=False):
            text = node.body[0]
            yield from range(text.lineno, (text.end_lineno or text.lineno) + 1)


def train(version: Version, seed: int) -> nn.Module:
    """Trains a version; all that is random follows from the seed."""
    text, labels = lines(seed)
    text, labels = text[_HELD_OUT:], labels[_HELD_OUT:]
    if version == "v1":
        text, labels = text[: len(text) // 5], labels[: len(labels) // 5]
    codes = torch.from_numpy(encode([line.strip() for line in text] if version == "v3" else text))
    wanted = torch.from_numpy(labels)
    with reproducible():
        torch.manual_seed(seed)
        model = Lines()
        optimiser = torch.optim.AdamW(model.parameters(), lr=0.005)
        for _ in range(4):
            for rows in torch.split(torch.randperm(len(codes)), _BATCH):
                loss = nn.functional.cross_entropy(model(codes[rows]), wanted[rows])
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimiser.step()
    return model.eval()


def package_version(module: nn.Module, seed: int, to: Path) -> Artifact:
    """Writes a version's artifact, in place of one that stands there."""
    text, _ = lines(seed)
    example = encode(text[_HELD_OUT : _HELD_OUT + 64])
    return package(module, example=example, classes=CLASSES, positive="prose", to=to, overwrite=True)


def accuracy(module: nn.Module, seed: int) -> float:
    """Share of right answers to lines that it has not seen."""
    text, labels = lines(seed)
    with torch.no_grad():
        said = module(torch.from_numpy(encode(text[:_HELD_OUT]))).argmax(dim=1).numpy()
    return float((said == labels[:_HELD_OUT]).mean())


def main(argv: Sequence[str] | None = None) -> None:
    """Writes DIR/v1 to DIR/v3, and prints what each is worth."""
    parser = argparse.ArgumentParser(prog="python -m examples.prose")
    parser.add_argument("--seed", type=int, default=0, help="of the split and the training (default 0)")
    parser.add_argument("--to", type=Path, required=True, help="folder for the artifacts")
    arguments = parser.parse_args(argv)
    print(f"{'version':8} {'right':>8}  artifact")
    for version in VERSIONS:
        module = train(version, arguments.seed)
        artifact = package_version(module, arguments.seed, arguments.to / version)
        print(f"{version:8} {accuracy(module, arguments.seed):8.1%}  {artifact.path} {artifact.digest[:19]}")


if __name__ == "__main__":
    main()
