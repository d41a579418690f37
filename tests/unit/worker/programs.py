"""Stored programs, made of their parts."""

import json
import zipfile
from pathlib import Path

Parts = dict[str, bytes]
SYMBOL = "Symbol('s77', positive=True, integer=True)"


def program(target: str = "torch.ops.aten.relu.default", expression: str = SYMBOL) -> Parts:
    graph = {"graph_module": {"graph": {"nodes": [{"target": target}], "sizes": [{"expr_str": expression}]}}}
    tensors = {"config": {"w": {"path_name": "weight_0", "use_pickle": False}}}
    return {
        "models/model.json": json.dumps(graph).encode(),
        "data/weights/weight_0": b"\0" * 16,
        "data/weights/model_weights_config.json": json.dumps(tensors).encode(),
        "data/constants/model_constants_config.json": b'{"config": {}}',
        "data/sample_inputs/model.pt": b"",
        "archive_format": b"pt2",
        "byteorder": b"little",
        ".data/version": b"6\n",
    }


def write(path: Path, parts: Parts, compression: int = zipfile.ZIP_STORED, root: str = "program/") -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in parts.items():
            archive.writestr(root + name, data)
    return path


CALL = "__import__('os').system('id')"
