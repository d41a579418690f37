"""What `package` does: finds the module and the arrays. torch is imported by nothing else of the command."""

import contextlib
import importlib
import importlib.util
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from crossfade.artifact import Architecture, Artifact, ArtifactError, package
from crossfade.cli.actions.arrays import load_arrays
from crossfade.cli.context import Session
from crossfade.cli.errors import CommandError, UsageError, refusal
from crossfade.cli.text import plural, size
from crossfade.loop import Loop
from crossfade.strict_json import FieldError, decode, parse

_AS_OPTIONS: Final = {
    "overwrite=True": "--overwrite",
    'task="regression" or task="other"': "--task regression or --task other",
    "choose rows that it answers with golden=...": "begin --example with rows that it answers",
    "feature_names:": "--features:",
    "(feature_names, --features)": "(--features)",
}
"""What the packaging code says to those who call it from Python, in the command's words."""
_OF_ONE_OPTION: Final = re.compile(r"\A(task|positive|precision|nan_policy)(?=: )")
"""How it begins where one option alone is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageOptions:
    """What is packaged, and how; see the command's help."""

    module: str
    example: Path
    to: Path
    reference: Path | None
    profile: Path | None
    classes: str
    positive: str
    task: str
    features: str
    precision: str
    nan_policy: str
    architecture: str
    config: str
    loop: Path | None
    overwrite: bool


def package_module(session: Session, options: PackageOptions) -> None:
    """Packages a torch module.

    Raises:
        UsageError: an option's value can be none.
        CommandError: it cannot be packaged.
    """
    architecture = _architecture(options.architecture, options.config)
    # What the model's code prints is no part of the result.
    with contextlib.redirect_stdout(sys.stderr):
        artifact = _packaged(options, architecture)
    manifest = artifact.manifest
    profile = manifest.profile
    stored = f"weights for the architecture {architecture.name}, " if architecture else ""
    watched = f"{plural(len(profile.features), 'feature')} watched for drift" if profile else "no reference: no drift"
    session.show(
        {
            "path": str(artifact.path.resolve()),
            "digest": artifact.digest,
            "size_bytes": artifact.size,
            "task": manifest.task.value,
            "classes": list(manifest.classes or ()),
            "architecture": architecture.name if architecture else None,
        },
        lambda: (
            f"packaged {artifact.path} ({size(artifact.size)}, {stored}{manifest.task}, {watched})\n"
            f"Publish it: crossfade publish MODEL {artifact.path}"
        ),
    )


def _packaged(options: PackageOptions, architecture: Architecture | None) -> Artifact:
    module = find_module(options.module)
    try:
        return package(
            module,
            example=_plain(load_arrays(str(options.example))),
            to=options.to,
            reference=_plain(load_arrays(str(options.reference))) if options.reference else None,
            profile=options.profile,
            classes=_names(options.classes),
            positive=options.positive or None,
            task=options.task or None,
            feature_names=_names(options.features),
            precision=options.precision,
            nan_policy=options.nan_policy,
            architecture=architecture,
            loop=_loop(options.loop),
            overwrite=options.overwrite,
        )
    except ArtifactError as error:
        raise refusal(_as_options(str(error))) from error
    except ImportError as error:
        raise CommandError(f"packaging needs torch: pip install 'crossfade[torch]' ({error})") from error


def _as_options(message: str) -> str:
    for python, option in _AS_OPTIONS.items():
        message = message.replace(python, option)
    return _OF_ONE_OPTION.sub(lambda found: f"--{found[0].replace('_', '-')}", message)


def _loop(path: Path | None) -> Loop | None:
    """The loop in a file.

    Raises:
        CommandError: it cannot be read.
        UsageError: it holds no loop.
    """
    if path is None:
        return None
    try:
        return decode(Loop, parse(path.read_bytes()))
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {error.strerror}") from error
    except FieldError as error:
        raise UsageError(
            f'{path} holds no loop: {error}; write {{"feeds": {{"INPUT": "OUTPUT"}}, "parts": ["OUTPUT"], '
            '"max_parts": 100}, and "until": "OUTPUT" if one ends a row'
        ) from error


def find_module(place: str) -> Any:
    """The torch module at `path/to/file.py:name` or `package.module:name`; a callable that is no module is called.

    Raises:
        UsageError: the place has another form.
        CommandError: nothing is there, or its code fails.
    """
    where, colon, name = place.rpartition(":")
    if not (where and colon and name):
        raise UsageError(f"{place!r} names no model: write path/to/file.py:NAME or package.module:NAME")
    source = _import(where)
    if not hasattr(source, name):
        raise CommandError(f"{where} has no {name!r}")
    found = getattr(source, name)
    try:
        from torch.nn import Module
    except ImportError as error:
        raise CommandError("packaging needs torch: pip install 'crossfade[torch]'") from error
    if isinstance(found, Module):
        return found
    if not callable(found):
        raise CommandError(f"{place} is a {type(found).__name__}, neither a torch module nor a callable that gives one")
    try:
        made = found()
    except Exception as error:
        raise CommandError(f"{place}() failed: {type(error).__name__}: {error}") from error
    except SystemExit as error:
        raise CommandError(f"{place}() ends the program: name a callable that gives the module") from error
    if not isinstance(made, Module):
        raise CommandError(f"{place}() gave a {type(made).__name__}, not a torch module")
    return made


def _import(where: str) -> ModuleType:
    path = Path(where)
    try:
        if path.suffix != ".py":
            sys.path.insert(0, str(Path.cwd()))
            return importlib.import_module(where)
        if not path.is_file():
            raise CommandError(f"there is no file {where}")
        # A script finds the modules beside it.
        sys.path.insert(0, str(path.resolve().parent))
        spec = importlib.util.spec_from_file_location(path.stem, path)
        if spec is None or spec.loader is None:
            raise CommandError(f"{where} cannot be imported")
        module = importlib.util.module_from_spec(spec)
        sys.modules[path.stem] = module
        spec.loader.exec_module(module)
    except CommandError:
        raise
    except Exception as error:
        raise CommandError(f"{where} cannot be imported: {type(error).__name__}: {error}") from error
    except SystemExit as error:
        raise CommandError(
            f"{where} cannot be imported, since it ends the program: put what it runs below "
            '`if __name__ == "__main__":`'
        ) from error
    return module


def _architecture(name: str, config: str) -> Architecture | None:
    if not name:
        if config:
            raise UsageError("--config is for an architecture: say which with --architecture")
        return None
    try:
        arguments = parse(config.encode()) if config else {}
    except FieldError as error:
        raise UsageError(f"--config: {error}") from error
    try:
        return Architecture(name, arguments)
    except FieldError as error:
        raise UsageError(f"--architecture: {error}") from error


def _names(text: str) -> list[str] | None:
    return [name.strip() for name in text.split(",")] if text else None


def _plain(arrays: dict[str, Any]) -> Any:
    """One array without a name, or arrays by name."""
    return arrays[""] if set(arrays) == {""} else arrays
