"""A sink is found by its name."""

from __future__ import annotations

import pytest

from sam_edge.errors import InputError
from sam_edge.streaming.sinks.sink import SINKS, find_sink


@pytest.mark.parametrize(
    "name", ["a.mp4", "a.MKV", "b/a.avi", "a.jsonl", "-", "a.mcap", "a.rrd", "rerun:", "rerun:h:1"]
)
def test_known_names(name: str) -> None:
    assert callable(find_sink(name))


def test_an_unknown_name_is_told_all_kinds() -> None:
    with pytest.raises(InputError, match=r"out\.gif") as caught:
        find_sink("out.gif")
    assert all(key in str(caught.value) for key in SINKS)
