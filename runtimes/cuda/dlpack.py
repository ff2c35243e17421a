"""DLPack capsules by ctypes: memory handed to another library together with the duty to keep it.

Source of the structures: https://github.com/dmlc/dlpack, include/dlpack/dlpack.h (the unversioned form, which
every consumer takes).
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

_NAME = b"dltensor"
_CODES = {"i": 0, "u": 1, "f": 2, "b": 6}
"""numpy's kinds of element types -> DLPack's."""


class _Device(ctypes.Structure):
    _fields_ = (("type", ctypes.c_int), ("index", ctypes.c_int))


class _DataType(ctypes.Structure):
    _fields_ = (("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16))


class _Tensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device", _Device),
        ("ndim", ctypes.c_int),
        ("dtype", _DataType),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


_Deleter = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class _ManagedTensor(ctypes.Structure):
    _fields_ = (("tensor", _Tensor), ("context", ctypes.c_void_p), ("deleter", _Deleter))


_CapsuleDestructor = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
_new_capsule = ctypes.pythonapi.PyCapsule_New
_new_capsule.restype = ctypes.py_object
_new_capsule.argtypes = [ctypes.c_void_p, ctypes.c_char_p, _CapsuleDestructor]
# The destructor gets the capsule as a bare address: it is dying, and must not be counted again.
_is_valid = ctypes.pythonapi.PyCapsule_IsValid
_is_valid.restype = ctypes.c_int
_is_valid.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
_get_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_get_pointer.restype = ctypes.c_void_p
_get_pointer.argtypes = [ctypes.c_void_p, ctypes.c_char_p]

_held: dict[int, tuple[Any, ...]] = {}
"""Address of a managed tensor -> what must live as long as it does."""


def make_capsule(
    owner: object, address: int, shape: tuple[int, ...], dtype: np.dtype[Any], device: tuple[int, int]
) -> Any:
    """A capsule for `__dlpack__` of a C-contiguous array; `owner` lives until the consumer is done with it."""
    sides = (ctypes.c_int64 * len(shape))(*shape)
    managed = _ManagedTensor()
    tensor = managed.tensor
    tensor.data = address
    tensor.device = _Device(*device)
    tensor.ndim = len(shape)
    tensor.dtype = _DataType(_CODES[dtype.kind], 8 * dtype.itemsize, 1)
    tensor.shape = ctypes.cast(sides, ctypes.POINTER(ctypes.c_int64))
    managed.deleter = _delete
    place = ctypes.addressof(managed)
    _held[place] = (managed, sides, owner)
    return _new_capsule(place, _NAME, _destroy)


# Consumers may let go when the names of this module are gone: the callbacks bring their own.
def _let_go(place: int, held: dict[int, tuple[Any, ...]] = _held) -> None:
    """Called by the consumer when it is done."""
    held.pop(place, None)


def _dying(
    capsule: int,
    held: dict[int, tuple[Any, ...]] = _held,
    name: bytes = _NAME,
    is_valid: Any = _is_valid,
    get_pointer: Any = _get_pointer,
) -> None:
    """Called when the capsule dies. A consumer that took the tensor has renamed it."""
    if is_valid(capsule, name):
        held.pop(get_pointer(capsule, name), None)


_delete = _Deleter(_let_go)
_destroy = _CapsuleDestructor(_dying)
for _callback in (_delete, _destroy):
    # They are machine code that others call to the end: never freed.
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(_callback))
