"""Finding a part of the package by name, and importing it only when it is used."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from sam_edge.errors import MissingExtraError

# Library -> the extra that brings it, for the message when it is missing.
EXTRA_OF = {
    "onnxruntime": "cpu",
    "openvino": "openvino",
    "tensorrt": "tensorrt",
    "pycuda": "tensorrt",
    "cuda": "tensorrt",
    "torch": "export",
    "onnx": "export",
    "onnxscript": "export",
    "safetensors": "export",
    "matplotlib": "train",
    "skimage": "eval",
    "tqdm": "train",
}


def load(where: str, extra: str | None = None) -> Any:
    """The object that "module:name" names.

    Args:
        extra: the one that brings everything the module needs; None: each library is told with its own.

    Raises:
        MissingExtraError: the module needs a library that an extra of this package installs.
    """
    module, name = where.split(":")
    try:
        return getattr(import_module(module), name)
    except ModuleNotFoundError as error:
        library = (error.name or "").partition(".")[0]
        if library in EXTRA_OF:
            raise MissingExtraError(library, extra or EXTRA_OF[library]) from error
        raise
