"""The page in a real browser, against a service that speaks as docs/service.md says."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sam_edge.embedding import Embedding
from sam_edge.imaging.overlap import mask_iou
from sam_edge.prompt import Prompt
from sam_edge.segmenter import Segmenter
from tests.assets.viewer.screen import (
    CAR,
    MUG,
    click,
    colour,
    connected,
    copied,
    freeze,
    mask_of,
    on_screen,
    point,
    scored,
    until,
)

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.assets.viewer.fake_service import FakeService

Look = Callable[..., "Page"]


def masked(page: Page, place: tuple[int, int]) -> NDArray[np.bool_]:
    """The first copied mask, once it holds a place."""

    def first() -> NDArray[np.bool_]:
        objects = copied(page)["objects"]
        return mask_of(objects[0]) if objects else np.zeros((360, 640), bool)

    return until(first, lambda mask: bool(mask[place[1], place[0]]))


def sent(service: FakeService, kind: str) -> list[dict[str, Any]]:
    return [fields for fields in service.received if fields["type"] == kind]


def test_hovering_shows_the_mask_under_the_pointer(look: Look, service: FakeService) -> None:
    page = connected(look(service.url))
    beside = (CAR[0] + 16, CAR[1])
    before = colour(page, beside)
    point(page, MUG)
    assert not masked(page, MUG)[CAR[1], CAR[0]]
    point(page, CAR)
    assert not masked(page, CAR)[MUG[1], MUG[0]]
    assert colour(page, beside) != before


def test_numbers_and_freshness_are_the_services(look: Look, service: FakeService) -> None:
    page = connected(look(service.url))
    for freshness in ("stale", "carried", "fresh"):
        service.freshness = freshness
        point(page, CAR)
        page.wait_for_selector(f"#freshness[data-freshness={freshness}]:text-is('{freshness}')")
    assert page.inner_text("#total") == "7.1 ms"
    assert page.inner_text("#embedding-age") == "62 ms"
    page.wait_for_selector("#mask-summary:has-text('7.1 ms')")


def test_keys_choose_among_three_masks(look: Look, service: FakeService) -> None:
    page = connected(look(service.url))
    point(page, CAR)
    best = scored(page)
    page.keyboard.press("3")
    page.wait_for_selector("[data-choice='3'][aria-checked=true]")
    third = until(lambda: float(page.inner_text("#score")), lambda score: score < best)
    assert page.get_attribute("[data-choice='3']", "data-score") == f"{third:.2f}"
    until(lambda: sent(service, "subscribe")[-1], lambda asked: bool(asked["candidates"]))


def test_frozen_picture_takes_points_boxes_and_objects(look: Look, service: FakeService) -> None:
    page = connected(look(service.url))
    freeze(page)
    click(page, CAR)
    click(page, MUG, button="right")
    until(lambda: copied(page)["objects"], lambda objects: bool(objects) and len(objects[0]["points"]) == 2)
    page.keyboard.press("n")
    page.wait_for_selector("#objects li:has-text('object 1')")
    page.mouse.move(*on_screen(page, (80, 180)))
    page.mouse.down()
    page.mouse.move(*on_screen(page, (160, 255)), steps=4)
    page.mouse.up()
    car, mug = until(lambda: copied(page)["objects"], lambda objects: len(objects) == 2)
    assert [label for *_, label in car["points"]] == [1, 0]
    assert mug["points"] == []
    assert np.allclose(mug["box"], (80, 180, 160, 255), atol=1)
    assert mask_of(car)[CAR[1], CAR[0]]
    assert not mask_of(car)[MUG[1], MUG[0]]
    assert mask_of(mug)[MUG[1], MUG[0]]
    page.keyboard.press("z")
    until(lambda: len(copied(page)["objects"]), lambda count: count == 1)


def test_keyboard_alone_points_and_clicks(look: Look, service: FakeService) -> None:
    page = connected(look(service.url))
    page.keyboard.press("f")
    page.wait_for_selector("body.is-frozen")
    page.focus("#picture")
    for key in ("ArrowRight", "Shift+ArrowDown", "Enter", "ArrowLeft", "Shift+Enter"):
        page.keyboard.press(key)
    found = until(lambda: copied(page)["objects"], bool)
    assert found[0]["points"] == [[332, 182, 1], [320, 182, 0]]


def test_a_finger_points_and_taps(look: Look, service: FakeService) -> None:
    page = look(service.url, viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    connected(page)
    page.tap("#freeze")
    page.wait_for_selector("body.is-frozen")
    page.touchscreen.tap(*on_screen(page, CAR))
    assert masked(page, CAR).any()
    assert page.evaluate("() => document.documentElement.scrollWidth") == 390


def test_beside_a_tracker_the_pointer_asks_for_itself(look: Look, service: FakeService) -> None:
    service.takes_gaze = False
    page = connected(look(service.url))
    point(page, MUG)
    assert masked(page, MUG).any()
    assert sent(service, "prompt")
    assert not sent(service, "gaze")


def test_page_comes_back_after_the_service(look: Look, service: FakeService) -> None:
    page = connected(look(service.url))
    service.drop()
    page.wait_for_selector("#connection[data-state=lost]")
    connected(page)
    point(page, CAR)
    assert masked(page, CAR).any()


def test_token_is_asked_for_until_it_is_right(look: Look, service: FakeService) -> None:
    service.token = "a token of the service"
    page = look(service.url)
    for word in ("not this", service.token):
        page.wait_for_selector("#token[open]")
        page.fill("#token-value", word)
        page.press("#token-value", "Enter")
        if word != service.token:
            page.wait_for_selector("#token-wrong:visible")
    connected(page)
    assert page.evaluate("() => document.cookie") == ""
    # The browser itself reports each answer of 401.
    complaints = look.complaints  # type: ignore[attr-defined]
    assert all("401" in said or "WebSocket" in said for said in complaints)
    complaints.clear()


@pytest.mark.slow
def test_decoder_in_the_browser_is_the_decoder(
    look: Look, service: FakeService, nano: Segmenter, still: Embedding
) -> None:
    page = connected(look(service.url + "?local"))
    point(page, CAR)
    scored(page)
    assert not sent(service, "gaze")
    assert not sent(service, "prompt")
    freeze(page)
    click(page, CAR)
    found = until(lambda: copied(page)["objects"], bool)[0]
    best = nano.decode(still, Prompt.points([found["points"][0][:2]])).best()
    # The embedding came as float16.
    assert found["predicted_iou"] == pytest.approx(float(best.predicted_iou[0]), abs=0.01)
    assert mask_iou(mask_of(found), best.binary[0]) > 0.99
    assert not sent(service, "prompt")
