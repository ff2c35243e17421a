"""What a lint says about a graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import onnx

from .onnx_view import label


@dataclass(frozen=True)
class Finding:
    """One thing about one node (or about the whole graph) and what to do about it."""

    severity: Literal["error", "warning"]
    """An error cannot be built for every device, or would compute something else; a warning may cost
    accuracy or speed."""
    node: str
    """Name of the node, "" where it is the graph."""
    operator: str
    """Its operator, or "graph"."""
    what: str
    cure: str

    def __str__(self) -> str:
        where = f"node {self.node} ({self.operator})" if self.node else self.operator
        return f"{self.severity}: {where}: {self.what}; {self.cure}"


def error(node: onnx.NodeProto | None, what: str, cure: str) -> Finding:
    """A finding that must not be built."""
    return _finding("error", node, what, cure)


def warning(node: onnx.NodeProto | None, what: str, cure: str) -> Finding:
    """A finding that can be built."""
    return _finding("warning", node, what, cure)


def _finding(
    severity: Literal["error", "warning"], node: onnx.NodeProto | None, what: str, cure: str
) -> Finding:
    if node is None:
        return Finding(severity, "", "graph", what, cure)
    return Finding(severity, label(node), node.op_type, what, cure)
