"""What is kept for clients, and for how long."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sam_edge.embedding import Embedding
from sam_edge.geometry import InputSize
from sam_edge.service.asking.store import Kept, Store

VIEW = InputSize(64, 32, square=False).view((64, 64))


def kept() -> Kept:
    return Kept(Embedding({"embedding": np.zeros((1, 1, 1, 1), np.float32)}, VIEW, 0, "disc"))


@given(st.lists(st.sampled_from(["add", "get", "remove", "wait"]), max_size=40), st.integers(1, 4))
def test_it_never_holds_more_or_older_than_it_should(steps: list[str], capacity: int) -> None:
    now = [0.0]
    store = Store(capacity, 10.0, clock=lambda: now[0])
    used: dict[str, float] = {}
    for number, step in enumerate(steps):
        name = list(used)[number % len(used)] if used else "none"
        if step == "add":
            used[store.add(kept())] = now[0]
        elif step == "get" and used:
            if store.get(name) is not None:
                assert now[0] - used[name] < 10.0
                used[name] = now[0]
            else:
                del used[name]
        elif step == "remove":
            store.remove(name)
            used.pop(name, None)
        else:
            now[0] += 4.0
        assert len(store) <= capacity
    alive = sum(now[0] - at < 10.0 for at in used.values())
    assert len(store) <= alive or len(store) == capacity


def test_the_one_that_was_not_used_for_longest_goes() -> None:
    store = Store(2, 10.0)
    first, second = store.add(kept()), store.add(kept())
    assert store.get(first) is not None
    third = store.add(kept())
    assert store.get(second) is None
    assert store.get(first) is not None
    assert store.get(third) is not None
    assert len({first, second, third}) == 3
