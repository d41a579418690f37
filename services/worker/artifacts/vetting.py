"""What a stored program may contain, checked before torch reads it.

`torch.export.load` runs code from a crafted file (seen on torch 2.13): pickled weights, constants and sample inputs,
compiled libraries, and a graph that holds code (`vetting_graph`). So the archive is opened as what it is, a zip file,
and anything but plain tensors and a graph of known operators is refused. A zip file may be made so that two readers
see two archives in it; torch's own must see the same one. This guards against files that were made to do harm by
somebody who may publish; that the file is the published one is shown by its digest.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from zipfile import ZipFile, ZipInfo

import torch

from services.worker.artifacts.vetting_graph import vet_graph, vet_path
from services.worker.domain import LoadError

MAX_MEMBERS: Final = 100_000
MAX_GRAPH_BYTES: Final = 256 << 20
"""Bytes of the graph's description, and of each other member that is not a tensor."""

_GRAPH: Final = "models/model.json"
_CONFIGS: Final = ("data/weights/model_weights_config.json", "data/constants/model_constants_config.json")
_SAMPLES: Final = "data/sample_inputs/model.pt"
_READ: Final = (_GRAPH, _SAMPLES, *_CONFIGS)
_TENSOR: Final = re.compile(r"data/weights/weight_[0-9]+|data/constants/tensor_[0-9]+")
_PLAIN: Final = re.compile(
    r"archive_format|archive_version|version|byteorder|\.data/version|\.data/serialization_id|\.format_version"
    r"|\.storage_alignment"
)


@dataclass(frozen=True, slots=True)
class _Archive:
    zip: ZipFile
    members: dict[str, ZipInfo]

    def read(self, name: str) -> bytes:
        info = self.members[name]
        if info.file_size > MAX_GRAPH_BYTES:
            raise LoadError(f"the program's {name} has {info.file_size} bytes; at most {MAX_GRAPH_BYTES} are read")
        return self.zip.read(info)

    def read_json(self, name: str) -> Any:
        try:
            return json.loads(self.read(name))
        except (ValueError, RecursionError) as error:
            raise LoadError(f"the program's {name} is no JSON: {error}") from error


def vet(path: Path) -> None:
    """Checks a stored program.

    Raises:
        LoadError: it is no archive of `torch.export.save`, or holds what could run code; the message names the part.
    """
    try:
        with ZipFile(path) as archive:
            found = _Archive(archive, _members(archive, path.stat().st_size))
            _vet(found)
            _compare(found, torch._C.PyTorchFileReader(str(path)))  # noqa: SLF001 - torch has no public one
    except LoadError:
        raise
    except Exception as error:
        # Whatever a crafted file makes of either reader.
        raise LoadError(f"{path.name} is no archive of torch.export.save: {error}") from error


def _compare(archive: _Archive, reader: Any) -> None:
    """Refuses a file in which torch sees other parts, or reads other bytes, than were checked."""
    if sorted(reader.get_all_records()) != sorted(archive.members) or any(
        reader.get_record(name) != archive.read(name) for name in _READ
    ):
        raise LoadError("the program's archive can be read in two ways, so that it could hide what runs code")


def _members(archive: ZipFile, size: int) -> dict[str, ZipInfo]:
    infos = archive.infolist()
    if not infos or len(infos) > MAX_MEMBERS:
        raise LoadError(f"the program's archive has {len(infos)} parts; 1 to {MAX_MEMBERS} are read")
    root = infos[0].filename.partition("/")[0] + "/"
    members: dict[str, ZipInfo] = {}
    for info in infos:
        name = info.filename.removeprefix(root)
        if not info.filename.startswith(root) or ".." in name.split("/") or name in members:
            raise LoadError(f"the program's archive has a misplaced part {info.filename!r}")
        if info.compress_type != 0 or info.compress_size != info.file_size:
            # torch stores without compression; a compressed part could unfold to any size.
            raise LoadError(f"the program's part {name!r} is compressed")
        members[name] = info
    length = sum(info.file_size for info in infos)
    if length > size:
        raise LoadError(f"the program's parts have {length} bytes together and its file {size}: they lie in each other")
    return members


def _vet(archive: _Archive) -> None:
    for name in archive.members:
        if name not in _READ and not (_PLAIN.fullmatch(name) or _TENSOR.fullmatch(name)):
            raise LoadError(
                f"the program's archive holds {name!r}, which could run code or is unknown; "
                "package the model again without custom objects or compiled parts"
            )
    for name in _READ:
        if name not in archive.members:
            raise LoadError(f"the program's archive lacks {name!r}: was it made by torch.export.save?")
    for name in _CONFIGS:
        _vet_tensors(archive, name)
    if archive.members[_SAMPLES].file_size:
        raise LoadError(
            f"the program holds sample inputs ({_SAMPLES}), which are pickled and could run code; "
            "package the model again with crossfade.artifact.package"
        )
    vet_graph(archive.read_json(_GRAPH))


def _vet_tensors(archive: _Archive, name: str) -> None:
    config = archive.read_json(name)
    entries = config.get("config") if isinstance(config, dict) else None
    if not isinstance(entries, dict):
        raise LoadError(f"the program's {name} has no list of tensors")
    folder = name.rpartition("/")[0]
    for entry, payload in entries.items():
        if not isinstance(payload, dict) or payload.get("use_pickle") is not False:
            raise LoadError(f"the program's tensor {entry!r} is pickled, which could run code")
        vet_path(entry)
        part = f"{folder}/{payload.get('path_name')}"
        # By its name torch takes a part for a tensor or for a pickled object, whatever `use_pickle` says.
        if part not in archive.members or not _TENSOR.fullmatch(part):
            raise LoadError(f"the program's tensor {entry!r} lies in {part!r}, which is no part of it with a tensor")
        if not archive.members[part].file_size and not _is_empty(payload):
            raise LoadError(f"the program's tensor {entry!r} has no bytes in {part!r}, which torch would fill up")


def _is_empty(payload: dict[str, Any]) -> bool:
    """Whether a tensor's shape has no elements."""
    meta = payload.get("tensor_meta")
    sizes = meta.get("sizes") if isinstance(meta, dict) else None
    return isinstance(sizes, list) and {"as_int": 0} in sizes
