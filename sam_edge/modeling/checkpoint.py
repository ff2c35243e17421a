"""Reading weights from a file, safely, and giving them to a model so that no key is left over."""

from __future__ import annotations

import logging
import pickle
import warnings
from collections import Counter
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

NESTED_UNDER = ("state_dict", "model_state_dict", "model")
"""Keys under which trainers keep the weights beside their own state."""
NESTED_LEVELS = 3
PARTS = ("image_encoder", "prompt_encoder", "mask_decoder", "encoder", "decoder")
"""What the names of every family's tensors begin with."""
WRAPPERS = frozenset({"module", "_orig_mod"})
"""What DataParallel and torch.compile put into the names of the modules that they wrap."""
TRANSFORMERS = "vision_encoder"
"""What the names of an image encoder's tensors begin with in Hugging Face's transformers."""
SHOWN = 3
"""How many offending keys a message names before it only counts them."""

_log = logging.getLogger(__name__)
_ZIP, _PICKLE = b"PK\x03\x04", b"\x80"


def load_model(path: str | Path, family: str | None = None) -> tuple[str, nn.Module]:
    """A checkpoint as a model in evaluation mode, frozen, float32, and the name of its family.

    Args:
        path: a `.pth` or `.pt` of PyTorch, or a `.safetensors`; told apart by content.
        family: one of FAMILIES; None takes the family whose keys and shapes the file has.

    Raises:
        InputError: no such family.
        CheckpointError: the file does not hold weights, or not of this family.
    """
    if family is not None:
        find_family(family)
    state = read_state(path)
    name = family or guess_family(state, str(path))
    model = find_family(name).build()
    wrong = _fit(model, state)
    if wrong and family is not None:
        _check_no_other(state, path, family)
    if wrong:
        raise CheckpointError(
            f"{path} does not fit {name}{'' if family else ', the nearest family'}: {wrong}",
            path=path,
            hint="check --family, or leave it out" if family else "save the state_dict() of the whole model",
        )
    return name, model.eval().requires_grad_(False)


def check_readable(path: str | Path) -> None:
    """Raise CheckpointError unless `path` is a regular file: opening a pipe would wait for its other end."""
    if not Path(path).is_file():
        reason = "it is not a regular file" if Path(path).exists() else "no such file"
        raise CheckpointError(f"cannot read {path}: {reason}", path=path)


def read_state(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint by name; nothing in the file is executed.

    Weights beside a trainer's own state are found, and a prefix that wrappers put before the names, such as
    `module.` or `model._orig_mod.`, is removed. What was removed or left out is logged as a warning.

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
            f"{path} is not a checkpoint", path=path, hint="give a PyTorch .pth or .pt, or a .safetensors file"
        )
    for _ in range(NESTED_LEVELS):
        inner = [content[key] for key in NESTED_UNDER if isinstance(content, dict) and key in content]
        content = next((item for item in inner if isinstance(item, dict)), content)
    if not isinstance(content, dict) or not any(isinstance(v, Tensor) for v in content.values()):
        raise CheckpointError(
            f"{path} does not hold weights", path=path, hint="save model.state_dict() into it"
        )
    state = {name: value for name, value in content.items() if isinstance(value, Tensor)}
    if len(state) < len(content):
        odd = [repr(name) for name in content if name not in state]
        raise CheckpointError(
            f"{path} holds {_some(odd)} that are not tensors", path=path, hint="save model.state_dict()"
        )
    return _unwrapped(state, path)


def _unwrapped(state: dict[str, Tensor], path: str | Path) -> dict[str, Tensor]:
    """The tensors of the model itself, under the names that the model gives them."""
    plain = {name: ".".join(part for part in str(name).split(".") if part not in WRAPPERS) for name in state}
    prefixes = Counter(prefix for prefix in map(_prefix, plain.values()) if prefix is not None)
    # Of equally many names the shortest prefix: a teacher's stand beside the model's.
    prefix = min(prefixes, key=lambda one: (-prefixes[one], len(one)), default="")
    if any(name.startswith(f"{prefix}{TRANSFORMERS}.") for name in plain.values()):
        raise CheckpointError(
            f"{path} has the names of Hugging Face's transformers ({TRANSFORMERS}...), which are not read",
            path=path,
            hint="give the family's own checkpoint, such as sam_vit_b_01ec64.pth",
        )
    taken = {own[len(prefix) :]: state[name] for name, own in plain.items() if own.startswith(prefix)}
    left = [name for name, own in plain.items() if not own.startswith(prefix)]
    if any(name != own for name, own in plain.items()) or prefix:
        before = next(name for name, own in plain.items() if own.startswith(prefix))
        beside = f"; left out: {_some(left)}" if left else ""
        _log.warning("%s: %s is read as %s%s", path, before, plain[before][len(prefix) :], beside)
    return taken


def _prefix(name: str) -> str | None:
    """What stands before the first of PARTS in a tensor's name, with its dot; None if none of them is in it."""
    parts = name.split(".")
    at = next((index for index, part in enumerate(parts) if part in (*PARTS, TRANSFORMERS)), None)
    return None if at is None else "".join(f"{part}." for part in parts[:at])


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
            hint="give a checkpoint of one of these families",
        )
    return best


def _check_no_other(state: Mapping[str, Tensor], path: str | Path, family: str) -> None:
    """Raise CheckpointError if the weights are of another family, which says more than hundreds of names."""
    found = family
    with suppress(CheckpointError):
        found = guess_family(state, str(path))
    if found != family:
        raise CheckpointError(
            f"{path} holds weights of {found}, not of {family}",
            path=path,
            hint="check --family, or leave it out",
        )


@cache
def _wanted(family: Family) -> Mapping[str, Tensor]:
    """A family's names and shapes, without weights."""
    with torch.device("meta"):
        wanted: Mapping[str, Tensor] = family.build().state_dict()
    return wanted


def _fit(model: nn.Module, state: Mapping[str, Tensor]) -> str | None:
    """Give `model` the weights of `state` and return None, or say why they are not exactly its own."""
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
        return "; ".join(f"{kind}: {_some(keys)}" for kind, keys in wrong.items() if keys)
    # Assigned, not copied, so that a large model is not in memory twice.
    model.load_state_dict(
        {key: state[key].to(value.dtype).reshape(value.shape) for key, value in wanted.items()}, assign=True
    )
    return None


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
