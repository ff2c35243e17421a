"""A live stream on the small model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sam_edge.segmenter import Segmenter
from sam_edge.streaming.live.stream import Stream
from tests.disc_model import disc_segmenter


@pytest.fixture
def segmenter(tmp_path: Path) -> Segmenter:
    return disc_segmenter(tmp_path)


@pytest.fixture
def stream(segmenter: Segmenter) -> Iterator[Stream]:
    with Stream(segmenter) as stream:
        yield stream
