"""A hot device encodes less, and says nothing while all is well."""

from __future__ import annotations

from pathlib import Path
from threading import Event

from sam_edge.streaming.live.budget import Budget
from sam_edge.streaming.live.monitor import Monitor


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

    Monitor(Budget(max_temperature_c=80), allowed.append, root=tmp_path, wait=wait)
    assert done.wait(10)
    slowed = [allowed[0] > allowed[1], allowed[1] < allowed[2] < allowed[3]]
    assert slowed == [True, True]


def test_without_limits_nothing_is_read() -> None:
    def wait(closing: Event, seconds: float) -> bool:
        raise AssertionError("a thread was started")

    Monitor(Budget(), print, wait=wait).close()
