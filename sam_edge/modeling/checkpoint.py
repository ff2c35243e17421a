"""Reading weights from a file, safely, and fitting them into a model without leaving a key over."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from sam_edge.errors import CheckpointError
from sam_edge.modeling.families import FAMILIES, Family, find_family

NESTED_UNDER = ("model", "state_dict")
"""Keys under which trainers keep the weights beside their own state."""
SHOWN = 3
"""How many offending keys a message names before it only counts them."""

_ZIP, _PICKLE = b"PK\x03\x04", b"\x80"


def load_model(path: str | Path, family: str | None = None) -> tuple[str, nn.Module]:
    """A checkpoint as a model in evaluation mode, frozen, float32, and the name of its family.

    Args:
        path: a `.pth` or `.pt` of PyTorch, or a `.safetensors`; told apart by content.
        family: one of FAMILIES; None takes the family whose keys and shapes the file has.

    Raises:
        InputError: no such family.
        CheckpointError: the file is no weights, or not of this family.
    """
    if family is not None:
        find_family(family)
    state = read_state(path)
    if family is None:
        family = guess_family(state, str(path))
    model = find_family(family).build()
    try:
        _fit(model, state, f"{path} does not fit {family}")
    except CheckpointError:
        _check_no_other(state, path, family)
        raise
    return family, model.eval().requires_grad_(False)


def check_readable(path: str | Path) -> None:
    """Raise CheckpointError unless `path` is a regular file: opening a pipe would wait for its other end."""
    if not Path(path).is_file():
        reason = "it is not a regular file" if Path(path).exists() else "no such file"
        raise CheckpointError(f"cannot read {path}: {reason}", path=path)


def read_state(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint by name; nothing in the file is executed.

    Raises:
        CheckpointError: missing, empty, truncated, not a checkpoint, or one that needs code to load.
    """
    check_readable(path)
    try:
        with Path(path).open("rb") as file:
            head = file.read(9)
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror}", path=path) from error
    if not head:
        raise CheckpointError(f"{path} is empty", path=path, hint="download or copy the checkpoint again")
    if head.startswith((_ZIP, _PICKLE)):
        content = _read_torch(path)
    elif head[8:] == b"{":
        content = _read_safetensors(path)
    else:
        raise CheckpointError(
            f"{path} is no checkpoint", path=path, hint="give a PyTorch .pth or .pt, or a .safetensors file"
        )
    for key in NESTED_UNDER:
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not any(isinstance(v, Tensor) for v in content.values()):
        raise CheckpointError(f"{path} holds no weights", path=path, hint="save model.state_dict() into it")
    state = {name: value for name, value in content.items() if isinstance(value, Tensor)}
    if len(state) < len(content):
        odd = [repr(name) for name in content if name not in state]
        raise CheckpointError(
            f"{path} holds {_some(odd)} that are no tensors", path=path, hint="save model.state_dict()"
        )
    return state


def guess_family(state: Mapping[str, Tensor], where: str) -> str:
    """The family that shares most names and shapes with `state`, if that is more than half of all.

    Of all that either has: the weights of a shallower sister are part of a deeper one's.

    Raises:
        CheckpointError: no family is near.
    """
    shared = {}
    for name, family in FAMILIES.items():
        wanted = _wanted(family)
        same = sum(key in state and _same_shape(state[key], value) for key, value in wanted.items())
        shared[name] = same / len(wanted.keys() | state.keys())
    best = max(shared, key=lambda name: shared[name])
    if shared[best] <= 0.5:
        raise CheckpointError(
            (
                f"{where} is of no family known here ({', '.join(FAMILIES)}): the nearest, {best}, "
                f"has {shared[best]:.0%} of names and shapes in common"
            ),
            path=where,
        )
    return best


def _check_no_other(state: Mapping[str, Tensor], path: str | Path, family: str) -> None:
    """Raise CheckpointError if the weights are of another family, which says more than hundreds of names."""
    found = family
    with suppress(CheckpointError):
        found = guess_family(state, str(path))
    if found != family:
        raise CheckpointError(
            f"{path} holds weights of {found}, not of {family}: check --family, or leave it out", path=path
        )


@cache
def _wanted(family: Family) -> Mapping[str, Tensor]:
    """A family's names and shapes, without weights."""
    with torch.device("meta"):
        wanted: Mapping[str, Tensor] = family.build().state_dict()
    return wanted


def _fit(model: nn.Module, state: Mapping[str, Tensor], complaint: str) -> None:
    """Give `model` the weights of `state`, all of them and no other."""
    wanted = model.state_dict()
    wrong = {
        "missing": [key for key in wanted if key not in state],
        "unexpected": [key for key in state if key not in wanted],
        "misshapen": [
            f"{key} {tuple(state[key].shape)} instead of {tuple(value.shape)}"
            for key, value in wanted.items()
            if key in state and not _same_shape(state[key], value)
        ],
        "not finite": [key for key, value in state.items() if key in wanted and not value.isfinite().all()],
    }
    if any(wrong.values()):
        found = "; ".join(f"{kind}: {_some(keys)}" for kind, keys in wrong.items() if keys)
        raise CheckpointError(f"{complaint}: {found}; check --family, or leave it out")
    # Assigned, not copied, so that a large model is not in memory twice.
    model.load_state_dict(
        {key: state[key].to(value.dtype).reshape(value.shape) for key, value in wanted.items()}, assign=True
    )


def _read_torch(path: str | Path) -> Any:
    try:
        with warnings.catch_warnings():
            # PyTorch warns of pickles it did not write, just before it refuses them.
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} is a pickle that is not only weights, and its code is not run",
            path=path,
            hint="load it where you trust it and save model.state_dict()",
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise CheckpointError(
            f"{path} is damaged, truncated or not saved by PyTorch",
            path=path,
            hint="download or copy it again",
        ) from error


def _read_safetensors(path: str | Path) -> Any:
    try:
        return safetensors.torch.load_file(path)
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(
            f"{path} is damaged or truncated", path=path, hint="download or copy it again"
        ) from error


def _same_shape(given: Tensor, wanted: Tensor) -> bool:
    """Old files hold scalars as one element, which PyTorch accepts too."""
    return given.shape == wanted.shape or (wanted.ndim == 0 and given.shape == (1,))


def _some(items: list[str]) -> str:
    """The first few, and how many in all."""
    shown = ", ".join(items[:SHOWN])
    return shown if len(items) <= SHOWN else f"{shown}, ... ({len(items)} in all)"
