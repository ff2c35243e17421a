"""`sam-edge distill`: numbers that cannot be are refused before a library is loaded."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from tests.fixtures.commands import Answer


@pytest.mark.parametrize(
    ("option", "number"),
    [("--seed", "-1"), ("--seed", "1" + "0" * 30), ("--minutes", "nan"), ("--minutes", "0")],
)
def test_bad_numbers(
    sam_edge: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch, option: str, number: str
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    answer = sam_edge("distill", "--teacher", "a.pt", "--images", ".", "--out", "out", option, number)
    assert answer.code == 2
    assert f"Invalid value for '{option}'" in answer.err
    assert answer.err.count("\n") == 1


def test_one_extra_brings_all_that_is_missing(
    sam_edge: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in [name for name in sys.modules if name.startswith("sam_edge.training")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "torch", None)
    answer = sam_edge("distill", "--teacher", "a.pt", "--images", ".", "--out", "out")
    assert (answer.code, answer.err) == (2, "error: torch is not installed: pip install 'sam-edge[train]'\n")
