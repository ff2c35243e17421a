"""Culprits are found by halving, whoever they are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sam_edge.exporters.half.bisect import WHOLE, Islands, bisect_fp32_nodes
from sam_edge.exporters.repair import most_graphs

ORDER = {"encoder": [f"e{index}" for index in range(40)], "decoder": [f"d{index}" for index in range(25)]}
NODES = [(graph, node) for graph, nodes in ORDER.items() for node in nodes]
NONE: Islands = {graph: frozenset() for graph in ORDER}


@given(st.sets(st.sampled_from(NODES), min_size=1, max_size=4))
def test_single_culprits_are_raised(culprits: set[tuple[str, str]]) -> None:
    tried: list[Islands] = []

    def passes(islands: Islands) -> bool:
        tried.append(islands)
        return all(node in islands[graph] for graph, node in culprits)

    found = bisect_fp32_nodes(ORDER, NONE, passes)
    assert found.passes
    islands, raised = found.islands, found.nodes
    assert culprits <= set(raised)
    assert all(node in islands[graph] for graph, node in raised)
    assert len(raised) <= 2 ** len(culprits) - 1
    assert len(tried) <= 1 + 8 * len(culprits)


def test_the_first_culprit_alone_is_raised_first() -> None:
    found = bisect_fp32_nodes(ORDER, NONE, lambda islands: "d3" in islands["decoder"])
    assert found.passes
    assert found.nodes == [("decoder", "d3")]


def test_a_loss_that_is_spread_is_raised_in_growing_blocks() -> None:
    found = bisect_fp32_nodes(ORDER, NONE, lambda islands: len(islands["encoder"]) >= 20)
    assert found.passes
    assert 20 <= len(found.nodes) <= 40


def test_what_was_raised_before_stays() -> None:
    before = {**NONE, "encoder": frozenset({"e1"})}
    found = bisect_fp32_nodes(ORDER, before, lambda islands: {"e1", "e5"} <= islands["encoder"])
    assert found.passes
    assert found.islands["encoder"] == {"e1", "e5"}


def test_an_engine_that_is_wrong_in_float32_cannot_be_mended() -> None:
    found = bisect_fp32_nodes(ORDER, NONE, lambda islands: False)
    assert not found.passes
    assert found.nodes == []
    assert "float32, too" in found.why


def test_rounds_are_bounded() -> None:
    everything = {graph: frozenset(nodes) for graph, nodes in ORDER.items()}
    found = bisect_fp32_nodes(ORDER, NONE, lambda islands: islands == everything, rounds=2)
    assert not found.passes
    assert len(found.nodes) == 3
    assert found.why == "encoder and the rest each differ alone in float16"


@pytest.mark.parametrize("whole", ORDER)
def test_a_loss_that_is_everywhere_in_one_half_raises_that_half(whole: str) -> None:
    found = bisect_fp32_nodes(ORDER, NONE, lambda islands: len(islands[whole]) == len(ORDER[whole]), rounds=3)
    assert found.passes
    assert found.nodes == [(whole, WHOLE)]
    assert found.islands == {**NONE, whole: frozenset(ORDER[whole])}


@given(st.sets(st.sampled_from(NODES), max_size=8), st.integers(0, 30))
def test_repairing_tries_no_more_graphs_than_is_said(culprits: set[tuple[str, str]], spread: int) -> None:
    tried: set[tuple[str, frozenset[str]]] = set()

    def passes(islands: Islands) -> bool:
        tried.update(islands.items())
        most = len(islands["decoder"]) >= min(spread, len(ORDER["decoder"]))
        return most and all(node in islands[graph] for graph, node in culprits)

    passes(NONE)
    bisect_fp32_nodes(ORDER, NONE, passes)
    assert len(tried) <= most_graphs({graph: len(nodes) for graph, nodes in ORDER.items()})
