"""Pupil Core: `core://HOST[:PORT]`, the Network API of Pupil Capture.

The protocol: docs.pupil-labs.com/core/developer/network-api. A ZeroMQ request socket (Pupil Remote, port 50020)
tells the port where gaze is published, and answers "t" with the time of Pupil's clock. A gaze message has two
parts, a topic such as `gaze.3d.01.` and a MessagePack map. `norm_pos` spans the world camera's image from its
bottom left corner.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from functools import partial
from time import monotonic_ns
from typing import Any

from sam_edge.lazy import named_extras
from sam_edge.streaming.gaze.live.address import parse_address
from sam_edge.streaming.gaze.live.tracker import Link, RejectedError, Tracker, checked_sample
from sam_edge.streaming.gaze.sample import GazeSample

PORT = 50020
TIMEOUT_MS = 2000
ECHOES = 9
"""So many questions for the time; the median of the answers is the offset."""
RESYNC_NS = 30 * 10**9
"""Clocks of two machines drift by some ms a minute at most."""
MAX_MESSAGE = 1 << 16
"""A gaze message with all its base data has a few kilobytes."""
MAX_WAITING = 8
"""So many messages wait inside ZeroMQ."""


def open_core(name: str) -> Tracker:
    """Receive the gaze of a Pupil Capture that runs on this machine or another one.

    Raises:
        InputError: the address is wrong.
        MissingExtraError: pyzmq or msgpack is not installed.
    """
    host, port = parse_address(name, "core://HOST[:PORT]", default_port=PORT)
    with named_extras("core"):
        import msgpack
        import zmq

    shown = f"[{host}]" if ":" in host else host

    def receive(link: Link) -> None:
        with zmq.Context() as context, context.socket(zmq.REQ) as remote, context.socket(zmq.SUB) as gaze:
            for socket in (remote, gaze):
                socket.linger = 0
                socket.ipv6 = True
                socket.maxmsgsize = MAX_MESSAGE
            remote.connect(f"tcp://{shown}:{port}")
            ask = _asker(remote, link, zmq.Poller(), zmq.POLLIN)
            gaze_port = ask("SUB_PORT")
            offset_ns, synced_ns = _offset_ns(ask), monotonic_ns()
            gaze.rcvhwm = MAX_WAITING
            gaze.connect(f"tcp://{shown}:{int(gaze_port)}")
            gaze.subscribe(b"gaze.")
            poller = zmq.Poller()
            poller.register(gaze, zmq.POLLIN)
            poller.register(link.woken, zmq.POLLIN)
            while not link.closed:
                heard = gaze in dict(poller.poll(TIMEOUT_MS))
                if heard:
                    parts = gaze.recv_multipart()
                    link.offer(partial(parse_gaze, parts, offset_ns, monotonic_ns(), msgpack.unpackb))
                if link.closed:
                    break
                if not heard and ask("SUB_PORT") != gaze_port:
                    raise ConnectionError("Pupil Capture was started again")
                if monotonic_ns() - synced_ns > RESYNC_NS:
                    offset_ns, synced_ns = _offset_ns(ask), monotonic_ns()

    return Tracker(name, receive)


def _asker(remote: Any, link: Link, poller: Any, readable: int) -> Callable[[str], str]:
    poller.register(remote, readable)
    poller.register(link.woken, readable)

    def ask(question: str) -> str:
        remote.send_string(question)
        if remote not in dict(poller.poll(TIMEOUT_MS)) or link.closed:
            raise ConnectionError("Pupil Capture does not answer")
        return str(remote.recv().decode("ascii", "replace"))[:32]

    return ask


def _offset_ns(ask: Callable[[str], str]) -> int:
    """What to add to a time of Pupil's clock to get this machine's."""
    offsets = []
    for _ in range(ECHOES):
        before_ns = monotonic_ns()
        theirs_ns = float(ask("t")) * 1e9
        offsets.append((before_ns + monotonic_ns()) / 2 - theirs_ns)
    return round(statistics.median(offsets))


def parse_gaze(
    parts: Sequence[bytes], offset_ns: int, receive_ns: int, unpack: Callable[..., Any]
) -> GazeSample:
    """The sample in a message.

    Args:
        parts: topic and MessagePack map.
        offset_ns: from Pupil's clock to this machine's.
        receive_ns: when it came.
        unpack: `msgpack.unpackb`.

    Raises:
        RejectedError: `malformed`, `not finite` or `out of range`.
    """
    try:
        _, packed = parts
        # Per-eye fields have whole numbers as keys.
        fields = unpack(packed, strict_map_key=False)
        x, y = (float(value) for value in fields["norm_pos"])
        t_ns = round(float(fields["timestamp"]) * 1e9)
        confidence = float(fields["confidence"])
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError, MemoryError) as error:
        raise RejectedError("malformed") from error
    return checked_sample(
        t_ns + offset_ns, x, 1 - y, confidence, clock="host", receive_ns=receive_ns, offset_ns=offset_ns
    )
