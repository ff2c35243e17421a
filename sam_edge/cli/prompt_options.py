"""What --point, --box and --window say, as values."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sam_edge.errors import InputError
from sam_edge.prompt import Prompt


def parse_prompt(points: Sequence[str], box: str | None) -> Prompt:
    """The prompt of --point texts "X,Y[,0|1]" and a --box text "X0,Y0,X1,Y1", in pixels of the image.

    Raises:
        InputError: a text of another form, or nothing that is on the object.
    """
    if not points and not box:
        raise InputError("nothing points at the object", hint="give --point X,Y or --box X0,Y0,X1,Y1")
    parsed = [_numbers(text, "--point", "X,Y[,0|1]", (2, 3)) for text in points]
    labels = [point[2] if len(point) == 3 else 1.0 for point in parsed]
    for text, label in zip(points, labels, strict=True):
        if label not in (0, 1):
            raise InputError(f"--point {text!r}: after X,Y comes 1 (on the object) or 0 (not on it)")
    corners = _numbers(box, "--box", "X0,Y0,X1,Y1", (4,)) if box else None
    xy = np.array([point[:2] for point in parsed]).reshape(-1, 2)
    prompt = Prompt.points(xy, labels, box=corners)
    prompt.check_shows()
    return prompt


def parse_window(text: str | None) -> tuple[int, int, int, int] | None:
    """Left, top, width and height of a --window text "X,Y,W,H"; None without one.

    Raises:
        InputError: a text of another form, or a window without a pixel.
    """
    if text is None:
        return None
    numbers = _numbers(text, "--window", "X,Y,W,H", (4,))
    x, y, width, height = (int(number) for number in numbers)
    if [x, y, width, height] != numbers:
        raise InputError(f"--window {text!r}", hint="give whole pixels")
    if width < 1 or height < 1:
        raise InputError(f"--window {text!r} shows nothing", hint="give a width and a height of at least 1")
    return x, y, width, height


def _numbers(text: str, option: str, form: str, counts: tuple[int, ...]) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) not in counts:
        raise InputError(f"{option} {text!r} is not of the form {form}")
    if not np.isfinite(numbers).all():
        raise InputError(f"{option} {text!r}", hint="give finite numbers")
    return numbers
