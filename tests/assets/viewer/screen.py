"""What a person does on the page and sees there."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco

if TYPE_CHECKING:
    from playwright.sync_api import Page

T = TypeVar("T")
MUG, CAR = (125, 225), (400, 230)
"""Places of things in the fake service's picture, in its 640 x 360 pixels."""


def connected(page: Page) -> Page:
    """Waits until the picture is there."""
    page.wait_for_selector("#connection[data-state=open]")
    page.wait_for_selector("#fps:has-text('/s'):not(:text-is('0 /s'))")
    return page


def on_screen(page: Page, place: tuple[float, float]) -> tuple[float, float]:
    """Where a pixel of the picture is on the page."""
    box = page.locator("#picture").bounding_box()
    assert box is not None
    return box["x"] + place[0] * box["width"] / 640, box["y"] + place[1] * box["height"] / 360


def point(page: Page, place: tuple[float, float]) -> None:
    page.mouse.move(*on_screen(page, place))


def click(page: Page, place: tuple[float, float], **how: Any) -> None:
    page.mouse.click(*on_screen(page, place), **how)


def freeze(page: Page) -> None:
    page.click("#freeze")
    page.wait_for_selector("body.is-frozen")


def scored(page: Page) -> float:
    """The score, once there is a mask."""
    page.wait_for_selector("#freshness:not([data-freshness=none])")
    return float(page.inner_text("#score"))


def copied(page: Page) -> dict[str, Any]:
    """What the copy key puts on the clipboard."""
    page.evaluate("() => navigator.clipboard.writeText('')")
    page.keyboard.press("c")
    text = until(lambda: str(page.evaluate("() => navigator.clipboard.readText()")), bool)
    found: dict[str, Any] = json.loads(text)
    return found


def until(ask: Callable[[], T], is_right: Callable[[T], bool], patience_s: float = 30.0) -> T:
    """What is asked for, once it is right: each question waits for the page."""
    end = time.monotonic() + patience_s
    while not is_right(found := ask()):
        assert time.monotonic() < end, f"still {found}"
    return found


def mask_of(found: dict[str, Any]) -> NDArray[np.bool_]:
    """(H, W) of one of the copied objects."""
    pixels: NDArray[np.uint8] = coco.decode({**found["rle"], "counts": found["rle"]["counts"].encode()})
    return pixels.astype(bool)


def colour(page: Page, place: tuple[float, float]) -> list[int]:
    """Blue, green and red of what is seen where a pixel of the picture lies."""
    x, y = on_screen(page, place)
    png = page.screenshot(clip={"x": int(x), "y": int(y), "width": 1, "height": 1})
    pixels = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    assert pixels is not None
    found: list[int] = pixels[0, 0].tolist()
    return found
