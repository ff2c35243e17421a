"""A browser, and a service for it to look at."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

import sam_edge
from sam_edge.embedding import Embedding
from sam_edge.segmenter import Segmenter
from sam_edge.synthetic.scene import Scene

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from tests.assets.viewer.fake_service import FakeService

CHROMIUM = shutil.which("chromium")
QUIET = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
)
PATIENCE_MS = 30_000.0


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright drives the browser")
    if CHROMIUM is None:
        pytest.skip("Debian's chromium is not installed")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def nano() -> Iterator[Segmenter]:
    with sam_edge.load("nano", threads=1) as segmenter:
        yield segmenter


@pytest.fixture(scope="module")
def still(nano: Segmenter) -> Embedding:
    """What the fake service shows."""
    return nano.encode(Scene(seed=1).frame(30).image)


@pytest.fixture
def service(nano: Segmenter, still: Embedding) -> Iterator[FakeService]:
    pytest.importorskip("aiohttp", reason="aiohttp serves the page")
    from tests.assets.viewer.fake_service import FakeService

    running = FakeService(nano, still)
    yield running
    running.close()


@pytest.fixture
def look(browser: Browser, service: FakeService) -> Iterator[Callable[..., Page]]:
    """Opens the page at an address; options are those of a browser's context. Complaints of the page fail
    the test. It is closed before the service."""
    contexts: list[Any] = []
    complaints: list[str] = []

    def open_page(url: str, **options: Any) -> Page:
        options = {"viewport": {"width": 1000, "height": 700}, **options}
        context = browser.new_context(permissions=["clipboard-read", "clipboard-write"], **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "console",
            lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None,
        )
        page.goto(url)
        return page

    open_page.complaints = complaints  # type: ignore[attr-defined]
    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []
