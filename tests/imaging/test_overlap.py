"""Intersection over union of masks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from sam_edge.imaging.overlap import mask_iou

pairs = st.tuples(st.integers(1, 9), st.integers(1, 9)).flatmap(
    lambda shape: st.tuples(arrays(bool, shape), arrays(bool, shape))
)


@given(pairs)
def test_iou_is_the_share_of_the_union(pair: tuple[NDArray[np.bool_], NDArray[np.bool_]]) -> None:
    one, other = ({divmod(int(k), mask.shape[1]) for k in np.flatnonzero(mask)} for mask in pair)
    expected = len(one & other) / len(one | other) if one | other else 1.0
    assert mask_iou(*pair) == mask_iou(*pair[::-1]) == pytest.approx(expected)
