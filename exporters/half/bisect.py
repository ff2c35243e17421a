"""Finding the nodes whose float16 breaks a model, and raising them to float32."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

ROUNDS = 6
"""Raising doubles from round to round: at most 63 nodes in the end."""

Node = tuple[str, str]
"""Graph and node."""
Islands = Mapping[str, frozenset[str]]
"""Graph -> names of the nodes that stay in float32."""
WHOLE = "*"
"""All nodes of a graph, where nodes are named."""


@dataclass(frozen=True)
class Raised:
    """Which nodes were raised to float32, and whether the model then passes."""

    islands: Islands
    nodes: Sequence[Node]
    """What was raised; (graph, WHOLE) for all of a graph."""
    passes: bool
    why: str = ""
    """Why it does not pass."""


def bisect_fp32_nodes(
    order: Mapping[str, Sequence[str]],
    islands: Islands,
    passes: Callable[[Islands], bool],
    rounds: int = ROUNDS,
) -> Raised:
    """Raise nodes to float32 until the model passes.

    Every round finds, by bisection, the shortest prefix of the model that fails when it alone is in float16.
    Its last node is the cause, and is raised. If that is not enough, the next round raises the node it finds
    and the nodes after it, twice as many as the round before, because a loss may be spread over many. If no
    round is enough, first all graphs but the first are raised, then the first graph alone.

    Args:
        order: graph -> its nodes, as they run; graphs in the order of the model.
        islands: what is in float32 already.
        passes: whether the model passes with such islands.

    Returns:
        The islands with which it passes; those of the last round if it does not.
    """
    everything: Islands = {graph: frozenset(nodes) for graph, nodes in order.items()}
    if not passes(everything):
        return Raised(islands, [], passes=False, why="it differs in float32, too")
    given = islands
    raised: list[Node] = []
    for round_ in range(rounds):
        halves = [
            (graph, node) for graph, nodes in order.items() for node in nodes if node not in islands[graph]
        ]
        if not halves:
            break
        at = _first_failing(halves, everything, passes)
        graph = halves[at][0]
        found = [item for item in halves[at : at + 2**round_] if item[0] == graph]
        raised += found
        islands = {**islands, graph: islands[graph] | {node for _, node in found}}
        if passes(islands):
            return Raised(islands, raised, passes=True)
    first, *others = order
    for whole in (others, [first]):
        coarse = {**given, **{graph: everything[graph] for graph in whole}}
        if passes(coarse):
            return Raised(coarse, [(graph, WHOLE) for graph in whole], passes=True)
    return Raised(islands, raised, passes=False, why=f"{first} and the rest each differ alone in float16")


def _first_failing(halves: Sequence[Node], everything: Islands, passes: Callable[[Islands], bool]) -> int:
    """Index of the first node for which the prefix up to and including it fails in float16.

    The whole model is known to fail.
    """
    passing, failing = 0, len(halves)
    while failing - passing > 1:
        middle = (passing + failing) // 2
        lowered: dict[str, set[str]] = {}
        for graph, node in halves[:middle]:
            lowered.setdefault(graph, set()).add(node)
        islands = {graph: nodes - lowered.get(graph, set()) for graph, nodes in everything.items()}
        if passes(islands):
            passing = middle
        else:
            failing = middle
    return failing - 1
