"""The page and `sam-edge serve` together, as a person meets them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from tests.assets.viewer.screen import CAR, click, connected, copied, freeze, mask_of, point, scored, until

if TYPE_CHECKING:
    from playwright.sync_api import Page

TOKEN = "a-token-of-this-test"

pytestmark = pytest.mark.slow
pytest.importorskip("aiohttp", reason="the service needs the extra serve")
pytest.importorskip("prometheus_client", reason="the service needs the extra serve")


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Of a service that shows a generated scene to who has the token."""
    command = [sys.executable, "-m", "sam_edge", "serve", "--port", "0"]
    environment = {**os.environ, "SAM_EDGE_TOKEN": TOKEN}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stderr is not None
        line = next(line for line in process.stderr if "serving on" in line)
        found = re.search(r"http://[\d.:]+/", line)
        assert found is not None
        yield found[0]
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)


@pytest.mark.parametrize("query", ["", "?local"])
def test_live_frozen_and_copied(look: Callable[..., Page], address: str, query: str) -> None:
    page = connected(look(address + query, http_credentials={"username": "any", "password": TOKEN}))
    point(page, CAR)
    assert 0 <= scored(page) <= 1.1
    page.wait_for_selector("#total:not(:text-is('–'))")
    freeze(page)
    click(page, CAR)
    found = until(lambda: copied(page)["objects"], bool)[0]
    assert mask_of(found).shape == (360, 640)
    assert found["area"] == mask_of(found).sum()
