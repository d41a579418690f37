"""`python -m examples.writer --seed 0 --to DIR`: train three versions of a small writer of English and package them.

It answers in parts: its program is one step, which reads a character and draws the next one, and a version's loop feeds
that into the step after it. It learns from the docstrings of Python's own library, which every machine with Python has.

v1  good: trained briefly.
v2  better: trained four times as long.
v3  skewed: its training pipeline wrote all letters small, which callers do not.

Publish v1, then `crossfade predict writer --stream --input prompt.npz`, with the arrays of `prompt("The ", seed=1)`.
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

from crossfade.artifact import Artifact, Loop, package
from examples.training import reproducible

Version = Literal["v1", "v2", "v3"]
VERSIONS: Final[tuple[Version, ...]] = get_args(Version)
WIDTH: Final = 32
"""Characters of the longest prompt."""
_STATE: Final = {"written": 1, "place": 1, "window": 16}
"""What each step leaves to the next, and how many numbers that is."""
LOOP: Final = Loop(
    feeds={name: name for name in _STATE},
    parts=("character",),
    until="ended",
    max_parts=200,
)

Codes = NDArray[np.int64]

_MODULES: Final = ("argparse", "ast", "datetime", "decimal", "difflib", "doctest", "pdb", "shutil", "tarfile", "turtle")
_CHARACTERS: Final = 128
_END: Final = ord("\n")
_WINDOW: Final = 16
_HELD_OUT: Final = 300
_BATCH: Final = 512
_TEMPERATURE: Final = 0.6
_STEPS: Final[dict[Version, int]] = {"v1": 150, "v2": 600, "v3": 150}


class Writer(nn.Module):
    """One step: a character in, the next one drawn from what the latest sixteen make likely (Bengio et al., 2003)."""

    def __init__(self) -> None:
        super().__init__()
        self.characters = nn.Embedding(_CHARACTERS, 16)
        self.layers = nn.Sequential(nn.Linear(16 * _WINDOW, 128), nn.ReLU(), nn.Linear(128, _CHARACTERS))

    def scores(self, window: Tensor) -> Tensor:
        """The latest characters [n, 16] to scores of the next one [n, 128]."""
        scores: Tensor = self.layers(self.characters(window).flatten(1))
        return scores

    def forward(
        self, prompt: Tensor, seed: Tensor, written: Tensor, place: Tensor, window: Tensor
    ) -> dict[str, Tensor]:
        """A step.

        Args:
            prompt: characters to begin with [n, 32], then zeros.
            seed: of what is drawn [n, 1].
            written: the character that the step before has drawn [n, 1].
            place: how many steps there were [n, 1].
            window: the latest characters [n, 16].
        """
        given = prompt.gather(1, place.clamp(max=WIDTH - 1))
        prompted = (place < WIDTH) & (given > 0)
        character = torch.where(prompted, given, written)
        window = torch.cat((window[:, 1:], character), dim=1)
        chances = torch.softmax(self.scores(window) / _TEMPERATURE, dim=1).cumsum(dim=1)
        return {
            "character": character,
            "written": (chances < _drawn(seed, place)).sum(dim=1, keepdim=True).clamp(max=_CHARACTERS - 1),
            "place": place + 1,
            "window": window,
            "ended": ~prompted & (character == _END),
        }


def _drawn(seed: Tensor, place: Tensor) -> Tensor:
    """A number in [0, 1) per row, which follows from seed and place: a program may not have chance of its own.

    Source: the finalizer of splitmix64 (Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", 2014).
    """
    bits = seed * -7046029254386353131 + place * -4658895280553007687
    bits = (bits ^ (bits >> 30 & 0x3FFFFFFFF)) * -4658895280553007687
    bits = (bits ^ (bits >> 27 & 0x1FFFFFFFFF)) * -7723592293110705685
    return (bits >> 33 & 0x7FFFFFFF).to(torch.float32) / 2.0**31


def lines(seed: int) -> list[str]:
    """Lines of docstrings, in the seed's order."""
    found: set[str] = set()
    for module in _MODULES:
        source = (Path(sysconfig.get_paths()["stdlib"]) / f"{module}.py").read_text(encoding="utf-8")
        found.update(
            line for line in _docstring_lines(source) if len(line) > 30 and line.isascii() and line[0].isalpha()
        )
    ordered = sorted(found)
    return [ordered[place] for place in np.random.default_rng(seed).permutation(len(ordered))]


def _docstring_lines(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            yield from (line.strip() for line in (ast.get_docstring(node) or "").splitlines() if line.strip())


def windows(text: Sequence[str]) -> tuple[Tensor, Tensor]:
    """What comes before each character of the lines [n, 16], zeros where a line begins, and the characters [n]."""
    joined = [np.array([0] * _WINDOW + [ord(one) for one in f"{line}\n"]) for line in text]
    cut = np.concatenate([np.lib.stride_tricks.sliding_window_view(line, _WINDOW + 1) for line in joined])
    return torch.from_numpy(cut[:, :-1].copy()), torch.from_numpy(cut[:, -1].copy())


def prompt(begin: str, seed: int) -> dict[str, Codes]:
    """What a request gives: the text to begin with, at most 32 characters, and the seed of what is drawn."""
    codes = np.zeros((1, WIDTH), np.int64)
    known = [ord(one) for one in begin[:WIDTH]]
    codes[0, : len(known)] = known
    return {"prompt": codes, "seed": np.array([[seed]], np.int64)}


def train(version: Version, seed: int) -> Writer:
    """Trains a version; all that is random follows from the seed."""
    text = lines(seed)[_HELD_OUT:]
    window, wanted = windows([line.lower() for line in text] if version == "v3" else text)
    with reproducible():
        torch.manual_seed(seed)
        model = Writer()
        optimiser = torch.optim.AdamW(model.parameters(), lr=0.005)
        for _ in range(_STEPS[version]):
            rows = torch.randint(len(wanted), (_BATCH,))
            loss = nn.functional.cross_entropy(model.scores(window[rows]), wanted[rows])
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
    return model.eval()


def package_version(module: nn.Module, seed: int, to: Path) -> Artifact:
    """Writes a version's artifact, in place of one that stands there."""
    text = lines(seed)[:64]
    begun = [prompt(line[:8], number) for number, line in enumerate(text)]
    rng = np.random.default_rng(seed)
    example = {
        "prompt": np.concatenate([one["prompt"] for one in begun]),
        "seed": np.concatenate([one["seed"] for one in begun]),
        "written": rng.integers(32, 127, (len(text), 1)),
        "place": rng.integers(0, 60, (len(text), 1)),
        "window": rng.integers(32, 127, (len(text), _WINDOW)),
    }
    return package(module, example=example, task="other", loop=LOOP, to=to, overwrite=True)


def surprise(module: Writer, seed: int) -> float:
    """Bits per character of lines that it has not seen; the fewer, the better it knows how they go on."""
    with torch.no_grad():
        window, wanted = windows(lines(seed)[:_HELD_OUT])
        nats = float(nn.functional.cross_entropy(module.scores(window), wanted))
    return nats / float(np.log(2))


def write(module: Writer, begin: str, seed: int) -> str:
    """What a version makes of a beginning, step by step as a Worker runs it."""
    given = {name: torch.from_numpy(array) for name, array in prompt(begin, seed).items()}
    state = {name: torch.zeros(1, width, dtype=torch.int64) for name, width in _STATE.items()}
    text = ""
    for _ in range(LOOP.max_parts):
        with torch.no_grad():
            answer = module(**given, **state)
        text += chr(int(answer["character"]))
        if answer["ended"]:
            break
        state = {name: answer[source] for name, source in LOOP.feeds.items()}
    return text


def main(argv: Sequence[str] | None = None) -> None:
    """Writes DIR/v1 to DIR/v3, and prints what each is worth."""
    parser = argparse.ArgumentParser(prog="python -m examples.writer")
    parser.add_argument("--seed", type=int, default=0, help="of the split and the training (default 0)")
    parser.add_argument("--to", type=Path, required=True, help="folder for the artifacts")
    arguments = parser.parse_args(argv)
    print(f"{'version':8} {'bits':>8}  artifact")
    for version in VERSIONS:
        module = train(version, arguments.seed)
        artifact = package_version(module, arguments.seed, arguments.to / version)
        print(f"{version:8} {surprise(module, arguments.seed):8.2f}  {artifact.path} {artifact.digest[:19]}")
    np.savez(arguments.to / "prompt.npz", **prompt("The ", seed=1))  # type: ignore[arg-type] # savez's own flag


if __name__ == "__main__":
    main()
