"""What a service manager hears, on a real datagram socket."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from threading import Event

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sam_edge.service.notify import Notifier, beating

WAIT_S = 10.0


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """A service manager that listens."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(WAIT_S)
        yield listener


def heard(listener: socket.socket) -> dict[str, str]:
    lines = listener.recv(4096).decode().split("\n")
    return dict(line.split("=", 1) for line in lines)


def notifier_of(listener: socket.socket, **more: str) -> Notifier:
    return Notifier.from_environment({"NOTIFY_SOCKET": listener.getsockname(), **more})


def test_the_manager_hears_each_step(manager: socket.socket) -> None:
    notifier = notifier_of(manager)
    assert notifier.ready("serving on http://127.0.0.1:8080/")
    assert heard(manager) == {"READY": "1", "STATUS": "serving on http://127.0.0.1:8080/"}
    assert notifier.reloading()
    reloading = heard(manager)
    assert reloading["RELOADING"] == "1"
    assert int(reloading["MONOTONIC_USEC"]) > 0
    assert notifier.alive()
    assert heard(manager) == {"WATCHDOG": "1"}
    assert notifier.status("20 viewers")
    assert heard(manager) == {"STATUS": "20 viewers"}
    assert notifier.stopping()
    assert heard(manager) == {"STOPPING": "1"}


def test_the_watchdog_waits_longer_while_it_reloads(manager: socket.socket) -> None:
    notifier = notifier_of(manager, WATCHDOG_USEC="15000000")
    notifier.reloading()
    assert int(heard(manager)["WATCHDOG_USEC"]) > 15_000_000
    notifier.ready()
    assert heard(manager) == {"READY": "1", "WATCHDOG_USEC": "15000000"}


@given(status=st.text())
def test_a_status_is_one_line_and_sets_nothing_else(status: str) -> None:
    name = f"@sam-edge-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(f"\0{name[1:]}")
        listener.settimeout(WAIT_S)
        Notifier(name).ready(f"{status}\nMAINPID=1")
        try:
            text = listener.recv(4096).decode()
        except TimeoutError:  # a lone surrogate cannot be sent
            pytest.fail("nothing was sent")
        assert text.split("\n")[0] == "READY=1"
        assert all(line.startswith("STATUS=") for line in text.split("\n")[1:])


@pytest.mark.parametrize(
    "environment",
    [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "relative"}, {"NOTIFY_SOCKET": "/no/such/socket"}],
)
def test_nothing_happens_where_nobody_listens(environment: dict[str, str]) -> None:
    notifier = Notifier.from_environment(environment)
    assert not any([notifier.ready("x"), notifier.alive(), notifier.reloading(), notifier.stopping()])


@pytest.mark.parametrize(
    ("environment", "watchdog_s"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({}, None),
    ],
)
def test_the_watchdog_is_read(environment: dict[str, str], watchdog_s: float | None) -> None:
    assert Notifier.from_environment(environment).watchdog_s == watchdog_s


def test_a_service_that_is_not_well_is_silent(manager: socket.socket) -> None:
    notifier = notifier_of(manager, WATCHDOG_USEC="30000")
    asked = Event()
    answers: Iterator[bool | RuntimeError] = iter([True, False, RuntimeError("broken"), True])

    def is_well() -> bool:
        answer = next(answers, None)
        if answer is None:
            asked.set()
            return False
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def serve() -> None:
        async with beating(notifier, is_well):
            await asyncio.to_thread(asked.wait, WAIT_S)

    asyncio.run(serve())
    assert asked.is_set()
    assert [heard(manager), heard(manager)] == [{"WATCHDOG": "1"}] * 2
    manager.setblocking(False)
    with pytest.raises(BlockingIOError):
        manager.recv(4096)


def test_a_full_manager_holds_nothing_up(manager: socket.socket) -> None:
    notifier = notifier_of(manager)
    sent = [notifier.alive() for _ in range(5000)]
    assert sent[0]
    assert not sent[-1]
