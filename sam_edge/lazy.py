"""Importing by name, only when something is used, and naming the extra that a missing library needs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from sam_edge.errors import MissingExtraError

# Library -> the extra that brings it, for the message when it is missing.
EXTRA_OF = {
    "onnxruntime": "cpu",
    "openvino": "openvino",
    "tensorrt": "tensorrt",
    "pycuda": "pycuda",
    "cuda": "tensorrt",
    "torch": "export",
    "onnx": "export",
    "onnxscript": "export",
    "safetensors": "export",
    "matplotlib": "train",
    "skimage": "eval",
    "tqdm": "train",
    "pylsl": "lsl",
    "zmq": "core",
    "msgpack": "core",
    "av": "video",
    "foxglove": "mcap",
    "mcap": "mcap",
    "mcap_protobuf": "mcap",
    "google": "mcap",
    "rerun": "rerun",
    "zenoh": "zenoh",
    "aiohttp": "serve",
    "prometheus_client": "serve",
}


@contextmanager
def named_extras(extra: str | None = None) -> Iterator[None]:
    """Imports in this block that lack a library of an extra say which extra to install.

    Args:
        extra: the one that brings everything the block needs; None: each library is named with its own.

    Raises:
        MissingExtraError: a library that an extra of this package installs is missing.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        library = (error.name or "").partition(".")[0]
        if library in EXTRA_OF:
            raise MissingExtraError(library, extra or EXTRA_OF[library]) from error
        raise


def import_object(where: str) -> Any:
    """The object that "module:name" names.

    Raises:
        MissingExtraError: the module needs a library that an extra of this package installs.
    """
    module, name = where.split(":")
    with named_extras():
        return getattr(import_module(module), name)
