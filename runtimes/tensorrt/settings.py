"""What a TensorRT plan is built with: shapes and limits, as values that its key can hash."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sam_edge.bundle.shapes import ShapeRange

WORKSPACE_SHARE = 4
"""Scratch memory may take a quarter of what is free: on a 4 GB device the system, the builder's own copy of the
weights and the plans that are loaded already live in the same memory."""
WORKSPACE_RANGE_MB = (128, 4096)


@dataclass(frozen=True)
class BuilderSettings:
    """How the builder is asked to build one graph."""

    shapes: Mapping[str, ShapeRange] = field(default_factory=dict)
    """Inputs with free dimensions -> the shapes they may have. One shape only: the plan is static."""
    workspace_mb: int | None = None
    """Scratch memory of a layer at most; None: a share of what is free when it is built."""

    def document(self) -> dict[str, Any]:
        """The settings as JSON values, for the plan's key.

        The free memory of the moment is left out: a plan that was built with less is as good as another.
        """
        return {
            "shapes": {
                name: [list(shape.least), list(shape.best), list(shape.most)]
                for name, shape in sorted(self.shapes.items())
            },
            "workspace_mb": self.workspace_mb,
        }


def workspace_limit_mb(free_mb: int) -> int:
    """How much scratch memory a layer may take when so much of the device's memory is free."""
    least, most = WORKSPACE_RANGE_MB
    return min(max(free_mb // WORKSPACE_SHARE, least), most)
