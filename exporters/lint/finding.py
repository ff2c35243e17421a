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
    hint: str

    def __str__(self) -> str:
        where = f"node {self.node} ({self.operator})" if self.node else self.operator
        return f"{self.severity}: {where}: {self.what}; {self.hint}"


def error(node: onnx.NodeProto | None, what: str, hint: str) -> Finding:
    """A finding that must not be built."""
    return _finding("error", node, what, hint)


def warning(node: onnx.NodeProto | None, what: str, hint: str) -> Finding:
    """A finding that can be built."""
    return _finding("warning", node, what, hint)


def _finding(
    severity: Literal["error", "warning"], node: onnx.NodeProto | None, what: str, hint: str
) -> Finding:
    if node is None:
        return Finding(severity, "", "graph", what, hint)
    return Finding(severity, label(node), node.op_type, what, hint)
