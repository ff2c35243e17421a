"""The model that the tests of the service ask."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sam_edge.segmenter import Segmenter
from tests.disc_model import disc_segmenter

for library in ("aiohttp", "prometheus_client"):
    pytest.importorskip(library, reason="the service needs the extra serve")


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Segmenter]:
    with disc_segmenter(tmp_path_factory.mktemp("disc")) as made:
        made.warm_up((160, 120))
        yield made
