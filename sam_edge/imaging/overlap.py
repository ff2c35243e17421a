"""How well two masks agree."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def mask_iou(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    """Intersection over union, 0 to 1, of two masks of one shape, such as (H, W); two empty ones agree: 1."""
    union = np.count_nonzero(one | other)
    return np.count_nonzero(one & other) / union if union else 1.0
