"""Heat and power slow the encoder down, and it comes back."""

from __future__ import annotations

from pathlib import Path
from threading import Event

from hypothesis import given
from hypothesis import strategies as st

from sam_edge.streaming.live.budget import SLOWEST_PER_S, Budget, BudgetConfig, Monitor

READING = st.one_of(st.none(), st.floats(0, 200))


@given(st.lists(st.tuples(READING, READING), max_size=50))
def test_the_rate_stays_between_its_limits(readings: list[tuple[float | None, float | None]]) -> None:
    budget = Budget(BudgetConfig(max_temperature_c=80, max_power_w=10))
    for reading in readings:
        budget = budget.after(*reading)
        assert SLOWEST_PER_S <= budget.encodes_per_s <= budget.full_per_s


def test_too_hot_is_slower_each_time_and_cool_again_is_full_speed() -> None:
    budget = Budget(BudgetConfig(max_temperature_c=80))
    rates = [budget.encodes_per_s]
    for _ in range(4):
        budget = budget.after(85, None)
        rates.append(budget.encodes_per_s)
    assert rates == sorted(set(rates), reverse=True)
    # Just below the limit nothing changes.
    assert budget.after(79, None) == budget
    for _ in range(30):
        budget = budget.after(60, None)
    assert budget.encodes_per_s == budget.full_per_s


def test_the_worse_of_temperature_and_power_counts() -> None:
    both = Budget(BudgetConfig(max_temperature_c=80, max_power_w=10))
    assert both.after(60, 12).encodes_per_s < both.encodes_per_s
    assert both.after(90, 2).encodes_per_s < both.encodes_per_s
    # What the device does not tell, and what has no limit, limits nothing.
    assert both.after(None, None) == both
    assert Budget(BudgetConfig()).after(500, 500) == Budget(BudgetConfig())


def test_the_encoder_is_slowed_while_it_is_hot_and_let_go_again(tmp_path: Path) -> None:
    zone = tmp_path / "sys/class/thermal/thermal_zone0/temp"
    zone.parent.mkdir(parents=True)
    readings = iter(["60000", "90000", "90000", "60000", "60000"])
    allowed: list[float] = []
    done = Event()

    def wait(closing: Event, seconds: float) -> bool:
        text = next(readings, None)
        if text is None:
            done.set()
            return True
        zone.write_text(text)
        return False

    Monitor(BudgetConfig(max_temperature_c=80), allowed.append, root=tmp_path, wait=wait)
    assert done.wait(10)
    slowed = [allowed[0] > allowed[1], allowed[1] < allowed[2] < allowed[3]]
    assert slowed == [True, True]


def test_without_limits_nothing_is_read() -> None:
    def wait(closing: Event, seconds: float) -> bool:
        raise AssertionError("a thread was started")

    Monitor(BudgetConfig(), print, wait=wait).close()
