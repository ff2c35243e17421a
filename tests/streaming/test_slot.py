"""A mailbox of one."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from sam_edge.streaming.slot import Slot


def test_the_newest_is_taken_and_what_it_replaced_is_counted() -> None:
    slot: Slot[int] = Slot()
    for number in range(5):
        slot.put(number)
    assert (slot.take(0), slot.take(0), slot.replaced) == (4, None, 4)


def test_who_waits_gets_what_comes_or_is_woken_at_the_end() -> None:
    slot: Slot[str] = Slot()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(slot.take)
        slot.put("one")
        assert waiting.result(10) == "one"
        waiting = pool.submit(slot.take)
        slot.close()
        assert waiting.result(10) is None
    slot.put("late")
    assert slot.take() is None


def test_what_waits_at_the_end_can_still_be_taken() -> None:
    slot: Slot[int] = Slot()
    slot.put(1)
    slot.close()
    assert slot.take() == 1


def test_a_few_are_taken_in_order() -> None:
    slot: Slot[int] = Slot(capacity=3)
    for number in range(5):
        slot.put(number)
    assert ([slot.take(0) for _ in range(4)], slot.replaced) == ([2, 3, 4, None], 2)
