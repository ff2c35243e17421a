"""Frames over Zenoh, sent by a session of this process."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from threading import Event, Thread
from typing import Any

import cv2
import numpy as np
import pytest

from sam_edge.errors import InputError
from sam_edge.streaming.sources.source import open_source
from sam_edge.streaming.zenoh.address import parse_zenoh
from sam_edge.streaming.zenoh.messages import frame_header
from sam_edge.streaming.zenoh.session import subscribed, zenoh_session
from tests.streaming.zenoh.peers import WAIT_S, await_match, free_endpoint, peer

pytest.importorskip("zenoh")


def jpeg(grey: int) -> bytes:
    return cv2.imencode(".jpg", np.full((48, 64, 3), grey, np.uint8))[1].tobytes()


class Glasses:
    """Sends one frame as soon as somebody has subscribed, more when asked."""

    def __init__(self, session: Any) -> None:
        self.session = session
        self.publisher = session.declare_publisher("glasses/frame", encoding="image/jpeg")
        self.sent_ns = 0

    def send(self, index: int, grey: int = 100) -> None:
        self.sent_ns = time.monotonic_ns()
        self.publisher.put(jpeg(grey), attachment=frame_header(index, (64, 48), self.sent_ns))

    def send_first(self) -> None:
        await_match(self.publisher)
        self.send(0)


@pytest.fixture
def endpoint() -> str:
    return free_endpoint()


@pytest.fixture
def glasses(endpoint: str) -> Iterator[Glasses]:
    with peer(connect=endpoint) as session:
        yield Glasses(session)


@pytest.mark.parametrize("clock", ["delay", "unix"])
def test_frames_with_their_times(endpoint: str, glasses: Glasses, clock: str) -> None:
    first = Thread(target=glasses.send_first)
    first.start()
    with closing(open_source(f"zenoh:glasses?listen={endpoint}&clock={clock}")) as source:
        first.join()
        assert source.info.live
        assert source.info.frame_wh == (64, 48)
        frame = next(iter(source))
        assert frame.image.shape == (48, 64, 3)
        assert abs(int(frame.image[20, 20, 0]) - 100) < 4
        # By the smallest delay the first frame counts as having come at once.
        assert frame.capture_ns == pytest.approx(glasses.sent_ns, abs=2e9)
        assert frame.capture_ns <= frame.receive_ns


def test_a_slow_reader_gets_the_newest_and_what_is_no_image_is_counted(endpoint: str, glasses: Glasses) -> None:
    first = Thread(target=glasses.send_first)
    first.start()
    address = f"zenoh:glasses?listen={endpoint}"
    with closing(open_source(address)) as source, ExitStack() as opened:
        first.join()
        frames = iter(source)
        next(frames)
        arrived = Event()
        session = opened.enter_context(zenoh_session(parse_zenoh(address)[0]))
        opened.enter_context(
            subscribed(session, "glasses/end", lambda *_: arrived.set(), lambda: None, 100),
        )
        end = glasses.session.declare_publisher("glasses/end")
        await_match(end)
        glasses.publisher.put(b"\xff\xd8 no image", attachment=frame_header(1, (64, 48), None))
        assert wait_for(lambda: source.lost_frames == 1)
        glasses.publisher.put(jpeg(1), attachment=b"no header")
        assert wait_for(lambda: source.lost_frames == 2)
        for index in range(40):
            glasses.send(index, grey=3 * index)
        # The session hears the end behind all that was sent before it.
        end.put(b"")
        assert arrived.wait(WAIT_S)
        seen: list[int] = []
        while not seen or seen[-1] < 3 * 38:
            seen.append(int(next(frames).image[20, 20, 0]))
        # One that was taken before, one that waits in each of two places, and the newest.
        assert len(seen) <= 4


def wait_for(is_so: Callable[[], bool]) -> bool:
    """Look every few milliseconds: the counter tells nobody."""
    look = Event()
    return any(is_so() or look.wait(0.005) for _ in range(round(WAIT_S / 0.005)))


def test_what_it_does_not_take() -> None:
    with pytest.raises(InputError, match="rate"):
        open_source("zenoh:glasses", rate_hz=30)
    with pytest.raises(InputError, match="option"):
        open_source("zenoh:glasses?fps=30")
