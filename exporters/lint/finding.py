"""What a lint says about a graph."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal

import onnx

from .onnx_view import label

Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Finding:
    """One thing about one node (or about the whole graph) and what to do about it."""

    severity: Severity
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


def _finding(severity: Severity, node: onnx.NodeProto | None, what: str, hint: str) -> Finding:
    if node is None:
        return Finding(severity, "", "graph", what, hint)
    return Finding(severity, label(node), node.op_type, what, hint)


error, warning = partial(_finding, "error"), partial(_finding, "warning")
"""A finding about a node, or about the graph (None); see `Finding.severity`."""
