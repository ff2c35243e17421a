"""What clients ask, as JSON, becomes prompts; nothing in it is trusted."""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sam_edge.errors import InputError
from sam_edge.prompt import Prompt

MAX_POINTS = 64
MAX_ID = 64
MAX_WHOLE = 2**53
"""JSON's whole numbers are exact up to here."""
Id = int | str | None


@dataclass(frozen=True, eq=False)
class Asked:
    """One prompt and how its answer is called."""

    id: Id
    prompt: Prompt


@dataclass(frozen=True, eq=False)
class Request:
    """Several prompts on one image."""

    asked: tuple[Asked, ...]
    multimask: bool | None = None
    image: bytes | None = None


def parse_json(text: str | bytes) -> dict[str, Any]:
    """A JSON object.

    Raises:
        InputError: something else, or numbers that are none.
    """
    try:
        found = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise InputError("this is not JSON", hint="send an object in UTF-8") from error
    if not isinstance(found, dict):
        raise InputError("this is not a JSON object", hint='send {"...": ...}')
    return found


def parse_request(fields: Mapping[str, Any], max_prompts: int, *, with_image: bool = False) -> Request:
    """Prompts, and the image in base64 where it is wanted.

    Raises:
        InputError: naming what is wrong.
    """
    known(fields, "prompts", "multimask", *(["image"] if with_image else []))
    prompts = fields.get("prompts")
    if not isinstance(prompts, list) or not prompts:
        raise InputError("there are no prompts", hint='give "prompts": [{"points": [[x, y, 1]]}]')
    if len(prompts) > max_prompts:
        raise InputError(f"there are {len(prompts)} prompts", hint=f"send {max_prompts} at most")
    asked = []
    for one in prompts:
        if not isinstance(one, dict):
            raise InputError("a prompt is not an object", hint='give {"points": [[x, y, 1]]}')
        known(one, "id", "points", "box")
        asked.append(Asked(parse_id(one.get("id")), parse_prompt(one)))
    image = parse_image(fields["image"]) if with_image and "image" in fields else None
    return Request(tuple(asked), parse_multimask(fields), image)


def parse_prompt(fields: Mapping[str, Any]) -> Prompt:
    """The points and the box of a prompt.

    Raises:
        InputError: naming what is wrong.
    """
    points, box = fields.get("points", []), fields.get("box")
    if not isinstance(points, list) or len(points) > MAX_POINTS:
        raise InputError("points are not a list", hint=f"give [[x, y, label], ...], {MAX_POINTS} at most")
    rows = [_numbers(point, "a point", 3) for point in points]
    corners = None if box is None else _numbers(box, "a box", 4)
    prompt = Prompt.points([row[:2] for row in rows], [row[2] for row in rows], box=corners)
    prompt.check_shows()
    return prompt


def parse_multimask(fields: Mapping[str, Any]) -> bool | None:
    """Whether three masks are wanted; None: by the prompt."""
    value = fields.get("multimask")
    if value is None or isinstance(value, bool):
        return value
    raise InputError("multimask is neither true, false nor null")


def parse_id(value: Any) -> Id:
    """How a client calls what it asks."""
    if value is None or (isinstance(value, str) and len(value) <= MAX_ID):
        return value
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < MAX_WHOLE:
        return value
    raise InputError("an id is no name", hint=f"give a whole number, or text of {MAX_ID} characters at most")


def parse_image(value: Any) -> bytes:
    """The file behind its base64."""
    if not isinstance(value, str):
        raise InputError("the image is not text", hint="give the file in base64")
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InputError("the image is not base64", hint="give the file in base64") from error


def number(fields: Mapping[str, Any], name: str, default: float | None = None) -> float:
    """A finite number of a message."""
    value = fields.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f"{name} is not a number", hint=f'give "{name}": 1')
    try:
        made = float(value)
    except OverflowError:
        made = math.inf
    if not math.isfinite(made) or abs(made) > 2.0**63:
        raise InputError(f"{name} is not a finite number")
    return made


def whole(fields: Mapping[str, Any], name: str) -> int | None:
    """A whole number of a message; None where it is left out."""
    value = fields.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) >= 2**63:
        raise InputError(f"{name} is not a whole number")
    return value


def known(fields: Mapping[str, Any], *names: str) -> None:
    """Raise InputError if there is a field that means nothing here."""
    for name in fields:
        if name not in names:
            raise InputError(f"there is no field {name[:40]!r}", hint=f"choose from {', '.join(names)}")


def _numbers(values: Any, name: str, count: int) -> list[float]:
    if not isinstance(values, list) or len(values) != count:
        raise InputError(f"{name} does not have {count} numbers")
    return [number({name: value}, name) for value in values]


def _refuse(constant: str) -> None:
    raise ValueError(constant)
