"""What a plan is built with."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from sam_edge.bundle.shapes import ShapeRange
from sam_edge.runtimes.tensorrt.settings import BuilderSettings, workspace_limit_mb


@given(st.integers(0, 200_000))
def test_scratch_memory_is_a_quarter_within_bounds(free_mb: int) -> None:
    limit = workspace_limit_mb(free_mb)
    assert 128 <= limit <= 4096
    assert limit in {free_mb // 4, 128, 4096}


def test_shapes_are_json() -> None:
    settings = BuilderSettings(shapes={"x": ShapeRange((1,), (2,), (3,))})
    assert json.loads(json.dumps(settings.document()))["shapes"] == {"x": [[1], [2], [3]]}
